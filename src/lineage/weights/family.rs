//! Whole herds at once: every member is judged.

use super::{
    herd::{Herd, Tie},
    judge,
    judgment::Tree,
};

/// What is known of a member beside its weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it was seen first; smaller is earlier.
    pub rank: u64,
    /// Whether it was published by the known publisher of a base.
    pub attested: bool,
}

/// Judges every member of a herd, attested ones first, then as they were seen.
///
/// `seen` has an entry for each member.
pub fn judge_all(herd: &Herd, seen: &[Seen]) -> Tree {
    let mut order: Vec<usize> = (0..herd.len()).collect();
    order.sort_by_key(|member| (!seen[*member].attested, seen[*member].rank, *member));
    let mut tree = Tree::default();
    for (at, member) in order.iter().enumerate() {
        let judgment = judge::judge(herd, &tree, *member, &order[..at]);
        let root = judgment.parents.first().map_or(*member, |parent| tree.roots[parent]);
        tree.roots.insert(*member, root);
        tree.judged.insert(*member, judgment);
    }
    tree
}

/// Whether two members are of one family: related by their weights, not merely by their random start.
pub(super) fn are_related(herd: &Herd, a: usize, b: usize) -> bool {
    matches!(herd.tie(a, b), Some(Tie::Direct | Tie::Invariant))
}
