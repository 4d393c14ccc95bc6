//! Imports catalogued models from JSON lines.

use std::time::{Duration, Instant};

use actix_web::{
    HttpResponse,
    web::{Data, Payload},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::{
    app::App,
    auth::Caller,
    http::error::{ApiError, ApiResult},
    import::{self, Import},
    jobs, license,
};

/// Longest line, in bytes.
const MAX_LINE: usize = 1024 * 1024;

/// Imports catalogued models: one JSON object a line in, one line of progress a second out, the summary last.
#[utoipa::path(post, path = "/api/v1/import", tag = "administration",
    request_body(content = String, content_type = "application/x-ndjson"),
    responses((status = 200, description = "lines of progress, then the summary"), (status = 403)))]
pub async fn post_import(app: Data<App>, caller: Caller, payload: Payload) -> ApiResult<HttpResponse> {
    caller.require_admin()?;
    let (lines, mut waiting) = mpsc::channel::<Value>(16);
    actix_web::rt::spawn(async move {
        let last = match take(&app, payload, &lines).await {
            Ok(summary) => json!({ "summary": summary }),
            Err(error) => json!({ "error": error.message }),
        };
        // Nobody may be listening any more; what was imported stays.
        let _ = lines.send(last).await;
    });
    let body = futures::stream::poll_fn(move |context| waiting.poll_recv(context));
    let body = body.map(|line| Ok::<_, ApiError>(Bytes::from(format!("{line}\n"))));
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header(("X-Accel-Buffering", "no"))
        .insert_header((actix_web::http::header::CONTENT_ENCODING, "identity"))
        .streaming(body))
}

async fn take(app: &App, mut payload: Payload, lines: &mpsc::Sender<Value>) -> ApiResult<Value> {
    let started = Instant::now();
    let mut tx = app.db.begin().await?;
    let mut import = Import::default();
    let mut rest = BytesMut::new();
    let mut told = Instant::now();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| ApiError::bad_request(format!("the upload broke off: {error}")))?;
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = rest.split_to(end + 1);
            import.line(&mut tx, &line).await?;
        }
        if rest.len() > MAX_LINE {
            return Err(ApiError::bad_request(format!("line {} is longer than 1 MiB", import.lines() + 1)));
        }
        if told.elapsed() > Duration::from_millis(500) {
            told = Instant::now();
            // A client that reads no progress still gets its import.
            let _ = lines.try_send(json!({ "stage": "reading", "lines": import.lines() }));
        }
    }
    if !rest.is_empty() {
        import.line(&mut tx, &rest).await?;
    }
    let _ = lines.try_send(json!({ "stage": "counting", "lines": import.lines() }));
    let summary = import.finish(&mut tx).await?;
    let changed = summary.created + summary.updated + summary.parents_created + summary.claims > 0;
    tx.commit().await?;
    if changed {
        let _ = lines.try_send(json!({ "stage": "judging licenses", "lines": summary.lines }));
        let mut tx = app.db.begin().await?;
        let judged = license::current::rejudge(&mut tx, &license::current::Subjects::All).await?;
        jobs::deliver_hook::announce(&mut tx, &judged.changes).await?;
        tx.commit().await?;
        if let Err(error) = import::db::settle(&mut *app.db.acquire().await?).await {
            warn!("what was imported is kept, but its statistics are not: searches are slow for a while: {error}");
        }
    }
    info!(lines = summary.lines, "imported {} lines in {:.1} s", summary.lines, started.elapsed().as_secs_f64());
    Ok(json!(summary))
}
