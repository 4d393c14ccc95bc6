//! Downloads: `/{ns}/{name}/resolve/{rev}/{path}`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{Data, Path},
};
use serde::Deserialize;

use super::{HubError, find, find_revision};
use crate::{
    app::App,
    auth::Caller,
    catalog,
    http::{
        api::check_holds,
        blob::{Headers, file_response},
        error::HubResult,
        extract::ModelPath,
    },
    name::FilePath,
};

/// `{ns}/{name}/resolve/{rev}/{path}` of a path.
#[derive(Debug, Deserialize)]
pub struct FilePlace {
    ns: String,
    name: String,
    rev: String,
    path: String,
}

/// `GET` and `HEAD /{ns}/{name}/resolve/{rev}/{path}`
pub async fn get_file(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    place: Path<FilePlace>,
) -> HubResult<HttpResponse> {
    let mut db = app.db.acquire().await?;
    let model_path = ModelPath { ns: place.ns.clone(), name: place.name.clone() };
    let model = find(&mut db, &caller, &request, &model_path).await?;
    let revision = find_revision(&mut db, &model, &place.rev).await?;
    check_holds(&mut db, &caller, &model, revision.id).await?;
    let missing = || {
        let error = catalog::Error::FileNotFound(place.path.chars().take(200).collect());
        HubError::from(error).in_commit(revision.commit.as_str())
    };
    let path: FilePath = place.path.parse().map_err(|_| missing())?;
    let file = catalog::find_file(&mut db, revision.id, &path).await?.ok_or_else(missing)?;
    let is_first_request = request.method() == Method::GET && !request.headers().contains_key(header::RANGE);
    if is_first_request && is_counted(&path) {
        catalog::count_download(&mut db, model.id).await?;
    }
    drop(db);
    let etag = if file.is_lfs { file.digest.to_hex() } else { hex::encode(file.git_id) };
    let headers = Headers { commit: revision.commit.as_str(), etag: format!("\"{etag}\"") };
    Ok(file_response(&app, &request, &file, headers).await?)
}

/// One file of a model counts as its download, so that sharded models do not count more.
fn is_counted(path: &FilePath) -> bool {
    matches!(path.as_str(), "config.json" | "adapter_config.json") || path.as_str().ends_with(".gguf")
}
