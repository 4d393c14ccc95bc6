//! Members whose parent is not here.
//!
//! A child has its parent's states or its own, which only its own descendants share. So when two members agree on states
//! that the supposed parent of one lacks, and neither descends from the other, both come from somebody who is not here.
//! When that holds for the root of a family, distances from it tell nothing: only states that a member has for itself
//! and handed down still prove a parent.

use super::{
    herd::{Herd, States, Tie},
    judgment::{Judgment, Kind, Proof, Tree},
    median::angle,
    order::{Family, Ties, is_marked_beyond},
    pair::median,
    rows::RowSet,
};

/// States that must agree, and that each must have for itself: rows count once, tensors four times.
const WITNESSED: usize = 4;
/// How many times more states a displaced root must have lost than handed down.
const CLEARLY: usize = 9;
/// Pairs of others whose ways are compared: three members give as many.
const PAIRS: usize = 3;
/// Share of the way to the nearest, squared, that all must have in common.
const APART: f64 = 0.3;
/// The same at most: nobody lies before the end of what all have in common.
const WHOLE: f64 = 1.1;
/// The least of what pairs have in common, as a share of what they have in the middle.
const EVEN: f64 = 0.7;

/// Takes back parents that cannot have handed down what their children have.
pub(super) fn find_orphans(herd: &Herd, ties: &Ties, families: &[Family], tree: &mut Tree) {
    for family in families {
        let case = Case { herd, ties, family, tree };
        let root = family.root();
        let is_displaced = case.is_displaced(root) || case.is_off_center(root);
        let is_orphan = |member: &usize| match case.only_parent(*member) {
            Some(parent) if is_displaced => parent == root || !case.is_proven(*member, parent),
            Some(parent) => case.is_witnessed(*member, parent),
            None => is_displaced && case.is_relative_to_root(*member),
        };
        let orphans: Vec<usize> = family.members.iter().copied().filter(is_orphan).collect();
        for orphan in orphans {
            disown(tree, orphan, "it shares exact values with others here that no possible parent has");
        }
        let case = Case { herd, ties, family, tree };
        let rounded: Vec<usize> = family.members.iter().copied().filter(|x| case.has_rounded_parent(*x)).collect();
        for orphan in rounded {
            disown(tree, orphan, "the nearest relative here was quantized, and what it lost is still here");
        }
        if is_displaced && tree.parents(root).is_empty() {
            disown(tree, root, "others here agree on values that it lost");
        }
    }
}

fn disown(tree: &mut Tree, member: usize, reason: &str) {
    if let Some(judgment) = tree.judged.get_mut(&member) {
        judgment.parents = Vec::new();
        judgment.kind = Kind::CommonOrigin;
        reason.clone_into(&mut judgment.reason);
        judgment.votes = None;
        judgment.proof = Proof::None;
    }
}

struct Case<'a> {
    herd: &'a Herd<'a>,
    ties: &'a Ties,
    family: &'a Family,
    tree: &'a Tree,
}

