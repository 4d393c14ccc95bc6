//! Collections of files that one commit publishes.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{may_read_blob, writable};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Change, Commit, uploads},
    digest::Digest,
    http::{
        error::{ApiError, ApiResult},
        extract::ModelPath,
        origin::base_url,
    },
    jobs::publish::publish_and_enqueue,
    name::FilePath,
    storage::{self, Stored},
};

/// `{ns}/{name}/uploads/{id}` of a path.
#[derive(Debug, Deserialize)]
pub struct UploadPath {
    ns: String,
    name: String,
    id: String,
}

impl UploadPath {
    fn model(&self) -> ModelPath {
        ModelPath { ns: self.ns.clone(), name: self.name.clone() }
    }
}

/// Opens a collection.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/uploads", tag = "files",
    params(("ns" = String, Path), ("name" = String, Path)), responses((status = 201, body = Object)))]
pub async fn create_upload(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<HttpResponse> {
    let mut db = app.db.acquire().await?;
    let model = writable(&mut db, &caller, &path).await?;
    let user_id = caller.require_user()?.id;
    if model.kind == catalog::Kind::Catalogued {
        return Err(catalog::Error::NotHosted(model.name).into());
    }
    let id = format!("{:032x}", rand::random::<u128>());
    uploads::db::create(&mut db, &id, model.id, user_id).await?;
    Ok(HttpResponse::Created().json(json!({ "upload": id })))
}

/// A file that the client could send.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Offered {
    path: String,
    size: u64,
    digest: String,
}

/// The files that the client could send.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Offer {
    files: Vec<Offered>,
}

/// The files that need not be sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Known {
    known: Vec<String>,
}

/// Takes files from content that the caller may read already; answers which need not be sent.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/uploads/{id}/known", tag = "files", request_body = Offer,
    params(("ns" = String, Path), ("name" = String, Path), ("id" = String, Path)), responses((status = 200, body = Known)))]
pub async fn take_known(
    app: Data<App>,
    caller: Caller,
    path: Path<UploadPath>,
    body: Json<Offer>,
) -> ApiResult<Json<Known>> {
    let mut tx = app.db.begin().await?;
    let model = writable(&mut tx, &caller, &path.model()).await?;
    let user_id = caller.require_user()?.id;
    require_open(&mut tx, &path.id, model.id, user_id).await?;
    let mut known = Vec::new();
    for offered in &body.files {
        let file: FilePath = offered.path.parse()?;
        let bad = |_| ApiError::bad_request(format!("the digest of `{file}` is not 64 hexadecimal digits"));
        let digest: Digest = offered.digest.parse().map_err(bad)?;
        let may_use = catalog::may_use_blob(&mut tx, user_id, model.id, &digest).await?
            || may_read_blob(&mut tx, &caller, &digest).await?;
        let is_same = storage::db::find_blob(&mut tx, &digest).await? == Some(offered.size);
        if may_use && is_same {
            storage::record(&mut tx, &app.store, &Stored { digest, size: offered.size }).await?;
            uploads::db::add_file(&mut tx, &path.id, file.as_str(), &digest, offered.size).await?;
            known.push(file.to_string());
        }
    }
    tx.commit().await?;
    Ok(Json(Known { known }))
}

async fn require_open(db: &mut PgConnection, id: &str, model_id: i64, user_id: i64) -> ApiResult<()> {
    let missing = || ApiError::new(StatusCode::NOT_FOUND, "upload-not-found", format!("upload `{id}` is not open"));
    uploads::db::is_open(db, id, model_id, user_id).await?.then_some(()).ok_or_else(missing)
}

/// What to publish.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CommitBody {
    /// First line.
    message: Option<String>,
    /// The branch, `main` unless said.
    branch: Option<String>,
    /// Files to remove.
    #[serde(default)]
    delete: Vec<String>,
}

/// Publishes a collection as one revision.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/uploads/{id}/commit", tag = "files", request_body = CommitBody,
    params(("ns" = String, Path), ("name" = String, Path), ("id" = String, Path)), responses((status = 200, body = Object)))]
pub async fn commit_upload(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<UploadPath>,
    body: Json<CommitBody>,
) -> ApiResult<Json<serde_json::Value>> {
    let mut tx = app.db.begin().await?;
    let model = writable(&mut tx, &caller, &path.model()).await?;
    let user_id = caller.require_user()?.id;
    require_open(&mut tx, &path.id, model.id, user_id).await?;
    let mut changes = Vec::new();
    for gone in &body.delete {
        changes.push(Change::DeleteFile(gone.parse()?));
    }
    for (file, digest, size) in uploads::db::list_files(&mut tx, &path.id).await? {
        changes.push(Change::Add { path: file.parse()?, stored: Stored { digest, size } });
    }
    let message = body.message.clone().unwrap_or_else(|| format!("Upload {} files", changes.len()));
    let branch = body.branch.as_deref().unwrap_or("main");
    let author = caller.name();
    let commit = Commit { branch, expected_parent: None, message: &message, description: "", author, changes };
    let published = publish_and_enqueue(&app, &mut tx, &caller, &model, commit).await?;
    uploads::db::close(&mut tx, &path.id).await?;
    tx.commit().await?;
    let url = format!("{}/{}", base_url(&app, &request), model.name);
    let revision = published.revision.commit.as_str();
    Ok(Json(json!({ "revision": revision, "changed": published.changed, "url": url })))
}
