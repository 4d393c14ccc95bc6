//! Trees, paths, commits.

use std::collections::{BTreeMap, HashMap};

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Json, Path},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{RevisionPath, find, find_revision, instant, is_true, value};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, File, Revision, attributes},
    digest,
    http::{
        error::{ApiError, HubResult},
        extract::ModelPath,
        origin::base_url,
    },
};

/// Entries of a page of a tree, and of one with commits.
const PAGE: usize = 1000;
const EXPANDED_PAGE: usize = 100;

/// `{ns}/{name}/tree/{rev}/{path}` of a path.
#[derive(Debug, Deserialize)]
pub struct TreePath {
    ns: String,
    name: String,
    rev: String,
    #[serde(default)]
    path: String,
}

/// `GET /api/models/{ns}/{name}/tree/{rev}[/{path}]`
pub async fn get_tree(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<TreePath>,
) -> HubResult<HttpResponse> {
    let model_path = ModelPath { ns: path.ns.clone(), name: path.name.clone() };
    let mut db = app.db.acquire().await?;
    let model = find(&mut db, &caller, &request, &model_path).await?;
    let revision = find_revision(&mut db, &model, &path.rev).await?;
    let files = catalog::list_files(&mut db, revision.id).await?;
    let folder = path.path.trim_matches('/');
    let entries = entries(&files, folder, is_true(&request, "recursive"));
    if entries.is_empty() && !folder.is_empty() {
        let missing = catalog::Error::FileNotFound(folder.to_owned());
        return Err(super::HubError::from(missing).in_commit(revision.commit.as_str()));
    }
    let with_commits = is_true(&request, "expand");
    let page = if with_commits { EXPANDED_PAGE } else { PAGE };
    let from: usize = value(&request, "cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let mut shown: Vec<Value> = entries.values().skip(from).take(page).map(|entry| entry.body.clone()).collect();
    if with_commits {
        let last: Vec<i64> = entries.values().skip(from).take(page).map(|entry| entry.last_revision_id).collect();
        add_commits(&mut db, &mut shown, &last).await?;
        add_security(&mut db, &mut shown, &files).await?;
    }
    let mut response = HttpResponse::Ok();
    response.insert_header(("X-Repo-Commit", revision.commit.as_str()));
    if from + page < entries.len() {
        let pairs = url::form_urlencoded::parse(request.query_string().as_bytes()).filter(|(name, _)| name != "cursor");
        let rest: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .append_pair("cursor", &(from + page).to_string())
            .finish();
        let link = format!("<{}{}?{rest}>; rel=\"next\"", base_url(&app, &request), request.path());
        response.insert_header((header::LINK, link));
    }
    Ok(response.json(shown))
}

struct Entry {
    body: Value,
    last_revision_id: i64,
}

/// Lists files below a folder, and the folders themselves, by path.
fn entries(files: &[File], folder: &str, recursive: bool) -> BTreeMap<String, Entry> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut entries = BTreeMap::new();
    for file in files.iter().filter(|file| file.path.as_str().starts_with(&prefix)) {
        let rest = &file.path.as_str()[prefix.len()..];
        for (at, _) in rest.match_indices('/').take(if recursive { usize::MAX } else { 1 }) {
            let path = format!("{prefix}{}", &rest[..at]);
            let entry =
                entries.entry(path.clone()).or_insert_with(|| Entry { body: directory(&path), last_revision_id: 0 });
            entry.last_revision_id = entry.last_revision_id.max(file.last_revision_id);
        }
        if recursive || !rest.contains('/') {
            let entry = Entry { body: file_entry(file), last_revision_id: file.last_revision_id };
            entries.insert(file.path.to_string(), entry);
        }
    }
    entries
}

fn directory(path: &str) -> Value {
    json!({ "type": "directory", "oid": hex::encode(digest::git_blob_id(path.as_bytes())), "size": 0, "path": path })
}

fn file_entry(file: &File) -> Value {
    let mut entry = json!({
        "type": "file", "oid": hex::encode(file.git_id), "size": file.size, "path": file.path.as_str(),
    });
    if file.is_lfs {
        let pointer = attributes::pointer(&file.digest, file.size.cast_unsigned()).len();
        entry["lfs"] = json!({ "oid": file.digest.to_hex(), "size": file.size, "pointerSize": pointer });
    }
    entry
}

