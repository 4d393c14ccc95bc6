//! Whole herds at once: every member is judged, and the order in which members were uploaded does not matter.

use super::{
    herd::Herd,
    judge,
    judgment::Tree,
    order::{self, Family, Ties},
    origin,
};

/// What is known of a member beside its weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it was seen first; smaller is earlier.
    pub rank: u64,
    /// Whether it was published by the known publisher of a base.
    pub attested: bool,
}

/// Judges every member of a herd. Parents may have been uploaded after their children; the graph has no circles.
///
/// `seen` has an entry for each member.
pub fn judge_all(herd: &Herd, seen: &[Seen]) -> Tree {
    let ties = Ties::of(herd);
    let families = order::families(herd, &ties, seen);
    let mut tree = Tree::default();
    for family in &families {
        tree.roots.extend(family.members.iter().map(|member| (*member, family.root())));
    }
    // Large families first: the bases of a merge across families are known before it.
    let order: Vec<usize> = families.iter().flat_map(|Family { members }| members.iter().copied()).collect();
    for (at, member) in order.iter().enumerate() {
        let is_free = |other: &&usize| *other != member && !tree.descends(**other, *member);
        let before: Vec<usize> = order[..at].iter().filter(is_free).copied().collect();
        let anywhere: Vec<usize> = order.iter().filter(is_free).copied().collect();
        let judgment = judge::judge_among(herd, &tree, *member, &before, &anywhere);
        tree.judged.insert(*member, judgment);
    }
    origin::find_orphans(herd, &ties, &families, &mut tree);
    tree
}
