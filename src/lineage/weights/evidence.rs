//! What was measured between a model and its parent, for people to read and to check.

use serde::Serialize;

use super::{
    claim::null_deviation,
    herd::{Herd, RELATED, Tie, Votes},
    judgment::{Kind, Tree},
    order::is_marked_beyond,
    pair,
};

/// The smallest probability that is stated: nothing below was ever observed.
const FLOOR: f64 = 1e-6;
/// Alternatives that are named.
const ALTERNATIVES: usize = 5;

/// What speaks for a parent. Members are given by number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// Mean cosine of the sampled matrices, with what unrelated models have.
    pub similarity: Similarity,
    /// Similarity of what survives rewriting; `None` where it cannot be told.
    pub invariant: Option<f64>,
    /// Relative change of the weights.
    pub change: f64,
    /// Share of sampled values that are equal.
    pub equal: f64,
    /// Embedding rows.
    pub rows: Option<Rows>,
    /// Whole tensors.
    pub tensors: Tensors,
    /// Role by layer.
    pub strip: Vec<Cell>,
    /// Share of the model's parameters that were compared.
    pub coverage: f64,
    /// The parts of a merge.
    pub merge: Option<Merged>,
    /// Rank of a merged adapter as the sample shows it.
    pub adapter_rank: Option<f64>,
    /// Others that could have been the parent, and why they are not.
    pub alternatives: Vec<Alternative>,
    /// Exact states that decide between the parent and the family's root.
    pub votes: Option<Votes>,
    /// Bound of the probability that unrelated models look like this.
    pub p_bound: f64,
    /// What the direction rests on.
    pub direction: Vec<Basis>,
}

/// A similarity with its scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Similarity {
    /// As measured.
    pub value: f64,
    /// Above it, models are related.
    pub threshold: f64,
    /// Mean of unrelated models.
    pub null_mean: f64,
    /// Their standard deviation, by the number of values sampled.
    pub null_deviation: f64,
}

/// Embedding rows in common.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rows {
    /// Rows that were compared.
    pub compared: u32,
    /// Rows whose values are equal.
    pub identical: u32,
    /// Rows that only this parent could hand down.
    pub inherited: u32,
    /// Rows that the parent changed and the child did not.
    pub contradicting: u32,
    /// The factor of weight decay between them, when there is one.
    pub decay_factor: Option<f32>,
}

/// Counts of tensors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tensors {
    /// Equal as stored.
    pub identical: u32,
    /// Equal once rounded.
    pub cast_equal: u32,
    /// Other values.
    pub changed: u32,
    /// Only the parent has them.
    pub missing: u32,
    /// Only the child has them.
    pub extra: u32,
}

/// How much a matrix is alike and how much it changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Its role, in a word.
    pub role: String,
    /// Its layer; `None` for embedding and head.
    pub layer: Option<u16>,
    /// Cosine of the sampled values.
    pub cosine: f64,
    /// Relative change of them.
    pub change: f64,
}

/// The parts of a merge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Merged {
    /// How it was made.
    pub method: &'static str,
    /// Parents with their coefficients; none for stacked layers.
    pub parts: Vec<(usize, Option<f64>)>,
    /// What changes were taken relative to.
    pub base: Option<usize>,
}

/// Somebody who is not the parent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// Who.
    pub member: usize,
    /// Similarity.
    pub similarity: f64,
    /// Relative change from it.
    pub change: f64,
    /// Why it is not.
    pub why: String,
}

/// What the direction of a relation rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Exact states were handed down.
    Rows,
    /// Something was done that cannot be undone.
    Irreversible,
    /// Nothing but the time of the first upload.
    Time,
}

/// Gathers what was measured between a child and a parent.
pub fn evidence(herd: &Herd, tree: &Tree, child: usize, parent: usize) -> Evidence {
    let comparison = herd.compare(child, parent);
    let judgment = tree.judged.get(&child);
    let deviation = null_deviation(comparison.coordinates);
    let votes = (parent != tree.root(child)).then(|| herd.votes(child, parent, tree.root(child)));
    let strip = strip(herd, child, parent);
    Evidence {
        similarity: Similarity {
            value: comparison.similarity,
            threshold: RELATED,
            null_mean: 0.0,
            null_deviation: deviation,
        },
        invariant: pair::invariant_similarity(herd.print(child), herd.print(parent)),
        change: comparison.distance,
        equal: comparison.equal,
        rows: rows(herd, child, parent, votes),
        tensors: tensors(herd, child, parent),
        coverage: coverage(herd, child, parent),
        strip,
        merge: judgment.and_then(|judgment| merged(&judgment.parents, &judgment.kind)),
        adapter_rank: match judgment.map(|judgment| &judgment.kind) {
            Some(Kind::MergedAdapter { rank }) => Some((rank * 32.0).round()),
            _ => None,
        },
        alternatives: alternatives(herd, tree, child, parent),
        p_bound: p_bound(comparison.similarity, deviation, herd.len()),
        direction: direction(herd, child, parent, votes),
        votes,
    }
}

/// Tail of the null beyond a similarity, times the number of models searched.
#[expect(clippy::cast_precision_loss, reason = "a count of members")]
fn p_bound(similarity: f64, deviation: f64, searched: usize) -> f64 {
    let z = (similarity / deviation).max(0.0);
    // The bound of Mills' ratio: never below the Gaussian tail.
    let tail = (-z * z / 2.0).exp() / (1.0 + z * (2.0 * std::f64::consts::PI).sqrt()).max(1.0);
    (tail * searched as f64).clamp(FLOOR, 1.0)
}

