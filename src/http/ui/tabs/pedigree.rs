//! Where a model comes from, and what comes from it.

use actix_web::{
    HttpRequest,
    web::{Data, Path},
};
use askama::Template;
use serde_json::Value;

use super::super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    model::{Head, Loaded, Relative, load},
    page, pedigree,
};
use crate::{
    app::App,
    auth::Caller,
    catalog::search,
    http::{extract::ModelPath, origin::base_url},
    lineage::{self, Direction, db::Walk},
};

/// Related models that are named.
const MOST_NAMED: usize = 12;

struct ClaimRow {
    parent: String,
    relation: String,
    origin: String,
    source: String,
    verdict: Mark,
    sentence: String,
    revision: String,
}

/// Something that the weights say of the model as a whole, with the models that it is about.
struct Whole {
    sentence: String,
    models: Vec<String>,
}

#[derive(Template)]
#[template(path = "model/pedigree.html")]
struct PedigreePage {
    frame: Frame,
    head: Head,
    drawing: Option<String>,
    legend: [(&'static str, &'static str); 5],
    claims: Vec<ClaimRow>,
    whole: Vec<Whole>,
    top: Vec<Relative>,
    base: String,
}

/// `GET /{ns}/{name}/pedigree`
pub async fn get_pedigree(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let viewer = caller.viewer();
    let mut db = app.db.acquire().await?;
    let Loaded { model, head, mut frame, .. } = load(&mut db, &app, &caller, &request, &path, "Pedigree").await?;
    frame.twin = format!("/api/v1/models/{}/lineage?direction=ancestors", model.name);
    let walk = Walk { direction: Direction::Ancestors, depth: 4, relation: None, limit: 60, with_evidence: false };
    let graph = lineage::db::walk(&mut db, &model, &walk, &viewer).await?;
    let claims = lineage::db::list_parents(&mut db, model.id, &viewer).await?;
    let claims = claims.into_iter().map(|claim| ClaimRow {
        parent: claim.parent,
        relation: format::relation(&claim.relation).to_owned(),
        origin: claim.origin,
        source: format::source(&claim.source).to_owned(),
        verdict: Mark::lineage(&claim.verdict),
        sentence: format::message(claim.evidence["sentence"].as_str().unwrap_or_default()),
        revision: claim.parent_revision.map(|commit| commit.chars().take(12).collect()).unwrap_or_default(),
    });
    let claims: Vec<ClaimRow> = claims.collect();
    let query = search::Query { base: Some(model.name.to_string()), limit: Some(10), ..search::Query::default() };
    let top = search::search(&mut db, &query, &viewer).await?.items;
    let top = top
        .into_iter()
        .map(|model| Relative { relation: format::plural(i64::from(model.descendants), "descendant"), id: model.id });
    let drawing = (graph.nodes.len() > 1).then(|| pedigree::draw(&graph));
    let described = lineage::link::describe_fingerprint(&mut db, &model, &viewer).await?;
    let whole = whole(&described);
    page(&PedigreePage {
        legend: pedigree::LEGEND,
        base: base_url(&app, &request),
        top: top.collect(),
        frame,
        head,
        drawing,
        claims,
        whole,
    })
}

/// What the weights show of the model as a whole, whatever is stated.
fn whole(described: &Value) -> Vec<Whole> {
    let names = |field: &str| -> Vec<String> {
        let names = described["judgment"][field].as_array().map(Vec::as_slice).unwrap_or_default();
        names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let alone = |sentence: String| vec![Whole { sentence, models: Vec::new() }];
    if described["judgment"].is_null() {
        let reason = described["reason"].as_str();
        return match (described["kind"].as_str(), reason) {
            (Some("model"), _) => alone("The weights are being compared with those of other models.".to_owned()),
            (Some("adapter"), _) => {
                alone("An adapter: its weights say something only together with a base.".to_owned())
            }
            (_, Some(reason)) => alone(format!("The weights say nothing: {}.", format::message(reason))),
            _ => Vec::new(),
        };
    }
    let (related, shared) = (names("related"), names("shared_start"));
    let mut whole = Vec::new();
    let sentence = match described["judgment"]["kind"].as_str().unwrap_or_default() {
        "common-origin" => {
            "Its weights have a common origin with other models, but the model that they were made from is not in this registry."
        }
        "base" => "As far as its weights show, it was made from no other model here.",
        _ => "The weights of these models are related to its own, the nearest first.",
    };
    let most = |mut names: Vec<String>| {
        names.truncate(MOST_NAMED);
        names
    };
    whole.push(Whole { sentence: sentence.to_owned(), models: most(related) });
    if !shared.is_empty() {
        let sentence = "Its training began from the same random numbers as these, which is no evidence of copying.";
        whole.push(Whole { sentence: sentence.to_owned(), models: most(shared) });
    }
    whole
}
