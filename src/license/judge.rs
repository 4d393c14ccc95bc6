//! The engine: walks a model's ancestors, gathers the licenses it carries, and applies the rules.
//!
//! Pure and deterministic: equal input gives equal output, byte for byte.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::{
    Finding, Judgement, Severity,
    catalogue::Catalogue,
    graph::{Certainty, Graph, Link, ModelFacts},
    label::{self, Resolved},
    rules,
};
use crate::lineage::Relation;

/// How an ancestor's terms reach a model; the weakest edge of a path decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Its weights are in the model.
    Weights,
    /// The model is parameters beside it.
    Adapter,
    /// The model was trained on its outputs.
    Output,
}

/// A license that reaches the model, by its shortest path.
#[derive(Debug, Clone)]
pub struct Carried {
    /// Index in the catalogue.
    pub license: usize,
    /// How it reaches the model.
    pub mode: Mode,
    /// Indices of models, from the model to the ancestor.
    pub path: Vec<usize>,
    /// Relation of the first step.
    pub relation: Relation,
    /// A step of the path is only detected, or its relation is not said.
    pub is_uncertain: bool,
}

/// What the walk found above a model.
#[derive(Debug, Default)]
pub struct Above {
    /// Carried licenses by key and mode.
    pub carried: Vec<Carried>,
    /// Ancestors in a weights path that have no license.
    pub unlabeled: Vec<Vec<usize>>,
    /// Parents that the weights contradict.
    pub contradicted: Vec<usize>,
    /// The model is among its own ancestors.
    pub in_cycle: bool,
    /// Whether any ancestor exists.
    pub has_ancestors: bool,
}

/// A graph prepared for judging: each model's label resolved once.
pub struct Engine<'a> {
    /// The licenses.
    pub catalogue: &'a Catalogue,
    /// The models.
    pub graph: &'a Graph,
    /// Each model's resolved label.
    pub resolved: Vec<Resolved>,
}

impl<'a> Engine<'a> {
    /// Resolves all labels.
    pub fn new(catalogue: &'a Catalogue, graph: &'a Graph) -> Self {
        let resolve = |model: &ModelFacts| {
            let mut resolved = label::resolve(catalogue, &model.labels, model.license_name.as_deref());
            if let Some(own) = catalogue.published_by_licensor(&model.id)
                && !resolved.known.contains(&own)
            {
                // The licensor's own release: its terms hold whatever the label says.
                resolved.unresolved.clear();
                resolved.known.push(own);
            }
            resolved
        };
        let resolved = graph.models.iter().map(resolve).collect();
        Self { catalogue, graph, resolved }
    }

    /// Judges one model.
    pub fn judge(&self, model: usize) -> Judgement {
        let facts = &self.graph.models[model];
        let above = self.walk(model);
        let mut findings = rules::about_label(self, model, &above);
        for carried in &above.carried {
            findings.extend(rules::about_carried(self, model, carried, &above));
        }
        findings.extend(rules::about_lineage(self, model, &above));
        if facts.is_private {
            findings = put_to_sleep(findings, &facts.id);
        }
        let findings = tidy(findings);
        Judgement {
            id: facts.id.clone(),
            declared: (!facts.labels.is_empty()).then(|| facts.labels.join(", ")),
            expression: self.expression(model, &above),
            position: self.position(model, &above, &findings),
            obligations: rules::obligations(self, model, &above),
            findings,
        }
    }

    /// Names of the models of a path.
    pub fn names(&self, path: &[usize]) -> Vec<String> {
        path.iter().map(|index| self.graph.models[*index].id.clone()).collect()
    }

