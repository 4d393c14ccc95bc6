//! Files over plain REST: one call from curl, resumable at a byte offset.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Path, Payload, Query},
};
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::json;

use super::{check_holds, readable, writable};
use crate::{
    app::App,
    auth::Caller,
    catalog::{
        self, Change, Commit, Model,
        uploads::{self, MAX_FILE, Piece, Received, Slot},
    },
    digest::Digest,
    http::{
        blob::{Headers, file_response},
        error::{ApiError, ApiResult},
        extract::ModelPath,
    },
    jobs::publish::publish_and_enqueue,
    name::FilePath,
    storage::{self, Stored},
};

/// `{ns}/{name}/files/{path}` of a path.
#[derive(Debug, Clone, Deserialize)]
pub struct FileUrl {
    ns: String,
    name: String,
    path: String,
}

impl FileUrl {
    fn model(&self) -> ModelPath {
        ModelPath { ns: self.ns.clone(), name: self.name.clone() }
    }
}

/// Where an upload goes.
#[derive(Debug, Deserialize)]
pub struct UploadQuery {
    /// Collects into this upload, to be committed later.
    upload: Option<String>,
    /// Commits at once with this message.
    message: Option<String>,
    /// The branch, `main` unless said.
    branch: Option<String>,
    /// The revision to read.
    revision: Option<String>,
}

/// Uploads a file, whole or from an offset (`Content-Range: bytes FIRST-LAST/TOTAL`).
///
/// With `?upload=ID` it joins a collection, otherwise it is committed at once. `X-Content-SHA256` is verified.
#[utoipa::path(put, path = "/api/v1/models/{ns}/{name}/files/{path}", tag = "files",
    params(("ns" = String, Path), ("name" = String, Path), ("path" = String, Path),
        ("upload" = Option<String>, Query), ("message" = Option<String>, Query), ("branch" = Option<String>, Query)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "complete"), (status = 202, description = "more is needed"),
        (status = 409, description = "the offset is another"), (status = 422, description = "other content than announced")))]
pub async fn put_file(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<FileUrl>,
    query: Query<UploadQuery>,
    payload: Payload,
) -> ApiResult<HttpResponse> {
    let file: FilePath = path.path.parse()?;
    let user_id = caller.require_user()?.id;
    let model = writable(&mut *app.db.acquire().await?, &caller, &path.model()).await?;
    if model.kind == catalog::Kind::Catalogued {
        return Err(catalog::Error::NotHosted(model.name).into());
    }
    if let Some(upload) = &query.upload {
        require_open(&app, upload, &model, user_id).await?;
    }
    let piece = piece(&request)?;
    let expected = expected_digest(&request)?;
    let slot = slot(&model, user_id, query.upload.as_deref(), &file);
    let body = payload.map_err(std::io::Error::other);
    // A task of its own: when the client goes away the handler is dropped, but what came must be kept.
    let (pool, store, task_slot) = (app.db.clone(), app.store.clone(), slot.clone());
    let task = actix_web::rt::spawn(async move {
        uploads::receive(&pool, &store, &task_slot, piece, expected, Box::pin(body)).await
    });
    let received = task.await.map_err(|error| ApiError::internal(&error))??;
    let stored = match received {
        Received::Complete(stored) => stored,
        Received::Partial(offset) => {
            let mut response = HttpResponse::Accepted();
            response.insert_header(("Upload-Offset", offset.to_string()));
            return Ok(response.json(json!({ "offset": offset })));
        }
        Received::WrongOffset(offset) => {
            let message = format!("the server holds {offset} bytes of this file, continue from there");
            let problem = json!({ "status": 409, "code": "wrong-offset", "detail": message, "offset": offset });
            return Ok(HttpResponse::Conflict()
                .insert_header(("Upload-Offset", offset.to_string()))
                .content_type("application/problem+json")
                .body(problem.to_string()));
        }
    };
    finish(&app, &caller, &model, user_id, &file, stored, &query).await
}

async fn require_open(app: &App, upload: &str, model: &Model, user_id: i64) -> ApiResult<()> {
    let is_open = uploads::db::is_open(&mut *app.db.acquire().await?, upload, model.id, user_id).await?;
    let message = || format!("upload `{upload}` is not open: open one with POST …/uploads");
    is_open.then_some(()).ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "upload-not-found", message()))
}

async fn finish(
    app: &App,
    caller: &Caller,
    model: &Model,
    user_id: i64,
    file: &FilePath,
    stored: Stored,
    query: &UploadQuery,
) -> ApiResult<HttpResponse> {
    let mut body = json!({ "path": file.as_str(), "size": stored.size, "digest": stored.digest });
    let mut tx = app.db.begin().await?;
    storage::record(&mut tx, &app.store, &stored).await?;
    catalog::grant_blob(&mut tx, user_id, model.id, &stored.digest).await?;
    if let Some(upload) = &query.upload {
        uploads::db::add_file(&mut tx, upload, file.as_str(), &stored.digest, stored.size).await?;
    } else {
        let message = query.message.clone().unwrap_or_else(|| format!("Upload {file}"));
        let commit = Commit {
            branch: query.branch.as_deref().unwrap_or("main"),
            expected_parent: None,
            message: &message,
            description: "",
            author: caller.name(),
            changes: vec![Change::Add { path: file.clone(), stored }],
        };
        let published = publish_and_enqueue(app, &mut tx, caller, model, commit).await?;
        body["revision"] = json!(published.revision.commit.as_str());
    }
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(body))
}

