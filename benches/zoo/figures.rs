//! How well what a server found agrees with the truth.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    graph::{Found, Graph},
    rate::Rate,
    truth::Truth,
};

/// Exchanges the names of what weights cannot tell apart: an original and its copy, the two members of a family. Returns
/// the graph under the exchanged names, and the pairs.
pub(super) fn relabeled(truth: &Truth, graph: &Graph) -> (Graph, Vec<String>) {
    let mut names: BTreeMap<String, String> = graph.keys().map(|name| (name.clone(), name.clone())).collect();
    let mut swapped = Vec::new();
    for (name, found) in graph {
        let mut parents = found.parents.iter();
        let (Some(parent), None, Some(entry)) = (parents.next(), parents.next(), truth.entries.get(name)) else {
            continue;
        };
        // Copies of a copy lead to the one that took the original's place.
        let parent = top(graph, parent);
        let is_copy = truth.original(parent) == *name && found.class() == "copy";
        let is_pair = truth.family_size(&entry.family) == 2 && truth.parents(parent).contains(name);
        let (Some(own), Some(other)) = (names.get(name).cloned(), names.get(parent).cloned()) else { continue };
        if is_copy || is_pair {
            names.insert(name.clone(), other);
            names.insert(parent.clone(), own);
            swapped.push(format!("{name} and {parent}"));
        }
    }
    let renamed = |name: &String| names.get(name).unwrap_or(name).clone();
    let renamed_all = |names: &BTreeSet<String>| names.iter().map(renamed).collect();
    let graph = graph.iter().map(|(name, found)| {
        let found = Found {
            parents: renamed_all(&found.parents),
            related: renamed_all(&found.related),
            shared_start: renamed_all(&found.shared_start),
            weights: found.weights.iter().map(|(name, weight)| (renamed(name), *weight)).collect(),
            ..found.clone()
        };
        (renamed(name), found)
    });
    (graph.collect(), swapped)
}

/// The model at the beginning of a line of copies.
fn top<'a>(graph: &'a Graph, name: &'a String) -> &'a String {
    let mut at = name;
    for _ in 0..graph.len() {
        match graph.get(at).filter(|found| found.class() == "copy").and_then(|found| found.parents.first()) {
            Some(parent) => at = parent,
            None => break,
        }
    }
    at
}

/// Counts of right and wrong.
#[derive(Default)]
pub(super) struct Figures {
    /// Of pairs that are called related, those of one family; of pairs of one family, those called related.
    precision: Rate,
    recall: Rate,
    /// Pairs that are said to share no more than their random start.
    shared_start: u32,
    parents: Rate,
    finetunes: Rate,
    relation: Rate,
    direction: Rate,
    /// By class: right, missed, given wrongly.
    classes: BTreeMap<String, [u32; 3]>,
    coefficients: Vec<f64>,
    attacks: Rate,
    adapters: Rate,
    /// A line for each error.
    errors: Vec<String>,
}

impl Figures {
    /// Compares a graph with the truth.
    pub(super) fn of(truth: &Truth, graph: &Graph) -> Self {
        let mut figures = Self::default();
        figures.count_pairs(truth, graph);
        for (name, found) in graph {
            match truth.entries.get(name) {
                Some(entry) if entry.is_adapter() => figures.count_adapter(truth, name, found),
                Some(_) => figures.count_model(truth, name, found),
                None => {}
            }
        }
        figures
    }

    fn count_pairs(&mut self, truth: &Truth, graph: &Graph) {
        let mut missed: Vec<(&String, &String)> = Vec::new();
        let models: Vec<(&String, &Found)> = graph.iter().filter(|(name, _)| is_whole(truth, name)).collect();
        for (at, (a, found)) in models.iter().enumerate() {
            for (b, other) in &models[..at] {
                let is_related = found.related.contains(*b) || other.related.contains(*a);
                let is_family = truth.entries[*a].family == truth.entries[*b].family;
                if found.shared_start.contains(*b) || other.shared_start.contains(*a) {
                    self.shared_start += 1;
                }
                if is_related {
                    self.precision.add(is_family);
                }
                if is_family {
                    self.recall.add(is_related);
                    missed.extend((!is_related).then_some((*a, *b)));
                }
                if is_related && !is_family {
                    self.errors.push(format!("{a} and {b} are unrelated and called related"));
                }
                let is_attack = |attack: &str, base: &str| {
                    truth.entries[attack].kind == "reparam" && truth.parents(attack).contains(base)
                };
                if is_attack(a, b) || is_attack(b, a) {
                    self.attacks.add(is_related);
                }
            }
        }
        self.describe_missed(missed);
    }

