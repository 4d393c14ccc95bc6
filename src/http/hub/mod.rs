//! The Hugging Face protocol, as its unmodified clients speak it.
//!
//! Shapes and rules follow huggingface_hub 2.4 and 0.25; where the hub has a rule of its own (404 rather than 403 for
//! what a caller may not know, `X-Error-Code`, `X-Repo-Commit`), it holds here. Only hosted models exist on this
//! surface: a catalogued one has no files to give.

pub mod account;
pub mod commit;
pub mod lfs;
pub mod models;
pub mod refs;
pub mod repos;
pub mod resolve;
pub mod tree;
pub mod xet;

use actix_web::{HttpRequest, http::StatusCode};
use futures::StreamExt as _;
use serde::{Deserialize, de::DeserializeOwned};
use sqlx::PgConnection;
use time::{OffsetDateTime, macros::format_description};

use super::{
    error::{ApiError, HubError, HubResult},
    extract::ModelPath,
};
use crate::{
    auth::Caller,
    catalog::{self, Kind, Model, Revision, scans::Danger},
    formats::scan::Report,
};

/// `{ns}/{name}/…/{rev}` of a path.
#[derive(Debug, Clone, Deserialize)]
pub struct RevisionPath {
    ns: String,
    name: String,
    rev: String,
}

impl RevisionPath {
    fn model(&self) -> ModelPath {
        ModelPath { ns: self.ns.clone(), name: self.name.clone() }
    }
}

/// The hub's word for what the scan of a file found; nothing is safe that was not scanned.
fn security_level(report: Option<&Report>) -> &'static str {
    match report.map(Report::danger) {
        None => "unscanned",
        Some(Danger::Sound) => "safe",
        Some(Danger::CustomCode) => "caution",
        Some(Danger::Suspicious) => "suspicious",
        Some(Danger::Dangerous) => "unsafe",
    }
}

/// Returns the hosted model of a path; under another case or a former name, a redirect to it.
async fn find(db: &mut PgConnection, caller: &Caller, request: &HttpRequest, path: &ModelPath) -> HubResult<Model> {
    let Ok(name) = path.parse() else { return Err(unknown(caller, path)) };
    let found = catalog::find_model(db, &name, &caller.viewer()).await?;
    let model = found.filter(|model| model.kind == Kind::Hosted).ok_or_else(|| unknown(caller, path))?;
    if model.name == name {
        return Ok(model);
    }
    let old = format!("/{}/{}", path.ns, path.name);
    let place = request.uri().path_and_query().map_or("", |place| place.as_str());
    Err(HubError::moved(place.replacen(&old, &format!("/{}", model.name), 1)))
}

/// As [`find`], for callers who may push.
async fn find_writable(
    db: &mut PgConnection,
    caller: &Caller,
    request: &HttpRequest,
    path: &ModelPath,
) -> HubResult<Model> {
    let model = find(db, caller, request, path).await?;
    caller.require_write(model.name.namespace())?;
    Ok(model)
}

/// Says that there is no such model: to nobody in particular as 401, as the hub does.
fn unknown(caller: &Caller, path: &ModelPath) -> HubError {
    let status = if caller.user.is_some() { StatusCode::NOT_FOUND } else { StatusCode::UNAUTHORIZED };
    let name: String = format!("{}/{}", path.ns, path.name).chars().take(200).collect();
    ApiError::new(status, "model-not-found", format!("Repository not found: {name}")).into()
}

async fn find_revision(db: &mut PgConnection, model: &Model, name: &str) -> HubResult<Revision> {
    let missing = || ApiError::new(StatusCode::NOT_FOUND, "revision-not-found", format!("Invalid rev id: {name}"));
    Ok(catalog::find_revision(db, model.id, name).await?.ok_or_else(missing)?)
}

/// A time as the hub writes it: `2026-01-02T03:04:05.000Z`.
fn instant(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

/// The values of a repeated query parameter.
fn values(request: &HttpRequest, key: &str) -> Vec<String> {
    let pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs.filter(|(name, _)| name == key).map(|(_, value)| value.into_owned()).collect()
}

fn value(request: &HttpRequest, key: &str) -> Option<String> {
    values(request, key).pop()
}

fn is_true(request: &HttpRequest, key: &str) -> bool {
    matches!(value(request, key).as_deref(), Some("true" | "True" | "1"))
}

/// Reads a body of at most `limit` bytes.
async fn read(mut payload: actix_web::web::Payload, limit: usize) -> HubResult<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|error| ApiError::bad_request(format!("the body broke off: {error}")))?;
        if body.len() + piece.len() > limit {
            let message = format!("the body is larger than {limit} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message).into());
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Reads a small JSON body; an empty one is an empty object.
fn json<T: DeserializeOwned>(body: &[u8]) -> HubResult<T> {
    let body = if body.is_empty() { b"{}" } else { body };
    Ok(serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("the body is not as expected: {error}")))?)
}
