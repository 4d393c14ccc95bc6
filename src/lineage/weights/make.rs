//! Makes the fingerprint of a model from its files.

use std::{collections::BTreeMap, io, ops::Range};

use super::{
    file::{MAX_SKIPPED, MAX_TEXT},
    invariant,
    packed::Stored,
    print::{Fingerprint, MAX_SIDE, VERSION},
    sample::splitmix64,
    shape::Shape,
    slots,
    take::Taking,
};
use crate::formats::{TensorEntry, config::ModelConfig};

/// Bytes read at once.
const PIECE: u64 = 8 << 20;

/// Where the bytes of weight files are read.
pub trait Source {
    /// Returns a range of a file.
    fn read(&mut self, file: usize, range: Range<u64>) -> io::Result<Vec<u8>>;
}

/// A weight file with its tensors.
#[derive(Debug, Clone)]
pub struct WeightFile {
    /// Its tensors, as its header lists them.
    pub tensors: Vec<TensorEntry>,
    /// Whether it is GGUF.
    pub is_gguf: bool,
}

/// A token that the invariant looks at: the digest of its string, and its row of the embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// Digest of the string.
    pub digest: u64,
    /// Row of the embedding.
    pub row: u64,
}

/// What a fingerprint is made of.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Weight files.
    pub files: Vec<WeightFile>,
    /// The config, when there is one.
    pub config: Option<ModelConfig>,
    /// Tokens with their rows; the row's own number stands for its string when the tokenizer is not known.
    pub tokens: Vec<Token>,
    /// Whether llama.cpp interleaves the halves of its heads.
    pub has_permuted_heads: bool,
}

/// Why there is no fingerprint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No weights.
    #[error("there are no weights that can be read: {0}")]
    NoWeights(String),
    /// A file cannot be read.
    #[error("the weights cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Where a tensor is stored.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) range: Range<u64>,
    pub(super) dimensions: Vec<u64>,
    pub(super) stored: Stored,
    pub(super) part: slots::Part,
}

/// Makes a fingerprint. `progress` hears how many bytes have been read.
pub fn make(model: &Model, source: &mut dyn Source, progress: &mut dyn FnMut(u64)) -> Result<Fingerprint, Error> {
    let mut shape = model.config.as_ref().map(Shape::of_config).unwrap_or_default();
    shape.has_permuted_heads = model.has_permuted_heads;
    let mut fingerprint = Fingerprint {
        version: VERSION,
        shape: shape.clone(),
        tensors: BTreeMap::new(),
        panel: None,
        invariant: None,
        covered: (0, 0),
        skipped: Vec::new(),
    };
    let mut places = BTreeMap::new();
    for (file, weights) in model.files.iter().enumerate() {
        for tensor in &weights.tensors {
            fingerprint.covered.1 += tensor.elements();
            let Some((stored, parts)) = readable(tensor, &shape, weights.is_gguf, &mut fingerprint.skipped) else {
                continue;
            };
            for part in &parts {
                let place = Place {
                    file,
                    range: tensor.start..tensor.end,
                    dimensions: tensor.shape.clone(),
                    stored,
                    part: part.clone(),
                };
                places.insert(part.slot.clone(), place);
            }
            take(&mut fingerprint, tensor, stored, parts, file, source, progress)?;
        }
    }
    if !fingerprint.tensors.values().any(super::print::TensorPrint::is_matrix) {
        let reason =
            fingerprint.skipped.first().map_or("no matrix is among the tensors".to_owned(), |(_, r)| r.clone());
        return Err(Error::NoWeights(reason));
    }
    fingerprint.shape.measure(&fingerprint.tensors);
    fingerprint.invariant = invariant::make(&fingerprint.shape, &places, &model.tokens, source)?;
    Ok(fingerprint)
}

fn readable(
    tensor: &TensorEntry,
    shape: &Shape,
    is_gguf: bool,
    skipped: &mut Vec<(String, String)>,
) -> Option<(Stored, Vec<slots::Part>)> {
    let mut skip = |reason: String| {
        if skipped.len() < MAX_SKIPPED {
            skipped.push((tensor.name.chars().take(120).collect(), reason));
        }
    };
    let Some(parts) = slots::parts(&tensor.name, &tensor.shape, shape, is_gguf) else {
        skip("a bias or a buffer".to_owned());
        return None;
    };
    if parts.iter().any(|part| part.slot.role.word().len() > MAX_TEXT) {
        skip("its name is too long".to_owned());
        return None;
    }
    let stored = Stored::named(tensor.dtype);
    if stored.is_none() {
        skip(format!("the type {} is not read", tensor.dtype));
    }
    let stored = stored?;
    let columns: u64 = tensor.shape.iter().skip(usize::from(tensor.shape.len() > 1)).product();
    let columns = usize::try_from(columns).ok()?;
    let is_sound = (1..=MAX_SIDE).contains(&tensor.shape[0]) && stored.bytes(columns) > 0 && columns <= 1 << 22;
    if !is_sound {
        skip("its dimensions are not read".to_owned());
    }
    is_sound.then_some((stored, parts))
}

fn take(
    fingerprint: &mut Fingerprint,
    tensor: &TensorEntry,
    stored: Stored,
    parts: Vec<slots::Part>,
    file: usize,
    source: &mut dyn Source,
    progress: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    let mut taking = Taking::new(stored, &tensor.shape, parts);
    let mut at = tensor.start;
    while at < tensor.end {
        let end = tensor.end.min(at + PIECE);
        taking.push(&source.read(file, at..end)?);
        progress(end - at);
        at = end;
    }
    for (slot, print, panel) in taking.finish() {
        fingerprint.covered.0 += print.rows * print.columns;
        if panel.is_some() {
            fingerprint.panel = panel;
        }
        fingerprint.tensors.insert(slot, print);
    }
    Ok(())
}

/// Chooses the tokens of the invariant from a vocabulary: those whose strings have the smallest digests, so that
/// tokenizers that share most tokens choose mostly the same.
pub fn choose_tokens<'a>(vocabulary: impl Iterator<Item = (&'a str, u64)>) -> Vec<Token> {
    let mut tokens: Vec<Token> = vocabulary
        .map(|(text, row)| {
            let hash = blake3::hash(text.as_bytes());
            let mut first = [0; 8];
            first.copy_from_slice(&hash.as_bytes()[..8]);
            Token { digest: u64::from_le_bytes(first), row }
        })
        .collect();
    tokens.sort_unstable_by_key(|token| token.digest);
    tokens.truncate(invariant::TOKENS);
    tokens
}

/// Chooses tokens by number, for a model whose tokenizer is not known.
pub fn choose_rows(vocabulary: u64) -> Vec<Token> {
    let rows = super::sample::positions(vocabulary, invariant::TOKENS, super::sample::Axis::Rows);
    rows.iter().map(|row| Token { digest: splitmix64(*row), row: *row }).collect()
}
