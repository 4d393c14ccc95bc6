//! Fingerprints that are compared with each other, and what has been compared already.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use super::{
    pair::{self, Comparison},
    print::{Fingerprint, TensorPrint},
    rows::{RowSet, SharedRows, shared_rows},
    slots::{Role, Slot},
};

/// Similarity above which two models are related: seven standard deviations of unrelated ones.
pub const RELATED: f64 = 0.05;
/// Similarity of the invariant above which they are.
pub const RELATED_INVARIANT: f64 = 0.25;

/// Similarity of the invariant above which models whose weights are only faintly alike are rewritten copies of one
/// another, or of relatives; what merely began from the same random numbers stays far below.
const REWRITTEN_INVARIANT: f64 = 0.5;

/// How two models are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// Their weights point the same way.
    Direct,
    /// They began from the same random numbers; not evidence of copying.
    SharedStart,
    /// Only what survives rewriting tells.
    Invariant,
}

/// What was found between two members.
type Found<T> = RefCell<HashMap<(usize, usize), T>>;

/// Members of a herd by number, in the order in which they were seen first.
pub struct Herd<'a> {
    prints: Vec<&'a Fingerprint>,
    comparisons: Found<Rc<Comparison>>,
    rows: Found<Option<Rc<SharedRows>>>,
    invariants: Found<f64>,
}

/// Slots that two models share, as pairs.
pub(super) type Blocks = Vec<(Slot, Slot)>;

impl<'a> Herd<'a> {
    /// A herd of these fingerprints.
    pub fn new(prints: Vec<&'a Fingerprint>) -> Self {
        Self { prints, comparisons: Found::default(), rows: Found::default(), invariants: Found::default() }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.prints.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.prints.is_empty()
    }

