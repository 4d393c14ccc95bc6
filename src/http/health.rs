//! Probes and metrics.

use actix_web::{HttpResponse, web::Data};

use super::error::{ApiError, ApiResult};
use crate::{app::App, auth::Caller, jobs, storage};

/// Answers that the process lives.
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Answers whether database and store can be used.
pub async fn readyz(app: Data<App>) -> ApiResult<HttpResponse> {
    let not_ready = |what: &str, cause: &dyn std::fmt::Display| {
        tracing::warn!("not ready: {what}: {cause}");
        ApiError::new(actix_web::http::StatusCode::SERVICE_UNAVAILABLE, "not-ready", format!("{what} does not answer"))
    };
    app.db.acquire().await.map_err(|error| not_ready("the database", &error))?;
    app.store.ping().await.map_err(|error| not_ready("the store", &error))?;
    Ok(HttpResponse::Ok().content_type("text/plain").body("ready\n"))
}

/// Answers an administrator's token with what we count, for Prometheus: the numbers include private work.
pub async fn metrics(app: Data<App>, caller: Caller) -> ApiResult<HttpResponse> {
    caller.require_admin()?;
    let mut db = app.db.acquire().await?;
    let (blobs, bytes) = storage::db::totals(&mut db).await?;
    app.metrics.blobs.set(blobs);
    app.metrics.blob_bytes.set(bytes);
    for state in ["pending", "running", "done", "failed"] {
        app.metrics.jobs.with_label_values(&[state]).set(0);
    }
    for (state, count) in jobs::queue::counts(&mut db).await? {
        app.metrics.jobs.with_label_values(&[&state]).set(count);
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(app.metrics.render()))
}
