//! The files of a revision, each with its digest and its download.

use actix_web::{
    HttpRequest,
    web::{Data, Path},
};
use askama::Template;

use super::super::{
    Frame,
    error::PageResult,
    format::{self},
    model::{Head, Loaded, load},
    page,
};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, File},
    http::extract::ModelPath,
};

struct FileRow {
    path: String,
    size: String,
    digest: String,
    short: String,
    url: String,
}

#[derive(Template)]
#[template(path = "model/files.html")]
struct FilesPage {
    frame: Frame,
    head: Head,
    commit: String,
    total: String,
    files: Vec<FileRow>,
}

/// `GET /{ns}/{name}/files`
pub async fn get_files(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, revision, head, frame } = load(&mut db, &app, &caller, &request, &path, "Files").await?;
    let (files, commit) = match &revision {
        Some(revision) => (catalog::list_files(&mut db, revision.id).await?, revision.commit.to_string()),
        None => (Vec::new(), String::new()),
    };
    let row = |file: &File| FileRow {
        path: file.path.to_string(),
        size: format::bytes(file.size),
        digest: file.digest.to_hex(),
        short: file.digest.to_hex()[..12].to_owned(),
        url: format!("/{}/resolve/{commit}/{}", model.name, file.path),
    };
    let files = files.iter().map(row).collect();
    page(&FilesPage { frame, head, total: format::bytes(model.bytes), files, commit })
}
