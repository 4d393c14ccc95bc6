//! What a tensor is for: its role and layer, whatever the architecture calls it.

use std::{fmt, ops::Range};

/// What a matrix or vector does in a layer, or for the whole model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Token embedding, a row per token.
    Embed,
    /// Attention: queries.
    Query,
    /// Attention: keys.
    Key,
    /// Attention: values.
    Value,
    /// Attention: back to the residual stream.
    Output,
    /// Feed-forward: gate.
    Gate,
    /// Feed-forward: up.
    Up,
    /// Feed-forward: down.
    Down,
    /// Norm before attention.
    AttentionNorm,
    /// Norm before the feed-forward part.
    FeedNorm,
    /// Norm after the last layer.
    FinalNorm,
    /// From the residual stream to tokens.
    Head,
    /// Anything else, by the end of its name.
    Other(String),
}

impl Role {
    /// The seven matrices that every layer of a Llama has.
    pub const MATRICES: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The short word of this role in a fingerprint and in evidence.
    pub fn word(&self) -> &str {
        match self {
            Self::Embed => "embed",
            Self::Query => "q",
            Self::Key => "k",
            Self::Value => "v",
            Self::Output => "o",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
            Self::AttentionNorm => "ln1",
            Self::FeedNorm => "ln2",
            Self::FinalNorm => "norm",
            Self::Head => "head",
            Self::Other(name) => name,
        }
    }

    /// The role of this word.
    pub fn named(word: &str) -> Self {
        let known = [Self::Embed, Self::AttentionNorm, Self::FeedNorm, Self::FinalNorm, Self::Head];
        let found = Self::MATRICES.into_iter().chain(known).find(|role| role.word() == word);
        found.unwrap_or_else(|| Self::Other(word.to_owned()))
    }
}

/// A role at a place: a layer, or none, and an expert where there are several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// What it does.
    pub role: Role,
    /// In which layer; `None` for what the whole model has once.
    pub layer: Option<u16>,
    /// Of which expert.
    pub expert: Option<u16>,
}

impl Slot {
    /// A slot of a layer.
    pub fn at(role: Role, layer: u16) -> Self {
        Self { role, layer: Some(layer), expert: None }
    }

    /// A slot that the model has once.
    pub fn once(role: Role) -> Self {
        Self { role, layer: None, expert: None }
    }

    /// The same slot in another layer.
    #[must_use]
    pub fn moved(&self, layer: u16) -> Self {
        Self { layer: self.layer.map(|_| layer), ..self.clone() }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.word())?;
        if let Some(layer) = self.layer {
            write!(f, ".{layer}")?;
        }
        if let Some(expert) = self.expert {
            write!(f, ".e{expert}")?;
        }
        Ok(())
    }
}

/// Rows of a stored matrix that make up a slot, in the slot's own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The slot.
    pub slot: Slot,
    /// Runs of stored rows.
    pub runs: Vec<Range<u64>>,
}

/// How a stored tensor is seen: as rows of values, which fill slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Rows.
    pub rows: u64,
    /// Values of a row.
    pub columns: u64,
    /// What the rows fill. Rows that are in none are left out.
    pub parts: Vec<Part>,
}

impl Part {
    pub(super) fn whole(slot: Slot, rows: u64) -> Self {
        Self { slot, runs: vec![0..rows] }
    }

    /// Rows of the slot.
    pub fn rows(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}

/// Most rows that are put back into another order.
pub(super) const MAX_PERMUTED: u64 = 1 << 17;
