//! What was decided of a model, and what is known of a herd.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::herd::Votes;

/// What a model turned out to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// Nothing here is related to it.
    Base,
    /// The same values.
    Copy {
        /// `identical`, `cast` or `re-parameterized`.
        how: &'static str,
    },
    /// Trained further.
    Finetune,
    /// A low-rank adapter merged in.
    MergedAdapter {
        /// Its rank as a share of the sample's 32.
        rank: f64,
    },
    /// Several models combined.
    Merge {
        /// `linear`, `ties` or `passthrough`.
        method: &'static str,
        /// Coefficient of each parent, in their order.
        coefficients: Vec<f64>,
        /// What changes were taken relative to, by number.
        base: Option<usize>,
    },
    /// Stored with fewer bits.
    Quantized {
        /// The grid that its weights lie on.
        grid: &'static str,
    },
    /// Parts left out.
    Pruned {
        /// `weights`, `width` or `layers`.
        what: &'static str,
    },
    /// Parts added.
    Extended {
        /// `vocabulary` or `layers`.
        what: &'static str,
    },
    /// Related to others here, its parent is not among them.
    CommonOrigin,
}

impl Kind {
    /// The relation in the registry's words; `None` where there is no parent.
    pub fn relation(&self) -> Option<crate::lineage::Relation> {
        use crate::lineage::Relation;
        Some(match self {
            Self::Base | Self::CommonOrigin => return None,
            Self::Copy { .. } => Relation::Copy,
            Self::Finetune | Self::MergedAdapter { .. } => Relation::Finetune,
            Self::Merge { .. } => Relation::Merge,
            Self::Quantized { .. } => Relation::Quantized,
            Self::Pruned { .. } => Relation::Pruned,
            Self::Extended { .. } => Relation::Extended,
        })
    }
}

/// What was decided of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgment {
    /// Its parents, by number.
    pub parents: Vec<usize>,
    /// What it is to them.
    pub kind: Kind,
    /// Members with which it only shares the random start.
    pub shared_start: Vec<usize>,
    /// Related members, nearest first.
    pub related: Vec<usize>,
    /// What speaks for the parent, in words.
    pub reason: String,
    /// Votes for the parent against the family's root.
    pub votes: Option<Votes>,
    /// How strong that is.
    pub proof: Proof,
}

/// How strong the evidence for a parent is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// There is no parent.
    None,
    /// Distances and directions.
    Geometry,
    /// Values that only the parents can have handed down.
    Exact,
}

impl Judgment {
    pub(super) fn new(parents: Vec<usize>, kind: Kind, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { parents, kind, shared_start: Vec::new(), related: Vec::new(), reason, votes: None, proof: Proof::None }
    }

    /// Whether exact values speak for the parents, not geometry alone.
    pub fn is_certain(&self) -> bool {
        self.proof == Proof::Exact
    }
}

/// What is known of the members already, by number.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Judgments.
    pub judged: HashMap<usize, Judgment>,
    /// The root of each member's family.
    pub roots: HashMap<usize, usize>,
}

impl Tree {
    pub(super) fn root(&self, member: usize) -> usize {
        self.roots.get(&member).copied().unwrap_or(member)
    }

    /// The member that this one copies, through copies of copies.
    pub(super) fn original(&self, member: usize) -> usize {
        let mut at = member;
        for _ in 0..64 {
            match self.judged.get(&at) {
                Some(Judgment { kind: Kind::Copy { how }, parents, .. }) if *how != "re-parameterized" => {
                    at = parents[0];
                }
                _ => return at,
            }
        }
        at
    }

    /// The parents that were decided.
    pub fn parents(&self, member: usize) -> &[usize] {
        self.judged.get(&member).map_or(&[], |judgment| &judgment.parents)
    }

    /// Whether a member descends from another, through any number of generations.
    pub fn descends(&self, member: usize, from: usize) -> bool {
        let mut open = vec![member];
        let mut known = HashSet::from([member]);
        while let Some(at) = open.pop() {
            for parent in self.parents(at) {
                if *parent == from {
                    return true;
                }
                if known.insert(*parent) {
                    open.push(*parent);
                }
            }
        }
        false
    }

    /// Whether a member is a merge or descends from one.
    pub(super) fn has_merge(&self, member: usize) -> bool {
        let merges = self.judged.iter().filter(|(_, judgment)| matches!(judgment.kind, Kind::Merge { .. }));
        merges.into_iter().any(|(merge, _)| *merge == member || self.descends(member, *merge))
    }

    pub(super) fn is_merge(&self, member: usize) -> bool {
        matches!(self.judged.get(&member), Some(Judgment { kind: Kind::Merge { .. }, .. }))
    }
}
