//! What the weights say: parent links with their evidence, decisions about them, fingerprints, and the question whose
//! weights these are.

use actix_web::web::{Bytes, Data, Json, Path};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::readable;
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Model},
    http::{
        error::{ApiError, ApiResult},
        extract::ModelPath,
    },
    jobs::publish::enqueue_after_lineage,
    lineage::{
        self,
        identify::{self, Identified},
        link::{self, Action, Link},
        weights::Fingerprint,
    },
    name::ModelName,
};

/// `{ns}/{name}/lineage/{parent_ns}/{parent_name}` of a path.
#[derive(Debug, Deserialize)]
pub struct LinkPath {
    /// The child's namespace.
    pub ns: String,
    /// The child's name.
    pub name: String,
    /// The parent's namespace.
    pub parent_ns: String,
    /// The parent's name.
    pub parent_name: String,
}

impl LinkPath {
    /// The child's part of the path.
    pub fn child(&self) -> ModelPath {
        ModelPath { ns: self.ns.clone(), name: self.name.clone() }
    }

    /// Returns both models, if the caller may read them.
    pub async fn models(&self, db: &mut PgConnection, caller: &Caller) -> ApiResult<(Model, Model)> {
        let child = readable(db, caller, &self.child()).await?;
        let parent = ModelName::new(&self.parent_ns, &self.parent_name)?;
        Ok((child, catalog::get_model(db, &parent, &caller.viewer()).await?))
    }
}

/// Returns a parent link with verdict, evidence and history.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/lineage/{parent_ns}/{parent_name}", tag = "lineage",
    params(("ns" = String, Path), ("name" = String, Path), ("parent_ns" = String, Path), ("parent_name" = String, Path)),
    responses((status = 200, body = Link), (status = 404)))]
pub async fn get_link(app: Data<App>, caller: Caller, path: Path<LinkPath>) -> ApiResult<Json<Link>> {
    let mut db = app.db.acquire().await?;
    let (child, parent) = path.models(&mut db, &caller).await?;
    let found = link::find_link(&mut db, &child, &parent, &caller.viewer()).await?;
    Ok(Json(found.ok_or_else(|| lineage::Error::ClaimNotFound(parent.name))?))
}

/// What somebody says of a verdict.
#[derive(Debug, Deserialize, ToSchema)]
pub struct DecisionBody {
    /// `dispute`, `confirm`, `overrule` or `reopen`.
    action: Action,
    /// Why.
    reason: String,
}

/// Disputes, confirms or overrules a verdict; the measurement stays visible.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/lineage/{parent_ns}/{parent_name}/decisions", tag = "lineage",
    request_body = DecisionBody,
    params(("ns" = String, Path), ("name" = String, Path), ("parent_ns" = String, Path), ("parent_name" = String, Path)),
    responses((status = 200, body = Link), (status = 403), (status = 404)))]
pub async fn post_decision(
    app: Data<App>,
    caller: Caller,
    path: Path<LinkPath>,
    body: Json<DecisionBody>,
) -> ApiResult<Json<Link>> {
    caller.require_user()?;
    let mut tx = app.db.begin().await?;
    let (child, parent) = path.models(&mut tx, &caller).await?;
    link::decide(&mut tx, &caller, &child, &parent, body.action, &body.reason).await?;
    enqueue_after_lineage(&mut tx, child.id).await?;
    let found = link::find_link(&mut tx, &child, &parent, &caller.viewer()).await?;
    tx.commit().await?;
    Ok(Json(found.ok_or_else(|| lineage::Error::ClaimNotFound(parent.name))?))
}

/// Returns what the weights say of a model as a whole, and of which weights that is.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/fingerprint", tag = "lineage",
    params(("ns" = String, Path), ("name" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn get_fingerprint(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = readable(&mut db, &caller, &path).await?;
    Ok(Json(lineage::link::describe_fingerprint(&mut db, &model, &caller.viewer()).await?))
}

/// Says what a fingerprint is of, made by `herdbook identify` from weights that stay where they are.
#[utoipa::path(post, path = "/api/v1/identify", tag = "lineage",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Identified), (status = 400, description = "it is no fingerprint; says why")))]
pub async fn post_identify(app: Data<App>, caller: Caller, body: Bytes) -> ApiResult<Json<Identified>> {
    Ok(Json(identify(&app, &caller, body).await?))
}

/// Reads a fingerprint and says what it is of.
pub(crate) async fn identify(app: &App, caller: &Caller, body: Bytes) -> ApiResult<Identified> {
    let turn = identify::take_turn().await?;
    let read = tokio::task::spawn_blocking(move || Fingerprint::decode(&body)).await;
    let read = read.map_err(|panic| ApiError::internal(&panic))?;
    let print = read.map_err(|error| {
        let status = actix_web::http::StatusCode::BAD_REQUEST;
        ApiError::new(status, "bad-fingerprint", error.to_string())
    })?;
    Ok(identify::identify(&app.db, &app.store, &app.prints, print, &caller.viewer(), turn).await?)
}

/// What a namespace does when a declared parent is contradicted.
#[derive(Debug, Deserialize, ToSchema)]
pub struct PolicyBody {
    /// `note`, `review` or `quarantine`.
    on_contradiction: String,
}

/// Returns what a namespace does with models whose declared parent is contradicted.
#[utoipa::path(get, path = "/api/v1/namespaces/{ns}/lineage-policy", tag = "lineage", params(("ns" = String, Path)),
    responses((status = 200, body = Object), (status = 403)))]
pub async fn get_policy(app: Data<App>, caller: Caller, path: Path<String>) -> ApiResult<Json<Value>> {
    caller.require_administer(&path)?;
    let mut db = app.db.acquire().await?;
    let policy = lineage::db::find_policy(&mut db, &path.to_lowercase()).await?;
    Ok(Json(json!({ "namespace": *path, "on_contradiction": policy })))
}

/// Changes what a namespace does with models whose declared parent is contradicted.
#[utoipa::path(put, path = "/api/v1/namespaces/{ns}/lineage-policy", tag = "lineage", params(("ns" = String, Path)),
    request_body = PolicyBody, responses((status = 200, body = Object), (status = 403)))]
pub async fn put_policy(
    app: Data<App>,
    caller: Caller,
    path: Path<String>,
    body: Json<PolicyBody>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.db.begin().await?;
    link::set_policy(&mut tx, &caller, &path, &body.on_contradiction).await?;
    tx.commit().await?;
    Ok(Json(json!({ "namespace": *path, "on_contradiction": body.on_contradiction })))
}
