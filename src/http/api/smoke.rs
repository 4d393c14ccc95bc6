//! Smoke tests: look at them, run one again.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use super::{readable, writable};
use crate::{
    app::App,
    auth::Caller,
    catalog,
    http::{
        error::{ApiError, ApiResult},
        extract::ModelPath,
    },
    jobs::{queue, smoke_test::SmokeTest},
    name::ModelName,
    smoke::{self, db::StoredReport, gate},
};

/// Lists a model's smoke tests, the latest first.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/smoke-tests", tag = "smoke tests",
    params(("ns" = String, Path), ("name" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn list_smoke_tests(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = readable(&mut db, &caller, &path).await?;
    let reports = smoke::db::list_reports(&mut db, &caller.viewer(), model.id, 20).await?;
    let items: Vec<Value> = reports.iter().map(describe).collect();
    Ok(Json(json!({ "model": model.name.to_string(), "verdict": model.smoke_verdict, "items": items })))
}

/// What to tell of a run.
#[derive(Debug, Deserialize, IntoParams)]
pub struct RunQuery {
    /// Also what the model found likely at each position of the text, as later runs compare with it.
    #[serde(default)]
    record: bool,
}

/// Returns one of a model's smoke tests.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/smoke-tests/{id}", tag = "smoke tests",
    params(("ns" = String, Path), ("name" = String, Path), ("id" = i64, Path), RunQuery),
    responses((status = 200, body = Object), (status = 404)))]
pub async fn get_smoke_test(
    app: Data<App>,
    caller: Caller,
    path: Path<ModelPath>,
    run: Path<RunPath>,
    query: Query<RunQuery>,
) -> ApiResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = readable(&mut db, &caller, &path).await?;
    let report = smoke::db::find_report(&mut db, &caller.viewer(), model.id, run.id()).await?;
    let report = report.ok_or_else(|| no_run(&model.name))?;
    let mut shown = describe(&report);
    shown["model"] = model.name.to_string().into();
    if query.record {
        shown["record"] = json!(smoke::db::find_record(&mut db, report.id).await?);
    }
    Ok(Json(shown))
}

/// The last part of a run's address.
#[derive(Debug, Deserialize)]
pub struct RunPath {
    id: String,
}

impl RunPath {
    /// Returns the id; 0, which no run has, for what is no number.
    pub fn id(&self) -> i64 {
        self.id.parse().unwrap_or(0)
    }
}

/// The answer where a model has no such run.
pub fn no_run(model: &ModelName) -> ApiError {
    ApiError::not_found(format!("`{model}` has no such smoke test; /{model}/smoke-test lists those that it has"))
}

fn describe(report: &StoredReport) -> Value {
    json!({
        "id": report.id,
        "revision": report.commit,
        "verdict": report.verdict,
        "level": report.level,
        "checks": report.checks,
        "metrics": report.metrics,
        "stages": report.stages,
        "environment": report.environment,
        "sample": report.sample,
        "base": report.base,
        "cause": report.cause,
        "started_at": report.started_at.format(&Rfc3339).ok(),
        "duration_ms": report.duration_ms,
    })
}

/// Which revision.
#[derive(Debug, Deserialize, IntoParams)]
pub struct RevisionQuery {
    /// A branch, tag or commit; `main` unless said.
    revision: Option<String>,
}

/// Runs the smoke test on a revision again.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/smoke-tests", tag = "smoke tests",
    params(("ns" = String, Path), ("name" = String, Path), RevisionQuery),
    responses((status = 202, description = "queued"), (status = 404)))]
pub async fn run_smoke_test(
    app: Data<App>,
    caller: Caller,
    path: Path<ModelPath>,
    query: Query<RevisionQuery>,
) -> ApiResult<HttpResponse> {
    let mut db = app.db.acquire().await?;
    let model = writable(&mut db, &caller, &path).await?;
    let hosted = model.head_revision_id.ok_or_else(|| catalog::Error::NotHosted(model.name.clone()))?;
    let revision_id = match &query.revision {
        Some(revision) => catalog::get_revision(&mut db, &model, revision).await?.id,
        None => hosted,
    };
    queue::enqueue(&mut db, &SmokeTest { model_id: model.id, revision_id }).await?;
    Ok(HttpResponse::Accepted().json(json!({ "queued": true })))
}

/// What a namespace does with revisions that do not pass.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SmokePolicyBody {
    /// `off`, `warn` or `quarantine`.
    on_failure: String,
}

/// Returns what a namespace does with revisions that do not pass the smoke test.
#[utoipa::path(get, path = "/api/v1/namespaces/{ns}/smoke-policy", tag = "smoke tests", params(("ns" = String, Path)),
    responses((status = 200, body = Object), (status = 403)))]
pub async fn get_smoke_policy(app: Data<App>, caller: Caller, path: Path<String>) -> ApiResult<Json<Value>> {
    caller.require_administer(&path)?;
    let on_failure = gate::policy(&mut *app.db.acquire().await?, &path).await?;
    Ok(Json(json!({ "namespace": *path, "on_failure": on_failure })))
}

/// Changes what a namespace does with revisions that do not pass the smoke test.
#[utoipa::path(put, path = "/api/v1/namespaces/{ns}/smoke-policy", tag = "smoke tests", params(("ns" = String, Path)),
    request_body = SmokePolicyBody, responses((status = 200, body = Object), (status = 400), (status = 403)))]
pub async fn put_smoke_policy(
    app: Data<App>,
    caller: Caller,
    path: Path<String>,
    body: Json<SmokePolicyBody>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.db.begin().await?;
    gate::set_policy(&mut tx, &caller, &path, &body.on_failure).await?;
    tx.commit().await?;
    Ok(Json(json!({ "namespace": *path, "on_failure": body.on_failure })))
}

/// Why a revision is to be served although it did not pass.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseBody {
    /// A branch, tag or commit; `main` unless said.
    revision: Option<String>,
    /// Why.
    reason: String,
}

/// Lets a revision be served although it did not pass the smoke test; for administrators.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/smoke-tests/release", tag = "smoke tests",
    params(("ns" = String, Path), ("name" = String, Path)), request_body = ReleaseBody,
    responses((status = 200, body = Object), (status = 400), (status = 403), (status = 404), (status = 409)))]
pub async fn release_revision(
    app: Data<App>,
    caller: Caller,
    path: Path<ModelPath>,
    body: Json<ReleaseBody>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.db.begin().await?;
    let model = readable(&mut tx, &caller, &path).await?;
    let revision = catalog::get_revision(&mut tx, &model, body.revision.as_deref().unwrap_or("main")).await?;
    gate::release(&mut tx, &caller, &model, &revision, &body.reason).await?;
    tx.commit().await?;
    Ok(Json(json!({ "released": revision.commit.as_str() })))
}
