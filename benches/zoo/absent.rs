//! Takes parents and all that computes the same out of a registry, and counts what becomes of their children.

use super::{
    figures::{describe, has_right_parents},
    graph::{self, Graph},
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

/// Deletes the parents one after the other, and prints each time what their children are called then.
pub(super) async fn run(server: &Server, truth: &Truth, gone: Gone) -> anyhow::Result<()> {
    let mut all: Vec<String> = Vec::new();
    for parent in choose(truth, gone) {
        all.push(parent.clone());
        let copies = truth.entries.keys().filter(|name| truth.original(name) == parent);
        for name in copies {
            graph::delete(server, name).await?;
        }
        server.drain().await?;
        let is_left = |name: &&String| !all.contains(&truth.original(name));
        let left: Vec<String> = truth.entries.keys().filter(is_left).cloned().collect();
        let found = graph::read(server, &left).await?;
        print_children(truth, &parent, &all, &found);
    }
    Ok(())
}

fn print_children(truth: &Truth, parent: &str, gone: &[String], found: &Graph) {
    let is_gone = |name: &String| gone.contains(&truth.original(name));
    let is_of_parent = |name: &String| truth.original(name) == parent;
    let (mut orphans, mut or_above, mut others) = (Rate::default(), Rate::default(), Rate::default());
    let mut given = 0;
    let mut errors = Vec::new();
    for (name, found) in found {
        let entry = &truth.entries[name];
        if entry.is_adapter() || entry.parents.is_empty() {
            continue;
        }
        if !entry.parents.iter().any(is_gone) {
            others.add(has_right_parents(truth, name, found));
        }
        if !entry.parents.iter().any(is_of_parent) {
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
    print_note(&format!("without {}, and what computes the same", gone.join(" and ")));
    print_note(&format!("  children of {parent} called of common origin: {orphans}"));
    print_note(&format!("  or given to an ancestor further up: {or_above}"));
    print_note(&format!("  given to others and called certain: {given}"));
    print_note(&format!("  parents of those whose parents are here: {others}"));
    errors.iter().for_each(|error| print_note(&format!("  wrong: {error}")));
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