impl Case<'_> {
    /// The parent of a member that was trained or changed from one.
    fn only_parent(&self, member: usize) -> Option<usize> {
        let Judgment { parents, kind, .. } = self.tree.judged.get(&member)?;
        let is_derived = !matches!(kind, Kind::Copy { .. } | Kind::Merge { .. } | Kind::Base | Kind::CommonOrigin);
        parents.first().copied().filter(|_| is_derived)
    }

    /// Whether a parent's values lie on a grid on which the member's do not: rounding is not undone by training on.
    fn has_rounded_parent(&self, member: usize) -> bool {
        let Some(Judgment { parents, kind, .. }) = self.tree.judged.get(&member) else { return false };
        let own = self.herd.print(member).grid();
        let is_rounded = |parent: &usize| {
            let grid = self.herd.print(*parent).grid();
            grid.is_some() && grid != own
        };
        !matches!(kind, Kind::Copy { .. }) && parents.iter().any(is_rounded)
    }

    /// Whether a member is a merge of changes from something that is not here.
    fn is_relative_to_root(&self, member: usize) -> bool {
        matches!(&self.tree.judged.get(&member), Some(Judgment { kind: Kind::Merge { base: Some(_), .. }, .. }))
    }

    /// Members that have states of their own and are no copies of each other.
    fn others(&self, than: usize) -> Vec<usize> {
        let tree = self.tree;
        let is_other =
            |z: &usize| *z != than && !tree.has_merge(*z) && !matches!(&tree.judged[z].kind, Kind::Copy { .. });
        self.family.members.iter().copied().filter(is_other).collect()
    }

    /// Whether neither of two members comes from the other: each has something that the other lacks.
    fn are_apart(&self, x: usize, z: usize, both: &States) -> bool {
        let has_own = |member: usize, other: usize| {
            let lost = both.compared.minus(&both.equal).len() as usize;
            is_marked_beyond(self.herd, member, other) || lost >= WITNESSED
        };
        let is_kin = self.tree.descends(x, z) || self.tree.descends(z, x);
        !is_kin && has_own(x, z) && has_own(z, x)
    }

    /// Whether somebody else agrees with a member on states that its parent lacks.
    fn is_witnessed(&self, x: usize, parent: usize) -> bool {
        let herd = self.herd;
        let from_parent = herd.common(x, parent);
        self.others(x).into_iter().any(|z| {
            if z == parent || self.ties.get(x, z) != Some(Tie::Direct) || self.tree.original(z) == self.tree.original(x)
            {
                return false;
            }
            let both = herd.common(x, z);
            let (_, together) = both.divided(&from_parent);
            // Each also has rows of its own that neither the other nor the parent has.
            let own = |a: usize, b: usize| {
                let (with_b, with_parent) = (herd.common(a, b), herd.common(a, parent));
                let alone = with_b.compared.and(&with_parent.compared).without(&[&with_b.equal, &with_parent.equal]);
                alone as usize >= WITNESSED
            };
            let is_kin = self.tree.descends(x, z) || self.tree.descends(z, x);
            together >= 2 * WITNESSED && !is_kin && own(x, z) && own(z, x)
        })
    }

    /// Whether the root of the family is only a sibling: states that it has for itself, others agree to have otherwise,
    /// and hardly any state that those lack it shares with anyone.
    fn is_displaced(&self, root: usize) -> bool {
        let others = self.others(root);
        let mut shared = States::none();
        for other in &others {
            shared.add(&self.herd.common(root, *other));
        }
        // Copies may still have what was rounded in the root.
        let is_copy = |member: &usize| *member != root && self.tree.original(*member) == root;
        let copies: Vec<usize> = self.family.members.iter().copied().filter(is_copy).collect();
        let mut agreed = States::none();
        for (at, x) in others.iter().enumerate() {
            for z in &others[at + 1..] {
                let both = self.herd.common(*x, *z);
                if self.have_ancestor(*x, *z, root) || !self.are_apart(*x, *z, &both) {
                    continue;
                }
                let mut without_root = self.herd.agreed_without(root, *x, *z);
                for copy in &copies {
                    let without_copy = self.herd.agreed_without(*copy, *x, *z);
                    without_root.tensors.retain(|slot| without_copy.tensors.contains(slot));
                }
                agreed.add(&without_root);
            }
        }
        let is_lost =
            |(handed_down, lost): (usize, usize), least: usize| lost >= least && lost >= CLEARLY * handed_down;
        is_lost(agreed.rows_divided(&shared), WITNESSED) || is_lost(agreed.tensors_divided(&shared), 1)
    }

    /// Whether the ways from the root to all others begin with the same piece: it is a sibling of theirs, and where that
    /// piece ends was the root. What they were trained on makes ways alike as well, but not equally alike.
    fn is_off_center(&self, root: usize) -> bool {
        let others = self.others(root);
        let is_kin =
            |x: usize, z: usize| self.tree.descends(x, z) || self.tree.descends(z, x) || self.have_ancestor(x, z, root);
        let pairs = others.iter().enumerate().flat_map(|(at, x)| others[at + 1..].iter().map(move |z| (*x, *z)));
        let mut angles: Vec<_> =
            pairs.filter_map(|(x, z)| angle(self.herd, root, x, z).map(|angle| (x, z, angle))).collect();
        angles.sort_by(|(.., a), (.., b)| a.product.total_cmp(&b.product));
        let nearest = angles.iter().flat_map(|(.., angle)| angle.squares).fold(f64::INFINITY, f64::min);
        let least = angles.iter().find(|(x, z, _)| !is_kin(*x, *z)).map(|(.., angle)| angle.product);
        let Some(least) = least.filter(|least| (APART * nearest..WHOLE * nearest).contains(least)) else {
            return false;
        };
        let apart = angles.iter().filter(|(x, z, _)| !is_kin(*x, *z));
        let mut products: Vec<f64> = apart.map(|(.., angle)| angle.product).collect();
        products.len() >= PAIRS && least > EVEN * median(&mut products)
    }

    /// Whether two members have an ancestor here, other than the root.
    fn have_ancestor(&self, x: usize, z: usize, root: usize) -> bool {
        let is_of_both = |y: &usize| {
            *y != root
                && !is_marked_beyond(self.herd, *y, x)
                && !is_marked_beyond(self.herd, *y, z)
                && self.tree.descends(x, *y)
                && self.tree.descends(z, *y)
        };
        self.family.members.iter().any(is_of_both)
    }

    /// Whether a parent handed down states that nobody else has, or is as near as rounding allows.
    fn is_proven(&self, x: usize, parent: usize) -> bool {
        let herd = self.herd;
        let mut public = States::none();
        for other in self.others(parent) {
            if other != x && !self.tree.descends(other, parent) {
                public.add(&herd.common(parent, other));
            }
        }
        let mut handed_down = herd.common(parent, x);
        handed_down.compared = RowSet::empty();
        let (_, private) = handed_down.divided(&public);
        if private >= WITNESSED {
            return true;
        }
        let nearest = self.others(x).into_iter().filter(|z| *z != parent && !self.tree.descends(*z, parent));
        let next = nearest.map(|z| herd.compare(x, z).distance).filter(|d| *d > 0.0).fold(f64::INFINITY, f64::min);
        matches!(self.tree.judged[&x].kind, Kind::Quantized { .. } | Kind::Pruned { .. })
            && herd.compare(x, parent).distance < 0.5 * next
    }
}

