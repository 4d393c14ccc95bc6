//! Preupload and commit.

use std::io;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data, Json, Path, Payload},
};
use base64::Engine as _;
use futures::StreamExt as _;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{RevisionPath, find_writable, is_true};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Change, Commit, File, Model, attributes, facts},
    digest::Digest,
    http::{
        error::{ApiError, HubResult},
        origin::base_url,
    },
    jobs::publish::publish_and_enqueue,
    name::FilePath,
    storage::{self, Stored},
};

/// Longest line of a commit, in bytes: a regular file as base64.
const MAX_LINE: usize = 48 * 1024 * 1024;
/// Most operations of one commit.
const MAX_CHANGES: usize = 100_000;

#[derive(Debug, Deserialize)]
struct Preupload {
    files: Vec<Announced>,
    #[serde(rename = "gitIgnore")]
    git_ignore: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Announced {
    path: String,
    size: u64,
}

/// `POST /api/models/{ns}/{name}/preupload/{rev}`: how each file is to be sent, and what is there already.
pub async fn preupload(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RevisionPath>,
    body: Payload,
) -> HubResult<Json<Value>> {
    refuse_pull_requests(&request)?;
    let given: Preupload = super::json(&super::read(body, 64 * 1024 * 1024).await?)?;
    let mut db = app.db.acquire().await?;
    let model = find_writable(&mut db, &caller, &request, &path.model()).await?;
    let tip = catalog::find_revision(&mut db, model.id, &path.rev).await?;
    let files = match &tip {
        Some(tip) => catalog::list_files(&mut db, tip.id).await?,
        None => Vec::new(),
    };
    let ignored = ignored(&app, &files, given.git_ignore.as_deref()).await?;
    let mut answers = Vec::new();
    for announced in &given.files {
        let path: FilePath = announced.path.parse()?;
        let is_lfs = attributes::is_lfs(&path, announced.size);
        let mut answer = json!({
            "path": path.as_str(),
            "uploadMode": if is_lfs { "lfs" } else { "regular" },
            "shouldIgnore": ignored.matched_path_or_any_parents(path.as_str(), false).is_ignore(),
        });
        if let Some(file) = files.iter().find(|file| file.path == path) {
            let oid = if file.is_lfs { file.digest.to_hex() } else { hex::encode(file.git_id) };
            answer["oid"] = json!(oid);
        }
        answers.push(answer);
    }
    Ok(Json(json!({ "commitOid": tip.map(|tip| tip.commit.as_str().to_owned()), "files": answers })))
}

fn refuse_pull_requests(request: &HttpRequest) -> HubResult<()> {
    if is_true(request, "create_pr") {
        let message = "pull requests are not offered here: push to a branch instead (revision=…)";
        return Err(ApiError::bad_request(message).into());
    }
    Ok(())
}

/// What a `.gitignore` leaves out: the client's own, or the one that the model holds.
async fn ignored(app: &App, files: &[File], given: Option<&str>) -> HubResult<Gitignore> {
    let held = match files.iter().find(|file| file.path.as_str() == ".gitignore") {
        Some(file) => facts::read_text(&app.store, file, 256 * 1024).await?,
        None => String::new(),
    };
    let mut builder = GitignoreBuilder::new("");
    for line in given.unwrap_or_default().lines().chain(held.lines()).take(10_000) {
        // A line that is no pattern ignores nothing, as in git.
        let _ = builder.add_line(None, line);
    }
    let built = builder.build();
    Ok(built.map_err(|error| ApiError::bad_request(format!("the .gitignore cannot be read: {error}")))?)
}

#[derive(Debug, Deserialize)]
struct Line {
    key: String,
    value: Value,
}

#[derive(Default)]
struct Wanted {
    summary: String,
    description: String,
    parent: Option<String>,
    changes: Vec<Operation>,
}

enum Operation {
    Content(FilePath, Stored),
    Known(FilePath, Digest),
    Delete(FilePath),
    DeleteFolder(FilePath),
}

/// `POST /api/models/{ns}/{name}/commit/{rev}`
pub async fn commit(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RevisionPath>,
    body: Payload,
) -> HubResult<HttpResponse> {
    refuse_pull_requests(&request)?;
    let user_id = caller.require_user()?.id;
    let model = find_writable(&mut *app.db.acquire().await?, &caller, &request, &path.model()).await?;
    let wanted = read_lines(&app, body).await?;
    let mut tx = app.db.begin().await?;
    let changes = changes(&mut tx, &app, &model, user_id, &wanted.changes).await?;
    let expected_parent = match &wanted.parent {
        Some(parent) => Some(parent.parse().map_err(ApiError::from)?),
        None => None,
    };
    let commit = Commit {
        branch: &path.rev,
        expected_parent,
        message: &wanted.summary,
        description: &wanted.description,
        author: caller.name(),
        changes,
    };
    let published = publish_and_enqueue(&app, &mut tx, &caller, &model, commit).await?;
    tx.commit().await?;
    let commit = published.revision.commit.as_str();
    Ok(HttpResponse::Ok().insert_header(("X-Repo-Commit", commit)).json(json!({
        "success": true,
        "commitOid": commit,
        "commitUrl": format!("{}/{}/commit/{commit}", base_url(&app, &request), model.name),
        "hookOutput": "",
    })))
}

/// Reads the lines of a commit; the content of regular files goes to the store as it comes.
async fn read_lines(app: &App, mut body: Payload) -> HubResult<Wanted> {
    let mut wanted = Wanted::default();
    let mut rest: Vec<u8> = Vec::new();
    let mut searched = 0;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| storage::Error::Body(io::Error::other(error)))?;
        rest.extend_from_slice(&piece);
        while let Some(end) = rest[searched..].iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=searched + end).collect();
            searched = 0;
            read_line(app, &line, &mut wanted).await?;
        }
        searched = rest.len();
        if rest.len() > MAX_LINE || wanted.changes.len() > MAX_CHANGES {
            let message = "the commit is too large: send large files through LFS or Xet, and fewer at once";
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message).into());
        }
    }
    read_line(app, &rest, &mut wanted).await?;
    if wanted.summary.is_empty() {
        return Err(ApiError::bad_request("the commit has no `header` line with a `summary`").into());
    }
    Ok(wanted)
}

