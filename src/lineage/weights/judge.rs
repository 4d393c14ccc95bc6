//! Whose child a model is: the decision procedure over a herd of fingerprints.
//!
//! Exact inheritance is asked first (tensors and embedding rows that an ancestor alone could have handed down), then
//! geometry. What is decided is a parent or parents, a relation, and what speaks for it.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use super::{
    exact::{find_copy, find_rewritten, find_stacked},
    herd::{Herd, Tie},
    judgment::{Judgment, Kind, Tree},
    merge::{self, Space},
    order::SPARSE,
    pair,
    slots::{Role, Slot},
};

/// A member's vector that was computed once.
type Vectors = RefCell<HashMap<usize, Vec<f64>>>;

/// One decision under way.
struct Case<'a> {
    herd: &'a Herd<'a>,
    tree: &'a Tree,
    x: usize,
    /// The family's root.
    root: usize,
    /// Slots of the model that are compared, and those of the candidates.
    own_slots: Vec<Slot>,
    other_slots: Vec<Slot>,
    own: Vec<f64>,
    /// Those that have these slots.
    candidates: HashSet<usize>,
    vectors: Vectors,
    ancestors: RefCell<HashMap<usize, (bool, String)>>,
}

/// Judges a member against candidates that were judged before, earliest first.
pub fn judge(herd: &Herd, tree: &Tree, x: usize, candidates: &[usize]) -> Judgment {
    judge_among(herd, tree, x, candidates, candidates)
}

/// Judges a member against those that come before it in the order of descent. The parts of a merge may be `anywhere`:
/// a sum of models can be nearer to their root than they are.
pub(super) fn judge_among(herd: &Herd, tree: &Tree, x: usize, candidates: &[usize], anywhere: &[usize]) -> Judgment {
    let ties: HashMap<usize, Tie> = candidates.iter().filter_map(|c| herd.tie(x, *c).map(|tie| (*c, tie))).collect();
    let with = |wanted: &[Tie]| -> Vec<usize> {
        candidates.iter().copied().filter(|c| ties.get(c).is_some_and(|tie| wanted.contains(tie))).collect()
    };
    let shared_start = with(&[Tie::SharedStart]);
    let related = with(&[Tie::Direct, Tie::Invariant]);
    let direct = with(&[Tie::Direct]);
    let mut judgment = if related.is_empty() {
        Judgment::new(Vec::new(), Kind::Base, "nothing here is related to it")
    } else {
        let parts: Vec<usize> = anywhere
            .iter()
            .copied()
            .filter(|c| ties.get(c).copied().or_else(|| herd.tie(x, *c)) == Some(Tie::Direct))
            .collect();
        decide(herd, tree, x, &related, &direct, &parts)
    };
    let mut nearest = related;
    nearest.sort_by(|a, b| {
        let distance = |c: &usize| match ties[c] {
            Tie::Direct => herd.compare(x, *c).distance,
            _ => 2.0 - herd.invariant(x, *c),
        };
        distance(a).total_cmp(&distance(b))
    });
    judgment.related = nearest;
    judgment.shared_start = shared_start;
    judgment
}

fn decide(herd: &Herd, tree: &Tree, x: usize, related: &[usize], direct: &[usize], parts: &[usize]) -> Judgment {
    if let Some(copy) = find_copy(herd, x, related) {
        return copy;
    }
    if let Some(rewritten) = find_rewritten(herd, x, related, direct) {
        return rewritten;
    }
    let Some(nearest) =
        direct.iter().copied().min_by(|a, b| herd.compare(x, *a).distance.total_cmp(&herd.compare(x, *b).distance))
    else {
        return Judgment::new(Vec::new(), Kind::CommonOrigin, "only what survives rewriting is alike");
    };
    if let Some(stacked) = find_stacked(herd, x, direct, parts, nearest) {
        return stacked;
    }
    match Case::new(herd, tree, x, direct, nearest) {
        Some((case, candidates)) => case.decide(direct, &candidates, parts),
        None => Judgment::new(Vec::new(), Kind::CommonOrigin, "nothing that is related has comparable matrices"),
    }
}

/// Whether `y` was quantized or extended, and `x` was not: then only exact values can make it an ancestor.
fn is_worn(herd: &Herd, y: usize, x: usize) -> bool {
    herd.print(y).grid().is_some() && herd.print(x).grid().is_none()
        || herd.print(y).shape.vocabulary > herd.print(x).shape.vocabulary
}

