//! Whole herds at once: every member is judged, and the order in which members were uploaded does not matter.

use super::{
    herd::{Herd, Tie},
    judge,
    judgment::{Kind, Tree},
    order::{self, Family, Ties},
    origin, proof,
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
    proof::find_proofs(herd, &ties, &mut tree);
    add_later_relatives(herd, &ties, &order, &mut tree);
    tree
}

/// Each was judged against those before it in the order of descent: adds the others that are related to it.
fn add_later_relatives(herd: &Herd, ties: &Ties, order: &[usize], tree: &mut Tree) {
    for member in order {
        let Some(judgment) = tree.judged.get_mut(member) else { continue };
        let is_new = |other: &&usize| {
            *other != member && ties.are_related(*member, **other) && !judgment.related.contains(other)
        };
        let later: Vec<usize> = order.iter().filter(is_new).copied().collect();
        if judgment.kind == Kind::Base && !later.is_empty() {
            "others here descend from it, and it from none of them".clone_into(&mut judgment.reason);
        }
        judgment.related.extend(later);
        let distance = |other: &usize| match ties.get(*member, *other) {
            Some(Tie::Direct) => herd.compare(*other, *member).distance,
            _ => 2.0 - herd.invariant(*member, *other),
        };
        judgment.related.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::lineage::{
        Relation,
        weights::{Fingerprint, sample::splitmix64, synthetic::Weights},
    };

    /// A base, three fine-tunes, one of them of another; a merge, a quantized, a pruned and a stranger.
    fn members() -> Vec<(&'static str, Fingerprint)> {
        let base = Weights::base(1);
        let (plain, other, third) = (base.tuned(2, 8), base.tuned(3, 8), base.tuned(4, 8));
        let models = [
            ("base", base.clone()),
            ("plain", plain.clone()),
            ("other", other.clone()),
            ("third", third),
            ("grandchild", plain.tuned(5, 8)),
            ("merge", plain.merged(&other)),
            ("quantized", base.quantized()),
            ("pruned", other.pruned()),
            ("copy", base),
            ("stranger", Weights::base(9)),
        ];
        models.into_iter().map(|(name, weights)| (name, weights.print())).collect()
    }

    type Graph = BTreeMap<&'static str, (BTreeSet<&'static str>, Option<Relation>)>;

    /// The graph by names, when members are uploaded in the order of a seed; copies are called by their original's name.
    fn graph(members: &[(&'static str, Fingerprint)], seed: u64) -> Graph {
        let mut order: Vec<&(&str, Fingerprint)> = members.iter().collect();
        order.sort_by_key(|(name, _)| name.bytes().fold(seed, |state, byte| splitmix64(state ^ u64::from(byte))));
        let herd = Herd::new(order.iter().map(|(_, print)| print).collect());
        let seen: Vec<Seen> = (0..order.len() as u64).map(|rank| Seen { rank, attested: false }).collect();
        let tree = judge_all(&herd, &seen);
        let name = |member: usize| if order[member].0 == "copy" { "base" } else { order[member].0 };
        let named = |at: usize| {
            let judgment = &tree.judged[&at];
            (order[at].0, (judgment.parents.iter().map(|p| name(*p)).collect(), judgment.kind.relation()))
        };
        let mut graph: Graph = (0..order.len()).map(named).collect();
        graph.remove("copy");
        graph.remove("base");
        graph
    }

    #[test]
    fn the_order_of_uploads_does_not_change_the_graph() {
        let members = members();
        let expected: Graph = [
            ("plain", &["base"][..], Some(Relation::Finetune)),
            ("other", &["base"], Some(Relation::Finetune)),
            ("third", &["base"], Some(Relation::Finetune)),
            ("grandchild", &["plain"], Some(Relation::Finetune)),
            ("merge", &["other", "plain"], Some(Relation::Merge)),
            ("quantized", &["base"], Some(Relation::Quantized)),
            ("pruned", &["other"], Some(Relation::Pruned)),
            ("stranger", &[], None),
        ]
        .into_iter()
        .map(|(name, parents, relation)| (name, (parents.iter().copied().collect(), relation)))
        .collect();
        for seed in 0..6 {
            assert_eq!(graph(&members, seed), expected, "order {seed}");
        }
    }

    #[test]
    fn everybody_in_a_family_is_a_relative_of_everybody_else() {
        let members = members();
        let herd = Herd::new(members.iter().map(|(_, print)| print).collect());
        let tree = judge_all(&herd, &vec![Seen::default(); members.len()]);
        let related = |name: &str| {
            let at = members.iter().position(|(other, _)| *other == name).unwrap();
            tree.judged[&at].related.iter().copied().collect::<BTreeSet<usize>>().len()
        };
        for (name, _) in &members {
            assert_eq!(related(name), if *name == "stranger" { 0 } else { members.len() - 2 }, "{name}");
        }
    }

    #[test]
    fn children_of_an_absent_base_are_given_to_nobody() {
        let base = Weights::base(1);
        let prints: Vec<Fingerprint> = (2..7).map(|seed| base.tuned(seed, 8).print()).collect();
        let herd = Herd::new(prints.iter().collect());
        let tree = judge_all(&herd, &vec![Seen::default(); prints.len()]);
        for member in 0..prints.len() {
            assert_eq!(tree.judged[&member].kind, Kind::CommonOrigin, "member {member}: {:?}", tree.judged[&member]);
            assert!(tree.parents(member).is_empty());
        }
    }

    #[test]
    fn an_attested_member_is_the_root_of_its_family() {
        let base = Weights::base(1);
        let prints = [base.tuned(2, 8).print(), base.print()];
        let herd = Herd::new(prints.iter().collect());
        let seen = |attested| [Seen { rank: 0, attested: false }, Seen { rank: 1, attested }];
        assert_eq!(judge_all(&herd, &seen(true)).parents(0), [1]);
        assert_eq!(judge_all(&herd, &seen(false)).parents(1), [0]);
    }
}
