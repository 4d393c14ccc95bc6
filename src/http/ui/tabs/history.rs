//! Revisions, branches and tags, events.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use askama::Template;

use super::super::{
    Frame,
    error::PageResult,
    format::{self},
    model::{Head, Loaded, load},
    page,
};
use crate::{app::App, auth::Caller, catalog, http::extract::ModelPath};

struct RevisionRow {
    commit: String,
    short: String,
    message: String,
    author: String,
    at: String,
    size: String,
}

struct EventRow {
    at: String,
    actor: String,
    kind: String,
    detail: String,
}

#[derive(Template)]
#[template(path = "model/history.html")]
struct HistoryPage {
    frame: Frame,
    head: Head,
    revisions: Vec<RevisionRow>,
    refs: Vec<(String, String, String)>,
    events: Vec<EventRow>,
}

/// `GET /{ns}/{name}/history`
pub async fn get_history(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, revision, head, mut frame } = load(&mut db, &app, &caller, &request, &path, "History").await?;
    frame.twin = format!("/api/v1/events?model={}", model.name);
    let revisions = match &revision {
        Some(revision) => catalog::list_revisions(&mut db, revision, 100, 0).await?,
        None => Vec::new(),
    };
    let revisions = revisions.iter().map(|revision| RevisionRow {
        commit: revision.commit.to_string(),
        short: revision.commit.as_str()[..12].to_owned(),
        message: revision.message.clone(),
        author: revision.author.clone(),
        at: format::instant(revision.created_at),
        size: format::bytes(revision.bytes),
    });
    let refs = catalog::list_refs(&mut db, model.id).await?;
    let refs = refs.iter().map(|r| (r.kind.as_str().to_owned(), r.name.clone(), r.commit.as_str()[..12].to_owned()));
    let events = catalog::list_events(&mut db, Some(model.id), &caller.viewer(), 50).await?;
    let events = events.into_iter().map(|event| EventRow {
        at: format::instant(event.at),
        actor: event.actor,
        kind: event.kind,
        detail: detail(&event.detail),
    });
    page(&HistoryPage { frame, head, revisions: revisions.collect(), refs: refs.collect(), events: events.collect() })
}

fn detail(detail: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let pairs = detail.as_object().into_iter().flatten().map(|(name, value)| format!("{name}: {}", text(value)));
    pairs.collect::<Vec<_>>().join(", ").chars().take(300).collect()
}

/// `GET /{ns}/{name}/commit/{rev}`: where the hub's tools point after a push
pub async fn get_commit(path: Path<(String, String, String)>) -> PageResult {
    let (namespace, name, _) = path.into_inner();
    let name = ModelPath { ns: namespace, name }.parse()?;
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, format!("/{name}/history"))).finish())
}
