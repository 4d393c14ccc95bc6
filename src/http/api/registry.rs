//! The registry itself: who calls, tokens, jobs, events, statistics.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    auth::{self, Caller, Scope},
    catalog,
    http::error::{ApiError, ApiResult},
    jobs::queue,
    name::ModelName,
};

/// Says who calls.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "administration", responses((status = 200, body = Object), (status = 401)))]
pub async fn whoami(caller: Caller) -> ApiResult<Json<Value>> {
    let user = caller.require_user()?;
    Ok(Json(json!({
        "name": user.name,
        "full_name": user.full_name,
        "is_admin": user.is_admin,
        "scope": caller.scope,
        "token": caller.token_name,
        "organizations": caller.organizations.iter()
            .map(|o| json!({ "name": o.name, "role": o.role })).collect::<Vec<_>>(),
    })))
}

/// Lists the caller's tokens; never their values.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "administration", responses((status = 200, body = Object), (status = 401)))]
pub async fn list_tokens(app: Data<App>, caller: Caller) -> ApiResult<Json<Value>> {
    let user = caller.require_user()?;
    let tokens = auth::db::list_tokens(&mut *app.db.acquire().await?, user.id).await?;
    Ok(Json(json!({ "tokens": tokens })))
}

/// A token to create.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewToken {
    /// What it is for.
    name: String,
    /// `read`, `write` or `admin`.
    #[schema(value_type = String)]
    scope: Scope,
}

/// Creates a token; its value is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "administration", request_body = NewToken,
    responses((status = 201, body = Object), (status = 403)))]
pub async fn create_token(app: Data<App>, caller: Caller, body: Json<NewToken>) -> ApiResult<HttpResponse> {
    let user = caller.require_user()?;
    caller.require_token_scope(body.scope)?;
    let secret = auth::generate_secret();
    let mut db = app.db.acquire().await?;
    let id = auth::db::create_token(&mut db, user.id, body.name.trim(), body.scope, &secret).await?;
    Ok(HttpResponse::Created()
        .json(json!({ "id": id, "name": body.name.trim(), "scope": body.scope, "token": secret })))
}

/// Revokes a token of the caller.
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "administration", params(("id" = i64, Path)),
    responses((status = 204), (status = 403), (status = 404)))]
pub async fn delete_token(app: Data<App>, caller: Caller, id: Path<i64>) -> ApiResult<HttpResponse> {
    if auth::revoke_token(&mut *app.db.acquire().await?, &caller, *id).await? {
        return Ok(HttpResponse::NoContent().finish());
    }
    Err(ApiError::not_found("there is no such token of yours"))
}

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
pub struct JobsQuery {
    /// `pending`, `running`, `done` or `failed`; pending and running unless said.
    state: Option<String>,
    /// At most 200.
    limit: Option<i64>,
}

/// Lists jobs on models that the caller may read; counts all jobs for administrators.
#[utoipa::path(get, path = "/api/v1/jobs", tag = "administration", params(JobsQuery), responses((status = 200, body = Object)))]
pub async fn list_jobs(app: Data<App>, caller: Caller, query: Query<JobsQuery>) -> ApiResult<Json<Value>> {
    let states =
        query.state.clone().map_or_else(|| vec!["pending".to_owned(), "running".to_owned()], |state| vec![state]);
    let limit = query.limit.unwrap_or(50).clamp(1, 200);
    let mut db = app.db.acquire().await?;
    let jobs = queue::list(&mut db, &states, &caller.viewer(), limit).await?;
    // Counts include the work of models that others may not know of.
    let counts = if caller.is_admin() { queue::counts(&mut db).await? } else { Vec::new() };
    let counts: serde_json::Map<String, Value> =
        counts.into_iter().map(|(state, count)| (state, json!(count))).collect();
    Ok(Json(json!({ "jobs": jobs, "counts": counts })))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
pub struct EventsQuery {
    /// Of this model.
    #[param(value_type = Option<String>)]
    model: Option<ModelName>,
    /// At most 200.
    limit: Option<i64>,
}

/// Lists what happened, the latest first.
#[utoipa::path(get, path = "/api/v1/events", tag = "administration", params(EventsQuery), responses((status = 200, body = Object)))]
pub async fn list_events(app: Data<App>, caller: Caller, query: Query<EventsQuery>) -> ApiResult<Json<Value>> {
    let viewer = caller.viewer();
    let mut db = app.db.acquire().await?;
    let model_id = match &query.model {
        Some(name) => Some(catalog::get_model(&mut db, name, &viewer).await?.id),
        None => None,
    };
    let limit = query.limit.unwrap_or(50).clamp(1, 200);
    let events = catalog::list_events(&mut db, model_id, &viewer, limit).await?;
    Ok(Json(json!({ "events": events })))
}

/// Counts models, revisions, blobs and bytes.
#[utoipa::path(get, path = "/api/v1/stats", tag = "administration", responses((status = 200, body = Object)))]
pub async fn get_stats(app: Data<App>, caller: Caller) -> ApiResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let viewer = caller.viewer();
    let count = async |db: &mut _| catalog::count_all(db, &viewer).await;
    let stats = app.tally.get(&mut db, &viewer, "totals", count).await?;
    Ok(Json(json!(stats)))
}
