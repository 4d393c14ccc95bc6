//! Families, their roots, and an order in which no descendant comes before its ancestors; read off the weights alone.
//!
//! Training leaves the rows of tokens that did not occur as they were, and what it changed never returns to an earlier
//! value. So of two members, an ancestor has changed a part of what its descendant has changed, and stands nearer to the
//! root. The root is the member whose states most others share. Only where the weights are symmetric (copies, families
//! of two) does the time of the first upload decide.

use std::collections::HashMap;

use super::{
    family::Seen,
    herd::{Herd, Tie},
    print::{Fingerprint, Precision},
    slots::{Role, Slot},
};

/// A family: its root, then its other members, ancestors first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) members: Vec<usize>,
}

impl Family {
    pub(super) fn root(&self) -> usize {
        self.members[0]
    }
}

/// Who is related to whom, computed once.
pub(super) struct Ties {
    ties: Vec<Vec<Option<Tie>>>,
}

impl Ties {
    pub(super) fn of(herd: &Herd) -> Self {
        let mut ties: Vec<Vec<Option<Tie>>> = Vec::with_capacity(herd.len());
        for a in 0..herd.len() {
            // The deeper one is aligned to the other, whichever was seen first.
            let with = |b: usize| {
                let is_deeper = herd.print(a).shape.layers >= herd.print(b).shape.layers;
                if is_deeper { herd.tie(a, b) } else { herd.tie(b, a) }
            };
            let before = ties.iter().map(|others| others[a]);
            let row = before.chain([None]).chain((a + 1..herd.len()).map(with)).collect();
            ties.push(row);
        }
        Self { ties }
    }

    pub(super) fn get(&self, a: usize, b: usize) -> Option<Tie> {
        self.ties[a][b]
    }

    /// Whether both are of one family; a shared random start is none.
    pub(super) fn are_related(&self, a: usize, b: usize) -> bool {
        matches!(self.ties[a][b], Some(Tie::Direct | Tie::Invariant))
    }

    fn are_direct(&self, a: usize, b: usize) -> bool {
        self.ties[a][b] == Some(Tie::Direct)
    }
}

/// Divides a herd into families, each in the order of descent.
pub(super) fn families(herd: &Herd, ties: &Ties, seen: &[Seen]) -> Vec<Family> {
    let mut left: Vec<usize> = (0..herd.len()).collect();
    left.sort_by_key(|member| by_time(seen, *member));
    let mut families = Vec::new();
    while !left.is_empty() {
        let members = cluster(ties, &left);
        left.retain(|member| !members.contains(member));
        families.push(Family { members: in_order(herd, ties, seen, &members) });
    }
    families
}

/// What decides between members that the weights do not tell apart.
fn by_time(seen: &[Seen], member: usize) -> (bool, u64, usize) {
    (!seen[member].attested, seen[member].rank, member)
}

/// The largest set of members that are related to each other. A merge of two families is related to both, whose
/// members are not related to each other: what counts is how many of a member's relatives are related themselves.
#[expect(clippy::cast_precision_loss, reason = "counts of members")]
fn cluster(ties: &Ties, left: &[usize]) -> Vec<usize> {
    let relatives = |of: usize| -> Vec<usize> {
        left.iter().copied().filter(|other| *other != of && ties.are_related(of, *other)).collect()
    };
    let score = |member: usize| {
        let near = relatives(member);
        let pairs = near.iter().map(|a| near.iter().filter(|b| ties.are_related(*a, **b)).count()).sum::<usize>();
        let possible = near.len() * near.len().saturating_sub(1);
        near.len() as f64 * if possible == 0 { 1.0 } else { pairs as f64 / possible as f64 }
    };
    // The first of the best, as a stable choice.
    let (mut hub, mut best) = (left[0], f64::NEG_INFINITY);
    for member in left {
        let score = score(*member);
        if score > best {
            (hub, best) = (*member, score);
        }
    }
    let near = relatives(hub);
    let belongs = |member: &usize| {
        let others = near.iter().filter(|other| *other != member);
        let (related, all) = others
            .fold((1, 1), |(related, all), other| (related + usize::from(ties.are_related(*member, *other)), all + 1));
        2 * related >= all
    };
    let mut members = vec![hub];
    members.extend(near.iter().copied().filter(belongs));
    let others = left.iter().copied().filter(|member| !members.contains(member) && !near.contains(member));
    let more: Vec<usize> = others
        .filter(|member| 2 * members.iter().filter(|known| ties.are_related(*member, **known)).count() > members.len())
        .collect();
    members.extend(more);
    members
}

