//! Counts children and descendants of every model at once, and finds the claims that close cycles.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::{Error, db};
use crate::lineage;

/// Links between models as places in one list.
struct Links {
    ids: Vec<i64>,
    children: Vec<Vec<u32>>,
}

/// Recounts everything; returns how many claims are part of a cycle.
pub async fn recount_all(db: &mut PgConnection) -> Result<u64, Error> {
    let pairs = lineage::db::list_all_links(db).await?;
    let counted = tokio::task::spawn_blocking(move || {
        let links = build(&pairs);
        let descendants = count(&links);
        let cyclic = cyclic(&links);
        (links, descendants, cyclic)
    });
    let Ok((links, descendants, cyclic)) = counted.await else { return Ok(0) };
    let children: Vec<i32> = links.children.iter().map(|c| i32::try_from(c.len()).unwrap_or(i32::MAX)).collect();
    lineage::db::store_counts(db, &links.ids, &children, &descendants).await?;
    let (children, parents): (Vec<i64>, Vec<i64>) = cyclic.into_iter().unzip();
    db::mark_cycles(db, &children, &parents).await
}

fn build(pairs: &[(i64, i64)]) -> Links {
    let mut places = HashMap::new();
    let mut links = Links { ids: Vec::new(), children: Vec::new() };
    let mut place = |id: i64, links: &mut Links| {
        *places.entry(id).or_insert_with(|| {
            links.ids.push(id);
            links.children.push(Vec::new());
            u32::try_from(links.ids.len() - 1).unwrap_or(u32::MAX)
        })
    };
    for (child, parent) in pairs {
        let child = place(*child, &mut links);
        let parent = place(*parent, &mut links);
        links.children[parent as usize].push(child);
    }
    links
}

/// Walks down from each model that has children: a few hundred thousand steps for a hundred thousand models.
fn count(links: &Links) -> Vec<i32> {
    let mut seen = vec![u32::MAX; links.ids.len()];
    let mut counts = vec![0; links.ids.len()];
    for (root, count) in counts.iter_mut().enumerate() {
        let mark = u32::try_from(root).unwrap_or(u32::MAX);
        let mut stack = links.children[root].clone();
        while let Some(at) = stack.pop() {
            if at as usize == root || seen[at as usize] == mark {
                continue;
            }
            seen[at as usize] = mark;
            *count += 1;
            stack.extend(&links.children[at as usize]);
        }
    }
    counts
}

/// Returns the (child, parent) pairs inside strongly connected parts: removing models without children, then without
/// parents, again and again leaves cycles and what lies between them; a search settles which links close one.
fn cyclic(links: &Links) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for (parent, children) in links.children.iter().enumerate() {
        for child in children {
            if *child as usize == parent || reaches(links, *child as usize, parent) {
                found.push((links.ids[*child as usize], links.ids[parent]));
            }
        }
    }
    found
}

fn reaches(links: &Links, from: usize, to: usize) -> bool {
    if links.children[from].is_empty() {
        return false;
    }
    let mut seen = std::collections::HashSet::from([from]);
    let mut stack = vec![from];
    while let Some(at) = stack.pop() {
        for child in links.children[at].iter().map(|child| *child as usize) {
            if child == to {
                return true;
            }
            if !links.children[child].is_empty() && seen.insert(child) {
                stack.push(child);
            }
        }
    }
    false
}
