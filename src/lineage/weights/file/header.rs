//! What stands before the values: which there are, and how many.

use serde::{Deserialize, Serialize};

use super::{Error, MAX_SKIPPED, MAX_TEXT, Width};
use crate::{
    formats::MAX_TENSORS,
    lineage::weights::{
        invariant,
        print::{MAX_LAYERS, MAX_SIDE, Precision, TensorDigest, TensorPrint},
        sample::{PANEL_COLUMNS, PANEL_ROWS},
        shape::Shape,
        slots::{Role, Slot},
    },
};

/// Most files that a fingerprint names.
const MAX_FILES: usize = 1024;

/// A file whose weights are in a fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrintedFile {
    /// Its path in the model.
    pub path: String,
    /// The SHA-256 of its bytes, 64 hexadecimal digits.
    pub sha256: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) version: u32,
    pub(super) shape: Shape,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<PrintedFile>,
    pub(super) covered: (u64, u64),
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) skipped: Vec<(String, String)>,
    /// The precision of tensors that have none of their own.
    pub(super) precision: Precision,
    pub(super) tensors: Vec<Record>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) panel: Option<PanelRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) invariant: Option<InvariantRecord>,
}

/// What a header says of a tensor. What is usual is left out.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) layer: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expert: Option<u16>,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(super) rows: u64,
    pub(super) columns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) precision: Option<Precision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) exact: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) canonical: Option<String>,
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(super) zeros: f32,
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub(super) distinct: f32,
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub(super) lattice: f32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PanelRecord {
    pub(super) precision: Precision,
    pub(super) vocabulary: u64,
    pub(super) columns: usize,
}

#[derive(Serialize, Deserialize)]
pub(super) struct InvariantRecord {
    pub(super) tokens: Vec<String>,
    pub(super) depths: Vec<u16>,
}

fn one() -> u64 {
    1
}

fn all() -> f32 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_one(number: &u64) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_nothing(share: &f32) -> bool {
    *share == 0.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_all(share: &f32) -> bool {
    *share == 1.0
}

/// Checks what a header says and returns how many bytes of values follow it.
pub(super) fn check(header: &Header) -> Result<u64, Error> {
    let few = |what: &'static str, found: usize, limit: usize| {
        if found > limit { Err(Error::TooMany { what, found, limit }) } else { Ok(()) }
    };
    few("tensors", header.tensors.len(), MAX_TENSORS)?;
    few("files", header.files.len(), MAX_FILES)?;
    few("skipped tensors", header.skipped.len(), MAX_SKIPPED)?;
    let of_skipped = header.skipped.iter().flat_map(|(name, reason)| [name, reason]);
    let of_files = header.files.iter().flat_map(|file| [&file.path, &file.sha256]);
    let texts = of_skipped.chain(of_files).chain([&header.shape.architecture]);
    if let Some(long) = texts.chain(header.tensors.iter().map(|t| &t.role)).find(|text| text.len() > MAX_TEXT) {
        return Err(Error::LongText(long.len()));
    }
    for file in &header.files {
        let is_digest = file.sha256.len() == 64 && file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then_some(()).ok_or_else(|| Error::BadDigest(file.path.clone()))?;
    }
    let mut needed = 0;
    for record in &header.tensors {
        record.check()?;
        let count = TensorPrint::sampled(record.rows, record.columns) as u64;
        needed += count * Width::of(record.precision.unwrap_or(header.precision)).bytes();
    }
    if let Some(panel) = &header.panel {
        let is_odd =
            panel.vocabulary == 0 || panel.vocabulary > MAX_SIDE || !(1..=PANEL_COLUMNS).contains(&panel.columns);
        is_odd.then_some(()).map_or(Ok(()), |()| Err(Error::BadPanel))?;
        needed += (panel.rows() * panel.columns) as u64 * Width::of(panel.precision).bytes();
    }
    if let Some(invariant) = &header.invariant {
        let (tokens, depths) = (invariant.tokens.len(), invariant.depths.len());
        if !(1..=invariant::TOKENS).contains(&tokens) || !(1..=usize::from(invariant::DEPTHS)).contains(&depths) {
            return Err(Error::BadInvariant { tokens, depths });
        }
        needed += (tokens * tokens * 3 * depths) as u64 * Width::Half.bytes();
    }
    Ok(needed)
}

impl PanelRecord {
    /// Rows that are sampled.
    pub(super) fn rows(&self) -> usize {
        usize::try_from(self.vocabulary).unwrap_or(usize::MAX).min(PANEL_ROWS)
    }
}

impl Record {
    pub(super) fn of(slot: &Slot, tensor: &TensorPrint, usual: Precision) -> Self {
        // The digest of a bf16 tensor is that of its values as bf16.
        let exact = tensor.exact.filter(|_| tensor.exact != tensor.canonical);
        Self {
            role: slot.role.word().to_owned(),
            layer: slot.layer,
            expert: slot.expert,
            rows: tensor.rows,
            columns: tensor.columns,
            precision: Some(tensor.precision).filter(|precision| *precision != usual),
            exact: exact.map(hex::encode),
            canonical: tensor.canonical.map(hex::encode),
            zeros: tensor.zeros,
            distinct: tensor.distinct,
            lattice: tensor.lattice,
        }
    }

    pub(super) fn slot(&self) -> Slot {
        Slot { role: Role::named(&self.role), layer: self.layer, expert: self.expert }
    }

    fn check(&self) -> Result<(), Error> {
        let (rows, columns) = (self.rows, self.columns);
        let side = 1..=MAX_SIDE;
        if !side.contains(&rows) || !side.contains(&columns) {
            return Err(Error::BadDimensions { slot: self.slot().to_string(), rows, columns });
        }
        if self.layer.is_some_and(|layer| layer >= MAX_LAYERS) {
            return Err(Error::BadLayer(self.slot().to_string()));
        }
        if [self.zeros, self.distinct, self.lattice].iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err(Error::BadShare(self.slot().to_string()));
        }
        Ok(())
    }

    pub(super) fn digest(&self, text: Option<&String>) -> Result<Option<TensorDigest>, Error> {
        let Some(text) = text else { return Ok(None) };
        let mut digest = [0; 16];
        hex::decode_to_slice(text, &mut digest).map_err(|_| Error::BadDigest(self.slot().to_string()))?;
        Ok(Some(digest))
    }
}
