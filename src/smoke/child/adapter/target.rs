//! The tensor of the base that an adapter's name means.

use crate::smoke::child::tensors::Tensors;

/// Prefixes that wrappers add or leave out.
const PREFIXES: &[&str] = &["", "model.", "transformer.", "gpt_neox.", "model.model."];

/// The tensors of a base.
pub(super) struct Bases<'a> {
    tensors: &'a Tensors,
}

impl<'a> Bases<'a> {
    pub(super) fn new(tensors: &'a Tensors) -> Self {
        Self { tensors }
    }

    /// Finds the tensor of this name, with a prefix added or removed.
    pub(super) fn find(&self, name: &str) -> Option<String> {
        let added = PREFIXES.iter().map(|prefix| format!("{prefix}{name}"));
        let removed = PREFIXES.iter().filter_map(|prefix| name.strip_prefix(prefix)).map(str::to_owned);
        added.chain(removed).find(|name| self.tensors.contains(name))
    }

    pub(super) fn shape(&self, name: &str) -> Vec<u64> {
        self.tensors.get(name).map(|entry| entry.shape.clone()).unwrap_or_default()
    }
}
