//! What handlers take from a request: the caller, a model's name, a byte range.

use std::ops::Range;

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header},
    web::Data,
};
use base64::Engine as _;
use futures::future::LocalBoxFuture;
use serde::Deserialize;

use super::error::ApiError;
use crate::{
    app::App,
    auth::{self, Caller},
    name::{self, ModelName},
};

/// The cookie of a page session.
pub const SESSION_COOKIE: &str = "herdbook_session";

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<Data<App>>().cloned();
        let token = bearer(request);
        let cookie = request.cookie(SESSION_COOKIE).map(|cookie| cookie.value().to_owned());
        let proof = proof_of_origin(request);
        Box::pin(async move {
            let app = app.ok_or_else(|| ApiError::internal(&"the app is not registered"))?;
            match (token, cookie) {
                (Some(token), _) => by_token(&app, &token).await,
                (None, Some(cookie)) => {
                    let mut db = app.db.acquire().await?;
                    let caller = auth::db::find_caller_by_session(&mut db, &cookie).await?;
                    let caller = caller.filter(|caller| match proof {
                        Proof::Page => true,
                        Proof::Header(token) => caller.check_form(&token).is_ok(),
                    });
                    Ok(caller.unwrap_or_else(Caller::anonymous))
                }
                (None, None) => Ok(Caller::anonymous()),
            }
        })
    }
}

/// How a request with a session shows that one of our pages sent it, and not another site.
enum Proof {
    /// It changes nothing, or is a form, whose handler checks the form's token.
    Page,
    /// It calls an interface for programs: the form's token comes in this header, or empty.
    Header(String),
}

fn proof_of_origin(request: &HttpRequest) -> Proof {
    let kind = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    let is_form = ["application/x-www-form-urlencoded", "multipart/form-data"]
        .iter()
        .any(|form| kind.starts_with(form.as_bytes()));
    let is_for_programs = ["/api/", "/xet/", "/lfs/"].iter().any(|place| request.path().starts_with(place));
    if request.method().is_safe() || (is_form && !is_for_programs) {
        return Proof::Page;
    }
    let token = request.headers().get("X-Form-Token").and_then(|value| value.to_str().ok());
    Proof::Header(token.unwrap_or_default().to_owned())
}

async fn by_token(app: &App, token: &str) -> Result<Caller, ApiError> {
    let mut db = app.db.acquire().await?;
    let caller = auth::db::find_caller_by_token(&mut db, token).await?;
    caller.ok_or_else(|| auth::Error::InvalidToken.into())
}

/// Returns the token of an `Authorization` header: `Bearer`, or the password of `Basic` as git-lfs sends it.
fn bearer(request: &HttpRequest) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| password.to_owned())
}

/// `{ns}/{name}` of a path.
#[derive(Debug, Clone, Deserialize)]
pub struct ModelPath {
    /// The namespace.
    pub ns: String,
    /// The name.
    pub name: String,
}

impl ModelPath {
    /// Parses the name. One that no model can have is one that does not exist.
    pub fn parse(&self) -> Result<ModelName, ApiError> {
        let missing = |_: name::Error| {
            let message = format!("model `{}/{}` does not exist", shorten(&self.ns), shorten(&self.name));
            ApiError::new(StatusCode::NOT_FOUND, "model-not-found", message)
        };
        ModelName::new(&self.ns, &self.name).map_err(missing)
    }
}

fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}

/// What a `Range` header asks of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The whole file.
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there.
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes; several ranges are answered with the whole file.
pub fn range(request: &HttpRequest, size: u64) -> Asked {
    let Some(value) = request.headers().get(header::RANGE).and_then(|v| v.to_str().ok()) else { return Asked::All };
    let Some(spec) = value.strip_prefix("bytes=").filter(|spec| !spec.contains(',')) else { return Asked::All };
    let Some((first, last)) = spec.trim().split_once('-') else { return Asked::All };
    let part = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(length)) if first.is_empty() && length > 0 => size.saturating_sub(length)..size,
        _ => return Asked::All,
    };
    if part.start >= size { Asked::Unsatisfiable } else { Asked::Part(part) }
}
