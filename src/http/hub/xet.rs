//! The Xet write side: tokens, xorbs, shards.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Json, Path, Payload},
};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::{RevisionPath, find_writable};
use crate::{
    app::App,
    auth::Caller,
    http::{
        error::{ApiError, HubError, HubResult},
        origin::base_url,
    },
    xet::{self, MAX_SHARD, Uploader},
};

/// How long a token holds, in seconds; clients renew half a minute before.
const VALID: i64 = 2 * 3600;

/// `GET /api/models/{ns}/{name}/xet-write-token/{rev}`
pub async fn write_token(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RevisionPath>,
) -> HubResult<HttpResponse> {
    let mut db = app.db.acquire().await?;
    let model = find_writable(&mut db, &caller, &request, &path.model()).await?;
    let user_id = caller.require_user()?.id;
    let until = OffsetDateTime::now_utc().unix_timestamp() + VALID;
    let claims = format!("{user_id}.{}.{until}", model.id);
    let token = format!("xet.{claims}.{}", app.secret.sign(&format!("xet write {claims}")));
    // Clients remember by this address which chunks they sent: it changes when this user's chunks were lost, and is
    // another on another installation.
    let generation = xet::db::generation(&mut db, user_id).await?;
    let place = &app.secret.sign(&format!("xet place {user_id} {generation}"))[..16];
    let address = format!("{}/xet/{place}", base_url(&app, &request));
    Ok(HttpResponse::Ok()
        .insert_header(("X-Xet-Cas-Url", address.as_str()))
        .insert_header(("X-Xet-Access-Token", token.as_str()))
        .insert_header(("X-Xet-Token-Expiration", until.to_string()))
        .json(json!({ "casUrl": address, "exp": until, "accessToken": token })))
}

/// Returns who uploads, by the token of the request.
fn uploader(app: &App, request: &HttpRequest) -> HubResult<Uploader> {
    let refused =
        || HubError::from(ApiError::new(StatusCode::UNAUTHORIZED, "invalid-token", "the Xet token is not valid"));
    let value = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value.and_then(|value| value.strip_prefix("Bearer xet.")).ok_or_else(refused)?;
    let (claims, signature) = token.rsplit_once('.').ok_or_else(refused)?;
    if !app.secret.verify(&format!("xet write {claims}"), signature) {
        return Err(refused());
    }
    let numbers: Vec<i64> = claims.split('.').filter_map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [user_id, model_id, until] if until > OffsetDateTime::now_utc().unix_timestamp() => {
            Ok(Uploader { user_id, model_id })
        }
        _ => Err(refused()),
    }
}

/// `POST {cas}/v1/xorbs/default/{hash}`
pub async fn post_xorb(
    app: Data<App>,
    request: HttpRequest,
    path: Path<(String, String)>,
    mut payload: Payload,
) -> HubResult<Json<Value>> {
    let uploader = uploader(&app, &request)?;
    let (_, hash) = path.into_inner();
    // A request's body stays on its thread, the store writes from any: a short channel lies between.
    let (pieces, mut waiting) = mpsc::channel::<std::io::Result<Bytes>>(8);
    actix_web::rt::spawn(async move {
        while let Some(piece) = payload.next().await {
            if pieces.send(piece.map_err(std::io::Error::other)).await.is_err() {
                return;
            }
        }
    });
    let body = futures::stream::poll_fn(move |context| waiting.poll_recv(context));
    let is_new = xet::put_xorb(&app.db, &app.store, uploader.user_id, &hash, body).await?;
    Ok(Json(json!({ "was_inserted": is_new })))
}

/// `POST {cas}/v1/shards`
pub async fn post_shard(app: Data<App>, request: HttpRequest, payload: Payload) -> HubResult<Json<Value>> {
    let uploader = uploader(&app, &request)?;
    let bytes = super::read(payload, MAX_SHARD).await?;
    xet::put_shard(&app.db, &app.store, uploader, &bytes, Box::new(|_, _| {})).await?;
    Ok(Json(json!({ "result": 1 })))
}

/// `POST {cas}/v2/shards`: as version 1, with a line a file so that long work does not look like a dead server
pub async fn post_shard_with_progress(
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> HubResult<HttpResponse> {
    let uploader = uploader(&app, &request)?;
    let bytes = super::read(payload, MAX_SHARD).await?;
    let (lines, mut waiting) = mpsc::channel::<Value>(16);
    actix_web::rt::spawn(async move {
        let mut work = Box::pin(put(&app, uploader, &bytes, lines.clone()));
        let mut pulse = tokio::time::interval(std::time::Duration::from_secs(5));
        let last = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = pulse.tick() => drop(lines.try_send(json!({ "type": "validating", "verified": 0, "total": 0 }))),
            }
        };
        let line = match last {
            Ok(()) => json!({ "type": "result", "result": 1 }),
            Err(error) => json!({ "type": "error", "message": ApiError::from(error).message }),
        };
        // A client that hung up will ask again.
        let _ = lines.send(line).await;
    });
    let body = futures::stream::poll_fn(move |context| waiting.poll_recv(context));
    let body = body.map(|line| Ok::<_, ApiError>(Bytes::from(format!("{line}\n"))));
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .streaming(body))
}

async fn put(app: &App, uploader: Uploader, bytes: &[u8], lines: mpsc::Sender<Value>) -> Result<(), xet::Error> {
    let progress = move |verified, total| {
        // Told or not, the work goes on.
        let _ = lines.try_send(json!({ "type": "validating", "verified": verified, "total": total }));
    };
    xet::put_shard(&app.db, &app.store, uploader, bytes, Box::new(progress)).await
}
