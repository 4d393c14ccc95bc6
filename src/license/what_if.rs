//! What a model would be: before it is trained, from its parents, its intended license and its name.
//!
//! Besides the judgement it tells what would be clear, by trying labels, names and files; what remains even so is said.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Finding, Judgement, Severity,
    catalogue::Catalogue,
    graph::{Certainty, Edge, FileFacts, Graph, LicenseText, Link, ModelFacts},
    judge::Engine,
    profile::Terms,
};

/// A model that does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `namespace/name`.
    pub name: String,
    /// The intended label; `None`: none.
    pub license: Option<String>,
    /// Models it would be made from, and how.
    pub parents: Vec<(String, Link)>,
}

/// Why a plan cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A parent that does not exist.
    #[error("model `{0}` does not exist")]
    UnknownParent(String),
    /// The name of one of the ancestors.
    #[error("`{0}` is among the ancestors that the plan names: choose another name")]
    NameOfAncestor(String),
}

/// What a model would be, and what would be clear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Answer {
    /// The model as planned; its files are not known.
    pub judgement: Judgement,
    /// What to do instead, or besides.
    pub advice: Advice,
}

/// What would be clear, or as near to it as one can come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Advice {
    /// The label to declare.
    pub license: Option<String>,
    /// The name to give.
    pub name: String,
    /// What to ship with the weights.
    pub ships: Vec<Ship>,
    /// The position that all of this would have.
    pub position: String,
    /// What remains even so, notices apart.
    pub remains: Vec<Finding>,
}

/// Something to ship.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Ship {
    /// `LICENSE`, `NOTICE` or `README.md`.
    pub file: String,
    /// What must stand in it: the name of a license text, a line, a phrase.
    pub content: String,
    /// Key of the license that asks for it.
    pub license: String,
    /// The clause.
    pub section: String,
}

/// Judges a plan over existing models.
pub fn what_if(catalogue: &Catalogue, graph: &Graph, plan: &Plan, terms: &Terms) -> Result<Answer, Error> {
    let trial = Trial::new(catalogue, graph, plan, terms)?;
    let planned = trial.judge(plan.license.as_deref(), &plan.name, None);
    let license = trial.best_label(plan, &planned);
    let name = trial.best_name(plan, license.as_deref());
    let settled = trial.judge(license.as_deref(), &name, None);
    let ships = ships(catalogue, &settled);
    let files = files(&ships);
    let judged = trial.judge(license.as_deref(), &name, Some(files));
    let remains = judged.findings.into_iter().filter(|finding| finding.severity > Severity::Notice).collect();
    let advice = Advice { license, name, ships, position: judged.position, remains };
    Ok(Answer { judgement: planned, advice })
}

/// The ancestors of a plan, to which the planned model is added.
struct Trial<'a> {
    catalogue: &'a Catalogue,
    graph: Graph,
    edges: Vec<Edge>,
    terms: &'a Terms,
}

impl<'a> Trial<'a> {
    fn new(catalogue: &'a Catalogue, graph: &Graph, plan: &Plan, terms: &'a Terms) -> Result<Self, Error> {
        let mut places: HashMap<usize, usize> = HashMap::new();
        let mut part = Graph::default();
        let mut open: Vec<usize> = Vec::new();
        let mut edges = Vec::new();
        for (id, link) in &plan.parents {
            let found = graph.models.iter().position(|model| model.id.eq_ignore_ascii_case(id));
            let parent = found.ok_or_else(|| Error::UnknownParent(id.clone()))?;
            let parent = copy(graph, parent, &mut part, &mut places, &mut open);
            edges.push(Edge { parent, link: *link, certainty: Certainty::Declared, is_contradicted: false });
        }
        while let Some(model) = open.pop() {
            for edge in &graph.parents[model] {
                let parent = copy(graph, edge.parent, &mut part, &mut places, &mut open);
                part.parents[places[&model]].push(Edge { parent, ..*edge });
            }
        }
        if part.models.iter().any(|model| model.id.eq_ignore_ascii_case(&plan.name)) {
            return Err(Error::NameOfAncestor(plan.name.clone()));
        }
        Ok(Self { catalogue, graph: part, edges, terms })
    }

    fn judge(&self, license: Option<&str>, name: &str, files: Option<FileFacts>) -> Judgement {
        let mut graph = self.graph.clone();
        let subject = graph.models.len();
        graph.models.push(ModelFacts {
            id: name.to_owned(),
            labels: license.map(str::to_owned).into_iter().collect(),
            files,
            ..ModelFacts::default()
        });
        graph.parents.push(self.edges.clone());
        Engine::new(self.catalogue, &graph).judge(subject, self.terms)
    }

