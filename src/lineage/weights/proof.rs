//! How strong the evidence for parents is.
//!
//! A sibling whose parent is not here shares states with a model as the parent would, so what a model shares with one
//! other proves little. Proof is an operation that leaves its traces (copies, layers and weights taken over unchanged,
//! means of others down to rounding), or a third relative to whom the parent lies on the way: by exact states, and by the
//! angle between the ways to both, which is a right one where changes were made independently of each other.

use super::{
    herd::{Herd, Tie},
    judgment::{Judgment, Kind, Proof, Tree},
    median::{agreed, angle},
    order::{Ties, is_marked_beyond},
};

/// States that one could share by accident: rows count once, matrices four times.
const ACCIDENTS: u32 = 3;
/// Share of values that must be the parent's exactly where an operation leaves the others alone.
const UNTOUCHED: f64 = 0.999;
/// Standard errors within which a cosine is taken for that of a right angle.
const RIGHT: f64 = 3.0;
/// Right angles that prove a parent, and of how many: models that were trained on the same lean the same way.
const SEVERAL: usize = 2;
/// See [`SEVERAL`].
const FEW: usize = 5;

/// Grades what speaks for the parents of every member.
pub(super) fn find_proofs(herd: &Herd, ties: &Ties, tree: &mut Tree) {
    let members: Vec<usize> = tree.judged.keys().copied().collect();
    let witnesses: Vec<usize> = members
        .iter()
        .copied()
        .filter(|z| !matches!(tree.judged[z].kind, Kind::Copy { .. }) && !tree.has_merge(*z))
        .collect();
    for member in members {
        let proof = Case { herd, ties, tree, witnesses: &witnesses, x: member }.proof(&tree.judged[&member]);
        if let Some(judgment) = tree.judged.get_mut(&member) {
            judgment.proof = proof;
        }
    }
}

struct Case<'a> {
    herd: &'a Herd<'a>,
    ties: &'a Ties,
    tree: &'a Tree,
    /// Members that are no copies, and no merges, which have states of several.
    witnesses: &'a [usize],
    x: usize,
}

impl Case<'_> {
    fn proof(&self, judgment: &Judgment) -> Proof {
        let [parent, ..] = judgment.parents[..] else { return Proof::None };
        let is_exact = match &judgment.kind {
            Kind::Copy { how } => *how != "re-parameterized",
            Kind::Merge { method, coefficients, .. } => match *method {
                "passthrough" => true,
                // Of models in one plane, only what lies between the others is a mean of them.
                "linear" => is_mean(coefficients),
                _ => false,
            },
            Kind::Pruned { .. } | Kind::Extended { .. } if self.herd.compare(self.x, parent).untouched >= UNTOUCHED => {
                true
            }
            Kind::Quantized { .. } => self.is_rounded_from(parent),
            _ => judgment.votes.is_none_or(|votes| votes.decide() == Some(true)) && self.is_between(parent),
        };
        if is_exact { Proof::Exact } else { Proof::Geometry }
    }

    /// Third relatives that do not come from the model itself.
    fn witnesses(&self, parent: usize) -> Vec<usize> {
        let (tree, x) = (self.tree, self.x);
        let is_same = |a: usize, b: usize| tree.original(a) == tree.original(b);
        let is_witness = |z: &usize| {
            self.ties.get(x, *z) == Some(Tie::Direct)
                && !is_same(*z, x)
                && !is_same(*z, parent)
                && !tree.descends(*z, x)
        };
        self.witnesses.iter().copied().filter(is_witness).collect()
    }

    /// How many of these see the model behind its parent at a right angle, of how many that see it at all.
    fn right_angles(&self, parent: usize, witnesses: &[usize]) -> (usize, usize) {
        let angles: Vec<_> = witnesses.iter().filter_map(|z| angle(self.herd, parent, self.x, *z)).collect();
        (angles.iter().filter(|angle| angle.cosine().abs() <= RIGHT * angle.error).count(), angles.len())
    }

    /// Whether a parent lies between the model and others.
    fn is_between(&self, parent: usize) -> bool {
        let witnesses = self.witnesses(parent);
        let agreed: Vec<_> = witnesses.iter().map(|z| agreed(self.herd, parent, self.x, *z)).collect();
        let is_median = agreed.iter().any(|agreed| agreed.without_third > ACCIDENTS)
            && agreed.iter().all(|agreed| agreed.without_first <= ACCIDENTS);
        let (right, all) = self.right_angles(parent, &witnesses);
        is_median && !is_marked_beyond(self.herd, parent, self.x) && right >= SEVERAL && FEW * right >= all
    }

    /// Whether what rounding changed has nothing to do with anybody else.
    fn is_rounded_from(&self, parent: usize) -> bool {
        let (right, all) = self.right_angles(parent, &self.witnesses(parent));
        self.herd.compare(self.x, parent).distance < 0.15 && right >= SEVERAL && 2 * right > all
    }
}

/// Whether coefficients are those of a mean.
fn is_mean(coefficients: &[f64]) -> bool {
    let sum: f64 = coefficients.iter().sum();
    coefficients.iter().all(|c| (0.0..=1.0).contains(c)) && (sum - 1.0).abs() < 0.02
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::weights::{
        Fingerprint,
        family::{Seen, judge_all},
        synthetic::Weights,
    };

    fn judged(models: &[Weights]) -> Tree {
        let prints: Vec<Fingerprint> = models.iter().map(Weights::print).collect();
        let herd = Herd::new(prints.iter().collect());
        let seen: Vec<Seen> = (0..models.len() as u64).map(|rank| Seen { rank, attested: false }).collect();
        judge_all(&herd, &seen)
    }

    #[test]
    fn a_base_with_several_children_is_proven() {
        let base = Weights::base(1);
        let tree = judged(&[base.clone(), base.tuned(2, 8), base.tuned(3, 8), base.tuned(4, 8), base.quantized()]);
        for child in 1..5 {
            assert_eq!((tree.parents(child), tree.judged[&child].proof), (&[0][..], Proof::Exact), "{child}");
        }
    }

    #[test]
    fn what_two_share_proves_nothing() {
        let base = Weights::base(1);
        for models in [[base.clone(), base.tuned(2, 8)], [base.tuned(2, 8), base.tuned(3, 8)]] {
            let tree = judged(&models);
            assert!(tree.judged.values().all(|judgment| !judgment.is_certain()), "{tree:?}");
        }
    }

    #[test]
    fn a_sibling_that_kept_the_embedding_is_no_proven_parent() {
        let base = Weights::base(1);
        for count in 2..5 {
            let siblings = (0..count).map(|seed| base.tuned(2 + seed, 8));
            let models: Vec<Weights> = [base.tuned(9, u64::MAX)].into_iter().chain(siblings).collect();
            let tree = judged(&models);
            assert!(tree.judged.values().all(|judgment| !judgment.is_certain()), "{count}: {tree:?}");
        }
    }

    #[test]
    fn a_mean_lies_between_its_parts() {
        assert!(is_mean(&[0.3, 0.7]) && is_mean(&[0.4, 0.3, 0.3]));
        assert!(!is_mean(&[0.995, 0.306]) && !is_mean(&[0.7, 0.6, -0.3]));
    }
}