/// Whether the embedding was quantized too, so that its rows are its own.
fn has_worn_rows(herd: &Herd, y: usize) -> bool {
    let embedding = herd.print(y).tensors.get(&Slot::once(Role::Embed));
    herd.print(y).grid().is_some()
        && embedding.is_some_and(|embedding| embedding.distinct < 0.75 || embedding.lattice < 0.12)
}

impl<'a> Case<'a> {
    /// Prepares the comparison in the slots that the model shares with its family's root. Returns the candidates that
    /// have these slots too.
    fn new(
        herd: &'a Herd<'a>,
        tree: &'a Tree,
        x: usize,
        direct: &[usize],
        nearest: usize,
    ) -> Option<(Self, Vec<usize>)> {
        let root = Some(tree.root(nearest)).filter(|root| *root != x && direct.contains(root)).unwrap_or(nearest);
        let layers = |c: usize| herd.print(c).shape.layers;
        let aligned = if layers(x) == layers(root) {
            (0..layers(x)).map(|i| (i, i)).collect()
        } else {
            herd.compare(x, root).layers.clone()
        };
        let (own_slots, other_slots): (Vec<Slot>, Vec<Slot>) = herd.blocks(x, root, &aligned).into_iter().unzip();
        let own = herd.vector(x, own_slots.iter()).filter(|own| !own.is_empty())?;
        let fits = |c: &usize| {
            layers(*c) == layers(root)
                && other_slots.iter().all(|slot| {
                    let pair = herd.print(*c).tensors.get(slot).zip(herd.print(root).tensors.get(slot));
                    pair.is_some_and(|(a, b)| a.same_shape(b))
                })
        };
        let mut candidates: Vec<usize> = direct.iter().copied().filter(fits).collect();
        if !candidates.contains(&root) {
            candidates.insert(0, root);
        }
        let (vectors, ancestors) = (RefCell::default(), RefCell::default());
        let known = candidates.iter().copied().collect();
        let case = Self { herd, tree, x, root, own_slots, other_slots, own, candidates: known, vectors, ancestors };
        Some((case, candidates))
    }

    fn with_vector<T>(&self, c: usize, read: impl FnOnce(&[f64]) -> T) -> T {
        if !self.vectors.borrow().contains_key(&c) {
            let vector = self.herd.vector(c, self.other_slots.iter()).unwrap_or_default();
            self.vectors.borrow_mut().insert(c, vector);
        }
        read(&self.vectors.borrow()[&c])
    }

    fn vector(&self, c: usize) -> Vec<f64> {
        self.with_vector(c, <[f64]>::to_vec)
    }

    /// Relative distance of the model from a candidate.
    fn distance(&self, c: usize) -> f64 {
        self.with_vector(c, |other| {
            let (mut squares, mut norm) = (0.0, 0.0);
            for (x, y) in self.own.iter().zip(other) {
                squares += (x - y) * (x - y);
                norm += y * y;
            }
            (squares / f64::max(norm, 1e-30)).sqrt()
        })
    }

