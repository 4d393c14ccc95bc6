//! Models: list, look at, create, change, delete.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path, Query},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::{Acquire as _, PgConnection};
use utoipa::ToSchema;

use super::{administrable, readable};
use crate::{
    app::App,
    auth::Caller,
    catalog::{
        self, File, Visibility,
        search::{self, Summary},
    },
    http::{
        error::{ApiError, ApiResult},
        extract::ModelPath,
    },
    jobs::{AdoptOrphans, CheckLineage, publish::enqueue_after_lineage, queue},
    lineage,
};

/// A page of models.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelPage {
    /// The models.
    items: Vec<Summary>,
    /// The cursor of the next page; absent on the last.
    next: Option<String>,
    /// Counts of values under the other filters, by facet; on the first page only.
    facets: Option<Value>,
    /// How many models match; on the first page only.
    total: Option<i64>,
}

/// Lists models.
#[utoipa::path(get, path = "/api/v1/models", tag = "models", params(search::Query),
    responses((status = 200, body = ModelPage)))]
pub async fn list_models(app: Data<App>, caller: Caller, query: Query<search::Query>) -> ApiResult<Json<ModelPage>> {
    let query = query.into_inner().understood();
    let viewer = caller.viewer();
    let mut db = app.db.acquire().await?;
    let page = search::search(&mut db, &query, &viewer).await?;
    let mut first = None;
    if query.cursor.is_none() {
        first = Some(search::kept_facets(&app.tally, &mut db, &query, &viewer).await?);
    }
    let total = first.as_ref().map(|counts| counts.1);
    let values = |list: &Vec<(String, i64)>| -> Vec<Value> {
        list.iter().map(|(value, count)| json!({ "value": value, "count": count })).collect()
    };
    let facets = first
        .map(|counts| json!(counts.0.iter().map(|(facet, list)| (facet, values(list))).collect::<BTreeMap<_, _>>()));
    Ok(Json(ModelPage { items: page.items, next: page.next, facets, total }))
}

/// Which revision.
#[derive(Debug, Deserialize)]
pub struct RevisionQuery {
    revision: Option<String>,
}

/// A file of a revision.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileBody {
    /// Where it is.
    path: String,
    /// Its length in bytes.
    size: i64,
    /// Its SHA-256.
    digest: String,
}

impl From<&File> for FileBody {
    fn from(file: &File) -> Self {
        Self { path: file.path.to_string(), size: file.size, digest: file.digest.to_string() }
    }
}

/// Returns a model with its files, lineage, license and smoke test.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}", tag = "models",
    params(("ns" = String, Path), ("name" = String, Path), ("revision" = Option<String>, Query)),
    responses((status = 200, body = Object), (status = 404)))]
pub async fn get_model(
    app: Data<App>,
    caller: Caller,
    path: Path<ModelPath>,
    query: Query<RevisionQuery>,
) -> ApiResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = readable(&mut db, &caller, &path).await?;
    let viewer = caller.viewer();
    let revision = match &query.revision {
        Some(name) => Some(catalog::get_revision(&mut db, &model, name).await?),
        None => match model.head_revision_id {
            Some(id) => catalog::find_revision_by_id(&mut db, id).await?,
            None => None,
        },
    };
    let files = match &revision {
        Some(revision) => catalog::list_files(&mut db, revision.id).await?,
        None => Vec::new(),
    };
    let refs = catalog::list_refs(&mut db, model.id).await?;
    let refs: Vec<Value> =
        refs.iter().map(|r| json!({ "kind": r.kind.as_str(), "name": r.name, "commit": r.commit.as_str() })).collect();
    let parents = lineage::db::list_parents(&mut db, model.id, &viewer).await?;
    let children: BTreeMap<String, i64> =
        lineage::db::children_by_relation(&mut db, model.id, &viewer).await?.into_iter().collect();
    let descendants = lineage::db::count_descendants(&mut db, model.id, &viewer).await?;
    let open_jobs = queue::count_open(&mut db, model.id).await?;
    let rfc3339 = |at: time::OffsetDateTime| at.format(&time::format_description::well_known::Rfc3339).ok();
    Ok(Json(json!({
        "id": model.name.to_string(),
        "kind": model.kind,
        "visibility": model.visibility,
        "description": model.description,
        "revision": revision.as_ref().map(|r| r.commit.as_str()),
        "refs": refs,
        "files": files.iter().map(FileBody::from).collect::<Vec<_>>(),
        "card": model.card,
        "tags": model.tags,
        "pipeline_tag": model.pipeline_tag,
        "library": model.library,
        "parameters": model.parameters,
        "dtype": model.dtype,
        "format": model.format,
        "architecture": model.architecture,
        "bytes": model.bytes,
        "downloads": model.downloads,
        "likes": model.likes,
        "flags": model.flags,
        "lineage": { "status": model.lineage_status, "parents": parents },
        "license": { "declared": model.license, "position": model.position },
        "smoke_test": { "verdict": model.smoke_verdict },
        "children": children,
        "descendants": descendants,
        "open_jobs": open_jobs,
        "created_at": rfc3339(model.created_at),
        "updated_at": rfc3339(model.updated_at),
    })))
}

