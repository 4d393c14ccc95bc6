//! `model.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::TensorEntry;

/// Longest index that is read, in bytes.
pub const MAX_INDEX: u64 = 25 * 1024 * 1024;

/// What an index says.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct Index {
    /// Tensor name to file name.
    pub weight_map: BTreeMap<String, String>,
}

/// Parses an index.
pub fn parse(bytes: &[u8]) -> Result<Index, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("the index is not valid: {error}"))
}

/// Compares an index with the shards that are there; returns one sentence per disagreement, at most `limit`.
pub fn disagreements(index: &Index, shards: &BTreeMap<String, Vec<TensorEntry>>, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    let named: BTreeSet<&String> = index.weight_map.values().collect();
    for shard in &named {
        if !shards.contains_key(*shard) {
            found.push(format!("the index names shard `{shard}`, which is missing"));
        }
    }
    let held: BTreeSet<(&str, &str)> = shards
        .iter()
        .flat_map(|(file, tensors)| tensors.iter().map(move |t| (t.name.as_str(), file.as_str())))
        .collect();
    for (tensor, shard) in &index.weight_map {
        if found.len() >= limit {
            break;
        }
        if shards.contains_key(shard) && !held.contains(&(tensor.as_str(), shard.as_str())) {
            found.push(format!("the index places tensor `{tensor}` in `{shard}`, which does not hold it"));
        }
    }
    for (tensor, shard) in held {
        if found.len() >= limit {
            break;
        }
        if named.iter().any(|n| n.as_str() == shard) && !index.weight_map.contains_key(tensor) {
            found.push(format!("tensor `{tensor}` of `{shard}` is not in the index"));
        }
    }
    found
}