    /// A member's fingerprint.
    pub fn print(&self, member: usize) -> &'a Fingerprint {
        self.prints[member]
    }

    /// Compares a member with another.
    pub fn compare(&self, a: usize, b: usize) -> Rc<Comparison> {
        if let Some(known) = self.comparisons.borrow().get(&(a, b)) {
            return known.clone();
        }
        let compared = Rc::new(pair::compare(self.prints[a], self.prints[b]));
        self.comparisons.borrow_mut().insert((a, b), compared.clone());
        compared
    }

    /// Similarity of what survives rewriting; 0 where it cannot be told.
    pub fn invariant(&self, a: usize, b: usize) -> f64 {
        let key = (a.min(b), a.max(b));
        if let Some(known) = self.invariants.borrow().get(&key) {
            return *known;
        }
        let similarity = pair::invariant_similarity(self.prints[a], self.prints[b]).unwrap_or(0.0);
        self.invariants.borrow_mut().insert(key, similarity);
        similarity
    }

    /// Embedding rows that both share, by their places in the first's panel.
    pub(super) fn rows(&self, a: usize, b: usize) -> Option<Rc<SharedRows>> {
        if let Some(known) = self.rows.borrow().get(&(a, b)) {
            return known.clone();
        }
        let panels = self.prints[a].panel.as_ref().zip(self.prints[b].panel.as_ref());
        let shared = panels.and_then(|(x, y)| shared_rows(x, y)).map(Rc::new);
        self.rows.borrow_mut().insert((a, b), shared.clone());
        shared
    }

    /// How many rows both share.
    pub(super) fn equal_rows(&self, a: usize, b: usize) -> u32 {
        self.rows(a, b).map_or(0, |rows| rows.equal.len())
    }

    /// How two members are related, if they are.
    pub fn tie(&self, a: usize, b: usize) -> Option<Tie> {
        let comparison = self.compare(a, b);
        let same_width = self.prints[a].shape.hidden == self.prints[b].shape.hidden;
        let survives = |least: f64| same_width && self.invariant(a, b) > least;
        if comparison.similarity <= RELATED {
            return survives(RELATED_INVARIANT).then_some(Tie::Invariant);
        }
        let highest = comparison.cosines.iter().map(|(_, cosine)| *cosine).fold(f64::NEG_INFINITY, f64::max);
        let is_faint = comparison.similarity < 0.6 && highest < 0.8 && comparison.embedding.unwrap_or(0.0) < 0.8;
        Some(match is_faint {
            false => Tie::Direct,
            true if survives(REWRITTEN_INVARIANT) => Tie::Invariant,
            true => Tie::SharedStart,
        })
    }

    /// Whether both have the same matrices.
    pub(super) fn same_matrices(&self, a: usize, b: usize) -> bool {
        self.prints[a].shape.same_matrices(&self.prints[b].shape)
    }

    /// Matrices of the same shape in both: of the seven roles in aligned layers, embedding and head.
    pub(super) fn blocks(&self, a: usize, b: usize, layers: &[(u16, u16)]) -> Blocks {
        let (x, y) = (self.prints[a], self.prints[b]);
        let fits = |i: &Slot, j: &Slot| {
            x.tensors.get(i).zip(y.tensors.get(j)).is_some_and(|(p, q)| p.is_matrix() && p.same_shape(q))
        };
        let in_layers = layers.iter().flat_map(|(i, j)| {
            let of_layer = x.tensors.keys().filter(move |slot| slot.layer == Some(*i));
            of_layer.map(move |slot| (slot.clone(), slot.moved(*j)))
        });
        let once = [Role::Embed, Role::Head].map(|role| (Slot::once(role.clone()), Slot::once(role)));
        in_layers.chain(once).filter(|(i, j)| fits(i, j)).collect()
    }

    /// Sampled values of these slots as one vector, each tensor weighted by the root of its size.
    pub(super) fn vector<'s>(&self, member: usize, slots: impl Iterator<Item = &'s Slot>) -> Option<Vec<f64>> {
        let mut vector = Vec::new();
        for slot in slots {
            let tensor = self.prints[member].tensors.get(slot)?;
            let weight = weight(tensor);
            vector.extend(tensor.sample.iter().map(|value| f64::from(*value) * weight));
        }
        Some(vector)
    }

    /// Votes on whether `y` is an ancestor of `x`, with `outgroup` outside: states that `x` and `y` share and the
    /// outgroup lacks, and states that `x` and the outgroup share and `y` lacks. Rows count once, tensors four times.
    pub(super) fn votes(&self, x: usize, y: usize, outgroup: usize) -> Votes {
        let mut votes = Votes::default();
        if let (Some(xy), Some(xb), Some(yb)) = (self.rows(x, y), self.rows(x, outgroup), self.rows(y, outgroup)) {
            let (from, to) = (self.vocabulary(y), self.vocabulary(x));
            let (yb_equal, yb_compared) = (yb.equal.translated(from, to), yb.compared.translated(from, to));
            let common = xy.compared.and(&xb.compared).and(&yb_compared);
            votes.rows_inherited = xy.equal.and(&common).without(&[&yb_equal]);
            votes.rows_contradicting = xb.equal.and(&common).without(&[&yb_equal, &xy.equal]);
        }
        let prints = (self.prints[x], self.prints[y], self.prints[outgroup]);
        for (slot, tensor) in &prints.0.tensors {
            let Some((other, outside)) = prints.1.tensors.get(slot).zip(prints.2.tensors.get(slot)) else { continue };
            let (Some(own), Some(other), Some(outside)) = (tensor.canonical, other.canonical, outside.canonical) else {
                continue;
            };
            if other != outside {
                votes.tensors_inherited += u32::from(own == other);
                votes.tensors_contradicting += u32::from(own == outside);
            }
        }
        votes
    }

    /// States of one member, by its rows and tensors, that another has too; `None` for rows that cannot be compared.
    pub(super) fn common(&self, member: usize, other: usize) -> States {
        let rows = self.rows(member, other);
        let (own, of_other) = (&self.prints[member].tensors, &self.prints[other].tensors);
        let tensors = own
            .iter()
            .filter(|(slot, tensor)| {
                tensor.canonical.is_some()
                    && of_other.get(slot).is_some_and(|other| other.canonical == tensor.canonical)
            })
            .map(|(slot, _)| slot.clone());
        let (equal, compared) =
            rows.map_or_else(|| (RowSet::empty(), RowSet::empty()), |rows| (rows.equal.clone(), rows.compared.clone()));
        States { equal, compared, tensors: tensors.collect() }
    }

    /// Rows and tensors that a third and a fourth member have in common, in the places of the first, and the first not.
    pub(super) fn agreed_without(&self, own: usize, a: usize, b: usize) -> States {
        let (with_a, ab) = (self.common(own, a), self.common(a, b));
        let (from, to) = (self.vocabulary(a), self.vocabulary(own));
        let equal = ab.equal.translated(from, to).and(&with_a.compared).minus(&with_a.equal);
        let has = |slot: &&Slot| self.prints[own].tensors.contains_key(slot) && !with_a.tensors.contains(slot);
        let tensors = ab.tensors.iter().filter(has).cloned().collect();
        States { equal, compared: with_a.compared, tensors }
    }

    pub(super) fn vocabulary(&self, member: usize) -> u64 {
        self.prints[member].panel.as_ref().map_or(0, |panel| panel.vocabulary)
    }
}