#[cfg(test)]
mod tests {
    use crate::lineage::weights::{
        Fingerprint,
        family::{Seen, judge_all},
        herd::Herd,
        judgment::{Kind, Tree},
        synthetic::Weights,
    };

    fn judged(models: &[Weights]) -> Tree {
        let prints: Vec<Fingerprint> = models.iter().map(Weights::print).collect();
        let herd = Herd::new(prints.iter().collect());
        judge_all(&herd, &vec![Seen::default(); models.len()])
    }

    /// Children of a base, the first of which kept its embedding: by exact values it could be the base.
    fn children(base: &Weights, count: u64) -> Vec<Weights> {
        [base.tuned(9, u64::MAX)].into_iter().chain((0..count).map(|seed| base.tuned(2 + seed, 8))).collect()
    }

    #[test]
    fn a_sibling_that_kept_the_embedding_is_found_by_what_all_ways_share() {
        let base = Weights::base(1);
        for count in 3..6 {
            let tree = judged(&children(&base, count));
            for (member, judgment) in &tree.judged {
                assert_eq!(judgment.kind, Kind::CommonOrigin, "{member} of {count}: {judgment:?}");
            }
        }
    }

    #[test]
    fn a_base_that_is_here_keeps_such_children() {
        let base = Weights::base(1);
        for count in 3..6 {
            let models: Vec<Weights> = [base.clone()].into_iter().chain(children(&base, count)).collect();
            let tree = judged(&models);
            assert_eq!(tree.judged[&0].kind, Kind::Base);
            assert!((1..models.len()).all(|member| tree.parents(member) == [0]), "{tree:?}");
        }
    }
}
