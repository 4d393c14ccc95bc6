//! Takes parents and all that computes the same out of a registry, and counts what becomes of their children.

use super::{
    figures::{describe, has_right_parents},
    graph,
    rate::Rate,
    truth::Truth,
};
use crate::support::{Server, print_note};

/// Which parents go.
#[derive(Clone, Copy)]
pub(super) enum Gone {
    /// Bases with a family of their own.
    Roots,
    /// The two models with most children among those that have parents themselves.
    Middle,
}

/// Deletes the parents, waits, and prints what the others are called now.
pub(super) async fn run(server: &Server, truth: &Truth, gone: Gone) -> anyhow::Result<()> {
    let parents = choose(truth, gone);
    let is_gone = |name: &str| parents.contains(&truth.original(name));
    let (deleted, left): (Vec<String>, Vec<String>) = truth.entries.keys().cloned().partition(|name| is_gone(name));
    for name in &deleted {
        graph::delete(server, name).await?;
    }
    server.drain().await?;
    let found = graph::read(server, &left).await?;
    let (mut orphans, mut or_above, mut others) = (Rate::default(), Rate::default(), Rate::default());
    let mut given = 0;
    let mut errors = Vec::new();
    for (name, found) in &found {
        let entry = &truth.entries[name];
        if entry.is_adapter() || entry.parents.is_empty() {
            continue;
        }
        if entry.parents.iter().all(|parent| !is_gone(parent)) {
            others.add(has_right_parents(truth, name, found));
            continue;
        }
        let is_called = found.kind == "common-origin";
        let is_above = !found.parents.is_empty() && found.parents.iter().all(|parent| truth.descends(name, parent));
        orphans.add(is_called);
        or_above.add(is_called || is_above);
        if !is_called && !is_above {
            given += u32::from(found.is_certain);
            errors.push(describe(truth, name, found));
        }
    }
    print_note(&format!("without {}, and what computes the same", parents.join(" and ")));
    print_note(&format!("  their children called of common origin: {orphans}"));
    print_note(&format!("  or given to an ancestor further up: {or_above}"));
    print_note(&format!("  given to others and called certain: {given}"));
    print_note(&format!("  parents of the others: {others}"));
    errors.iter().for_each(|error| print_note(&format!("  wrong: {error}")));
    Ok(())
}

fn choose(truth: &Truth, gone: Gone) -> Vec<String> {
    let children = |name: &String| truth.entries.values().filter(|entry| entry.parents.contains(name)).count();
    let fits = |name: &&String| {
        let entry = &truth.entries[*name];
        let is_base = entry.parents.is_empty();
        match gone {
            Gone::Roots => is_base && children(name) > 3,
            Gone::Middle => !is_base && entry.class() != "copy",
        }
    };
    let mut names: Vec<String> = truth.entries.keys().filter(fits).cloned().collect();
    names.sort_by_key(|name| std::cmp::Reverse(children(name)));
    names.truncate(2);
    names
}