/// Tells how many bytes of a file the server holds, in `Upload-Offset`.
#[utoipa::path(head, path = "/api/v1/models/{ns}/{name}/files/{path}", tag = "files",
    params(("ns" = String, Path), ("name" = String, Path), ("path" = String, Path), ("upload" = Option<String>, Query)),
    responses((status = 200), (status = 404, description = "nothing is held")))]
pub async fn head_file(
    app: Data<App>,
    caller: Caller,
    path: Path<FileUrl>,
    query: Query<UploadQuery>,
) -> ApiResult<HttpResponse> {
    let file: FilePath = path.path.parse()?;
    let mut db = app.db.acquire().await?;
    let model = writable(&mut db, &caller, &path.model()).await?;
    let user_id = caller.require_user()?.id;
    let slot = slot(&model, user_id, query.upload.as_deref(), &file);
    drop(db);
    uploads::underway::settled(&slot).await;
    let mut db = app.db.acquire().await?;
    let mut offset = uploads::db::offset(&mut db, &slot).await?;
    if let Some(upload) = query.upload.as_deref().filter(|_| offset.is_none())
        && uploads::db::is_open(&mut db, upload, model.id, user_id).await?
    {
        let files = uploads::db::list_files(&mut db, upload).await?;
        offset = files.into_iter().find(|(path, ..)| path == file.as_str()).map(|(.., size)| size);
    }
    let offset = offset.ok_or_else(|| ApiError::not_found("nothing of this file is held"))?;
    Ok(HttpResponse::Ok().insert_header(("Upload-Offset", offset.to_string())).finish())
}

/// Downloads a file.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/files/{path}", tag = "files",
    params(("ns" = String, Path), ("name" = String, Path), ("path" = String, Path), ("revision" = Option<String>, Query)),
    responses((status = 200), (status = 206), (status = 404)))]
pub async fn get_file(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<FileUrl>,
    query: Query<UploadQuery>,
) -> ApiResult<HttpResponse> {
    let file: FilePath = path.path.parse()?;
    let mut db = app.db.acquire().await?;
    let model = readable(&mut db, &caller, &path.model()).await?;
    let revision = catalog::get_revision(&mut db, &model, query.revision.as_deref().unwrap_or("main")).await?;
    check_holds(&mut db, &caller, &model, revision.id).await?;
    let found = catalog::find_file(&mut db, revision.id, &file).await?;
    let found = found.ok_or_else(|| catalog::Error::FileNotFound(file.to_string()))?;
    drop(db);
    let etag = format!("\"{}\"", found.digest.to_hex());
    file_response(&app, &request, &found, Headers { commit: revision.commit.as_str(), etag }).await
}

fn slot(model: &Model, user_id: i64, upload: Option<&str>, file: &FilePath) -> Slot {
    Slot { model_id: model.id, user_id, key: format!("rest:{}:{file}", upload.unwrap_or("-")) }
}

/// Reads `Content-Range` and `Content-Length`.
fn piece(request: &HttpRequest) -> ApiResult<Piece> {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let Some(range) = headers.get(header::CONTENT_RANGE) else {
        refuse_large(length)?;
        return Ok(Piece { offset: 0, length, total: length });
    };
    let bad = || ApiError::bad_request("Content-Range must be `bytes FIRST-LAST/TOTAL`");
    let text = range.to_str().ok().and_then(|text| text.strip_prefix("bytes ")).ok_or_else(bad)?;
    let (part, total) = text.split_once('/').ok_or_else(bad)?;
    let (first, last) = part.split_once('-').ok_or_else(bad)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| bad());
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    let fits = first <= last && last < total && length.is_none_or(|length: u64| length == last - first + 1);
    if !fits {
        return Err(ApiError::bad_request("Content-Range does not fit itself or Content-Length"));
    }
    refuse_large(Some(total))?;
    Ok(Piece { offset: first, length: Some(last - first + 1), total: Some(total) })
}

fn refuse_large(total: Option<u64>) -> ApiResult<()> {
    if total.is_none_or(|total| total <= MAX_FILE) {
        return Ok(());
    }
    let message = format!("a file has at most {MAX_FILE} bytes: split it");
    Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message))
}

fn expected_digest(request: &HttpRequest) -> ApiResult<Option<Digest>> {
    let Some(value) = request.headers().get("X-Content-SHA256") else { return Ok(None) };
    let digest = value.to_str().ok().and_then(|text| text.parse().ok());
    digest.map(Some).ok_or_else(|| ApiError::bad_request("X-Content-SHA256 must be 64 hexadecimal digits"))
}
