//! Smoke tests: look at them, run one again.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path},
};
use serde_json::{Value, json};

use super::{readable, writable};
use crate::{
    app::App,
    auth::Caller,
    catalog,
    http::{error::ApiResult, extract::ModelPath},
    jobs::{queue, smoke_test::SmokeTest},
    smoke,
};

/// Lists a model's smoke tests, the latest first.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/smoke-tests", tag = "smoke tests",
    params(("ns" = String, Path), ("name" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn list_smoke_tests(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = readable(&mut db, &caller, &path).await?;
    let reports = smoke::db::list_reports(&mut db, model.id, 20).await?;
    let rfc3339 = |at: time::OffsetDateTime| at.format(&time::format_description::well_known::Rfc3339).ok();
    let reports: Vec<Value> = reports
        .iter()
        .map(|r| {
            json!({
                "revision": r.commit,
                "verdict": r.verdict,
                "level": r.level,
                "checks": r.checks,
                "metrics": r.metrics,
                "stages": r.stages,
                "environment": r.environment,
                "sample": r.sample,
                "started_at": rfc3339(r.started_at),
                "duration_ms": r.duration_ms,
            })
        })
        .collect();
    Ok(Json(json!({ "model": model.name.to_string(), "verdict": model.smoke_verdict, "items": reports })))
}

/// Runs the smoke test on the tip of `main` again.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/smoke-tests", tag = "smoke tests",
    params(("ns" = String, Path), ("name" = String, Path)), responses((status = 202, description = "queued"), (status = 404)))]
pub async fn run_smoke_test(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<HttpResponse> {
    let mut db = app.db.acquire().await?;
    let model = writable(&mut db, &caller, &path).await?;
    let revision_id = model.head_revision_id.ok_or_else(|| catalog::Error::NotHosted(model.name.clone()))?;
    queue::enqueue(&mut db, &SmokeTest { model_id: model.id, revision_id }).await?;
    Ok(HttpResponse::Accepted().json(json!({ "queued": true })))
}