async fn add_commits(db: &mut PgConnection, entries: &mut [Value], revisions: &[i64]) -> HubResult<()> {
    let mut known: HashMap<i64, Value> = HashMap::new();
    for (entry, id) in entries.iter_mut().zip(revisions) {
        if !known.contains_key(id) {
            let revision = catalog::find_revision_by_id(db, *id).await?;
            let commit =
                revision.map(|r| json!({ "id": r.commit.as_str(), "title": r.message, "date": instant(r.created_at) }));
            known.insert(*id, commit.unwrap_or(Value::Null));
        }
        entry["lastCommit"] = known[id].clone();
    }
    Ok(())
}

/// Says what the scan found in files; folders have nothing to say.
async fn add_security(db: &mut PgConnection, entries: &mut [Value], files: &[File]) -> HubResult<()> {
    let reports = catalog::scans::find(db, files).await?;
    let known: HashMap<&str, &str> = files
        .iter()
        .zip(&reports)
        .map(|(file, report)| (file.path.as_str(), super::security_level(report.as_ref())))
        .collect();
    for entry in entries {
        let level = entry["path"].as_str().and_then(|path| known.get(path)).copied().unwrap_or("unscanned");
        entry["securityFileStatus"] = json!({ "status": level });
    }
    Ok(())
}

/// `POST /api/models/{ns}/{name}/paths-info/{rev}`, as a form or as JSON
pub async fn get_paths(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RevisionPath>,
    body: Bytes,
) -> HubResult<Json<Vec<Value>>> {
    #[derive(Deserialize)]
    struct Given {
        paths: Vec<String>,
        #[serde(default)]
        expand: bool,
    }
    let is_json = request.content_type().contains("json");
    let given: Given = if is_json {
        super::json(&body)?
    } else {
        let pairs: Vec<_> = url::form_urlencoded::parse(&body).into_owned().collect();
        let named =
            |key: &'static str| pairs.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.clone());
        Given {
            paths: named("paths").collect(),
            expand: named("expand").any(|value| value.eq_ignore_ascii_case("true")),
        }
    };
    if given.paths.len() > 10_000 {
        return Err(ApiError::bad_request("at most 10000 paths are answered at once").into());
    }
    let mut db = app.db.acquire().await?;
    let model = find(&mut db, &caller, &request, &path.model()).await?;
    let revision = find_revision(&mut db, &model, &path.rev).await?;
    let files = catalog::list_files(&mut db, revision.id).await?;
    let all = entries(&files, "", true);
    let wanted: Vec<&Entry> = given.paths.iter().filter_map(|path| all.get(path.trim_matches('/'))).collect();
    let mut shown: Vec<Value> = wanted.iter().map(|entry| entry.body.clone()).collect();
    if given.expand {
        let last: Vec<i64> = wanted.iter().map(|entry| entry.last_revision_id).collect();
        add_commits(&mut db, &mut shown, &last).await?;
        add_security(&mut db, &mut shown, &files).await?;
    }
    Ok(Json(shown))
}

/// `GET /api/models/{ns}/{name}/commits/{rev}`
pub async fn list_commits(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RevisionPath>,
) -> HubResult<HttpResponse> {
    let mut db = app.db.acquire().await?;
    let model = find(&mut db, &caller, &request, &path.model()).await?;
    let revision = find_revision(&mut db, &model, &path.rev).await?;
    let limit: i64 = value(&request, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(50).clamp(1, 1000);
    let page: i64 = value(&request, "p").and_then(|page| page.parse().ok()).unwrap_or(0).clamp(0, 1_000_000);
    let total = catalog::count_revisions(&mut db, &revision).await?;
    let revisions = catalog::list_revisions(&mut db, &revision, limit, page * limit).await?;
    let formatted = is_true(&request, "formatted");
    let commits: Vec<Value> = revisions.iter().map(|revision| commit(revision, formatted)).collect();
    let mut response = HttpResponse::Ok();
    response.insert_header(("X-Total-Count", total.to_string()));
    if (page + 1) * limit < total {
        let address = format!("{}{}", base_url(&app, &request), request.path());
        let link = format!("<{address}?p={}&limit={limit}&formatted={formatted}>; rel=\"next\"", page + 1);
        response.insert_header((header::LINK, link));
    }
    Ok(response.json(commits))
}

fn commit(revision: &Revision, formatted: bool) -> Value {
    let mut commit = json!({
        "id": revision.commit.as_str(),
        "title": revision.message,
        "message": revision.description,
        "authors": [{ "user": revision.author, "avatar": "" }],
        "date": instant(revision.created_at),
    });
    if formatted {
        let html = |text: &str| ammonia::clean_text(text);
        commit["formatted"] = json!({ "title": html(&revision.message), "message": html(&revision.description) });
    }
    commit
}
