//! A fingerprint as a file: what `identify` sends instead of a model, and what the registry keeps.
//!
//! Eight bytes of magic, four of little-endian length, that many bytes of JSON, then the sampled values. The header
//! decides how many values there are; that is checked against the bytes that are there before anything is made of it.
//! Values of 16-bit tensors are stored in their own 16 bits, products of the invariant as halves, others as f32, so that
//! what is read is what was written. A file is somebody's claim about weights: it is compared, never believed.

mod error;
mod header;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use half::{bf16, f16};
use serde::Deserialize;

use super::{
    print::{Fingerprint, Invariant, Precision, RowPanel, TensorPrint, VERSION},
    slots::{Role, Slot},
};
pub use error::Error;
pub use header::PrintedFile;
use header::{Header, InvariantRecord, PanelRecord, Record, check};

const MAGIC: &[u8; 8] = b"herdmark";
/// Longest file that is read, in bytes.
pub const MAX_FILE: usize = 16 << 20;
/// Longest text in a header, in bytes: a name, a reason.
pub const MAX_TEXT: usize = 512;
/// Most tensors of which it is said why they were left out.
pub const MAX_SKIPPED: usize = 64;

impl Fingerprint {
    /// The fingerprint as a file that names no files.
    pub fn encode(&self) -> Vec<u8> {
        write(self, &[])
    }

    /// Reads a fingerprint from a file.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        read(bytes).map(|(print, _)| print)
    }
}