/// How a model is to be.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateModel {
    /// `public` or `private`.
    #[schema(value_type = Option<String>)]
    visibility: Option<Visibility>,
}

/// Creates a model, or changes the visibility of one that exists.
#[utoipa::path(put, path = "/api/v1/models/{ns}/{name}", tag = "models", request_body = CreateModel,
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 201, description = "created"), (status = 200, description = "exists"), (status = 403)))]
pub async fn put_model(
    app: Data<App>,
    caller: Caller,
    path: Path<ModelPath>,
    body: Option<Json<CreateModel>>,
) -> ApiResult<HttpResponse> {
    let name = crate::name::ModelName::new(&path.ns, &path.name)?;
    let user = caller.require_write(name.namespace())?;
    let wanted = body.and_then(|body| body.visibility);
    let mut tx = app.db.begin().await?;
    let existing = catalog::find_model(&mut tx, &name, &caller.viewer()).await?;
    if let Some(model) = existing.filter(|model| model.kind == catalog::Kind::Hosted) {
        if let Some(visibility) = wanted.filter(|visibility| *visibility != model.visibility) {
            caller.require_administer(model.name.namespace())?;
            change_visibility(&mut tx, &caller, &model, visibility).await?;
            tx.commit().await?;
        }
        return Ok(HttpResponse::Ok().json(json!({ "id": model.name.to_string() })));
    }
    let visibility = wanted.unwrap_or(Visibility::Public);
    let model = catalog::create_model(&mut tx, &app.store, &name, visibility, &user.name).await?;
    catalog::record_event(&mut tx, caller.name(), "created", Some(&model), &json!({ "visibility": visibility }))
        .await?;
    tx.commit().await?;
    Ok(HttpResponse::Created().json(json!({ "id": model.name.to_string() })))
}

/// Makes a model public or private, and has its license judged again: duties sleep while it is private.
pub(crate) async fn change_visibility(
    tx: &mut PgConnection,
    caller: &Caller,
    model: &catalog::Model,
    visibility: Visibility,
) -> ApiResult<()> {
    catalog::set_visibility(tx, model.id, visibility).await?;
    if visibility == Visibility::Private {
        lineage::db::rename_in_verdicts(tx, &model.name.to_string(), "another model", Some(model.id)).await?;
    }
    queue::enqueue(tx, &CheckLineage { model_id: model.id, spread: true }).await?;
    catalog::record_event(tx, caller.name(), "visibility changed", Some(model), &json!({ "to": visibility })).await?;
    Ok(enqueue_after_lineage(tx, model.id).await?)
}

/// Deletes a model with all its revisions.
#[utoipa::path(delete, path = "/api/v1/models/{ns}/{name}", tag = "models",
    params(("ns" = String, Path), ("name" = String, Path)), responses((status = 204), (status = 404)))]
pub async fn delete_model(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<HttpResponse> {
    let mut db = app.db.acquire().await?;
    let mut tx = db.begin().await?;
    let model = administrable(&mut tx, &caller, &path).await?;
    delete(&mut tx, &caller, &model).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Deletes a hosted model; what descends from it is judged again.
pub(crate) async fn delete(tx: &mut PgConnection, caller: &Caller, model: &catalog::Model) -> ApiResult<()> {
    if model.kind == catalog::Kind::Catalogued && !caller.is_admin() {
        return Err(ApiError::from(catalog::Error::NotHosted(model.name.clone())));
    }
    catalog::record_event(tx, caller.name(), "deleted", Some(model), &json!({})).await?;
    let children = lineage::db::list_child_ids(tx, model.id).await?;
    let parents = lineage::db::list_parent_ids(tx, model.id).await?;
    catalog::delete_model(tx, model).await?;
    for id in &children {
        queue::enqueue(tx, &CheckLineage { model_id: *id, spread: false }).await?;
    }
    for id in children.into_iter().chain(parents) {
        enqueue_after_lineage(tx, id).await?;
    }
    Ok(queue::enqueue(tx, &AdoptOrphans {}).await?)
}
