//! The tabs of a model: files, pedigree, license, smoke test, tensors, history.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Form, Path},
};
use askama::Template;
use serde::Deserialize;

use super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    model::{Head, Loaded, Relative, load},
    page, pedigree,
};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, File, inspect, search},
    formats::{self, FileKind},
    http::extract::ModelPath,
    jobs::{queue, smoke_test::SmokeTest},
    license::{self, DISCLAIMER, catalogue::CATALOGUE, db::FindingRow},
    lineage::{self, Direction, db::Walk},
    smoke,
};

/// Tensors that a page lists.
const MAX_TENSORS: usize = 2000;

struct FileRow {
    path: String,
    size: String,
    digest: String,
    short: String,
    url: String,
}

#[derive(Template)]
#[template(path = "model/files.html")]
struct FilesPage {
    frame: Frame,
    head: Head,
    commit: String,
    total: String,
    files: Vec<FileRow>,
}

/// `GET /{ns}/{name}/files`
pub async fn get_files(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, revision, head, frame } = load(&mut db, &app, &caller, &request, &path, "Files").await?;
    let (files, commit) = match &revision {
        Some(revision) => (catalog::list_files(&mut db, revision.id).await?, revision.commit.to_string()),
        None => (Vec::new(), String::new()),
    };
    let row = |file: &File| FileRow {
        path: file.path.to_string(),
        size: format::bytes(file.size),
        digest: file.digest.to_hex(),
        short: file.digest.to_hex()[..12].to_owned(),
        url: format!("/{}/resolve/{commit}/{}", model.name, file.path),
    };
    let files = files.iter().map(row).collect();
    page(&FilesPage { frame, head, total: format::bytes(model.bytes), files, commit })
}

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
        relation: claim.relation,
        origin: claim.origin,
        source: claim.source,
        verdict: Mark::lineage(&claim.verdict),
        revision: claim.parent_revision.map(|commit| commit.chars().take(12).collect()).unwrap_or_default(),
    });
    let claims: Vec<ClaimRow> = claims.collect();
    let query = search::Query { base: Some(model.name.to_string()), limit: Some(10), ..search::Query::default() };
    let top = search::search(&mut db, &query, &viewer).await?.items;
    let top = top.into_iter().map(|model| Relative {
        relation: format!("{} descendants", format::count(i64::from(model.descendants))),
        id: model.id,
    });
    let drawing = (graph.nodes.len() > 1).then(|| pedigree::draw(&graph));
    page(&PedigreePage { frame, head, drawing, claims, top: top.collect() })
}

/// A finding as pages show it.
pub(super) struct FindingView {
    pub(super) model: String,
    pub(super) severity: String,
    pub(super) mark: Mark,
    pub(super) rule: String,
    pub(super) message: String,
    pub(super) license: Option<String>,
    pub(super) section: Option<String>,
    pub(super) path: Vec<String>,
    pub(super) remedy: String,
}

impl FindingView {
    pub(super) fn new(finding: FindingRow) -> Self {
        Self {
            model: finding.model,
            mark: Mark::position(&finding.severity),
            severity: finding.severity,
            rule: finding.rule,
            message: finding.message,
            license: finding.license.filter(|key| CATALOGUE.find_by_key(key).is_some()),
            section: finding.section,
            path: finding.path,
            remedy: finding.remedy,
        }
    }
}

struct Duty {
    summary: String,
    license: String,
    section: String,
    satisfied: String,
    symbol: &'static str,
    via: String,
}

#[derive(Template)]
#[template(path = "model/license.html")]
struct LicensePage {
    frame: Frame,
    head: Head,
    mark: Mark,
    sentence: String,
    declared: Option<String>,
    expression: Option<String>,
    judged: String,
    findings: Vec<FindingView>,
    duties: Vec<Duty>,
    disclaimer: &'static str,
}

/// `GET /{ns}/{name}/license`
pub async fn get_license(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, head, mut frame, .. } = load(&mut db, &app, &caller, &request, &path, "License").await?;
    frame.twin = format!("/api/v1/models/{}/license", model.name);
    let position = license::db::find_position(&mut db, model.id).await?;
    let findings = license::db::list_model_findings(&mut db, &caller.viewer(), model.id).await?;
    let duties = position.as_ref().map(|position| position.obligations.clone()).unwrap_or_default();
    let duties: Vec<license::Obligation> = serde_json::from_value(duties).unwrap_or_default();
    let duty = |duty: license::Obligation| Duty {
        symbol: match duty.satisfied.as_str() {
            "yes" => "☑",
            "no" => "☐",
            _ => "○",
        },
        via: duty.via.join(" → "),
        summary: duty.summary,
        license: duty.license,
        section: duty.section,
        satisfied: duty.satisfied,
    };
    page(&LicensePage {
        mark: Mark::position(&model.position),
        sentence: sentence(&model.position).to_owned(),
        declared: model.license.clone(),
        judged: position.as_ref().map(|position| format::age(position.computed_at)).unwrap_or_default(),
        expression: position.and_then(|position| position.expression),
        findings: findings.into_iter().map(FindingView::new).collect(),
        duties: duties.into_iter().map(duty).collect(),
        disclaimer: DISCLAIMER,
        frame,
        head,
    })
}

fn sentence(position: &str) -> &'static str {
    match position {
        "clear" => "Nothing was found that speaks against using it under its license.",
        "notice" => "Usable; there is something worth knowing.",
        "incomplete" => "A duty of a carried license is checkably not fulfilled.",
        "review" => "A person must look at this before it is used.",
        "violation" => "A carried license forbids what is declared here.",
        _ => "Nothing is known: no license is declared and none can be derived.",
    }
}

struct CheckRow {
    id: String,
    mark: Mark,
    detail: String,
}

