//! Webhooks of a namespace.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path},
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{app::App, auth::Caller, hooks, http::error::ApiResult};

/// Lists the webhooks of a namespace, without their secrets.
#[utoipa::path(get, path = "/api/v1/namespaces/{ns}/webhooks", tag = "webhooks", params(("ns" = String, Path)),
    responses((status = 200, body = Object), (status = 403)))]
pub async fn list_hooks(app: Data<App>, caller: Caller, path: Path<String>) -> ApiResult<Json<Value>> {
    caller.require_administer(&path)?;
    let hooks = hooks::db::list(&mut *app.db.acquire().await?, &path).await?;
    Ok(Json(json!({ "items": hooks })))
}

/// Where to tell.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HookBody {
    /// An address that takes POST requests.
    url: String,
}

/// Adds a webhook: it is told of `position.changed`. The secret that signs deliveries is shown this once.
#[utoipa::path(post, path = "/api/v1/namespaces/{ns}/webhooks", tag = "webhooks", params(("ns" = String, Path)),
    request_body = HookBody, responses((status = 201, body = hooks::NewHook), (status = 400), (status = 403)))]
pub async fn create_hook(
    app: Data<App>,
    caller: Caller,
    path: Path<String>,
    body: Json<HookBody>,
) -> ApiResult<HttpResponse> {
    let mut tx = app.db.begin().await?;
    let hook = hooks::create(&mut tx, &caller, &path, &body.url, app.options.webhook_private).await?;
    tx.commit().await?;
    Ok(HttpResponse::Created().json(hook))
}

/// Removes a webhook.
#[utoipa::path(delete, path = "/api/v1/namespaces/{ns}/webhooks/{id}", tag = "webhooks",
    params(("ns" = String, Path), ("id" = i64, Path)), responses((status = 204), (status = 403), (status = 404)))]
pub async fn delete_hook(app: Data<App>, caller: Caller, path: Path<(String, i64)>) -> ApiResult<HttpResponse> {
    let mut tx = app.db.begin().await?;
    hooks::remove(&mut tx, &caller, &path.0, path.1).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