/// Writes a fingerprint with the files that it was made of.
pub fn write(print: &Fingerprint, files: &[PrintedFile]) -> Vec<u8> {
    let (panel, precision) = (print.panel.as_ref(), print.precision());
    let header = Header {
        version: print.version,
        shape: print.shape.clone(),
        files: files.to_vec(),
        covered: print.covered,
        skipped: print.skipped.clone(),
        precision,
        tensors: print.tensors.iter().map(|(slot, tensor)| Record::of(slot, tensor, precision)).collect(),
        panel: panel.map(|panel| PanelRecord {
            precision: panel.precision,
            vocabulary: panel.vocabulary,
            columns: panel.columns,
        }),
        invariant: print.invariant.as_ref().map(|invariant| InvariantRecord {
            tokens: invariant.tokens.iter().map(|token| format!("{token:016x}")).collect(),
            depths: invariant.depths.iter().map(|(layer, _)| *layer).collect(),
        }),
    };
    let header = serde_json::to_vec(&header).expect("a header is texts and numbers");
    let mut bytes = MAGIC.to_vec();
    bytes.extend(u32::try_from(header.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(header);
    print.tensors.values().for_each(|tensor| put(&mut bytes, Width::of(tensor.precision), &tensor.sample));
    if let Some(panel) = panel {
        put(&mut bytes, Width::of(panel.precision), &panel.values);
    }
    if let Some(invariant) = &print.invariant {
        invariant.depths.iter().flat_map(|(_, products)| products).for_each(|p| put(&mut bytes, Width::Half, p));
    }
    bytes
}

/// Reads a fingerprint and the files that it was made of.
pub fn read(bytes: &[u8]) -> Result<(Fingerprint, Vec<PrintedFile>), Error> {
    if bytes.len() > MAX_FILE {
        return Err(Error::TooLong(bytes.len()));
    }
    let rest = bytes.strip_prefix(MAGIC).ok_or(Error::NotAFingerprint)?;
    let truncated = |needed: u64| Error::Truncated { needed, available: bytes.len() as u64 };
    let (length, rest) = rest.split_first_chunk().ok_or(truncated(12))?;
    let length = u32::from_le_bytes(*length);
    let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (header, body) = split.ok_or(truncated(12 + u64::from(length)))?;
    let header = parse(header)?;
    let needed = check(&header)?;
    if needed > body.len() as u64 {
        return Err(truncated(12 + u64::from(length) + needed));
    }
    if needed < body.len() as u64 {
        return Err(Error::TrailingBytes(body.len() as u64 - needed));
    }
    build(header, body)
}

fn parse(bytes: &[u8]) -> Result<Header, Error> {
    /// What every version's header has.
    #[derive(Deserialize)]
    struct Any {
        version: u32,
    }
    let not_json = |error: serde_json::Error| Error::NotJson(error.to_string().chars().take(200).collect());
    let Any { version } = serde_json::from_slice(bytes).map_err(not_json)?;
    if version != VERSION {
        return Err(Error::WrongVersion(version));
    }
    serde_json::from_slice(bytes).map_err(not_json)
}
fn build(header: Header, body: &[u8]) -> Result<(Fingerprint, Vec<PrintedFile>), Error> {
    let mut body = Body { bytes: body };
    let mut tensors = BTreeMap::new();
    for record in header.tensors {
        let slot = record.slot();
        let precision = record.precision.unwrap_or(header.precision);
        let canonical = record.digest(record.canonical.as_ref())?;
        let tensor = TensorPrint {
            rows: record.rows,
            columns: record.columns,
            precision,
            exact: record.digest(record.exact.as_ref())?.or(canonical),
            canonical,
            zeros: record.zeros,
            distinct: record.distinct,
            lattice: record.lattice,
            sample: body.values(&record.role, precision, TensorPrint::sampled(record.rows, record.columns))?,
        };
        if tensors.insert(slot.clone(), tensor).is_some() {
            return Err(Error::Duplicate(slot.to_string()));
        }
    }
    let panel = match header.panel {
        Some(panel) => {
            let values = body.values("panel", panel.precision, panel.rows() * panel.columns)?;
            let PanelRecord { precision, vocabulary, columns } = panel;
            Some(RowPanel { precision, vocabulary, columns, values })
        }
        None => None,
    };
    let invariant = header.invariant.map(|invariant| body.invariant(invariant)).transpose()?;
    let (shape, covered, skipped) = (header.shape, header.covered, header.skipped);
    let print = Fingerprint { version: VERSION, shape, tensors, panel, invariant, covered, skipped };
    check_whole(&print)?;
    Ok((print, header.files))
}

/// Checks what only the whole can contradict.
fn check_whole(print: &Fingerprint) -> Result<(), Error> {
    let (shape, mut measured) = (&print.shape, print.shape.clone());
    measured.measure(&print.tensors);
    let wrong = [
        ("layers", measured.layers != shape.layers),
        ("hidden", measured.hidden != shape.hidden),
        ("vocabulary", measured.vocabulary != shape.vocabulary),
        ("feed_forward", measured.feed_forward != shape.feed_forward),
        ("covered", print.covered.0 > print.covered.1),
    ];
    if let Some((what, _)) = wrong.into_iter().find(|(_, is_wrong)| *is_wrong) {
        return Err(Error::WrongShape(what));
    }
    let embedding = print.tensors.get(&Slot::once(Role::Embed));
    let fits = |panel: &RowPanel| embedding.is_some_and(|embedding| embedding.rows == panel.vocabulary);
    if print.panel.as_ref().is_some_and(|panel| !fits(panel)) {
        return Err(Error::BadPanel);
    }
    Ok(())
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Width {
    Single,
    Half,
    Brain,
}

impl Width {
    fn of(precision: Precision) -> Self {
        match precision {
            Precision::F32 | Precision::Packed => Self::Single,
            Precision::F16 => Self::Half,
            // Values of eight bits are among those of bf16.
            Precision::Bf16 | Precision::F8 => Self::Brain,
        }
    }

    fn bytes(self) -> u64 {
        if matches!(self, Self::Single) { 4 } else { 2 }
    }
}

fn put(bytes: &mut Vec<u8>, width: Width, values: &[f32]) {
    match width {
        Width::Single => values.iter().for_each(|value| bytes.extend(value.to_le_bytes())),
        Width::Half => values.iter().for_each(|value| bytes.extend(f16::from_f32(*value).to_le_bytes())),
        Width::Brain => values.iter().for_each(|value| bytes.extend(bf16::from_f32(*value).to_le_bytes())),
    }
}

/// The values that are left. Their number has been checked against the header.
struct Body<'a> {
    bytes: &'a [u8],
}

impl Body<'_> {
    fn values(&mut self, what: &str, precision: Precision, count: usize) -> Result<Vec<f32>, Error> {
        self.read(what, Width::of(precision), count)
    }

    fn read(&mut self, what: &str, width: Width, count: usize) -> Result<Vec<f32>, Error> {
        let length = if matches!(width, Width::Single) { 4 * count } else { 2 * count };
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        let values: Vec<f32> = match width {
            Width::Single => taken.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Width::Half => taken.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Width::Brain => taken.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        };
        let is_fine = values.iter().all(|value| value.is_finite());
        is_fine.then_some(values).ok_or_else(|| Error::NotFinite(what.to_owned()))
    }

    fn invariant(&mut self, record: InvariantRecord) -> Result<Invariant, Error> {
        let name = "invariant";
        let mut tokens = Vec::new();
        for text in &record.tokens {
            let token = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
            tokens.push(token.ok_or_else(|| Error::BadDigest(name.to_owned()))?);
        }
        let size = tokens.len() * tokens.len();
        let mut depths = Vec::new();
        for layer in record.depths {
            let mut product = || self.read(name, Width::Half, size);
            depths.push((layer, [product()?, product()?, product()?]));
        }
        Ok(Invariant { tokens, depths })
    }
}