struct RunRow {
    commit: String,
    mark: Mark,
    at: String,
    duration: String,
}

#[derive(Template)]
#[template(path = "model/smoke.html")]
struct SmokePage {
    frame: Frame,
    head: Head,
    verdict: Option<Mark>,
    at: String,
    checks: Vec<CheckRow>,
    sample: Option<String>,
    metrics: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    runs: Vec<RunRow>,
    may_run: bool,
}

/// `GET /{ns}/{name}/smoke-test`
pub async fn get_smoke(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, head, mut frame, .. } = load(&mut db, &app, &caller, &request, &path, "Smoke test").await?;
    frame.twin = format!("/api/v1/models/{}/smoke-tests", model.name);
    let reports = smoke::db::list_reports(&mut db, model.id, 20).await?;
    let runs = reports.iter().map(|report| RunRow {
        commit: report.commit.chars().take(12).collect(),
        mark: Mark::verdict(report.verdict.as_str()),
        at: format::instant(report.started_at),
        duration: format!("{:.2} s", std::time::Duration::from_millis(report.duration_ms.unsigned_abs()).as_secs_f64()),
    });
    let runs = runs.collect();
    let latest = reports.into_iter().next();
    let pairs = |value: &serde_json::Value| -> Vec<(String, String)> {
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
    };
    page(&SmokePage {
        verdict: latest.as_ref().map(|report| Mark::verdict(report.verdict.as_str())),
        at: latest.as_ref().map(|report| format::age(report.started_at)).unwrap_or_default(),
        checks: latest.iter().flat_map(|report| &report.checks).map(check).collect(),
        sample: latest.as_ref().and_then(|report| report.sample.clone()),
        metrics: latest.as_ref().map(|report| pairs(&report.metrics)).unwrap_or_default(),
        environment: latest.as_ref().map(|report| pairs(&report.environment)).unwrap_or_default(),
        runs,
        may_run: caller.may_write(model.name.namespace()),
        frame,
        head,
    })
}

fn check(check: &smoke::Check) -> CheckRow {
    CheckRow { id: check.id.clone(), mark: Mark::verdict(check.status.as_str()), detail: check.detail.clone() }
}

/// A form that only proves where it comes from.
#[derive(Debug, Deserialize)]
pub struct Guard {
    #[serde(default)]
    csrf: String,
}

/// `POST /{ns}/{name}/smoke-test`: runs it again
pub async fn run_smoke(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    form: Form<Guard>,
) -> PageResult {
    caller.check_form(&form.csrf)?;
    let mut db = app.db.acquire().await?;
    let model = super::model::find(&mut db, &caller, &request, &path).await?;
    caller.require_write(model.name.namespace())?;
    let revision_id = model.head_revision_id.ok_or_else(|| catalog::Error::NotHosted(model.name.clone()))?;
    queue::enqueue(&mut db, &SmokeTest { model_id: model.id, revision_id }).await?;
    let place = format!("/{}/smoke-test", model.name);
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish())
}

struct TensorRow {
    name: String,
    dtype: String,
    shape: String,
    size: String,
}

struct TensorFile {
    path: String,
    summary: Vec<(String, String)>,
    problem: Option<String>,
    tensors: Vec<TensorRow>,
    hidden: String,
}

#[derive(Template)]
#[template(path = "model/tensors.html")]
struct TensorsPage {
    frame: Frame,
    head: Head,
    files: Vec<TensorFile>,
}

/// `GET /{ns}/{name}/tensors`
pub async fn get_tensors(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { revision, head, frame, .. } = load(&mut db, &app, &caller, &request, &path, "Tensors").await?;
    let files = match &revision {
        Some(revision) => catalog::list_files(&mut db, revision.id).await?,
        None => Vec::new(),
    };
    let mut shown = Vec::new();
    let mut left = MAX_TENSORS;
    for file in files {
        let kind = formats::kind(file.path.as_str());
        if !matches!(kind, FileKind::Safetensors | FileKind::Gguf | FileKind::Pickle) || shown.len() >= 100 {
            continue;
        }
        let summary = catalog::find_inspection(&mut db, &file.digest).await?.unwrap_or_default();
        let mut view = TensorFile {
            path: file.path.to_string(),
            summary: summary_rows(&summary),
            problem: summary["error"].as_str().map(str::to_owned),
            tensors: Vec::new(),
            hidden: String::new(),
        };
        if kind != FileKind::Pickle && left > 0 {
            match inspect::tensors(&app.store, kind, &file.digest, file.size.cast_unsigned()).await? {
                Ok(tensors) => {
                    let more = tensors.len().saturating_sub(left);
                    view.hidden = if more > 0 {
                        format!("{} more are not listed", format::count(i64::try_from(more).unwrap_or(0)))
                    } else {
                        String::new()
                    };
                    view.tensors = tensors.iter().take(left).map(tensor_row).collect();
                    left -= view.tensors.len();
                }
                Err(problem) => view.problem = Some(problem),
            }
        }
        shown.push(view);
    }
    page(&TensorsPage { frame, head, files: shown })
}

fn summary_rows(summary: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown =
        summary.as_object().into_iter().flatten().filter(|(name, _)| !["error", "metadata"].contains(&name.as_str()));
    shown.map(|(name, value)| (name.replace('_', " "), text(value).chars().take(400).collect())).collect()
}

fn tensor_row(tensor: &formats::TensorEntry) -> TensorRow {
    let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    TensorRow {
        name: tensor.name.clone(),
        dtype: tensor.dtype.to_owned(),
        shape: shape.join(" × "),
        size: format::bytes(i64::try_from(tensor.end - tensor.start).unwrap_or(i64::MAX)),
    }
}

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