async fn read_line(app: &App, line: &[u8], wanted: &mut Wanted) -> HubResult<()> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(());
    }
    let line: Line = super::json(line)?;
    let text = |name: &str| line.value[name].as_str().unwrap_or_default();
    match line.key.as_str() {
        "header" => {
            text("summary").clone_into(&mut wanted.summary);
            text("description").clone_into(&mut wanted.description);
            wanted.parent = line.value["parentCommit"].as_str().map(str::to_owned);
        }
        "file" => {
            let path: FilePath = text("path").parse()?;
            let content = match text("encoding") {
                "base64" => base64::engine::general_purpose::STANDARD.decode(text("content")),
                _ => Ok(text("content").as_bytes().to_vec()),
            };
            let bad = |_| ApiError::bad_request(format!("the content of `{path}` is not base64"));
            let stored = app.store.put_bytes(Bytes::from(content.map_err(bad)?)).await?;
            wanted.changes.push(Operation::Content(path, stored));
        }
        "lfsFile" => {
            let path: FilePath = text("path").parse()?;
            let bad = |_| ApiError::bad_request(format!("the oid of `{path}` is not a SHA-256"));
            let digest = text("oid").parse().map_err(bad)?;
            wanted.changes.push(Operation::Known(path, digest));
        }
        "deletedFile" | "deletedEntry" | "deletedFolder" => {
            let path = text("path");
            if line.key == "deletedFolder" || path.ends_with('/') {
                wanted.changes.push(Operation::DeleteFolder(path.trim_matches('/').parse()?));
            } else {
                wanted.changes.push(Operation::Delete(path.parse()?));
            }
        }
        other => return Err(ApiError::bad_request(format!("`{other}` is not a commit operation")).into()),
    }
    Ok(())
}

/// Turns operations into changes; content that the caller did not send for this model is refused by name.
async fn changes(
    tx: &mut PgConnection,
    app: &App,
    model: &Model,
    user_id: i64,
    operations: &[Operation],
) -> HubResult<Vec<Change>> {
    let mut changes = Vec::new();
    for operation in operations {
        changes.push(match operation {
            Operation::Content(path, stored) => {
                storage::record(tx, &app.store, stored).await?;
                Change::Add { path: path.clone(), stored: *stored }
            }
            Operation::Known(path, digest) => {
                let size = storage::db::find_blob(tx, digest).await?;
                let may_use = catalog::may_use_blob(tx, user_id, model.id, digest).await?;
                let missing = || catalog::Error::ContentNotUploaded { path: path.to_string(), digest: *digest };
                let size = size.filter(|_| may_use).ok_or_else(missing)?;
                let stored = Stored { digest: *digest, size };
                storage::record(tx, &app.store, &stored).await?;
                Change::Add { path: path.clone(), stored }
            }
            Operation::Delete(path) => Change::DeleteFile(path.clone()),
            Operation::DeleteFolder(folder) => Change::DeleteFolder(folder.clone()),
        });
    }
    Ok(changes)
}
