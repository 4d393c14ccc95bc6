//! What is wrong with the lineage itself, and with ancestors' own labels.

use std::collections::BTreeSet;

use super::{
    super::{
        Finding, Severity,
        graph::Certainty,
        judge::{Carried, Engine},
        label::Name,
        walk::{Class, Mode},
    },
    relicense,
    subject::{Case, Subject},
};

/// Rules about lineage.
pub(super) fn about(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    ancestors(subject, &mut findings);
    unconfirmed(subject, &mut findings);
    contradicted(subject, &mut findings);
    cycles(subject, &mut findings);
    laundered(subject, &mut findings);
    findings
}

fn at(subject: &Subject<'_>, visit: usize, finding: Finding) -> Finding {
    Finding { path: subject.engine.names(&subject.above.path(visit)), ..finding }
}

/// Ancestors without a license, and those whose label names no text.
fn ancestors(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for (visit, step) in subject.above.visits.iter().enumerate().skip(1) {
        let resolved = &subject.engine.resolved[step.model];
        let id = &subject.engine.graph.models[step.model].id;
        if resolved.is_empty() && step.class.mode == Mode::Weights && seen.insert(step.model) {
            let message = format!("the license of its ancestor `{id}` is not known");
            let remedy = "find out and declare the ancestor's license";
            let finding = subject.finding("ANCESTOR_LICENSE_UNKNOWN", Severity::Review, id, message, remedy);
            findings.push(at(subject, visit, finding));
        }
        let label = match (&resolved.broken, resolved.branches.first()) {
            (Some((label, _)), _) => Some(label),
            (None, Some(named)) => named.iter().find_map(|named| match &named.name {
                Name::Unlisted(name) => Some(name),
                Name::Known(_) => None,
            }),
            (None, None) => None,
        };
        let is_own = same_namespace(id, subject.id());
        if let Some(label) = label.filter(|_| !is_own && step.class.mode <= Mode::Output)
            && seen.insert(step.model)
        {
            let message =
                format!("the label `{label}` of its ancestor `{id}` names no license text that is known here");
            let remedy = "find out what it stands for, and add it to the catalogue";
            let finding = subject.finding("OTHER_UNRESOLVED", Severity::Review, id, message, remedy);
            findings.push(at(subject, visit, finding));
        }
    }
}

/// Names are compared without case.
pub(in super::super) fn same_namespace(one: &str, other: &str) -> bool {
    let namespace = |id: &str| id.split_once('/').map(|(namespace, _)| namespace.to_lowercase());
    namespace(one).is_some_and(|own| Some(own) == namespace(other))
}

/// Ancestors that only weights speak of.
fn unconfirmed(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let above = subject.above;
    let has_detected =
        |visit: usize| above.steps(visit).any(|step| step.depth > 0 && step.certainty == Certainty::Detected);
    for (visit, step) in above.visits.iter().enumerate().skip(1) {
        let is_first = step.certainty == Certainty::Detected && !has_detected(step.before);
        let is_declared = || {
            let same = |(other, visited): (usize, &super::super::walk::Visit)| {
                other > 0 && visited.model == step.model && !has_detected(other)
            };
            above.visits.iter().enumerate().any(same)
        };
        if !is_first || is_declared() {
            continue;
        }
        let id = &subject.engine.graph.models[step.model].id;
        let message = format!("that it comes from `{id}` was found in the weights, and nobody declared it");
        let remedy = "confirm the link, or say why it is wrong";
        let finding = subject.finding("EDGE_UNCONFIRMED", Severity::Review, id, message, remedy);
        findings.push(at(subject, visit, finding));
    }
}

fn contradicted(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let graph = subject.engine.graph;
    let edges = graph.parents.get(subject.model).map(Vec::as_slice).unwrap_or_default();
    for edge in edges.iter().filter(|edge| edge.is_contradicted) {
        let parent = &graph.models[edge.parent].id;
        let message = format!("the weights contradict `{parent}` as a parent: its terms are not passed on");
        let remedy = "correct the card's `base_model`";
        let mut finding = subject.finding("EDGE_CONTRADICTED", Severity::Notice, parent, message, remedy);
        finding.path.push(parent.clone());
        findings.push(finding);
    }
}

fn cycles(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    let engine = subject.engine;
    let mut seen = BTreeSet::new();
    for (visit, step) in subject.above.visits.iter().enumerate() {
        let Some(first) = engine.ways.cycle_of.get(&step.model).copied() else { continue };
        if !seen.insert(first) {
            continue;
        }
        let id = &engine.graph.models[first].id;
        let whose = if visit == 0 { "its lineage" } else { "the lineage of an ancestor" };
        let name = |model: usize| engine.graph.models[model].id.as_str();
        let cut = engine.ways.cut.get(&first);
        let place = cut.map(|(child, parent)| format!(", between `{}` and `{}`", name(*child), name(*parent)));
        let message = format!(
            "{whose} leads in a circle through `{id}`: it was cut at its least certain link{}",
            place.unwrap_or_default()
        );
        let finding = subject.finding("CYCLE", Severity::Review, id, message, "correct the parents that cards declare");
        findings.push(at(subject, visit, finding));
    }
}

/// Ancestors that dropped terms before the model: the one nearest to the origin is the cause.
fn laundered(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for carried in subject.carried.iter().filter(|carried| carried.class.mode == Mode::Weights) {
        // The steps between, from the origin down.
        let mut place = subject.above.visits[carried.visit].before;
        while subject.above.visits[place].depth > 0 {
            let visit = place;
            place = subject.above.visits[visit].before;
            let middle = subject.above.visits[visit].model;
            if !drops(subject, middle, carried) {
                continue;
            }
            let id = &subject.engine.graph.models[middle].id;
            let license = subject.license(carried.license);
            let message = format!("`{id}` dropped the terms of {} before this model was made from it", license.name);
            let remedy = "ask its owner to correct the label; the terms hold here whatever it says";
            let finding = subject.finding("LAUNDERED_UPSTREAM", Severity::Notice, id, message, remedy);
            let finding = Finding { license: Some(license.key.clone()), ..finding };
            findings.push(at(subject, visit, finding));
            break;
        }
    }
}

fn drops(subject: &Subject<'_>, middle: usize, carried: &Carried) -> bool {
    let engine: &Engine<'_> = subject.engine;
    let resolved = &engine.resolved[middle];
    let Some(own) = resolved.branches.first() else { return false };
    let origin = subject.above.visits[carried.visit].model;
    if engine.is_exempt(middle, origin, carried.license) {
        return false;
    }
    let is_dropped = |own: &[super::super::label::Named]| {
        let class = Class { is_uncertain: false, ..carried.class };
        let seen = Carried { class, ..carried.clone() };
        let there = Subject { model: middle, own, label: own, carried: &[], ..*subject };
        relicense::drops(&Case { subject: &there, carried: &seen, license: subject.license(carried.license) })
    };
    resolved.branches.iter().all(|branch| is_dropped(branch)) && !own.is_empty()
}