    /// The intended label where it is as good as any, else the one with the mildest findings.
    fn best_label(&self, plan: &Plan, planned: &Judgement) -> Option<String> {
        let mut keys: Vec<&str> = planned.obligations.iter().map(|duty| duty.license.as_str()).collect();
        keys.extend(planned.findings.iter().filter_map(|finding| finding.license.as_deref()));
        keys.sort_unstable();
        keys.dedup();
        let binds = |key: &&str| self.catalogue.find_by_key(key).is_some_and(|license| !license.is_permissive());
        let restricted: Vec<&str> = keys.iter().copied().filter(binds).collect();
        let mut labels: Vec<String> = plan.license.iter().cloned().collect();
        labels.extend(keys.iter().map(|key| (*key).to_owned()));
        labels.push(restricted.join(" AND "));
        if let Some(own) = &plan.license {
            let all: Vec<&str> = std::iter::once(own.as_str()).chain(restricted).collect();
            labels.push(all.join(" AND "));
        }
        labels.retain(|label| !label.is_empty());
        let weight = |label: &String| weigh(&self.judge(Some(label), &plan.name, None));
        labels
            .into_iter()
            .map(|label| (weight(&label), label))
            .min_by_key(|(weight, _)| *weight)
            .map(|(_, label)| label)
    }

    /// The intended name where it is as good as any, else one that begins as a license asks.
    fn best_name(&self, plan: &Plan, license: Option<&str>) -> String {
        let (namespace, name) = plan.name.split_once('/').unwrap_or(("", &plan.name));
        let mut prefixes: Vec<&str> =
            self.catalogue.licenses.iter().filter_map(|l| l.traits.name_prefix.as_deref()).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let with = |prefix: &&str| format!("{namespace}/{}-{name}", prefix.replace(' ', "-"));
        let names = std::iter::once(plan.name.clone()).chain(prefixes.iter().map(with));
        let weight = |name: &String| weigh(&self.judge(license, name, None));
        names
            .map(|name| (weight(&name), name))
            .min_by_key(|(weight, _)| *weight)
            .map_or(plan.name.clone(), |(_, name)| name)
    }
}

fn copy(
    graph: &Graph,
    model: usize,
    part: &mut Graph,
    places: &mut HashMap<usize, usize>,
    open: &mut Vec<usize>,
) -> usize {
    *places.entry(model).or_insert_with(|| {
        part.models.push(graph.models[model].clone());
        part.parents.push(Vec::new());
        open.push(model);
        part.models.len() - 1
    })
}

fn weigh(judgement: &Judgement) -> [usize; 3] {
    let count = |severity| judgement.findings.iter().filter(|finding| finding.severity == severity).count();
    [Severity::Violation, Severity::Incomplete, Severity::Review].map(count)
}

/// What the duties of a judgement ask to be shipped.
fn ships(catalogue: &Catalogue, judgement: &Judgement) -> Vec<Ship> {
    let mut ships = Vec::new();
    for duty in &judgement.obligations {
        let Some(license) = catalogue.find_by_key(&duty.license) else { continue };
        let (file, content) = match duty.id.as_str() {
            "license-copy" => ("LICENSE", license.name.clone()),
            "notice" => match &license.traits.notice {
                Some(notice) if !notice.is_conditional => ("NOTICE", notice.line.clone()),
                _ => continue,
            },
            "display" => match license.traits.phrases.first() {
                Some(phrase) => ("README.md", phrase.clone()),
                None => continue,
            },
            _ => continue,
        };
        let (license, section) = (duty.license.clone(), duty.section.clone());
        ships.push(Ship { file: file.to_owned(), content, license, section });
    }
    ships
}

/// Files in which all of this stands.
fn files(ships: &[Ship]) -> FileFacts {
    let joined = |file: &str| {
        let lines = ships.iter().filter(|ship| ship.file == file).map(|ship| ship.content.as_str());
        lines.collect::<Vec<_>>().join("\n")
    };
    let texts = ships.iter().filter(|ship| ship.file == "LICENSE");
    FileFacts {
        license_texts: texts
            .map(|ship| LicenseText { path: "LICENSE".to_owned(), key: Some(ship.license.clone()) })
            .collect(),
        notice: joined("NOTICE"),
        readme: joined("README.md"),
    }
}
