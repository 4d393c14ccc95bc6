//! The catalogue of licenses: what each permits, asks and forbids, by which clause, and which models here carry it.

use std::collections::HashMap;

use actix_web::web::{Data, Path, Query};
use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    page,
    words::{self, Sentence},
};
use crate::{
    app::App,
    auth::Caller,
    http::error::ApiError,
    license::{
        DISCLAIMER,
        catalogue::{CATALOGUE, Catalogue, License},
        current::load_catalogue,
        db,
    },
};

/// Models that the page of a license names for each way to carry it.
const MOST_NAMED: i64 = 12;

/// Kinds of licenses, the mildest first, with what unites them.
const KINDS: [(&str, &str, &str); 12] = [
    ("public-domain", "Public domain", "nothing is asked"),
    ("permissive", "Permissive", "other terms are allowed over what is built on it"),
    ("attribution", "Attribution", "name the authors"),
    ("share-alike", "Share-alike", "what is built on it stays under it"),
    ("copyleft", "Copyleft", "what is built on it stays under it, with its source"),
    ("no-derivatives", "No derivatives", "changed versions may not be shared"),
    ("noncommercial", "Non-commercial", "no commercial use"),
    (
        "ai-userestricted",
        "Open with use restrictions",
        "RAIL, Gemma and the like: some uses are forbidden, down the line",
    ),
    ("ai-community", "Community licenses", "Llama, Qwen and the like: one licensor, conditions, notices, names"),
    ("ai-noncommercial", "Research only", "no commercial use of the model"),
    ("data", "Data licenses", "for data sets"),
    ("service-terms", "Terms of services", "of what a service generates"),
];

struct Entry {
    key: String,
    name: String,
    commercial: Mark,
    derived: &'static str,
    models: Option<String>,
    is_own: bool,
}

struct Group {
    title: String,
    meaning: &'static str,
    licenses: Vec<Entry>,
}

#[derive(Template)]
#[template(path = "licenses.html")]
struct LicensesPage {
    frame: Frame,
    version: String,
    query: String,
    total: usize,
    groups: Vec<Group>,
}

/// What is looked for.
#[derive(Debug, Deserialize)]
pub struct LicensesQuery {
    #[serde(default)]
    q: String,
}

/// `GET /licenses`
pub async fn list_licenses(app: Data<App>, caller: Caller, query: Query<LicensesQuery>) -> PageResult {
    let mut connection = app.db.acquire().await?;
    let catalogue = load_catalogue(&mut connection).await?;
    let labels = db::kept_labels(&app.tally, &mut connection, &caller.viewer()).await?;
    let found: Vec<&License> = catalogue.licenses.iter().filter(|license| is_meant(license, &query.q)).collect();
    let mut groups: Vec<Group> = Vec::new();
    for (kind, title, meaning) in KINDS {
        let of_kind: Vec<Entry> =
            found.iter().filter(|license| license.category == kind).map(|license| entry(license, &labels)).collect();
        if !of_kind.is_empty() {
            groups.push(Group { title: title.to_owned(), meaning, licenses: of_kind });
        }
    }
    let is_other = |license: &&&License| KINDS.iter().all(|(kind, ..)| license.category != *kind);
    let others: Vec<Entry> = found.iter().filter(is_other).map(|license| entry(license, &labels)).collect();
    if !others.is_empty() {
        groups.push(Group { title: "Others".to_owned(), meaning: "added here", licenses: others });
    }
    page(&LicensesPage {
        frame: Frame::new(&caller, "Licenses", "", "/api/v1/licenses"),
        version: catalogue.version.clone(),
        query: query.q.clone(),
        total: catalogue.licenses.len(),
        groups,
    })
}

/// Whether a license answers a search: all words occur in its names, keys or kind.
fn is_meant(license: &License, query: &str) -> bool {
    let names = [&license.key, &license.name, &license.category].into_iter();
    let names = names.chain(&license.hf_ids).chain(&license.license_name_aliases).chain(&license.spdx);
    let all = names.map(|name| name.to_lowercase()).collect::<Vec<_>>().join(" ");
    query.to_lowercase().split_whitespace().all(|word| all.contains(word))
}

fn is_own(license: &License) -> bool {
    CATALOGUE.find_by_key(&license.key).is_none()
}

fn entry(license: &License, labels: &HashMap<String, i64>) -> Entry {
    let models: i64 = license
        .labels()
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter_map(|label| labels.get(label))
        .sum();
    Entry {
        key: license.key.clone(),
        name: license.name.clone(),
        commercial: commercial(license),
        derived: match license.value("relicense_derivative").as_str().unwrap_or("unknown") {
            "permissive" if license.is_noncommercial() => "any non-commercial license",
            "permissive" => "any license",
            "passthrough" => "any that passes its restrictions on",
            "share-alike" | "share-alike-library" => "this one",
            "not_granted" | "forbidden" => "this one for its part",
            "no-derivatives" => "may not be shared",
            _ => "not known",
        },
        models: (models > 0).then(|| format::count(models)),
        is_own: is_own(license),
    }
}

