//! What is in a weight file, a config, a model card: pure, synchronous, panics on no input.
//!
//! Everything here takes bytes from strangers. Sizes are checked before anything is allocated, arithmetic is checked,
//! and each way in which a file can lie has an error of its own that names the place.

pub mod adapter;
pub mod card;
pub mod config;
pub mod dtype;
pub mod floats;
pub mod gguf;
pub mod mergekit;
pub mod passing;
pub mod quants;
pub mod safetensors;
pub mod scan;
pub mod shards;

use std::collections::BTreeMap;

/// Most tensors that a file may have.
pub const MAX_TENSORS: usize = 200_000;
/// Most dimensions that a tensor may have.
pub const MAX_RANK: usize = 8;

/// A tensor of a weight file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Its name.
    pub name: String,
    /// Its element type in the file's own words: `BF16`, `Q4_K`.
    pub dtype: &'static str,
    /// Its dimensions, outermost first.
    pub shape: Vec<u64>,
    /// Where its bytes begin in the file.
    pub start: u64,
    /// Where they end, exclusive.
    pub end: u64,
}

impl TensorEntry {
    /// Number of elements; parsers have checked that it does not overflow.
    pub fn elements(&self) -> u64 {
        self.shape.iter().product()
    }
}

/// Returns how many parameters each element type holds.
pub fn parameters_by_dtype(tensors: &[TensorEntry]) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for tensor in tensors {
        let count = counts.entry(tensor.dtype).or_insert(0_u64);
        *count = count.saturating_add(tensor.elements());
    }
    counts
}

/// What a file is, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Weights as safetensors.
    Safetensors,
    /// The index of sharded safetensors.
    SafetensorsIndex,
    /// Weights as GGUF.
    Gguf,
    /// `config.json` of transformers.
    Config,
    /// `adapter_config.json` of PEFT or MLX.
    AdapterConfig,
    /// The model card.
    Card,
    /// A merge recipe of mergekit.
    MergekitConfig,
    /// A pickle, alone or in a zip: scanned, never loaded.
    Pickle,
    /// A license text or notice.
    License,
    /// Anything else.
    Other,
}

/// Tells what a file is by its path.
pub fn kind(path: &str) -> FileKind {
    let name = path.rsplit('/').next().unwrap_or(path);
    let lower = name.to_lowercase();
    let is_root = !path.contains('/');
    let ends = |suffix: &str| lower.ends_with(suffix);
    match lower.as_str() {
        "readme.md" if is_root => FileKind::Card,
        "config.json" if is_root => FileKind::Config,
        "adapter_config.json" => FileKind::AdapterConfig,
        "mergekit_config.yml" | "mergekit_config.yaml" | "merge_config.yml" => FileKind::MergekitConfig,
        _ if ends(".safetensors") => FileKind::Safetensors,
        _ if ends(".safetensors.index.json") => FileKind::SafetensorsIndex,
        _ if ends(".gguf") => FileKind::Gguf,
        _ if [".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"].iter().any(|s| ends(s)) => FileKind::Pickle,
        _ if ["license", "licence", "copying", "notice", "use_policy"].iter().any(|s| lower.starts_with(s)) => {
            FileKind::License
        }
        _ => FileKind::Other,
    }
}