/// Puts a family's members in the order of descent.
fn in_order(herd: &Herd, ties: &Ties, seen: &[Seen], members: &[usize]) -> Vec<usize> {
    let groups = equal_groups(herd, ties, seen, members);
    let root = find_root(herd, ties, seen, &groups);
    let mut keyed: Vec<(Depth, &Vec<usize>)> =
        groups.iter().map(|group| (Depth::of(herd, group[0], groups[root][0]), group)).collect();
    keyed[root].0 = Depth { rows: f64::NEG_INFINITY, distance: 0.0 };
    keyed.sort_by(|(a, x), (b, y)| {
        let by_weights = a.rows.total_cmp(&b.rows).then(a.distance.total_cmp(&b.distance));
        by_weights.then_with(|| by_time(seen, x[0]).cmp(&by_time(seen, y[0])))
    });
    keyed.into_iter().flat_map(|(_, group)| group.iter().copied()).collect()
}

/// How far a member is from the root: the share of embedding rows that changed, then the distance of the weights.
struct Depth {
    rows: f64,
    distance: f64,
}

impl Depth {
    fn of(herd: &Herd, member: usize, root: usize) -> Self {
        if member == root {
            return Self { rows: 0.0, distance: 0.0 };
        }
        let rows = shared_rows(herd, member, root).map_or(1.0, |shared| 1.0 - shared);
        Self { rows, distance: distance(herd, member, root) }
    }
}

/// Share of embedding rows that both have, of those that could be compared.
fn shared_rows(herd: &Herd, a: usize, b: usize) -> Option<f64> {
    let rows = herd.rows(a, b)?;
    Some(f64::from(rows.equal.len()) / f64::from(rows.compared.len().max(1)))
}

/// Distance of two members as a share of their mean length.
fn distance(herd: &Herd, a: usize, b: usize) -> f64 {
    let is_deeper = herd.print(a).shape.layers >= herd.print(b).shape.layers;
    if is_deeper { herd.compare(a, b).distance } else { herd.compare(b, a).distance }
}

/// Puts members with the same values together, the original first: the one that was not rounded yet.
fn equal_groups(herd: &Herd, ties: &Ties, seen: &[Seen], members: &[usize]) -> Vec<Vec<usize>> {
    let mut by_rounding = members.to_vec();
    by_rounding.sort_by_key(|member| (effective_bits(herd.print(*member)), by_time(seen, *member)));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for member in by_rounding {
        let same = groups.iter_mut().find(|group| {
            ties.are_direct(member, group[0]) && {
                let comparison = herd.compare(member, group[0]);
                comparison.in_place && herd.same_matrices(member, group[0]) && comparison.equal > 0.995
            }
        });
        match same {
            Some(group) => group.push(member),
            None => groups.push(vec![member]),
        }
    }
    groups
}

/// Coarseness of what the values could be stored in without loss: an upcast copy is as coarse as its original.
fn effective_bits(print: &Fingerprint) -> u8 {
    let holds = |precision: Precision| {
        let matrices = print.tensors.values().filter(|tensor| tensor.is_matrix());
        matrices.flat_map(|tensor| &tensor.sample).all(|value| precision.round(*value) == *value)
    };
    if holds(Precision::Bf16) {
        return 2;
    }
    u8::from(holds(Precision::F16))
}

/// Finds the group that the others come from.
fn find_root(herd: &Herd, ties: &Ties, seen: &[Seen], groups: &[Vec<usize>]) -> usize {
    let all: Vec<usize> = (0..groups.len()).collect();
    let attested: Vec<usize> =
        all.iter().copied().filter(|at| groups[*at].iter().any(|member| seen[*member].attested)).collect();
    let from = if attested.is_empty() { &all } else { &attested };
    let marks: HashMap<usize, usize> = all.iter().map(|at| (*at, marks(herd, groups, *at))).collect();
    let fewest = from.iter().map(|at| marks[at]).min().unwrap_or(0);
    let plain: Vec<usize> = from.iter().copied().filter(|at| marks[at] == fewest).collect();
    let voters: Vec<usize> = all.iter().copied().filter(|at| marks[at] == 0).collect();
    let voters = if voters.len() < 2 { all } else { voters };
    let support: HashMap<usize, Support> =
        plain.iter().map(|at| (*at, Support::of(herd, ties, groups, *at, &voters))).collect();
    let most = support.values().map(|support| support.rows).fold(0.0, f64::max);
    let tops: Vec<usize> = plain.into_iter().filter(|at| support[at].rows >= most - SAME_SHARE).collect();
    let least = tops.iter().map(|at| support[at].distance).fold(f64::INFINITY, f64::min);
    let near = tops.into_iter().filter(|at| support[at].distance <= least * SAME_DISTANCE);
    near.min_by_key(|at| by_time(seen, groups[*at][0])).unwrap_or(0)
}

