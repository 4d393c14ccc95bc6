//! Pushes a zoo to a server, and reads what the server found: through the API alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Value, json};

use super::truth::{Claim, Truth};
use crate::support::{Server, print_note, send};

/// The namespace that holds the zoo.
const NAMESPACE: &str = "zoo/";

/// What the server says of a model.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// `base`, `finetune`, `common-origin` and so on.
    pub(super) kind: String,
    pub(super) reason: String,
    /// To the parents, in the registry's words.
    pub(super) relation: Option<String>,
    /// Detected parents.
    pub(super) parents: BTreeSet<String>,
    /// Coefficients of a merge.
    pub(super) weights: BTreeMap<String, f64>,
    /// Whether a parent is said to be certain.
    pub(super) is_certain: bool,
    pub(super) related: BTreeSet<String>,
    pub(super) shared_start: BTreeSet<String>,
}

impl Found {
    /// The relation as truth names it, where a parent that is not here counts as a class of its own.
    pub(super) fn class(&self) -> &str {
        match self.relation.as_deref() {
            Some(relation) => relation,
            None if self.kind == "common-origin" => "common-origin",
            None => "base",
        }
    }
}

/// What the server says of each model.
pub(super) type Graph = BTreeMap<String, Found>;

/// Pushes a model's folder as a user does.
pub(super) fn push(server: &Server, truth: &Truth, name: &str) -> anyhow::Result<()> {
    let folder = truth.folder.join(name);
    let folder = folder.to_str().context("the folder's path is not UTF-8")?;
    server.run(&["push", folder, &format!("{NAMESPACE}{name}"), "--json"]).map(drop)
}

/// Declares a parent.
pub(super) async fn declare(server: &Server, claim: &Claim) -> anyhow::Result<()> {
    let body = json!({ "parent": full(&claim.parent), "relation": claim.relation, "note": "for the benchmark" });
    post_claim(server, claim, &body).await
}

/// Takes a declared parent back.
pub(super) async fn withdraw(server: &Server, claim: &Claim) -> anyhow::Result<()> {
    post_claim(server, claim, &json!({ "parent": full(&claim.parent), "withdraw": true })).await
}

async fn post_claim(server: &Server, claim: &Claim, body: &Value) -> anyhow::Result<()> {
    let path = format!("/api/v1/models/{NAMESPACE}{}/claims", claim.child);
    send(server.request(Method::POST, &path).json(body)).await.map(drop)
}

/// Deletes a model.
pub(super) async fn delete(server: &Server, name: &str) -> anyhow::Result<()> {
    send(server.request(Method::DELETE, &format!("/api/v1/models/{NAMESPACE}{name}"))).await.map(drop)
}

/// Parents of a model as claims: their names, and all that is said of the link.
pub(super) async fn parents(server: &Server, name: &str) -> anyhow::Result<Vec<(String, Value)>> {
    let model = ask(server, &format!("/api/v1/models/{NAMESPACE}{name}")).await?;
    let parents = model["lineage"]["parents"].as_array().cloned().unwrap_or_default();
    Ok(parents.into_iter().map(|link| (plain(&link["parent"]), link)).collect())
}

/// Reads what the server says of these models.
pub(super) async fn read(server: &Server, names: &[String]) -> anyhow::Result<Graph> {
    let mut graph = Graph::new();
    for name in names {
        graph.insert(name.clone(), read_model(server, name).await?);
    }
    Ok(graph)
}

async fn read_model(server: &Server, name: &str) -> anyhow::Result<Found> {
    let print = ask(server, &format!("/api/v1/models/{NAMESPACE}{name}/fingerprint")).await?;
    let judgment = &print["judgment"];
    if judgment.is_null() {
        print_note(&format!("{name} was not judged: {}", print["reason"]));
    }
    let names = |list: &Value| list.as_array().into_iter().flatten().map(plain).collect();
    let mut found = Found {
        kind: text(&judgment["kind"]),
        reason: text(&judgment["detail"]["reason"]),
        related: names(&judgment["related"]),
        shared_start: names(&judgment["shared_start"]),
        ..Found::default()
    };
    for (parent, link) in parents(server, name).await?.into_iter().filter(|(_, link)| link["origin"] == "detected") {
        let place = format!("/api/v1/models/{NAMESPACE}{name}/lineage/{NAMESPACE}{parent}");
        let evidence = ask(server, &place).await?;
        for part in evidence["measured"]["merge"]["parts"].as_array().into_iter().flatten() {
            found.weights.extend(part["weight"].as_f64().map(|weight| (plain(&part["member"]), weight)));
        }
        found.is_certain |= evidence["level"] == "certain";
        found.relation = Some(text(&link["relation"]));
        found.parents.insert(parent);
    }
    Ok(found)
}

async fn ask(server: &Server, path: &str) -> anyhow::Result<Value> {
    Ok(send(server.request(Method::GET, path)).await?.json().await?)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A model's name without the zoo's namespace.
fn plain(value: &Value) -> String {
    let name = value.as_str().unwrap_or_default();
    name.strip_prefix(NAMESPACE).unwrap_or(name).to_owned()
}

/// A model's name with a namespace.
fn full(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("{NAMESPACE}{name}") }
}
