//! The header of a GGUF file, versions 1 to 3 (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>).
//!
//! [`parse`] takes the beginning of a file and asks for more when it does not suffice.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_RANK, MAX_TENSORS, TensorEntry, dtype};

/// Longest header that is read, in bytes: vocabularies of a quarter million tokens need about 10 MB.
pub const MAX_HEADER: u64 = 64 * 1024 * 1024;
const MAX_KEYS: u64 = 100_000;
const MAX_STRING: u64 = 8 * 1024 * 1024;
const MAX_ARRAY: u64 = 4 * 1024 * 1024;
const MAX_DEPTH: u32 = 4;

/// A way in which a GGUF file can lie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes given end inside the header although the file goes on; not a fault of the file.
    #[error("at least {at_least} bytes are needed to read the header")]
    NeedMore {
        /// How many bytes to come back with.
        at_least: u64,
    },
    /// No GGUF file.
    #[error("the file does not begin with `GGUF`")]
    NotGguf,
    /// A file for big-endian machines.
    #[error("the file is big-endian, which is not read")]
    BigEndian,
    /// A version that is not known.
    #[error("the file has GGUF version {0}, 1 to 3 are read")]
    UnknownVersion(u32),
    /// The file ends inside its header.
    #[error("the file ends inside its header, at byte {0}")]
    Truncated(u64),
    /// The header is longer than is read.
    #[error("the header is longer than {MAX_HEADER} bytes")]
    HeaderTooLong,
    /// A count that is too large.
    #[error("{what} claims {claimed} entries, at most {limit} are read")]
    TooMany {
        /// What was counted.
        what: String,
        /// How many it claims.
        claimed: u64,
        /// How many are read.
        limit: u64,
    },
    /// A value type that GGUF does not have.
    #[error("key `{key}` has the unknown value type {number}")]
    UnknownValueType {
        /// The key.
        key: String,
        /// The number in the file.
        number: u32,
    },
    /// Arrays nested too deeply.
    #[error("key `{0}` nests arrays too deeply")]
    TooDeep(String),
    /// Text that is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(String),
    /// A key or a tensor that occurs twice.
    #[error("`{0}` occurs twice")]
    Duplicate(String),
    /// An alignment that cannot be.
    #[error("the alignment {0} is not a power of two")]
    BadAlignment(u64),
    /// Too many dimensions.
    #[error("tensor `{tensor}` has {rank} dimensions, at most {MAX_RANK} are read")]
    TooManyDimensions {
        /// The tensor.
        tensor: String,
        /// How many it claims.
        rank: u32,
    },
    /// An element type that ggml does not have.
    #[error("tensor `{tensor}` has the unknown ggml type {number}")]
    UnknownType {
        /// The tensor.
        tensor: String,
        /// The number in the file.
        number: u32,
    },
    /// A shape that overflows or is no multiple of the type's block.
    #[error("tensor `{0}` has a shape that overflows or does not fill whole blocks")]
    BadShape(String),
    /// An offset that is not aligned.
    #[error("tensor `{tensor}` begins at offset {offset}, which is not a multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Its offset.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A tensor beyond the end.
    #[error("tensor `{tensor}` ends at byte {end} of {file_length}: the file is truncated or its header lies")]
    OutOfBounds {
        /// The tensor.
        tensor: String,
        /// Where it claims to end.
        end: u64,
        /// How long the file is.
        file_length: u64,
    },
    /// Two tensors in the same bytes.
    #[error("tensors `{0}` and `{1}` overlap")]
    Overlap(String, String),
}

/// A metadata value. Arrays keep their length and, when short, their elements.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any integer type.
    Integer(i128),
    /// Any floating-point type.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text.
    String(String),
    /// An array: how many elements, and the first of them.
    Array(u64, Vec<Value>),
}

/// Elements of an array that are kept.
const KEPT: usize = 64;

/// What a header says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Header {
    /// 1 to 3.
    pub version: u32,
    /// The metadata.
    pub metadata: BTreeMap<String, Value>,
    /// The tensors, dimensions outermost first (the file has them innermost first).
    pub tensors: Vec<TensorEntry>,
    /// Where the tensors' bytes begin in the file.
    pub data_start: u64,
}

