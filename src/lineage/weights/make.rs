//! Makes the fingerprint of a model from its files.

use std::{collections::BTreeMap, io, ops::Range};

use super::{
    budget, invariant,
    packed::Stored,
    print::{Fingerprint, TensorPrint},
    sample::splitmix64,
    shape::Shape,
    slots::{Part, Slot},
    tap::{Tensors, readable},
};
use crate::formats::{TensorEntry, config::ModelConfig, gguf, safetensors};

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
    /// What its own metadata says of the model; GGUF files do.
    pub shape: Option<Shape>,
}

impl From<safetensors::Header> for WeightFile {
    fn from(header: safetensors::Header) -> Self {
        Self { tensors: header.tensors, shape: None }
    }
}

impl From<gguf::Header> for WeightFile {
    fn from(header: gguf::Header) -> Self {
        Self { shape: Some(Shape::of_gguf(&header)), tensors: header.tensors }
    }
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

/// Where a slot is stored.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: usize,
    /// Where the tensor begins that holds it.
    pub(super) start: u64,
    pub(super) columns: u64,
    pub(super) stored: Stored,
    pub(super) part: Part,
}

impl Model {
    /// How a file's tensors are taken apart: as the file says, or as the config does.
    pub fn shape_of(&self, file: &WeightFile) -> Shape {
        file.shape.clone().or_else(|| self.config.as_ref().map(Shape::of_config)).unwrap_or_default()
    }
}

/// Makes a fingerprint. `progress` hears how many bytes have been read.
pub fn make(model: &Model, source: &mut dyn Source, progress: &mut dyn FnMut(u64)) -> Result<Fingerprint, Error> {
    let mut prints = Vec::new();
    for (number, file) in model.files.iter().enumerate() {
        let mut tensors = Tensors::new(file.tensors.clone(), model.shape_of(file));
        while let Some(range) = tensors.next() {
            let mut at = range.start;
            while at < range.end {
                let end = range.end.min(at + PIECE);
                tensors.push(at, &source.read(number, at..end)?);
                progress(end - at);
                at = end;
            }
        }
        prints.push(tensors.finish());
    }
    assemble(prints, model, source)
}

/// Puts the prints of a model's files together, as [`Tap`](super::tap::Tap) took them, and looks at the few tensors that
/// the invariant needs.
pub fn assemble(prints: Vec<Fingerprint>, model: &Model, source: &mut dyn Source) -> Result<Fingerprint, Error> {
    let mut files = prints.into_iter();
    let Some(mut whole) = files.next() else { return Err(Error::NoWeights("there is no weight file".to_owned())) };
    for print in files {
        budget::merge(&mut whole, print);
    }
    budget::limit(&mut whole);
    if !whole.tensors.values().any(TensorPrint::is_matrix) {
        let first = whole.skipped.first().map(|(_, reason)| reason.clone());
        return Err(Error::NoWeights(first.unwrap_or_else(|| "no matrix is among the tensors".to_owned())));
    }
    let of_file = model.files.iter().find_map(|file| file.shape.clone());
    whole.shape = model.config.as_ref().map(Shape::of_config).or(of_file).unwrap_or_default();
    whole.shape.has_permuted_heads = false;
    whole.shape.measure(&whole.tensors);
    whole.invariant = invariant::make(&whole.shape, &places(model), &model.tokens, source)?;
    Ok(whole)
}

/// Where each slot is stored.
pub(super) fn places(model: &Model) -> BTreeMap<Slot, Place> {
    let mut places = BTreeMap::new();
    for (file, weights) in model.files.iter().enumerate() {
        let shape = model.shape_of(weights);
        for tensor in &weights.tensors {
            let Ok((stored, layout)) = readable(tensor, &shape) else { continue };
            for part in layout.parts {
                let (columns, start) = (layout.columns, tensor.start);
                places.insert(part.slot.clone(), Place { file, start, columns, stored, part });
            }
        }
    }
    places
}

/// Reads a matrix of a model into memory; `None` where there is none, or one of more than `most` values.
pub fn matrix(
    model: &Model,
    source: &mut dyn Source,
    slot: &Slot,
    most: usize,
) -> io::Result<Option<super::adapter::Matrix>> {
    let Some(place) = places(model).remove(slot) else { return Ok(None) };
    let (rows, columns) = (usize::try_from(place.part.rows()), usize::try_from(place.columns));
    let (Ok(rows), Ok(columns)) = (rows, columns) else { return Ok(None) };
    if rows.checked_mul(columns).is_none_or(|values| values > most) {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(rows * columns);
    let read = invariant::each_row(&place, source, |_, row| values.extend_from_slice(row))?;
    Ok(read.map(|_| super::adapter::Matrix { rows, columns, values }))
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
