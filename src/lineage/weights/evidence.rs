//! What was measured between a model and a parent, as people and programs read it.

use serde::Serialize;

use super::{
    claim::{deviation, same_function},
    herd::{Herd, RELATED, RELATED_INVARIANT, Tie},
    judgment::{Judgment, Kind, Tree},
    pair,
};

/// Least bound on the probability of an accident that is printed: no more than a few hundred unrelated pairs were ever
/// measured.
const LEAST_BOUND: f64 = 1e-6;
/// Alternatives that are told.
const MOST_ALTERNATIVES: usize = 5;

/// A figure with what it is to be read against.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub value: f64,
    /// From where on models are related.
    pub threshold: f64,
    /// Standard deviation of unrelated models around 0.
    pub null_deviation: f64,
}

/// Embedding rows.
#[derive(Debug, Clone, Serialize)]
pub struct Rows {
    /// Rows that both have among the sampled ones.
    pub compared: u32,
    /// Of these, identical ones.
    pub identical: u32,
    /// Rows that only this parent could hand down, and that are here.
    pub inherited: u32,
    /// Rows that it changed and that are here as they were before.
    pub contradicting: u32,
    /// The factor that weight decay left on rows that were not trained.
    pub decay_factor: f64,
}

/// Whole tensors.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tensors {
    /// Equal as stored.
    pub identical: u32,
    /// Equal after rounding to bf16.
    pub cast_equal: u32,
    /// Of the same shape, and other.
    pub changed: u32,
    /// Only the parent has them.
    pub missing: u32,
    /// Only the child has them.
    pub extra: u32,
}

/// One field of the strip of layers and roles.
#[derive(Debug, Clone, Serialize)]
pub struct Field {
    /// `q`, `k`, `v`, `o`, `gate`, `up`, `down`, `embed`, `head`.
    pub role: String,
    /// Layer of the child; null for what the model has once.
    pub layer: Option<u16>,
    /// Cosine of both samples.
    pub cosine: f64,
    /// Length of the difference over the length of the parent's.
    pub change: f64,
}

/// A part of a merge.
#[derive(Debug, Clone, Serialize)]
pub struct Part {
    /// The parent, by number.
    pub member: usize,
    /// Its coefficient, where it was recovered.
    pub weight: Option<f64>,
}