impl Header {
    /// Returns a text value.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns an integer value that is not negative.
    pub fn integer(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(Value::Integer(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// `general.architecture`.
    pub fn architecture(&self) -> Option<&str> {
        self.text("general.architecture")
    }

    /// The models that the file says it was made from, as `namespace/name`, from `general.base_model.N.repo_url`
    /// or `…organization` and `…name`.
    pub fn base_models(&self) -> Vec<String> {
        let count = self.integer("general.base_model.count").unwrap_or(0).min(16);
        let mut bases = Vec::new();
        for number in 0..count {
            let field = |name: &str| self.text(&format!("general.base_model.{number}.{name}"));
            let from_url = field("repo_url").and_then(repository_of_url);
            let from_parts = || Some(format!("{}/{}", field("organization")?, field("name")?.replace(' ', "-")));
            bases.extend(from_url.or_else(from_parts));
        }
        bases.extend(bases.is_empty().then(|| self.text("general.source.url").and_then(repository_of_url)).flatten());
        bases
    }
}

/// Returns `namespace/name` of an address such as `https://huggingface.co/meta-llama/Llama-3.1-8B`.
fn repository_of_url(url: &str) -> Option<String> {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let mut parts = path.trim_end_matches('/').split('/').skip(1);
    let (namespace, name) = (parts.next()?, parts.next()?);
    let fine = !namespace.is_empty() && !name.is_empty();
    fine.then(|| format!("{namespace}/{name}"))
}

/// Parses the header at the beginning of a file of `file_length` bytes.
///
/// Answers [`Error::NeedMore`] when `prefix` ends inside the header and the file goes on.
pub fn parse(prefix: &[u8], file_length: u64) -> Result<Header, Error> {
    let mut reader = Reader { bytes: prefix, at: 0, file_length, wide: true };
    let magic = reader.take(4)?;
    if magic != b"GGUF" {
        return Err(if magic == b"FUGG" { Error::BigEndian } else { Error::NotGguf });
    }
    let version = reader.u32()?;
    if version.swap_bytes() <= 3 && version > 3 {
        return Err(Error::BigEndian);
    }
    if !(1..=3).contains(&version) {
        return Err(Error::UnknownVersion(version));
    }
    reader.wide = version > 1;
    let tensor_count = reader.count("the tensor table", MAX_TENSORS as u64)?;
    let key_count = reader.count("the metadata", MAX_KEYS)?;
    let metadata = read_metadata(&mut reader, key_count)?;
    let alignment = alignment(&metadata)?;
    let mut raw = Vec::new();
    for _ in 0..tensor_count {
        raw.push(read_tensor(&mut reader)?);
    }
    let data_start = (reader.at as u64).next_multiple_of(alignment);
    let tensors = place(raw, data_start, alignment, file_length)?;
    Ok(Header { version, metadata, tensors, data_start })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    file_length: u64,
    /// Version 1 counts in 32 bits.
    wide: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], Error> {
        let end = (self.at as u64).checked_add(length).ok_or(Error::Truncated(self.at as u64))?;
        if end > self.file_length {
            return Err(Error::Truncated(self.file_length));
        }
        if end > MAX_HEADER {
            return Err(Error::HeaderTooLong);
        }
        if end > self.bytes.len() as u64 {
            return Err(Error::NeedMore { at_least: end });
        }
        let end = usize::try_from(end).map_err(|_| Error::HeaderTooLong)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let at = self.at as u64;
        self.take(N as u64)?.try_into().map_err(|_| Error::Truncated(at))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn length(&mut self) -> Result<u64, Error> {
        if self.wide { Ok(u64::from_le_bytes(self.array()?)) } else { Ok(u64::from(self.u32()?)) }
    }

    fn count(&mut self, what: &str, limit: u64) -> Result<u64, Error> {
        let claimed = self.length()?;
        if claimed > limit { Err(Error::TooMany { what: what.to_owned(), claimed, limit }) } else { Ok(claimed) }
    }

    fn text(&mut self, what: &str) -> Result<String, Error> {
        let length = self.count(what, MAX_STRING)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Error::NotUtf8(what.to_owned()))
    }
}

fn read_metadata(reader: &mut Reader<'_>, count: u64) -> Result<BTreeMap<String, Value>, Error> {
    let mut metadata = BTreeMap::new();
    for number in 0..count {
        let key = reader.text(&format!("metadata key {number}"))?;
        let kind = reader.u32()?;
        let value = read_value(reader, &key, kind, 0)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(Error::Duplicate(key));
        }
    }
    Ok(metadata)
}

fn read_value(reader: &mut Reader<'_>, key: &str, kind: u32, depth: u32) -> Result<Value, Error> {
    Ok(match kind {
        0 => Value::Integer(u8::from_le_bytes(reader.array()?).into()),
        1 => Value::Integer(i8::from_le_bytes(reader.array()?).into()),
        2 => Value::Integer(u16::from_le_bytes(reader.array()?).into()),
        3 => Value::Integer(i16::from_le_bytes(reader.array()?).into()),
        4 => Value::Integer(u32::from_le_bytes(reader.array()?).into()),
        5 => Value::Integer(i32::from_le_bytes(reader.array()?).into()),
        6 => Value::Float(f32::from_le_bytes(reader.array()?).into()),
        7 => Value::Bool(reader.array::<1>()? != [0]),
        // Tokens of a vocabulary are bytes in practice; only what people read must be UTF-8.
        8 => Value::String(String::from_utf8_lossy(read_bytes(reader, key)?).into_owned()),
        9 => read_array(reader, key, depth)?,
        10 => Value::Integer(u64::from_le_bytes(reader.array()?).into()),
        11 => Value::Integer(i64::from_le_bytes(reader.array()?).into()),
        12 => Value::Float(f64::from_le_bytes(reader.array()?)),
        number => return Err(Error::UnknownValueType { key: key.to_owned(), number }),
    })
}

fn read_bytes<'a>(reader: &mut Reader<'a>, key: &str) -> Result<&'a [u8], Error> {
    let length = reader.count(key, MAX_STRING)?;
    reader.take(length)
}