fn commercial(license: &License) -> Mark {
    let (class, symbol, word) = match license.value("commercial_use").as_str().unwrap_or("unknown") {
        "no" => ("violation", "✕", "no"),
        "conditional" => ("notice", "◐", "with conditions"),
        "yes" => ("clear", "●", "yes"),
        word if word.starts_with("yes") => ("notice", "◐", "within its use policy"),
        _ => ("none", "○", "not known"),
    };
    Mark { class, symbol, word: word.to_owned() }
}

struct Term {
    name: String,
    value: String,
    clause: String,
    note: String,
}

/// What a license says one way: permits, asks or forbids.
struct Side {
    title: &'static str,
    mark: Mark,
    said: Vec<Sentence>,
}

#[derive(Template)]
#[template(path = "license.html")]
struct LicensePage {
    frame: Frame,
    key: String,
    name: String,
    category: String,
    expression: String,
    identifiers: String,
    is_own: bool,
    read: &'static str,
    sides: Vec<Side>,
    terms: Vec<Term>,
    notes: Vec<String>,
    sources: Vec<String>,
    declared: String,
    first_declared: Vec<String>,
    label: String,
    inherited: String,
    first_inherited: Vec<String>,
    disclaimer: &'static str,
}

/// `GET /licenses/{key}`
pub async fn get_license(app: Data<App>, caller: Caller, key: Path<String>) -> PageResult {
    let mut connection = app.db.acquire().await?;
    let catalogue: std::sync::Arc<Catalogue> = load_catalogue(&mut connection).await?;
    let found = catalogue.find_by_key(&key);
    let license = found
        .ok_or_else(|| ApiError::not_found("this license is not in the catalogue: /licenses lists those that are"))?;
    let labels = license.labels();
    let used = db::list_license_users(&mut connection, &caller.viewer(), &labels, &license.key, MOST_NAMED).await?;
    let plain = words::plain(license);
    let side = |title, class, symbol, said| Side { title, mark: Mark { class, symbol, word: String::new() }, said };
    page(&LicensePage {
        frame: Frame::new(&caller, license.name.clone(), "", format!("/api/v1/licenses/{}", license.key)),
        key: license.key.clone(),
        name: license.name.clone(),
        category: kind_title(&license.category),
        expression: license.expression(),
        identifiers: license.hf_ids.join(", "),
        is_own: is_own(license),
        read: match license.text_read.as_str() {
            "full" => "its text was read in full",
            "partial" => "its text was read in part",
            _ => "its text was not read: nothing here is sure",
        },
        sides: [
            side("Permits", "clear", "●", plain.permits),
            side("Asks", "notice", "◐", plain.asks),
            side("Forbids", "violation", "✕", plain.forbids),
            side("Not known", "none", "○", plain.unknown),
        ]
        .into_iter()
        .filter(|side| side.title != "Not known" || !side.said.is_empty())
        .collect(),
        terms: terms(license),
        notes: license.notes.clone(),
        sources: sources(license),
        declared: format::plural(used.declared, "model"),
        first_declared: used.first_declared,
        label: license.hf_ids.first().unwrap_or(&license.key).clone(),
        inherited: format::plural(used.inherited, "model"),
        first_inherited: used.first_inherited,
        disclaimer: DISCLAIMER,
    })
}

fn kind_title(category: &str) -> String {
    let known = KINDS.iter().find(|(kind, ..)| *kind == category).map(|(_, title, _)| (*title).to_owned());
    known.unwrap_or_else(|| category.to_owned())
}

/// Every term as the catalogue has it.
fn terms(license: &License) -> Vec<Term> {
    let mut terms = Vec::new();
    for (name, kept) in license.terms.as_object().into_iter().flatten() {
        let entries = kept.as_array().map_or_else(|| std::slice::from_ref(kept), Vec::as_slice);
        for entry in entries {
            let text_of = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
            terms.push(Term {
                name: name.replace('_', " "),
                value: if entry["value"].is_null() { "nothing".to_owned() } else { text(&entry["value"]) },
                clause: text_of("clause"),
                note: text_of("note"),
            });
        }
    }
    terms
}

/// Where the text was read.
fn sources(license: &License) -> Vec<String> {
    let entry = json!(license);
    let sources = entry["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let source = |source: &Value| {
        let part = |field: &str| source[field].as_str().unwrap_or_default();
        [part("url"), part("repo"), part("path")]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    };
    sources.iter().map(source).filter(|source| !source.is_empty()).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains(' ') => text.clone(),
        Value::String(word) => word.replace('_', " "),
        Value::Null => "not known".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("; "),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::Object(parts) => {
            let part = |(name, value): (&String, &Value)| format!("{}: {}", name.replace('_', " ").trim(), text(value));
            parts.iter().map(part).collect::<Vec<_>>().join("; ")
        }
        Value::Number(number) => number.to_string(),
    }
}