    /// A line for each model that explains most of the pairs that were missed.
    fn describe_missed(&mut self, mut missed: Vec<(&String, &String)>) {
        while !missed.is_empty() {
            let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
            missed.iter().flat_map(|(a, b)| [*a, *b]).for_each(|name| *counts.entry(name).or_default() += 1);
            let Some((name, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return };
            let is_here = |(a, b): &(&String, &String)| *a == name || *b == name;
            let (here, rest): (Vec<_>, Vec<_>) = missed.into_iter().partition(is_here);
            let others = here.iter().map(|(a, b)| if *a == name { b.as_str() } else { a.as_str() });
            let others: Vec<&str> = others.take(6).collect();
            self.errors
                .push(format!("{name} is not related to {count} of its family, among them {}", others.join(", ")));
            missed = rest;
        }
    }

    fn count_adapter(&mut self, truth: &Truth, name: &str, found: &Found) {
        let family = &truth.entries[name].family;
        let is_right = found.parents.iter().any(|base| truth.entries.get(base).is_some_and(|e| e.family == *family));
        self.adapters.add(is_right);
        if !is_right {
            let Found { parents, reason, .. } = found;
            self.errors.push(format!("{name} adapter of family {family}: got {parents:?}: {reason}"));
        }
    }

    fn count_model(&mut self, truth: &Truth, name: &str, found: &Found) {
        let entry = &truth.entries[name];
        let wanted = truth.parents(name);
        let is_right = has_right_parents(truth, name, found);
        let (class, got) = (entry.class().to_owned(), found.class().to_owned());
        let is_same = class == got;
        if !wanted.is_empty() {
            self.parents.add(is_right);
            if entry.kind == "finetune" {
                self.finetunes.add(is_right);
            }
            let is_backwards = found.parents.iter().any(|parent| truth.ancestors(parent).contains(name));
            self.direction.add(!is_backwards && !found.parents.is_empty());
        }
        self.relation.add(is_same);
        if is_same {
            self.classes.entry(class).or_default()[0] += 1;
        } else {
            self.classes.entry(class).or_default()[1] += 1;
            self.classes.entry(got).or_default()[2] += 1;
        }
        let errors = found.weights.iter().filter_map(|(parent, weight)| {
            truth.coefficient(name, parent).map(|coefficient| (weight - coefficient).abs())
        });
        self.coefficients.extend(errors);
        if !is_right || !is_same {
            self.errors.push(describe(truth, name, found));
        }
    }

    fn macro_f1(&self) -> f64 {
        let f1 = |[hit, missed, wrong]: &[u32; 3]| {
            let (hit, off) = (f64::from(*hit), f64::from(missed + wrong));
            if hit > 0.0 { 2.0 * hit / (2.0 * hit + off) } else { 0.0 }
        };
        mean(self.classes.values().map(f1))
    }

    /// Each figure with its name.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let relation = format!("{}, macro-F1 {:.3}", self.relation, self.macro_f1());
        let coefficients = format!("{:.4} (n = {})", mean(self.coefficients.iter().copied()), self.coefficients.len());
        vec![
            ("pairs called related that are, precision", self.precision.to_string()),
            ("related pairs that are found, recall", self.recall.to_string()),
            ("pairs said to share their random start only", self.shared_start.to_string()),
            ("parents, exact set, equal copies as one", self.parents.to_string()),
            ("  of fine-tunes", self.finetunes.to_string()),
            ("relation", relation),
            ("direction", self.direction.to_string()),
            ("merge coefficients, mean error", coefficients),
            ("rewritten copies found related", self.attacks.to_string()),
            ("adapters given to their base's family", self.adapters.to_string()),
        ]
    }

    pub(super) fn errors(&self) -> &[String] {
        &self.errors
    }

    /// Pairs that are called related and are not.
    pub(super) fn accused(&self) -> u32 {
        self.precision.count - self.precision.hits
    }
}

fn is_whole(truth: &Truth, name: &str) -> bool {
    truth.entries.get(name).is_some_and(|entry| !entry.is_adapter())
}

/// Whether the parents found are those of the truth. What the changes of a merge are taken relative to may be named too.
pub(super) fn has_right_parents(truth: &Truth, name: &str, found: &Found) -> bool {
    let entry = &truth.entries[name];
    let wanted = truth.originals(&entry.parents);
    let mut got = truth.originals(&found.parents);
    if entry.kind == "merge" && wanted.is_subset(&got) {
        let is_base = |parent: &String| truth.entries.get(parent).is_some_and(|entry| entry.kind == "base");
        got.retain(|parent| wanted.contains(parent) || entry.merge_base.as_ref() != Some(parent) && !is_base(parent));
    }
    got == wanted
}

/// What was found instead of what is true.
pub(super) fn describe(truth: &Truth, name: &str, found: &Found) -> String {
    let entry = &truth.entries[name];
    let how = entry.method.as_deref().unwrap_or_default();
    format!(
        "{name} ({} {how}): {} of {:?}, got {} of {:?}: {}",
        entry.kind,
        entry.class(),
        entry.parents,
        found.kind,
        found.parents,
        found.reason
    )
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