fn read_array(reader: &mut Reader<'_>, key: &str, depth: u32) -> Result<Value, Error> {
    if depth >= MAX_DEPTH {
        return Err(Error::TooDeep(key.to_owned()));
    }
    let kind = reader.u32()?;
    let count = reader.count(key, MAX_ARRAY)?;
    let mut kept = Vec::new();
    for number in 0..count {
        let value = read_value(reader, key, kind, depth + 1)?;
        if number < KEPT as u64 {
            kept.push(value);
        }
    }
    Ok(Value::Array(count, kept))
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, Error> {
    let Some(Value::Integer(alignment)) = metadata.get("general.alignment") else { return Ok(32) };
    let alignment = u64::try_from(*alignment).unwrap_or(0);
    if alignment.is_power_of_two() && alignment <= 1 << 20 {
        Ok(alignment)
    } else {
        Err(Error::BadAlignment(alignment))
    }
}

struct RawTensor {
    name: String,
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
}

fn read_tensor(reader: &mut Reader<'_>) -> Result<RawTensor, Error> {
    let name = reader.text("a tensor's name")?;
    let rank = reader.u32()?;
    if rank as usize > MAX_RANK {
        return Err(Error::TooManyDimensions { tensor: name, rank });
    }
    let mut shape = Vec::new();
    for _ in 0..rank {
        shape.push(reader.length()?);
    }
    let kind = reader.u32()?;
    let offset = u64::from_le_bytes(reader.array()?);
    Ok(RawTensor { name, shape, kind, offset })
}

fn place(raw: Vec<RawTensor>, data_start: u64, alignment: u64, file_length: u64) -> Result<Vec<TensorEntry>, Error> {
    let mut names = BTreeSet::new();
    let mut tensors = Vec::with_capacity(raw.len());
    for tensor in raw {
        if !names.insert(tensor.name.clone()) {
            return Err(Error::Duplicate(tensor.name));
        }
        tensors.push(place_one(tensor, data_start, alignment, file_length)?);
    }
    tensors.sort_by_key(|a| (a.start, a.end));
    for pair in tensors.windows(2) {
        if pair[1].start < pair[0].end {
            return Err(Error::Overlap(pair[0].name.clone(), pair[1].name.clone()));
        }
    }
    Ok(tensors)
}

fn place_one(raw: RawTensor, data_start: u64, alignment: u64, file_length: u64) -> Result<TensorEntry, Error> {
    let Some(kind) = dtype::ggml(raw.kind) else {
        return Err(Error::UnknownType { tensor: raw.name, number: raw.kind });
    };
    if !raw.offset.is_multiple_of(alignment) {
        return Err(Error::Misaligned { tensor: raw.name, offset: raw.offset, alignment });
    }
    let elements = raw.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
    let whole_rows = raw.shape.first().copied().unwrap_or(1) % kind.block == 0;
    let bytes = elements.filter(|_| whole_rows).and_then(|elements| (elements / kind.block).checked_mul(kind.bytes));
    let Some(bytes) = bytes else { return Err(Error::BadShape(raw.name)) };
    let start = data_start.checked_add(raw.offset);
    let end = start.and_then(|start| start.checked_add(bytes));
    let (Some(start), Some(end)) = (start, end) else { return Err(Error::BadShape(raw.name)) };
    if end > file_length {
        return Err(Error::OutOfBounds { tensor: raw.name, end, file_length });
    }
    let shape = raw.shape.into_iter().rev().collect();
    Ok(TensorEntry { name: raw.name, dtype: kind.name, shape, start, end })
}
