//! Branches, tags, squashing.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data, Json, Path},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{RevisionPath, find, find_revision, find_writable};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Ref, RefKind},
    http::{
        error::{ApiError, HubResult},
        extract::ModelPath,
    },
};

/// `{ns}/{name}/branch/{branch}` of a path.
#[derive(Debug, Deserialize)]
pub struct RefPath {
    ns: String,
    name: String,
    reference: String,
}

impl RefPath {
    fn model(&self) -> ModelPath {
        ModelPath { ns: self.ns.clone(), name: self.name.clone() }
    }
}

/// `GET /api/models/{ns}/{name}/refs`
pub async fn list(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
) -> HubResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = find(&mut db, &caller, &request, &path).await?;
    let refs = catalog::list_refs(&mut db, model.id).await?;
    let of = |kind: RefKind, prefix: &str| -> Vec<Value> {
        let entry = |r: &Ref| json!({ "name": r.name, "ref": format!("{prefix}{}", r.name), "targetCommit": r.commit.as_str() });
        refs.iter().filter(|r| r.kind == kind).map(entry).collect()
    };
    let mut body = json!({
        "branches": of(RefKind::Branch, "refs/heads/"), "converts": [], "tags": of(RefKind::Tag, "refs/tags/"),
    });
    if super::is_true(&request, "include_prs") {
        body["pullRequests"] = json!(of(RefKind::Pull, "refs/"));
    }
    Ok(Json(body))
}

/// `POST /api/models/{ns}/{name}/branch/{reference}`
pub async fn create_branch(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RefPath>,
    body: Bytes,
) -> HubResult<HttpResponse> {
    let wanted: Value = super::json(&body)?;
    let from = wanted["startingPoint"].as_str().unwrap_or("main");
    create(&app, &request, &caller, &path.model(), RefKind::Branch, &path.reference, from, "").await
}

/// `POST /api/models/{ns}/{name}/tag/{rev}`
pub async fn create_tag(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RevisionPath>,
    body: Bytes,
) -> HubResult<HttpResponse> {
    let wanted: Value = super::json(&body)?;
    let tag = wanted["tag"].as_str().ok_or_else(|| ApiError::bad_request("`tag` is missing"))?;
    let message = wanted["message"].as_str().unwrap_or_default();
    create(&app, &request, &caller, &path.model(), RefKind::Tag, tag, &path.rev, message).await
}

#[expect(
    clippy::too_many_arguments,
    reason = "two handlers share it, a struct would be built once and taken apart once"
)]
async fn create(
    app: &App,
    request: &HttpRequest,
    caller: &Caller,
    path: &ModelPath,
    kind: RefKind,
    name: &str,
    from: &str,
    message: &str,
) -> HubResult<HttpResponse> {
    let mut tx = app.db.begin().await?;
    let model = find_writable(&mut tx, caller, request, path).await?;
    let revision = find_revision(&mut tx, &model, from).await?;
    if let Err(error) = catalog::create_ref(&mut tx, model.id, kind, name, revision.id, message).await {
        if matches!(error, catalog::Error::RefExists(_)) {
            let text = format!("Reference already exists: {name}");
            return Err(ApiError::new(StatusCode::CONFLICT, "ref-exists", text).into());
        }
        return Err(error.into());
    }
    let detail = json!({ "kind": kind.as_str(), "name": name, "commit": revision.commit.as_str() });
    catalog::record_event(&mut tx, caller.name(), "ref created", Some(&model), &detail).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().body("Created"))
}

/// `DELETE /api/models/{ns}/{name}/branch/{reference}`
pub async fn delete_branch(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RefPath>,
) -> HubResult<HttpResponse> {
    delete(&app, &request, &caller, &path, RefKind::Branch).await
}

/// `DELETE /api/models/{ns}/{name}/tag/{reference}`
pub async fn delete_tag(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RefPath>,
) -> HubResult<HttpResponse> {
    delete(&app, &request, &caller, &path, RefKind::Tag).await
}

async fn delete(
    app: &App,
    request: &HttpRequest,
    caller: &Caller,
    path: &RefPath,
    kind: RefKind,
) -> HubResult<HttpResponse> {
    let mut tx = app.db.begin().await?;
    let model = find_writable(&mut tx, caller, request, &path.model()).await?;
    catalog::delete_ref(&mut tx, model.id, kind, &path.reference).await?;
    let detail = json!({ "kind": kind.as_str(), "name": path.reference });
    catalog::record_event(&mut tx, caller.name(), "ref deleted", Some(&model), &detail).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().body("OK"))
}

/// `POST /api/models/{ns}/{name}/super-squash/{rev}`
pub async fn squash(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RevisionPath>,
    body: Bytes,
) -> HubResult<HttpResponse> {
    let wanted: Value = super::json(&body)?;
    let message = wanted["message"].as_str().unwrap_or("Squash");
    let mut tx = app.db.begin().await?;
    let model = find_writable(&mut tx, &caller, &request, &path.model()).await?;
    let branch = path.rev.strip_prefix("refs/heads/").unwrap_or(&path.rev);
    let revision = catalog::squash(&mut tx, &model, branch, message, caller.name()).await?;
    let detail = json!({ "branch": branch, "commit": revision.commit.as_str() });
    catalog::record_event(&mut tx, caller.name(), "squashed", Some(&model), &detail).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().body("OK"))
}
