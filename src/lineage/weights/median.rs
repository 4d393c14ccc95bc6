//! Where three relatives part.
//!
//! Of three members of a tree, the paths between them meet in one point, their median. A parent is the median of a child
//! and of whoever is no descendant of that child; two siblings and a third meet in somebody else. Exact states tell where
//! the point is (what two of three agree on is what the point had), and so do distances: what was changed independently
//! is nearly orthogonal, so squares of distances add up along paths (additive trees; Buneman 1971).

use super::{herd::Herd, rows::RowSet};

/// States of three members that two of them agree on and the third lacks: rows count once, tensors four times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    /// The first and the second: what the third changed.
    pub(super) without_third: u32,
    /// The first and the third: what the second changed.
    pub(super) without_second: u32,
    /// The second and the third: what the first changed.
    pub(super) without_first: u32,
}

/// Counts on what two of three agree.
pub(super) fn agreed(herd: &Herd, a: usize, b: usize, c: usize) -> Agreed {
    let mut agreed = Agreed::default();
    if let (Some(ab), Some(ac), Some(bc)) = (herd.rows(a, b), herd.rows(a, c), herd.rows(b, c)) {
        let (from, to) = (herd.vocabulary(b), herd.vocabulary(a));
        let (bc_equal, bc_compared) = (bc.equal.translated(from, to), bc.compared.translated(from, to));
        let compared = ab.compared.and(&ac.compared).and(&bc_compared);
        let alone = |equal: &RowSet, others: [&RowSet; 2]| equal.and(&compared).without(&others);
        agreed.without_third = alone(&ab.equal, [&ac.equal, &bc_equal]);
        agreed.without_second = alone(&ac.equal, [&ab.equal, &bc_equal]);
        agreed.without_first = alone(&bc_equal, [&ab.equal, &ac.equal]);
    }
    for (slot, first) in &herd.print(a).tensors {
        let (Some(second), Some(third)) = (herd.print(b).tensors.get(slot), herd.print(c).tensors.get(slot)) else {
            continue;
        };
        // Short vectors of few bits can meet by accident.
        if !first.is_matrix() {
            continue;
        }
        let (Some(first), Some(second), Some(third)) = (first.canonical, second.canonical, third.canonical) else {
            continue;
        };
        match (first == second, first == third, second == third) {
            (true, false, false) => agreed.without_third += 4,
            (false, true, false) => agreed.without_second += 4,
            (false, false, true) => agreed.without_first += 4,
            _ => {}
        }
    }
    agreed
}

/// How the ways from one member to two others go together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Angle {
    /// The inner product of both ways.
    pub(super) product: f64,
    /// Their squares.
    pub(super) squares: [f64; 2],
    /// Standard error of the cosine when they are independent.
    pub(super) error: f64,
}

impl Angle {
    /// Cosine of the angle.
    pub(super) fn cosine(&self) -> f64 {
        let length = (self.squares[0] * self.squares[1]).sqrt();
        if length > 0.0 { self.product / length } else { 0.0 }
    }
}

/// The angle at `at` between the ways to `x` and `z`; `None` where their matrices differ.
pub(super) fn angle(herd: &Herd, at: usize, x: usize, z: usize) -> Option<Angle> {
    let squares = |a: usize, b: usize| {
        let comparison = herd.compare(a.max(b), a.min(b));
        (comparison.in_place && herd.same_matrices(a, b)).then_some((comparison.squares, comparison.coordinates))
    };
    let ((to_x, count), (to_z, _), (across, _)) = (squares(at, x)?, squares(at, z)?, squares(x, z)?);
    let product = (to_x + to_z - across) / 2.0;
    Some(Angle { product, squares: [to_x, to_z], error: 1.0 / count.max(1.0).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::weights::{Fingerprint, synthetic::Weights};

    #[test]
    fn a_base_is_the_median_of_its_children_and_a_child_is_not() {
        let base = Weights::base(1);
        let models = [base.clone(), base.tuned(2, 8), base.tuned(3, 8), base.tuned(4, 8)];
        let prints: Vec<Fingerprint> = models.iter().map(Weights::print).collect();
        let herd = Herd::new(prints.iter().collect());
        let at_base = agreed(&herd, 0, 1, 2);
        assert_eq!(at_base.without_first, 0);
        assert!(at_base.without_second > 20 && at_base.without_third > 20, "{at_base:?}");
        let at_child = agreed(&herd, 1, 2, 3);
        let least = at_child.without_first.min(at_child.without_second).min(at_child.without_third);
        assert!(least > 20, "{at_child:?}");
        // Independent changes of the same size: a right angle at the base, 60° at a child.
        let right = angle(&herd, 0, 1, 2).unwrap();
        assert!(right.cosine().abs() < 3.0 * right.error, "{right:?}");
        let sharp = angle(&herd, 1, 2, 3).unwrap();
        assert!((sharp.cosine() - 0.5).abs() < 0.05, "{sharp:?}");
    }

    #[test]
    fn a_chain_has_its_middle_in_between() {
        let base = Weights::base(1);
        let child = base.tuned(2, 8);
        let prints = [base.print(), child.print(), child.tuned(3, 8).print()];
        let herd = Herd::new(prints.iter().collect());
        let agreed = agreed(&herd, 0, 1, 2);
        assert_eq!(agreed.without_second, 0, "what the middle changed is not changed back");
        assert!(agreed.without_first > 20 && agreed.without_third > 20, "{agreed:?}");
    }
}