/// Another candidate.
#[derive(Debug, Clone, Serialize)]
pub struct Alternative {
    /// By number.
    pub member: usize,
    /// Similarity of its samples.
    pub similarity: f64,
    /// Relative change from it.
    pub change: f64,
    /// Why it is not the parent.
    pub why: String,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Evidence {
    /// Mean cosine of the sampled matrices.
    pub similarity: Figure,
    /// Similarity of what survives rewriting.
    pub invariant: Figure,
    /// Relative change of the weights.
    pub change: f64,
    /// Share of sampled values that are equal after rounding to the coarser precision.
    pub equal: f64,
    /// Embedding rows, where both have them.
    pub rows: Option<Rows>,
    /// Whole tensors.
    pub tensors: Tensors,
    /// Change by layer and role.
    pub strip: Vec<Field>,
    /// Share of the child's parameters whose matrices were compared.
    pub coverage: f64,
    /// What the child turned out to be.
    pub finding: Option<Kind>,
    /// Parts of a merge.
    pub parts: Vec<Part>,
    /// Bound on the probability that unrelated models look this much alike, over all that were compared.
    pub accident: f64,
    /// Models that were compared.
    pub compared: usize,
    /// What tells who descends from whom: `irreversible`, `rows`, `time`.
    pub direction: Vec<&'static str>,
    /// The next best candidates.
    pub alternatives: Vec<Alternative>,
}

/// Measures a child against a parent.
pub fn evidence(herd: &Herd, tree: &Tree, child: usize, parent: usize) -> Evidence {
    let comparison = herd.compare(child, parent);
    let null_deviation = deviation(herd, child);
    let judgment = tree.judged.get(&child);
    let is_parent = judgment.is_some_and(|judgment| judgment.parents.contains(&parent));
    let (strip, coverage) = strip(herd, child, parent);
    Evidence {
        similarity: Figure { value: comparison.similarity, threshold: RELATED, null_deviation },
        invariant: Figure { value: herd.invariant(child, parent), threshold: RELATED_INVARIANT, null_deviation: 0.02 },
        change: comparison.distance,
        equal: comparison.equal,
        rows: rows(herd, tree, child, parent),
        tensors: tensors(herd, child, parent),
        strip,
        coverage,
        finding: judgment.filter(|_| is_parent).map(|judgment| judgment.kind.clone()),
        parts: judgment.filter(|_| is_parent).map(parts).unwrap_or_default(),
        accident: accident(comparison.similarity / null_deviation, herd.len()),
        compared: herd.len().saturating_sub(1),
        direction: direction(judgment),
        alternatives: alternatives(herd, tree, child, parent),
    }
}

/// Gaussian tail beyond `deviations`, times the number of comparisons; not below what was ever measured.
#[expect(clippy::cast_precision_loss, reason = "a count of models")]
fn accident(deviations: f64, compared: usize) -> f64 {
    let d = deviations.max(0.0);
    let tail = (-0.5 * d * d).exp() / (d + 1.0);
    (tail * compared as f64).clamp(LEAST_BOUND, 1.0)
}

fn rows(herd: &Herd, tree: &Tree, child: usize, parent: usize) -> Option<Rows> {
    let shared = herd.rows(child, parent)?;
    let root = tree.roots.get(&child).copied().filter(|root| *root != parent && *root != child);
    let votes = root.map(|root| herd.votes(child, parent, root)).unwrap_or_default();
    Some(Rows {
        compared: shared.compared.len(),
        identical: shared.equal.len(),
        inherited: votes.rows_inherited,
        contradicting: votes.rows_contradicting,
        decay_factor: f64::from(shared.factor),
    })
}

fn tensors(herd: &Herd, child: usize, parent: usize) -> Tensors {
    let (x, y) = (herd.print(child), herd.print(parent));
    let mut counts = Tensors::default();
    for (slot, tensor) in &x.tensors {
        let Some(other) = y.tensors.get(slot) else {
            counts.extra += 1;
            continue;
        };
        let is_identical = tensor.exact.is_some() && tensor.exact == other.exact;
        let is_cast = tensor.canonical.is_some() && tensor.canonical == other.canonical;
        counts.identical += u32::from(is_identical);
        counts.cast_equal += u32::from(is_cast && !is_identical);
        counts.changed += u32::from(!is_cast && !is_identical);
    }
    counts.missing =
        u32::try_from(y.tensors.keys().filter(|slot| !x.tensors.contains_key(slot)).count()).unwrap_or(u32::MAX);
    counts
}

/// Change by layer and role, and the share of the child's parameters that it covers.
fn strip(herd: &Herd, child: usize, parent: usize) -> (Vec<Field>, f64) {
    let (x, y) = (herd.print(child), herd.print(parent));
    let comparison = herd.compare(child, parent);
    let mut fields = Vec::new();
    let mut covered = 0.0;
    for (slot, tensor) in x.tensors.iter().filter(|(_, tensor)| tensor.is_matrix()) {
        let layer =
            slot.layer.map(|own| comparison.layers.iter().find(|(i, _)| *i == own).map_or(own, |(_, other)| *other));
        let place = layer.map_or_else(|| slot.clone(), |layer| slot.moved(layer));
        let Some(both) = y.tensors.get(&place).and_then(|other| pair::shared(tensor, other)) else { continue };
        covered += tensor.size();
        let squares = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
        let change: f64 = both.left.iter().zip(&both.right).map(|(a, b)| (a - b) * (a - b)).sum();
        fields.push(Field {
            role: slot.role.word().to_owned(),
            layer: slot.layer,
            cosine: both.cosine(),
            change: (change / squares(&both.right).max(1e-30)).sqrt(),
        });
    }
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let all = x.covered.1.max(1) as f64;
    (fields, (covered / all).min(1.0))
}

fn parts(judgment: &Judgment) -> Vec<Part> {
    let Kind::Merge { coefficients, .. } = &judgment.kind else { return Vec::new() };
    let part = |(at, member): (usize, &usize)| Part { member: *member, weight: coefficients.get(at).copied() };
    judgment.parents.iter().enumerate().map(part).collect()
}

fn direction(judgment: Option<&Judgment>) -> Vec<&'static str> {
    let Some(judgment) = judgment else { return Vec::new() };
    let mut basis = Vec::new();
    let is_irreversible = matches!(
        judgment.kind,
        Kind::Quantized { .. } | Kind::Pruned { .. } | Kind::Extended { .. } | Kind::Merge { .. }
    );
    if is_irreversible {
        basis.push("irreversible");
    }
    if judgment.votes.is_some_and(|votes| votes.decide() == Some(true)) {
        basis.push("rows");
    }
    if basis.is_empty() {
        basis.push("time");
    }
    basis
}

fn alternatives(herd: &Herd, tree: &Tree, child: usize, parent: usize) -> Vec<Alternative> {
    let Some(judgment) = tree.judged.get(&child) else { return Vec::new() };
    let others = judgment.related.iter().filter(|other| **other != parent && !judgment.parents.contains(other));
    let told = others.take(MOST_ALTERNATIVES).map(|other| {
        let comparison = herd.compare(child, *other);
        let (similarity, change) = (comparison.similarity, comparison.distance);
        Alternative { member: *other, similarity, change, why: why_not(herd, tree, child, *other) }
    });
    told.collect()
}

fn why_not(herd: &Herd, tree: &Tree, child: usize, other: usize) -> String {
    let parents = tree.parents(child);
    if tree.descends(other, child) {
        return "it descends from this model".to_owned();
    }
    if parents.iter().any(|parent| same_function(tree, *parent, other)) {
        return "it computes the same as the parent and was seen later".to_owned();
    }
    if parents.iter().any(|parent| tree.descends(*parent, other)) {
        return "it is an ancestor of the parent".to_owned();
    }
    if herd.tie(child, other) == Some(Tie::Invariant) {
        return "only what survives rewriting is alike".to_owned();
    }
    let Some(root) = tree.roots.get(&child).copied().filter(|root| *root != other) else {
        return "others keep more of what is in this model".to_owned();
    };
    let votes = herd.votes(child, other, root);
    if votes.decide() == Some(false) {
        return format!("{} of its own changes are missing here", votes.contradicting());
    }
    "it is a sibling: its own changes are not in this model".to_owned()
}