    /// Walks the ancestors breadth first; ties go by name. The first path to an ancestor in a mode is its shortest.
    fn walk(&self, model: usize) -> Above {
        let mut above = Above::default();
        let mut seen = HashSet::from([(model, Mode::Weights)]);
        let mut best: BTreeMap<(usize, Mode), Carried> = BTreeMap::new();
        let mut queue = VecDeque::from([(model, Mode::Weights, vec![model], None::<Relation>, false)]);
        while let Some((at, mode, path, first, uncertain)) = queue.pop_front() {
            let mut edges: Vec<_> = self.graph.parents[at].iter().collect();
            edges.sort_by(|a, b| self.graph.models[a.parent].id.cmp(&self.graph.models[b.parent].id));
            for edge in edges {
                if edge.is_contradicted {
                    above.contradicted.extend((at == model).then_some(edge.parent));
                    continue;
                }
                above.in_cycle |= edge.parent == model;
                let mode = mode.max(mode_of(edge.link));
                if edge.parent == model || !seen.insert((edge.parent, mode)) {
                    continue;
                }
                above.has_ancestors = true;
                let mut path = path.clone();
                path.push(edge.parent);
                let relation = first.unwrap_or(relation_of(edge.link));
                let uncertain =
                    uncertain || edge.certainty == Certainty::Detected || edge.link == Link::Made(Relation::Unknown);
                self.contribute(model, mode, &path, relation, uncertain, &mut best, &mut above);
                queue.push_back((edge.parent, mode, path, Some(relation), uncertain));
            }
        }
        above.carried = best.into_values().collect();
        above
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one walk, used nowhere else")]
    fn contribute(
        &self,
        model: usize,
        mode: Mode,
        path: &[usize],
        relation: Relation,
        is_uncertain: bool,
        best: &mut BTreeMap<(usize, Mode), Carried>,
        above: &mut Above,
    ) {
        let ancestor = path[path.len() - 1];
        let resolved = &self.resolved[ancestor];
        if resolved.is_empty() && mode == Mode::Weights {
            above.unlabeled.push(path.to_vec());
        }
        for license in resolved.known.iter().copied().filter(|_| !resolved.is_choice || resolved.known.len() == 1) {
            if self.is_exempt(model, ancestor, license) {
                continue;
            }
            // A stronger mode makes a weaker one superfluous.
            let has_stronger = best.range((license, Mode::Weights)..(license, mode)).next().is_some();
            if !has_stronger {
                let carried = Carried { license, mode, path: path.to_vec(), relation, is_uncertain };
                best.entry((license, mode)).or_insert(carried);
            }
        }
    }

    /// A licensor is not bound by its own license; for general licenses, neither is the ancestor's own namespace.
    fn is_exempt(&self, model: usize, ancestor: usize, license: usize) -> bool {
        let id = &self.graph.models[model].id;
        if self.catalogue.published_by_licensor(id) == Some(license) {
            return true;
        }
        let namespace = |id: &str| id.split('/').next().unwrap_or_default().to_lowercase();
        let is_own = namespace(id) == namespace(&self.graph.models[ancestor].id);
        is_own && !self.catalogue.licenses[license].has_one_licensor()
    }

    fn expression(&self, model: usize, above: &Above) -> Option<String> {
        let own = self.resolved[model].known.iter().copied();
        let binding = above.carried.iter().filter(|c| !self.catalogue.licenses[c.license].is_permissive());
        let mut names: Vec<String> = Vec::new();
        for license in own.chain(binding.map(|carried| carried.license)) {
            let name = self.catalogue.licenses[license].expression();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for label in &self.resolved[model].unread {
            names.push(label.clone());
        }
        for label in &self.resolved[model].unresolved {
            names.push(format!("LicenseRef-{label}"));
        }
        let operator = if self.resolved[model].is_choice && above.carried.is_empty() { " OR " } else { " AND " };
        (!names.is_empty()).then(|| names.join(operator))
    }

    fn position(&self, model: usize, above: &Above, findings: &[Finding]) -> String {
        let knows_nothing = self.resolved[model].is_empty() && above.carried.is_empty();
        if knows_nothing {
            return "unknown".to_owned();
        }
        findings.iter().map(|finding| finding.severity).max().map_or("clear", Severity::as_str).to_owned()
    }
}

fn relation_of(link: Link) -> Relation {
    match link {
        Link::Made(relation) => relation,
        _ => Relation::Unknown,
    }
}

fn mode_of(link: Link) -> Mode {
    match link {
        Link::Made(Relation::Adapter) => Mode::Adapter,
        Link::Made(Relation::Distill) => Mode::Output,
        _ => Mode::Weights,
    }
}

/// Duties of distribution sleep while a model is private; limits on use stay.
fn put_to_sleep(findings: Vec<Finding>, id: &str) -> Vec<Finding> {
    let stays = |finding: &Finding| matches!(finding.rule.as_str(), "NC_USE" | "OUTPUT_BAN" | "CYCLE");
    let (mut awake, asleep): (Vec<_>, Vec<_>) = findings.into_iter().partition(stays);
    if let Some(first) = asleep.first() {
        awake.push(Finding {
            rule: "PRIVATE_DORMANT".to_owned(),
            severity: Severity::Notice,
            about: first.license.clone().unwrap_or_else(|| id.to_owned()),
            message: format!("{} findings would wake if this private model were published", asleep.len()),
            license: first.license.clone(),
            section: first.section.clone(),
            path: first.path.clone(),
            remedy: "judge again before publishing".to_owned(),
            waiver: None,
        });
    }
    awake
}

/// One finding per rule, subject and end of path; the gravest first.
fn tidy(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| (b.severity, &a.rule, &a.about, &a.path).cmp(&(a.severity, &b.rule, &b.about, &b.path)));
    let mut seen = HashSet::new();
    findings.retain(|f| seen.insert((f.rule.clone(), f.about.clone(), f.path.last().cloned())));
    findings
}
