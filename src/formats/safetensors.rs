//! The header of a safetensors file (<https://github.com/huggingface/safetensors#format>).
//!
//! Eight bytes of little-endian length, that many bytes of JSON, then the tensors' bytes without hole or overlap.

use std::{collections::BTreeMap, fmt};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{MAX_RANK, MAX_TENSORS, TensorEntry, dtype};

/// Longest header that is read, in bytes; the hub's own viewer has the same limit.
pub const MAX_HEADER: u64 = 25 * 1024 * 1024;

/// A way in which a safetensors file can lie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Fewer than eight bytes.
    #[error("the file has {0} bytes, a safetensors file has at least 8")]
    TooShort(u64),
    /// A header that is too long to be one.
    #[error("the header claims {0} bytes, at most {MAX_HEADER} are read")]
    HeaderTooLong(u64),
    /// A header that the file does not hold: the file is truncated, or no safetensors file.
    #[error(
        "the header claims {claimed} bytes, the file has {available} after its length field: it is truncated or no safetensors file"
    )]
    HeaderBeyondEnd {
        /// Bytes that the header claims.
        claimed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// No JSON, or JSON of another shape.
    #[error("the header is not valid: {0}")]
    NotJson(String),
    /// A name that occurs twice.
    #[error("tensor `{0}` occurs twice in the header")]
    Duplicate(String),
    /// Too many tensors.
    #[error("the header lists more than {MAX_TENSORS} tensors")]
    TooManyTensors,
    /// An element type that the format does not have.
    #[error("tensor `{tensor}` has the unknown dtype `{dtype}`")]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// Its dtype.
        dtype: String,
    },
    /// Too many dimensions.
    #[error("tensor `{tensor}` has {rank} dimensions, at most {MAX_RANK} are read")]
    TooManyDimensions {
        /// The tensor.
        tensor: String,
        /// How many it has.
        rank: usize,
    },
    /// A shape whose product does not fit.
    #[error("tensor `{0}` has a shape that overflows")]
    ShapeOverflow(String),
    /// Offsets that run backwards or beyond the end.
    #[error("tensor `{tensor}` claims bytes {start} to {end} of {available}: the file is truncated or its header lies")]
    OutOfBounds {
        /// The tensor.
        tensor: String,
        /// First byte claimed.
        start: u64,
        /// Last byte claimed, exclusive.
        end: u64,
        /// Bytes there are after the header.
        available: u64,
    },
    /// Offsets that do not fit the shape.
    #[error("tensor `{tensor}` claims {claimed} bytes, its dtype and shape need {needed}")]
    WrongLength {
        /// The tensor.
        tensor: String,
        /// What its offsets say.
        claimed: u64,
        /// What dtype and shape say.
        needed: u64,
    },
    /// Two tensors in the same bytes.
    #[error("tensors `{first}` and `{second}` overlap")]
    Overlap {
        /// The one in front.
        first: String,
        /// The one that begins too early.
        second: String,
    },
    /// Bytes that belong to no tensor, between tensors.
    #[error("{length} bytes before tensor `{tensor}` belong to no tensor")]
    Hole {
        /// The tensor after the hole.
        tensor: String,
        /// Length of the hole in bytes.
        length: u64,
    },
    /// Bytes that belong to no tensor, at the end.
    #[error("{0} bytes at the end belong to no tensor")]
    TrailingBytes(u64),
}

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The tensors in the order of their bytes.
    pub tensors: Vec<TensorEntry>,
    /// The free-form `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// Returns the length of the JSON header in bytes, from the file's first eight bytes and its length.
pub fn header_length(first: &[u8], file_length: u64) -> Result<u64, Error> {
    let Some(Ok(length)) = first.get(..8).map(<[u8; 8]>::try_from) else { return Err(Error::TooShort(file_length)) };
    let claimed = u64::from_le_bytes(length);
    let available = file_length.checked_sub(8).ok_or(Error::TooShort(file_length))?;
    if claimed > available {
        return Err(Error::HeaderBeyondEnd { claimed, available });
    }
    if claimed > MAX_HEADER {
        return Err(Error::HeaderTooLong(claimed));
    }
    Ok(claimed)
}

/// Parses the JSON header of a file of `file_length` bytes and checks it against that length.
pub fn parse(header: &[u8], file_length: u64) -> Result<Header, Error> {
    let before = 8 + header.len() as u64;
    let available = file_length.checked_sub(before).ok_or(Error::TooShort(file_length))?;
    let raw: RawHeader = serde_json::from_slice(header).map_err(|error| Error::NotJson(error.to_string()))?;
    if let Some(name) = raw.duplicate {
        return Err(Error::Duplicate(name));
    }
    if raw.overflow {
        return Err(Error::TooManyTensors);
    }
    let mut tensors = Vec::with_capacity(raw.tensors.len());
    for (name, tensor) in raw.tensors {
        tensors.push(check(name, tensor, before, available)?);
    }
    tensors.sort_by(|a, b| (a.start, a.end, &a.name).cmp(&(b.start, b.end, &b.name)));
    check_coverage(&tensors, before, file_length)?;
    Ok(Header { tensors, metadata: raw.metadata })
}

fn check(name: String, raw: RawTensor, before: u64, available: u64) -> Result<TensorEntry, Error> {
    let Some((dtype, bits)) = dtype::safetensors(&raw.dtype) else {
        return Err(Error::UnknownDtype { tensor: name, dtype: raw.dtype.chars().take(40).collect() });
    };
    if raw.shape.len() > MAX_RANK {
        return Err(Error::TooManyDimensions { tensor: name, rank: raw.shape.len() });
    }
    let elements = raw.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
    let bits = elements.and_then(|elements| elements.checked_mul(bits));
    let Some(needed) = bits.filter(|bits| bits % 8 == 0).map(|bits| bits / 8) else {
        return Err(Error::ShapeOverflow(name));
    };
    let [start, end] = raw.data_offsets;
    if start > end || end > available {
        return Err(Error::OutOfBounds { tensor: name, start, end, available });
    }
    if end - start != needed {
        return Err(Error::WrongLength { tensor: name, claimed: end - start, needed });
    }
    Ok(TensorEntry { name, dtype, shape: raw.shape, start: before + start, end: before + end })
}

fn check_coverage(tensors: &[TensorEntry], before: u64, file_length: u64) -> Result<(), Error> {
    let mut covered = before;
    let mut previous = "";
    for tensor in tensors {
        if tensor.start < covered {
            return Err(Error::Overlap { first: previous.to_owned(), second: tensor.name.clone() });
        }
        if tensor.start > covered {
            return Err(Error::Hole { tensor: tensor.name.clone(), length: tensor.start - covered });
        }
        covered = tensor.end;
        previous = &tensor.name;
    }
    if covered == file_length { Ok(()) } else { Err(Error::TrailingBytes(file_length - covered)) }
}

#[derive(serde::Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The JSON as it stands, with the first name that occurs twice: `serde_json`'s own maps would keep the last silently.
#[derive(Default)]
struct RawHeader {
    tensors: BTreeMap<String, RawTensor>,
    metadata: BTreeMap<String, String>,
    duplicate: Option<String>,
    overflow: bool,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else if header.tensors.len() >= MAX_TENSORS {
                        header.overflow = true;
                        map.next_value::<IgnoredAny>()?;
                    } else if header.tensors.insert(name.clone(), map.next_value()?).is_some() {
                        header.duplicate.get_or_insert(name);
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}
