//! The form of a graph file.

use std::collections::HashMap;

use serde::Deserialize;

use super::{
    super::{
        catalogue::Catalogue,
        graph::{Certainty, Edge, FileFacts, Graph, LicenseText, Link, ModelFacts},
        label::normalize,
        profile::{Policy, Profile, Terms},
        text,
    },
    Offline,
};

/// Why a graph file cannot be read, with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Error {
    /// Line and column, or the path to the value.
    pub place: String,
    /// What is wrong, and what was expected.
    pub what: String,
}

#[derive(Deserialize)]
struct File {
    models: Vec<Model>,
    #[serde(default)]
    edges: Option<Vec<Link_>>,
    #[serde(default)]
    profile: Option<Profile>,
    #[serde(default)]
    policy: Option<Policy>,
    #[serde(default)]
    subject: Option<String>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    #[serde(default)]
    license: Option<Labels>,
    #[serde(default)]
    license_name: Option<String>,
    #[serde(default)]
    license_link: Option<String>,
    #[serde(default)]
    multimodal: Option<bool>,
    #[serde(default)]
    files: Option<Files>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a license is a string, a list of strings, or null")]
enum Labels {
    One(String),
    Many(Vec<Option<String>>),
}

#[derive(Deserialize)]
struct Files {
    #[serde(default)]
    license_texts: Option<Vec<String>>,
    #[serde(default)]
    notice: Option<String>,
    #[serde(default)]
    readme: Option<String>,
}

#[derive(Deserialize)]
struct Link_ {
    child: String,
    parent: String,
    #[serde(default)]
    relation: Option<String>,
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    verdict: Option<String>,
}

/// The longest id; longer ones are no names.
const MAX_ID: usize = 500;

pub(super) fn parse(catalogue: &Catalogue, text: &str) -> Result<Offline, Error> {
    let file: File = serde_json::from_str(text).map_err(|error| syntax(&error))?;
    let mut graph = Graph::default();
    let mut places: HashMap<String, usize> = HashMap::with_capacity(file.models.len());
    for (number, model) in file.models.into_iter().enumerate() {
        let place = || format!("models[{number}].id");
        check_id(&model.id, place)?;
        if let Some(other) = places.insert(model.id.to_lowercase(), number) {
            let what = format!("`{}` is there twice, first as models[{other}]", short(&model.id));
            return Err(Error { place: place(), what });
        }
        graph.models.push(facts(catalogue, model));
    }
    let recorded = graph.models.len();
    graph.parents = vec![Vec::new(); recorded];
    for (number, link) in file.edges.unwrap_or_default().into_iter().enumerate() {
        let place = |field: &str| format!("edges[{number}].{field}");
        check_id(&link.child, || place("child"))?;
        check_id(&link.parent, || place("parent"))?;
        let edge = edge(&link, &place)?;
        let child = find_or_add(&mut graph, &mut places, &link.child);
        let parent = find_or_add(&mut graph, &mut places, &link.parent);
        graph.parents[child].push(Edge { parent, ..edge });
    }
    let subjects = match file.subject {
        None => (0..recorded).collect(),
        Some(subject) => {
            let found = places.get(&subject.to_lowercase()).copied().filter(|found| *found < recorded);
            let what = || format!("`{}` is not the id of one of the models", short(&subject));
            vec![found.ok_or_else(|| Error { place: "subject".to_owned(), what: what() })?]
        }
    };
    let terms = Terms { profile: file.profile.unwrap_or_default(), policy: file.policy.unwrap_or_default() };
    Ok(Offline { graph, terms, subjects })
}

fn syntax(error: &serde_json::Error) -> Error {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text).to_owned();
    Error { place: format!("line {}, column {}", error.line(), error.column()), what }
}

fn check_id(id: &str, place: impl Fn() -> String) -> Result<(), Error> {
    let is_name = !id.trim().is_empty() && id.len() <= MAX_ID && !id.chars().any(char::is_control);
    let what = || format!("expected the id of a model, `namespace/name`, not `{}`", short(id));
    if is_name { Ok(()) } else { Err(Error { place: place(), what: what() }) }
}

fn short(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

fn find_or_add(graph: &mut Graph, places: &mut HashMap<String, usize>, id: &str) -> usize {
    let key = id.to_lowercase();
    if let Some(found) = places.get(&key) {
        return *found;
    }
    let place = graph.models.len();
    graph.models.push(ModelFacts { id: id.to_owned(), ..ModelFacts::default() });
    graph.parents.push(Vec::new());
    places.insert(key, place);
    place
}

fn edge(link: &Link_, place: &impl Fn(&str) -> String) -> Result<Edge, Error> {
    let wrong = |field: &str, word: &str, expected: &str| Error {
        place: place(field),
        what: format!("`{}` is not one of {expected}", short(word)),
    };
    let relations = "finetune, adapter, adapter_merged, merge, quantized, copy, pruned, extended, distill, trained_on, \
                     generated_by, architecture, tokenizer, weight_diff, unspecified, unknown";
    let word = link.relation.as_deref().unwrap_or("unspecified");
    let kind: Link = word.parse().map_err(|_| wrong("relation", word, relations))?;
    let origin = link.origin.as_deref().unwrap_or("declared");
    let is_declared = match origin {
        "declared" => true,
        "detected" | "inferred" => false,
        other => return Err(wrong("origin", other, "declared, inferred, detected")),
    };
    let verdict = link.verdict.as_deref().unwrap_or("pending");
    let certainty = match verdict {
        "confirmed" | "confirmed_family" | "contradicted" | "unverifiable" | "pending" if !is_declared => {
            Certainty::Detected
        }
        "confirmed" | "confirmed_family" => Certainty::Confirmed,
        "unverifiable" => Certainty::Unverifiable,
        "pending" | "contradicted" => Certainty::Declared,
        other => {
            let verdicts = "confirmed, confirmed_family, contradicted, unverifiable, pending";
            return Err(wrong("verdict", other, verdicts));
        }
    };
    Ok(Edge { parent: 0, link: kind, certainty, is_contradicted: verdict == "contradicted" })
}

fn facts(catalogue: &Catalogue, model: Model) -> ModelFacts {
    let labels = match model.license {
        None => Vec::new(),
        Some(Labels::One(label)) => vec![label],
        Some(Labels::Many(labels)) => labels.into_iter().flatten().collect(),
    };
    ModelFacts {
        id: model.id,
        labels,
        license_name: model.license_name,
        license_link: model.license_link,
        is_multimodal: model.multimodal,
        files: model.files.map(|files| FileFacts {
            license_texts: files
                .license_texts
                .unwrap_or_default()
                .iter()
                .map(|text| shipped(catalogue, text))
                .collect(),
            notice: files.notice.unwrap_or_default(),
            readme: files.readme.unwrap_or_default(),
        }),
        ..ModelFacts::default()
    }
}

/// A license text is given as a whole, or by the key of its license.
fn shipped(catalogue: &Catalogue, given: &str) -> LicenseText {
    let is_name = given.len() <= 100 && !given.contains('\n');
    let named = catalogue.find(&normalize(given)).filter(|_| is_name);
    let key = match named {
        Some(license) => Some(catalogue.license(license).key.clone()),
        None => text::recognize(catalogue, given).key,
    };
    LicenseText { path: String::new(), key }
}