/// Exact states: embedding rows, and whole tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct States {
    pub(super) equal: RowSet,
    pub(super) compared: RowSet,
    pub(super) tensors: BTreeSet<Slot>,
}

impl States {
    pub(super) fn none() -> Self {
        Self { equal: RowSet::empty(), compared: RowSet::empty(), tensors: BTreeSet::new() }
    }

    /// Adds what is in another.
    pub(super) fn add(&mut self, other: &Self) {
        self.equal = self.equal.or(&other.equal);
        self.tensors.extend(other.tensors.iter().cloned());
    }

    /// What of these is in another, and what is not: rows count once, tensors four times.
    pub(super) fn divided(&self, other: &Self) -> (usize, usize) {
        let (rows, tensors) = (self.rows_divided(other), self.tensors_divided(other));
        (rows.0 + 4 * tensors.0, rows.1 + 4 * tensors.1)
    }

    /// Rows of these that are in another, and those that are not.
    pub(super) fn rows_divided(&self, other: &Self) -> (usize, usize) {
        let inside = self.equal.and(&other.equal).len() as usize;
        (inside, self.equal.len() as usize - inside)
    }

    /// Tensors, likewise.
    pub(super) fn tensors_divided(&self, other: &Self) -> (usize, usize) {
        let inside = self.tensors.intersection(&other.tensors).count();
        (inside, self.tensors.len() - inside)
    }
}

/// How much each sampled value of a tensor counts in a vector.
#[expect(clippy::cast_precision_loss, reason = "at most 1024 samples")]
pub(super) fn weight(tensor: &TensorPrint) -> f64 {
    (tensor.size() / tensor.sample.len().max(1) as f64).sqrt()
}

/// Votes of inherited states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Votes {
    /// Embedding rows of the supposed ancestor's own that were kept.
    pub rows_inherited: u32,
    /// Rows that the supposed ancestor changed and the descendant did not.
    pub rows_contradicting: u32,
    /// Whole tensors, likewise.
    pub tensors_inherited: u32,
    /// See `rows_contradicting`.
    pub tensors_contradicting: u32,
}

impl Votes {
    /// Votes for.
    pub fn inherited(&self) -> u32 {
        self.rows_inherited + 4 * self.tensors_inherited
    }

    /// Votes against.
    pub fn contradicting(&self) -> u32 {
        self.rows_contradicting + 4 * self.tensors_contradicting
    }

    /// What the votes decide: at least four, nine of ten of them for it. `None` where there are too few.
    pub fn decide(&self) -> Option<bool> {
        let (yes, no) = (self.inherited(), self.contradicting());
        (yes + no >= 4).then(|| f64::from(yes) >= 0.9 * f64::from(yes + no))
    }
}