/// Shares of rows that are this near are not told apart.
const SAME_SHARE: f64 = 0.01;
/// Mean distances within this factor are not told apart.
const SAME_DISTANCE: f64 = 1.005;

/// How much the others have in common with a member.
struct Support {
    /// Mean share of embedding rows.
    rows: f64,
    /// Mean distance.
    distance: f64,
}

impl Support {
    #[expect(clippy::cast_precision_loss, reason = "counts of members")]
    fn of(herd: &Herd, ties: &Ties, groups: &[Vec<usize>], at: usize, voters: &[usize]) -> Self {
        let others: Vec<usize> = voters.iter().filter(|other| **other != at).map(|other| groups[*other][0]).collect();
        let member = groups[at][0];
        let count = others.len().max(1) as f64;
        let rows = others.iter().filter_map(|other| shared_rows(herd, member, *other)).sum::<f64>() / count;
        let far = |other: &usize| if ties.are_direct(member, *other) { distance(herd, member, *other) } else { 2.0 };
        Self { rows, distance: others.iter().map(far).sum::<f64>() / count }
    }
}

/// Number of things that cannot be undone and were done to a member, going by what the others have.
fn marks(herd: &Herd, groups: &[Vec<usize>], at: usize) -> usize {
    let print = herd.print(groups[at][0]);
    let shapes = || groups.iter().map(|group| &herd.print(group[0]).shape);
    let layers = print.shape.layers;
    let alike = shapes().filter(|shape| shape.layers == layers).count();
    let is_odd_depth = shapes()
        .any(|shape| shape.layers != layers && shapes().filter(|other| other.layers == shape.layers).count() > alike);
    let is_narrower = shapes().any(|shape| shape.feed_forward > print.shape.feed_forward);
    let has_more_words = shapes().any(|shape| shape.vocabulary < print.shape.vocabulary);
    let marks = [
        print.grid().is_some(),
        print.mean(|tensor| tensor.zeros) > SPARSE,
        is_odd_depth,
        repeats_layers(print),
        is_narrower,
        has_more_words,
    ];
    marks.into_iter().filter(|mark| *mark).count()
}

/// Whether something that cannot be undone was done to `member` and not to `other`.
pub(super) fn is_marked_beyond(herd: &Herd, member: usize, other: usize) -> bool {
    let (own, of_other) = (herd.print(member), herd.print(other));
    let is_sparse = |print: &Fingerprint| print.mean(|tensor| tensor.zeros) > SPARSE;
    own.shape.layers < of_other.shape.layers
        || own.shape.feed_forward < of_other.shape.feed_forward
        || own.shape.vocabulary > of_other.shape.vocabulary
        || own.grid().is_some() && of_other.grid().is_none()
        || is_sparse(own) && !is_sparse(of_other)
        || repeats_layers(own) && !repeats_layers(of_other)
}

/// Share of zeros above which weights were pruned.
pub(super) const SPARSE: f64 = 0.15;

/// Whether a model has the same layer twice: it was made deeper.
pub(super) fn repeats_layers(print: &Fingerprint) -> bool {
    let digest = |layer: u16| {
        let matrices = Role::MATRICES.iter().map(|role| print.tensors.get(&Slot::at(role.clone(), layer)));
        let digests: Vec<_> = matrices.flatten().filter_map(|tensor| tensor.canonical).collect();
        (!digests.is_empty()).then_some(digests)
    };
    let digests: Vec<_> = (0..print.shape.layers).map(digest).collect();
    (1..digests.len()).any(|at| digests[at].is_some() && digests[..at].contains(&digests[at]))
}