fn rows(herd: &Herd, child: usize, parent: usize, votes: Option<Votes>) -> Option<Rows> {
    let shared = herd.rows(child, parent)?;
    Some(Rows {
        compared: shared.compared.len(),
        identical: shared.equal.len(),
        inherited: votes.map_or(0, |votes| votes.rows_inherited),
        contradicting: votes.map_or(0, |votes| votes.rows_contradicting),
        decay_factor: (shared.factor != 1.0).then_some(shared.factor),
    })
}

fn tensors(herd: &Herd, child: usize, parent: usize) -> Tensors {
    let (own, other) = (herd.print(child), herd.print(parent));
    let mut counts = Tensors::default();
    for (slot, tensor) in &own.tensors {
        let Some(before) = other.tensors.get(slot) else {
            counts.extra += 1;
            continue;
        };
        if tensor.exact.is_some() && tensor.exact == before.exact {
            counts.identical += 1;
        } else if tensor.canonical.is_some() && tensor.canonical == before.canonical {
            counts.cast_equal += 1;
        } else {
            counts.changed += 1;
        }
    }
    counts.missing =
        u32::try_from(other.tensors.keys().filter(|slot| !own.tensors.contains_key(slot)).count()).unwrap_or(u32::MAX);
    counts
}

/// Matrices beside those of the parent that they look like.
fn strip(herd: &Herd, child: usize, parent: usize) -> Vec<Cell> {
    let comparison = herd.compare(child, parent);
    let (own, other) = (herd.print(child), herd.print(parent));
    let aligned = |layer: u16| comparison.layers.iter().find(|(i, _)| *i == layer).map(|(_, j)| *j);
    let matrices = own.tensors.iter().filter(|(_, tensor)| tensor.is_matrix());
    let cell = |(slot, tensor): (&super::slots::Slot, &super::print::TensorPrint)| {
        let before = match slot.layer {
            Some(layer) => other.tensors.get(&slot.moved(aligned(layer)?)),
            None => other.tensors.get(slot),
        };
        let both = pair::shared(tensor, before?)?;
        let squares: f64 = both.left.iter().zip(&both.right).map(|(x, y)| (x - y) * (x - y)).sum();
        let norm: f64 = both.right.iter().map(|y| y * y).sum();
        let change = (squares / norm.max(1e-30)).sqrt();
        Some(Cell { role: slot.role.word().to_owned(), layer: slot.layer, cosine: both.cosine(), change })
    };
    matrices.filter_map(cell).collect()
}

/// Share of the child's parameters in tensors that the parent has too.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn coverage(herd: &Herd, child: usize, parent: usize) -> f64 {
    let (own, other) = (herd.print(child), herd.print(parent));
    let aligned = |layer: u16| herd.compare(child, parent).layers.iter().find(|(i, _)| *i == layer).map(|(_, j)| *j);
    let has = |slot: &super::slots::Slot| match slot.layer {
        Some(layer) => aligned(layer).is_some_and(|other_layer| other.tensors.contains_key(&slot.moved(other_layer))),
        None => other.tensors.contains_key(slot),
    };
    let compared: f64 = own.tensors.iter().filter(|(slot, _)| has(slot)).map(|(_, tensor)| tensor.size()).sum();
    compared / (own.covered.1.max(1) as f64)
}

fn merged(parents: &[usize], kind: &Kind) -> Option<Merged> {
    let Kind::Merge { method, coefficients, base } = kind else { return None };
    let parts = parents.iter().enumerate().map(|(at, parent)| (*parent, coefficients.get(at).copied())).collect();
    Some(Merged { method, parts, base: *base })
}

fn direction(herd: &Herd, child: usize, parent: usize, votes: Option<Votes>) -> Vec<Basis> {
    let mut basis = Vec::new();
    if votes.is_some_and(|votes| votes.decide() == Some(true)) || votes.is_none() && herd.equal_rows(child, parent) >= 4
    {
        basis.push(Basis::Rows);
    }
    if is_marked_beyond(herd, child, parent) {
        basis.push(Basis::Irreversible);
    }
    if basis.is_empty() {
        basis.push(Basis::Time);
    }
    basis
}

fn alternatives(herd: &Herd, tree: &Tree, child: usize, parent: usize) -> Vec<Alternative> {
    let Some(judgment) = tree.judged.get(&child) else { return Vec::new() };
    let is_other = |member: &&usize| **member != parent && !judgment.parents.contains(member);
    let others = judgment.related.iter().filter(is_other).take(ALTERNATIVES);
    others.map(|member| alternative(herd, tree, child, parent, *member)).collect()
}

fn alternative(herd: &Herd, tree: &Tree, child: usize, parent: usize, member: usize) -> Alternative {
    let comparison = herd.compare(child, member);
    let root = tree.root(child);
    let why = if tree.original(member) == tree.original(parent) {
        "a copy of the parent".to_owned()
    } else if tree.descends(member, child) {
        "descends from this model".to_owned()
    } else if tree.descends(parent, member) {
        "an ancestor of the parent".to_owned()
    } else if is_marked_beyond(herd, member, child) {
        "was quantized, pruned or extended, which this model was not".to_owned()
    } else if herd.tie(child, member) == Some(Tie::Invariant) {
        "only products of weights are alike".to_owned()
    } else {
        let votes = herd.votes(child, member, root);
        match votes.decide() {
            Some(false) => format!(
                "{} of its rows and {} of its tensors are not here, {} and {} are",
                votes.rows_contradicting, votes.tensors_contradicting, votes.rows_inherited, votes.tensors_inherited
            ),
            _ => format!(
                "farther: {:.1} % of change against {:.1} %",
                comparison.distance * 100.0,
                herd.compare(child, parent).distance * 100.0
            ),
        }
    };
    Alternative { member, similarity: comparison.similarity, change: comparison.distance, why }
}
