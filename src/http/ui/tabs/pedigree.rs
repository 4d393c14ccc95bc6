//! Where a model comes from, and what comes from it.

use actix_web::{
    HttpRequest,
    web::{Data, Path},
};
use askama::Template;

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

struct ClaimRow {
    parent: String,
    relation: String,
    origin: String,
    source: String,
    verdict: Mark,
    revision: String,
}

#[derive(Template)]
#[template(path = "model/pedigree.html")]
struct PedigreePage {
    frame: Frame,
    head: Head,
    drawing: Option<String>,
    claims: Vec<ClaimRow>,
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
        source: claim.source,
        verdict: Mark::lineage(&claim.verdict),
        revision: claim.parent_revision.map(|commit| commit.chars().take(12).collect()).unwrap_or_default(),
    });
    let claims: Vec<ClaimRow> = claims.collect();
    let query = search::Query { base: Some(model.name.to_string()), limit: Some(10), ..search::Query::default() };
    let top = search::search(&mut db, &query, &viewer).await?.items;
    let top = top
        .into_iter()
        .map(|model| Relative { relation: format::plural(i64::from(model.descendants), "descendant"), id: model.id });
    let drawing = (graph.nodes.len() > 1).then(|| pedigree::draw(&graph));
    page(&PedigreePage { frame, head, drawing, claims, top: top.collect(), base: base_url(&app, &request) })
}
