//! What is known of a herd already, from the judgments in force: enough to judge one more without judging all again.

use std::collections::HashMap;

use super::super::{
    db::JudgmentRow,
    relatives::{self, Member},
    weights::judgment::{Judgment, Kind, Proof, Tree},
};

/// The tree of members as it was judged. Parents outside the herd are left out.
pub(in crate::lineage) fn tree(members: &[Member], judged: &[JudgmentRow]) -> Tree {
    let places = relatives::places(members);
    let rows: HashMap<i64, &JudgmentRow> = judged.iter().map(|row| (row.revision_id, row)).collect();
    let mut tree = Tree::default();
    for (place, member) in members.iter().enumerate() {
        let Some(row) = rows.get(&member.row.revision_id) else { continue };
        let here = |revisions: &[i64]| revisions.iter().filter_map(|revision| places.get(revision).copied()).collect();
        let parents = row.detail["parents"].as_array().into_iter().flatten();
        let parents: Vec<i64> = parents.filter_map(serde_json::Value::as_i64).collect();
        let judgment = Judgment {
            parents: here(&parents),
            kind: kind(row),
            shared_start: here(&row.shared_start),
            related: here(&row.related),
            reason: String::new(),
            votes: None,
            proof: Proof::None,
        };
        tree.judged.insert(place, judgment);
    }
    for member in 0..members.len() {
        tree.roots.insert(member, root(&tree, member));
    }
    tree
}

/// The kind that a row names; figures of it are not needed again.
fn kind(row: &JudgmentRow) -> Kind {
    match row.kind.as_str() {
        "copy" if row.detail["judgment"]["how"] == "re-parameterized" => Kind::Copy { how: "re-parameterized" },
        "copy" => Kind::Copy { how: "identical" },
        "finetune" => Kind::Finetune,
        "merged-adapter" => Kind::MergedAdapter { rank: 0.0 },
        "merge" => Kind::Merge { method: "linear", coefficients: Vec::new(), base: None },
        "quantized" => Kind::Quantized { grid: "packed" },
        "pruned" => Kind::Pruned { what: "weights" },
        "extended" => Kind::Extended { what: "layers" },
        "common-origin" => Kind::CommonOrigin,
        _ => Kind::Base,
    }
}

fn root(tree: &Tree, member: usize) -> usize {
    let mut at = member;
    for _ in 0..64 {
        match tree.parents(at).first() {
            Some(parent) => at = *parent,
            None => break,
        }
    }
    at
}
