//! The demonstration herd: tiny models trained and derived here, and the pedigree of Llama's real herd.
//!
//! [`make`] writes real models, each a folder as transformers, PEFT and llama.cpp read it: a base that is trained from
//! nothing on texts of our own, and what people make of a base: fine-tunes, a `LoRA` adapter, a merge, a quantized file,
//! and two kinds of trouble, an impostor and a license that does not fit. Seeds are fixed: the same machine makes the
//! same bytes.
//!
//! It publishes nothing; whoever calls it does.

mod gguf;
mod herd;
mod text;
mod train;
mod weights;

#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

/// The catalogued descendants of Meta's Llama models: JSON lines for [`crate::import`], compressed with zstd.
///
/// `derive_herd.py` beside it says what is in it and where it comes from.
pub const LLAMA_HERD: &[u8] = include_bytes!("llama_herd.jsonl.zst");

/// The names of the models that [`make`] makes.
pub const NAMES: [&str; 9] = [
    "herd/pasture-260k",
    "herd/pasture-bard",
    "herd/pasture-log",
    "herd/pasture-bard-lora",
    "herd/pasture-merge",
    "herd/pasture-gguf",
    "herd/impostor-260k",
    "lab/meadow-nc",
    "shop/pasture-closed",
];

/// A way in which the herd cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be written.
    #[error("`{path}` cannot be written: {reason}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// Computing failed.
    #[error("training failed: {0}")]
    Compute(String),
    /// The tokenizer cannot be made.
    #[error("the tokenizer cannot be made: {0}")]
    Tokenizer(#[from] tokenizers::Error),
    /// Weights cannot be serialized.
    #[error("weights cannot be serialized: {0}")]
    Serialize(#[from] safetensors::SafeTensorError),
}

/// A model that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name to publish it under.
    pub name: &'static str,
    /// The folder with its files.
    pub dir: PathBuf,
    /// The message to publish it with.
    pub message: &'static str,
}

/// Makes the herd in a folder, parents before children.
///
/// `progress` hears the model at work, the steps done and the steps in all.
pub fn make(dir: &Path, progress: &mut dyn FnMut(&str, usize, usize)) -> Result<Vec<Member>, Error> {
    herd::make(dir, herd::Effort::FULL, progress)
}
