//! The graph: ancestors, descendants, paths, common ancestors, claims.

use actix_web::web::{Data, Json, Path, Query};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{readable, writable};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Model},
    http::{error::ApiResult, extract::ModelPath},
    jobs::{CheckLineage, publish::enqueue_after_lineage, queue},
    lineage::{
        self, Declaration, Direction, Graph, Relation,
        db::{MAX_NODES, Walk},
    },
    name::ModelName,
};

/// How to walk.
#[derive(Debug, Deserialize, IntoParams)]
pub struct LineageQuery {
    /// `ancestors`, `descendants` or `both`.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    direction: Direction,
    /// How many generations; all unless said.
    depth: Option<i32>,
    /// Only along this relation.
    relation: Option<String>,
    /// Most models of the answer.
    limit: Option<i64>,
    /// Whether claims carry their evidence; true unless the answer is large.
    evidence: Option<bool>,
}

/// Walks the graph from a model.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/lineage", tag = "lineage",
    params(("ns" = String, Path), ("name" = String, Path), LineageQuery), responses((status = 200, body = Graph)))]
pub async fn get_lineage(
    app: Data<App>,
    caller: Caller,
    path: Path<ModelPath>,
    query: Query<LineageQuery>,
) -> ApiResult<Json<Graph>> {
    let relation = query.relation.as_deref().map(str::parse::<Relation>).transpose()?;
    let mut db = app.db.acquire().await?;
    let model = readable(&mut db, &caller, &path).await?;
    let walk = Walk {
        direction: query.direction,
        depth: query.depth.unwrap_or(64).clamp(0, 64),
        relation,
        limit: query.limit.unwrap_or(MAX_NODES).clamp(1, MAX_NODES),
        with_evidence: query.evidence.unwrap_or(model.descendants < 1000),
    };
    Ok(Json(lineage::db::walk(&mut db, &model, &walk, &caller.viewer()).await?))
}

/// Two models.
#[derive(Debug, Deserialize, IntoParams)]
pub struct PathQuery {
    /// The descendant.
    #[param(value_type = String)]
    from: ModelName,
    /// The ancestor.
    #[param(value_type = String)]
    to: ModelName,
}

/// Returns the shortest paths from a model up to an ancestor.
#[utoipa::path(get, path = "/api/v1/lineage/path", tag = "lineage", params(PathQuery), responses((status = 200, body = Object)))]
pub async fn get_path(app: Data<App>, caller: Caller, query: Query<PathQuery>) -> ApiResult<Json<Value>> {
    let viewer = caller.viewer();
    let mut db = app.db.acquire().await?;
    let from = catalog::get_model(&mut db, &query.from, &viewer).await?;
    let to = catalog::get_model(&mut db, &query.to, &viewer).await?;
    let paths = lineage::db::paths(&mut db, &from, &to, &viewer, 20).await?;
    Ok(Json(json!({ "from": from.name, "to": to.name, "paths": paths })))
}

/// Two models.
#[derive(Debug, Deserialize, IntoParams)]
pub struct CommonQuery {
    /// One.
    #[param(value_type = String)]
    a: ModelName,
    /// The other.
    #[param(value_type = String)]
    b: ModelName,
}

/// Returns the nearest common ancestors of two models.
#[utoipa::path(get, path = "/api/v1/lineage/common-ancestor", tag = "lineage", params(CommonQuery),
    responses((status = 200, body = Object)))]
pub async fn get_common_ancestor(app: Data<App>, caller: Caller, query: Query<CommonQuery>) -> ApiResult<Json<Value>> {
    let viewer = caller.viewer();
    let mut db = app.db.acquire().await?;
    let a = catalog::get_model(&mut db, &query.a, &viewer).await?;
    let b = catalog::get_model(&mut db, &query.b, &viewer).await?;
    let common = lineage::db::common_ancestors(&mut db, &a, &b, &viewer).await?;
    Ok(Json(json!({ "a": a.name, "b": b.name, "ancestors": common })))
}

/// A claim to declare or withdraw.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ClaimBody {
    /// The parent.
    #[schema(value_type = String)]
    parent: ModelName,
    /// Its revision.
    revision: Option<String>,
    /// How the child was made; `finetune` unless said.
    relation: Option<String>,
    /// Why one says so.
    #[serde(default)]
    note: String,
    /// Withdraws instead.
    #[serde(default)]
    withdraw: bool,
}

/// Declares or withdraws a parent.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/claims", tag = "lineage", request_body = ClaimBody,
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Object), (status = 409, description = "it would close a cycle, which is named")))]
pub async fn post_claim(
    app: Data<App>,
    caller: Caller,
    path: Path<ModelPath>,
    body: Json<ClaimBody>,
) -> ApiResult<Json<Value>> {
    let relation = body.relation.as_deref().map_or(Ok(Relation::Finetune), str::parse)?;
    let mut tx = app.db.begin().await?;
    let child: Model = writable(&mut tx, &caller, &path).await?;
    if body.withdraw {
        lineage::withdraw(&mut tx, &caller, &child, &body.parent).await?;
    } else {
        let revision = body.revision.as_deref();
        let declaration = Declaration { parent: &body.parent, revision, relation, note: &body.note };
        lineage::declare(&mut tx, &caller, &child, &declaration).await?;
    }
    enqueue_after_lineage(&mut tx, child.id).await?;
    queue::enqueue(&mut tx, &CheckLineage { model_id: child.id, spread: false }).await?;
    let parents = lineage::db::list_parents(&mut tx, child.id, &caller.viewer()).await?;
    tx.commit().await?;
    Ok(Json(json!({ "parents": parents })))
}
