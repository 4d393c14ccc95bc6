//! The numbers of a model that decide which comparisons make sense.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    print::{MAX_SIDE, TensorPrint},
    slots::{Role, Slot},
};
use crate::formats::{config::ModelConfig, gguf};

/// Architectures whose queries and keys llama.cpp's converter permutes, by its own names.
const PERMUTED: [&str; 10] =
    ["llama", "granite", "granitemoe", "arcee", "smollm3", "minicpm", "baichuan", "internlm2", "xverse", "deci"];

/// Falcon says in words of its own how many groups share keys and values.
fn falcon_groups(config: &ModelConfig) -> Option<u64> {
    let raw = &config.raw;
    let is_true = |key: &str| raw.get(key).and_then(serde_json::Value::as_bool) == Some(true);
    if is_true("new_decoder_architecture") {
        return raw.get("num_kv_heads").and_then(serde_json::Value::as_u64).filter(|number| *number <= 4096);
    }
    is_true("multi_query").then_some(1)
}

/// Widths and counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Shape {
    /// Architecture, as the config names it.
    pub architecture: String,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Layers that have weights.
    pub layers: u16,
    /// Width of the feed-forward part.
    pub feed_forward: u64,
    /// Rows of the embedding.
    pub vocabulary: u64,
    /// Attention heads.
    pub heads: u64,
    /// Heads of keys and values.
    pub kv_heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Whether the file stores the halves of each head interleaved, as llama.cpp does.
    #[serde(skip)]
    pub has_permuted_heads: bool,
}

impl Shape {
    /// What a config says; widths are corrected by the tensors later.
    pub fn of_config(config: &ModelConfig) -> Self {
        let (hidden, heads) = (config.hidden_size.unwrap_or(0), config.heads.unwrap_or(0));
        let head_dim = config.head_dim.or_else(|| hidden.checked_div(heads)).unwrap_or(0);
        Self {
            architecture: config.architecture().unwrap_or_default().to_owned(),
            hidden,
            layers: 0,
            feed_forward: config.intermediate_size.unwrap_or(0),
            vocabulary: config.vocab_size.unwrap_or(0),
            heads,
            kv_heads: config.kv_heads.or_else(|| falcon_groups(config)).unwrap_or(heads),
            head_dim,
            has_permuted_heads: false,
        }
    }

    /// What the metadata of a GGUF file says.
    pub fn of_gguf(header: &gguf::Header) -> Self {
        let architecture = header.architecture().unwrap_or_default();
        let number = |key: &str, limit: u64| {
            header.integer(&format!("{architecture}.{key}")).filter(|number| *number <= limit).unwrap_or(0)
        };
        let (hidden, heads) = (number("embedding_length", MAX_SIDE), number("attention.head_count", 4096));
        let kv_heads = number("attention.head_count_kv", 4096);
        let head_dim = number("attention.key_length", MAX_SIDE);
        Self {
            architecture: architecture.chars().take(120).collect(),
            hidden,
            layers: 0,
            feed_forward: number("feed_forward_length", MAX_SIDE),
            vocabulary: 0,
            heads,
            kv_heads: if kv_heads > 0 { kv_heads } else { heads },
            head_dim: if head_dim > 0 { head_dim } else { hidden.checked_div(heads).unwrap_or(0) },
            has_permuted_heads: PERMUTED.contains(&architecture),
        }
    }

    /// Takes widths from the tensors, which cannot lie about them.
    pub(super) fn measure(&mut self, tensors: &BTreeMap<Slot, TensorPrint>) {
        if let Some(embed) = tensors.get(&Slot::once(Role::Embed)) {
            (self.vocabulary, self.hidden) = (embed.rows, embed.columns);
        }
        let last = tensors.keys().filter_map(|slot| slot.layer).max();
        self.layers = last.map_or(0, |last| last + 1);
        let first = |role| tensors.iter().find(|(slot, _)| slot.role == role).map(|(_, tensor)| tensor.rows);
        if let Some(rows) = first(Role::Up).or(first(Role::Gate)) {
            self.feed_forward = rows;
        }
    }

    /// Whether two models have the same matrices.
    pub fn same_matrices(&self, other: &Self) -> bool {
        (self.hidden, self.layers, self.feed_forward, self.vocabulary)
            == (other.hidden, other.layers, other.feed_forward, other.vocabulary)
    }
}