    /// Whether `y` is an ancestor, with `outgroup` outside.
    fn test(&self, y: usize, outgroup: usize) -> (bool, String) {
        let votes = self.herd.votes(self.x, y, outgroup);
        if is_worn(self.herd, y, self.x) && votes.tensors_inherited == 0 && !has_worn_rows(self.herd, y) {
            return (false, "what was rounded away does not come back".to_owned());
        }
        if let Some(holds) = votes.decide() {
            let reason = format!(
                "{} embedding rows and {} tensors that it alone could hand down are here, {} and {} contradict",
                votes.rows_inherited, votes.tensors_inherited, votes.rows_contradicting, votes.tensors_contradicting
            );
            return (holds, reason);
        }
        if is_worn(self.herd, y, self.x) {
            return (false, "too little of what was rounded is here".to_owned());
        }
        let (outside, other) = (self.vector(outgroup), self.vector(y));
        let (mut along, mut length, mut own, mut size) = (0.0, 0.0, 0.0, 0.0);
        for at in 0..self.own.len() {
            let (dx, dy) = (self.own[at] - outside[at], other[at] - outside[at]);
            along += dx * dy;
            length += dy * dy;
            own += dx * dx;
            size += outside[at] * outside[at];
        }
        if length < 1e-12 * size {
            return (false, "it is the same as the root".to_owned());
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
        let error = (own / (length * self.own.len() as f64)).sqrt();
        let beta = along / length;
        if error > 0.12 {
            return (false, format!("geometry does not decide (standard error {error:.2})"));
        }
        let holds = (0.85..=1.3).contains(&beta) && self.distance(y) < self.distance(outgroup) * 1.0001;
        (holds, format!("it lies beyond it ({beta:.2} of its change is kept)"))
    }

    /// Whether a candidate is an ancestor of the model: against the root, then against its own parent.
    fn is_ancestor(&self, y: usize) -> (bool, String) {
        if let Some(known) = self.ancestors.borrow().get(&y) {
            return known.clone();
        }
        if y == self.root {
            return (true, "it is the root of the family".to_owned());
        }
        if self.tree.original(y) == self.root {
            return (false, "it is a copy of the root".to_owned());
        }
        self.ancestors.borrow_mut().insert(y, (false, "a circle".to_owned()));
        let mut result = self.test(y, self.root);
        if let (true, [parent]) = (result.0, self.tree.parents(y))
            && *parent != self.root
            && self.candidates.contains(parent)
        {
            let above = self.is_ancestor(*parent);
            result = if above.0 { self.test(y, *parent) } else { (false, format!("its parent is none: {}", above.1)) };
        }
        self.ancestors.borrow_mut().insert(y, result.clone());
        result
    }

    fn decide(&self, direct: &[usize], candidates: &[usize], parts: &[usize]) -> Judgment {
        let (herd, x) = (self.herd, self.x);
        let ancestors: Vec<usize> = candidates.iter().copied().filter(|c| self.is_ancestor(*c).0).collect();
        let parent = self.nearest_ancestor(direct, &ancestors);
        let is_odd = !candidates.contains(&parent);
        let reason = if is_odd { "it has the same unusual shape".to_owned() } else { self.is_ancestor(parent).1 };
        let judgment = |parents: Vec<usize>, kind: Kind| {
            let mut judgment = Judgment::new(parents, kind, reason.clone());
            judgment.votes = (parent != self.root).then(|| herd.votes(x, parent, self.root));
            judgment
        };
        if let Some(kind) = self.irreversible(parent) {
            return judgment(vec![parent], kind);
        }
        if herd.same_matrices(x, parent)
            && let Some((source, rank)) = self.find_adapter(parent, &ancestors)
        {
            return judgment(vec![source], Kind::MergedAdapter { rank });
        }
        if let Some((parents, kind)) = self.find_merge(parts, parent) {
            return judgment(parents, kind);
        }
        judgment(vec![parent], Kind::Finetune)
    }

    /// Among ancestors: the one with most identical rows, then the nearest.
    fn nearest_ancestor(&self, direct: &[usize], ancestors: &[usize]) -> usize {
        let (herd, x) = (self.herd, self.x);
        let most = ancestors.iter().map(|c| herd.equal_rows(x, *c)).max().unwrap_or(0);
        let tops: Vec<usize> = ancestors.iter().copied().filter(|c| herd.equal_rows(x, *c) + 3 >= most).collect();
        let nearest = |of: &[usize]| of.iter().copied().min_by(|a, b| self.distance(*a).total_cmp(&self.distance(*b)));
        let mut parent = nearest(&tops).unwrap_or(self.root);
        let zeros = |c: usize| herd.print(c).mean(|tensor| tensor.zeros);
        if zeros(x) > 0.15 {
            // Pruned: the densest ancestor whose surviving weights agree.
            let dense: Vec<usize> = tops.iter().copied().filter(|c| herd.compare(x, *c).kept > 0.9).collect();
            let key = |c: &usize| ((zeros(*c) * 100.0).round(), self.distance(*c));
            let densest =
                dense.iter().copied().min_by(|a, b| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
            parent = densest.unwrap_or(parent);
        }
        // One of the same unusual shape, where the root has another.
        let odd = direct.iter().copied().filter(|c| herd.same_matrices(*c, x) && !herd.same_matrices(*c, self.root));
        let odd = odd.min_by(|a, b| herd.compare(x, *a).distance.total_cmp(&herd.compare(x, *b).distance));
        match odd {
            Some(odd) if herd.compare(x, odd).distance <= herd.compare(x, parent).distance + 1e-9 => odd,
            _ => parent,
        }
    }

    /// What cannot be undone: fewer bits, fewer weights, other widths.
    fn irreversible(&self, parent: usize) -> Option<Kind> {
        let (herd, x) = (self.herd, self.x);
        let (own, other) = (herd.print(x), herd.print(parent));
        if own.shape.layers != other.shape.layers {
            let what = "layers";
            let fewer = own.shape.layers < other.shape.layers;
            return Some(if fewer { Kind::Pruned { what } } else { Kind::Extended { what } });
        }
        if let (Some(grid), None) = (own.grid(), other.grid())
            && own.shape.vocabulary == other.shape.vocabulary
        {
            return Some(Kind::Quantized { grid });
        }
        if own.shape.feed_forward != other.shape.feed_forward {
            return Some(Kind::Pruned { what: "width" });
        }
        let zeros = |print: &super::Fingerprint| print.mean(|tensor| tensor.zeros);
        if zeros(own) - zeros(other) > 0.05 && herd.compare(x, parent).kept > 0.9 {
            return Some(Kind::Pruned { what: "weights" });
        }
        if own.shape.vocabulary > other.shape.vocabulary {
            return Some(Kind::Extended { what: "vocabulary" });
        }
        if herd.same_matrices(x, parent) {
            let (share, changed) = pair::rescaled(own, other);
            if share > 0.8 && changed >= 1 && herd.invariant(x, parent) > 0.97 {
                return Some(Kind::Copy { how: "re-parameterized" });
            }
        }
        None
    }

    /// Looks for a merged adapter against the parent, the nearest ancestors and the root.
    fn find_adapter(&self, parent: usize, ancestors: &[usize]) -> Option<(usize, f64)> {
        let mut near = ancestors.to_vec();
        near.sort_by(|a, b| self.distance(*a).total_cmp(&self.distance(*b)));
        near.truncate(3);
        let own = self.herd.print(self.x);
        [parent].into_iter().chain(near).chain([self.root]).find_map(|source| {
            let found = pair::low_rank(own, self.herd.print(source))?;
            (found.share > 0.8 && found.energy > 8.0).then_some((source, found.rank))
        })
    }

    fn find_merge(&self, parts: &[usize], parent: usize) -> Option<(Vec<usize>, Kind)> {
        let (herd, x) = (self.herd, self.x);
        let mut near: Vec<usize> = parts.iter().copied().filter(|c| herd.same_matrices(*c, x)).collect();
        near.sort_by(|a, b| herd.compare(x, *a).distance.total_cmp(&herd.compare(x, *b).distance));
        let size = self.own.iter().map(|value| value * value).sum::<f64>().sqrt();
        let mut others: Vec<(usize, Vec<f64>)> = Vec::new();
        for c in near {
            let Some(vector) = herd.vector(c, self.other_slots.iter()).filter(|v| v.len() == self.own.len()) else {
                continue;
            };
            let apart = |(_, other): &(usize, Vec<f64>)| {
                let squares: f64 = vector.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
                squares.sqrt() > 0.004 * size
            };
            if others.iter().all(apart) {
                others.push((c, vector));
            }
            if others.len() == merge::MOST {
                break;
            }
        }
        let slots = self.own_slots.clone();
        let mut space = Space { herd, member: x, slots, own: self.own.clone(), others };
        if let Some(sum) = space.find_sum(&|c| self.tree.is_merge(c)) {
            let parts: Vec<(usize, f64)> = sum.parts.into_iter().filter(|(_, c)| *c > 0.05).collect();
            let (parents, coefficients) = parts.into_iter().unzip();
            return Some((parents, Kind::Merge { method: "linear", coefficients, base: None }));
        }
        let mut bases = vec![(self.root, self.vector(self.root))];
        if parent != self.root {
            let vector = herd.vector(parent, self.other_slots.iter()).unwrap_or_default();
            bases.push((parent, vector));
        }
        bases.retain(|(_, vector)| vector.len() == self.own.len());
        // Zeros are no changes that parents could explain.
        if herd.print(x).mean(|tensor| tensor.zeros) > SPARSE {
            return None;
        }
        space.others.retain(|(c, _)| !is_worn(herd, *c, x));
        let sparse = space.find_sparse(&bases)?;
        let (parents, coefficients) = sparse.parts.into_iter().unzip();
        Some((parents, Kind::Merge { method: "ties", coefficients, base: Some(sparse.base) }))
    }
}
