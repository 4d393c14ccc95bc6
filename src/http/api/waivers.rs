//! Waivers: accepted findings, with reason, owner and expiry; and who may grant them.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    auth::Caller,
    http::error::ApiResult,
    jobs::{EndWaiver, deliver_hook::announce, queue},
    license::{
        db,
        manage::{self, WaiverRequest},
    },
};

/// Which waivers.
#[derive(Debug, Deserialize, IntoParams)]
pub struct WaiversQuery {
    /// Of this namespace.
    namespace: Option<String>,
    /// Only those that hold now; expired and revoked ones too when `false`.
    in_force: Option<bool>,
}

/// Lists the waivers of the namespaces that the caller belongs to.
#[utoipa::path(get, path = "/api/v1/waivers", tag = "licenses", params(WaiversQuery),
    responses((status = 200, body = Object)))]
pub async fn list_waivers(app: Data<App>, caller: Caller, query: Query<WaiversQuery>) -> ApiResult<Json<Value>> {
    caller.require_user()?;
    let mut connection = app.db.acquire().await?;
    let key = query.namespace.as_deref().filter(|name| !name.is_empty()).map(str::to_lowercase);
    let in_force = query.in_force.unwrap_or(true);
    let waivers = db::list_waivers(&mut connection, &caller.viewer(), key.as_deref(), in_force).await?;
    Ok(Json(json!({ "items": waivers })))
}

/// Accepts a finding until a day.
#[utoipa::path(post, path = "/api/v1/waivers", tag = "licenses", request_body = WaiverRequest,
    responses((status = 201, body = Object), (status = 400), (status = 403), (status = 404)))]
pub async fn create_waiver(app: Data<App>, caller: Caller, body: Json<WaiverRequest>) -> ApiResult<HttpResponse> {
    let mut tx = app.db.begin().await?;
    let (id, expires) = grant(&mut tx, &caller, &body).await?;
    tx.commit().await?;
    Ok(HttpResponse::Created().json(json!({ "id": id, "expires": expires })))
}

/// Grants a waiver, has its end noticed, and tells whoever wants to know; returns its row and end.
pub(crate) async fn grant(tx: &mut PgConnection, caller: &Caller, request: &WaiverRequest) -> ApiResult<(i64, String)> {
    let granted = manage::grant_waiver(tx, caller, request).await?;
    let end = EndWaiver { waiver_id: granted.id, model_id: granted.model_id, namespace: granted.namespace };
    queue::enqueue_at(tx, &end, granted.expires).await?;
    announce(tx, &granted.outcome.changes).await?;
    Ok((granted.id, granted.expires.format(&Rfc3339).unwrap_or_default()))
}

/// Takes a waiver back: its findings return.
#[utoipa::path(delete, path = "/api/v1/waivers/{id}", tag = "licenses", params(("id" = i64, Path)),
    responses((status = 204), (status = 403), (status = 404)))]
pub async fn delete_waiver(app: Data<App>, caller: Caller, id: Path<i64>) -> ApiResult<HttpResponse> {
    let mut tx = app.db.begin().await?;
    revoke(&mut tx, &caller, *id).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Takes a waiver back and tells whoever wants to know.
pub(crate) async fn revoke(tx: &mut PgConnection, caller: &Caller, id: i64) -> ApiResult<()> {
    let outcome = manage::revoke_waiver(tx, caller, id).await?;
    announce(tx, &outcome.changes).await?;
    Ok(())
}

/// Returns who may accept findings of a namespace.
#[utoipa::path(get, path = "/api/v1/namespaces/{ns}/waiver-rights", tag = "licenses", params(("ns" = String, Path)),
    responses((status = 200, body = Object), (status = 403)))]
pub async fn get_rights(app: Data<App>, caller: Caller, path: Path<String>) -> ApiResult<Json<Value>> {
    caller.require_administer(&path)?;
    let mut connection = app.db.acquire().await?;
    let users = db::list_waiver_rights(&mut connection, &path.to_lowercase()).await?;
    Ok(Json(json!({ "namespace": *path, "users": users })))
}

/// Whose right.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RightBody {
    /// The user.
    user: String,
    /// Whether they may.
    granted: bool,
}

/// Gives a user the right to accept findings of a namespace, or takes it.
#[utoipa::path(put, path = "/api/v1/namespaces/{ns}/waiver-rights", tag = "licenses", params(("ns" = String, Path)),
    request_body = RightBody, responses((status = 200, body = Object), (status = 403), (status = 404)))]
pub async fn put_right(
    app: Data<App>,
    caller: Caller,
    path: Path<String>,
    body: Json<RightBody>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.db.begin().await?;
    manage::set_waiver_right(&mut tx, &caller, &path, &body.user, body.granted).await?;
    let users = db::list_waiver_rights(&mut tx, &path.to_lowercase()).await?;
    tx.commit().await?;
    Ok(Json(json!({ "namespace": *path, "users": users })))
}
