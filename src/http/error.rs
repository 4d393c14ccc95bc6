//! The only place that knows status codes: each error's status, stable code, and three renderings.
//!
//! REST answers are problem+json (RFC 9457), the hub protocol's carry `X-Error-Code` and `X-Error-Message`, pages are
//! HTML. What went wrong inside stays in the log.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde_json::json;
use tracing::error;

use crate::{auth, catalog, hooks, import, jobs, license, lineage, name, smoke, storage, xet};

/// When a client that found the server busy may ask again, in seconds.
const RETRY_SECONDS: &str = "5";

/// An error as a client sees it.
#[derive(Debug)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// Stable, for programs.
    pub code: &'static str,
    /// For people: what is wrong and what to do.
    pub message: String,
}

/// What handlers of the REST API return.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with its parts.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    /// The request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", message)
    }

    /// There is nothing here.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", message)
    }

    /// Something failed here; the details go to the log.
    pub fn internal(cause: &dyn fmt::Display) -> Self {
        error!("a request failed: {cause}");
        let message = "something failed on the server; it has been logged, try again";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let problem = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.message,
        });
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, RETRY_SECONDS));
        }
        response.content_type("application/problem+json").body(problem.to_string())
    }
}

/// An error on the hub protocol.
#[derive(Debug)]
pub struct HubError {
    error: ApiError,
    /// The revision that was found although what was asked of it was not: clients insist on knowing.
    commit: Option<String>,
    /// Where the model is under its present name.
    location: Option<String>,
}

impl HubError {
    /// Names the revision in which something was not found.
    #[must_use]
    pub fn in_commit(mut self, commit: &str) -> Self {
        self.commit = Some(commit.to_owned());
        self
    }

    /// Sends the client elsewhere, with the same method and body.
    pub fn moved(location: String) -> Self {
        let error = ApiError::new(StatusCode::TEMPORARY_REDIRECT, "moved", format!("see {location}"));
        Self { error, commit: None, location: Some(location) }
    }
}

/// What handlers of the hub protocol return.
pub type HubResult<T> = Result<T, HubError>;

impl<E: Into<ApiError>> From<E> for HubError {
    fn from(error: E) -> Self {
        Self { error: error.into(), commit: None, location: None }
    }
}

impl fmt::Display for HubError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for HubError {
    fn status_code(&self) -> StatusCode {
        self.error.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.error.status);
        if let Some(commit) = &self.commit {
            response.insert_header(("X-Repo-Commit", commit.as_str()));
        }
        if let Some(location) = &self.location {
            response.insert_header((header::LOCATION, location.as_str()));
        }
        let code = match self.error.code {
            "model-not-found" => Some("RepoNotFound"),
            "revision-not-found" | "ref-not-found" => Some("RevisionNotFound"),
            "file-not-found" => Some("EntryNotFound"),
            "quarantined" | "license-held" | "smoke-held" => Some("GatedRepo"),
            _ => None,
        };
        if let Some(code) = code {
            response.insert_header(("X-Error-Code", code));
        }
        if let Ok(message) = HeaderValue::from_str(&for_header(&self.error.message)) {
            response.insert_header(("X-Error-Message", message));
        }
        response.json(json!({ "error": self.error.message }))
    }
}

/// What a header can hold of a message: clients read headers as Latin-1, so other letters would arrive garbled.
fn for_header(message: &str) -> String {
    let plain = message.replace('§', "section ").replace(['–', '—'], "-").replace('→', "->").replace(['“', '”'], "\"");
    plain
        .chars()
        .map(|c| {
            if c.is_control() {
                ' '
            } else if c.is_ascii() {
                c
            } else {
                '?'
            }
        })
        .collect()
}

impl From<name::Error> for ApiError {
    fn from(error: name::Error) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-name", error.to_string())
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::database(&error)
    }
}

impl ApiError {
    /// What a failure of the database means to whoever asked.
    fn database(error: &sqlx::Error) -> Self {
        const DEADLOCK: &str = "40P01";
        /// Postgres has no NUL, in texts and in JSON.
        const NUL: [&str; 2] = ["22021", "22P05"];
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
        if code == DEADLOCK || matches!(error, sqlx::Error::PoolTimedOut) {
            let message = "the server is busy, try again in a moment";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        }
        if NUL.contains(&&*code) {
            return Self::bad_request("a text holds the character NUL, which cannot be kept or searched for");
        }
        Self::internal(error)
    }
}

impl From<auth::Error> for ApiError {
    fn from(error: auth::Error) -> Self {
        use auth::Error as E;
        let (status, code) = match &error {
            E::InvalidToken => (StatusCode::UNAUTHORIZED, "invalid-token"),
            E::SignInRequired => (StatusCode::UNAUTHORIZED, "sign-in-required"),
            E::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            E::StaleForm => (StatusCode::FORBIDDEN, "stale-form"),
            E::NameTaken(_) | E::TokenTaken => (StatusCode::CONFLICT, "name-taken"),
            E::UserNotFound(_) => (StatusCode::NOT_FOUND, "user-not-found"),
            E::BadTokenValue | E::Name(_) => (StatusCode::BAD_REQUEST, "bad-name"),
            E::Database(cause) => return Self::database(cause),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<storage::Error> for ApiError {
    fn from(error: storage::Error) -> Self {
        use storage::Error as E;
        let (status, code) = match &error {
            E::DigestMismatch { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "digest-mismatch"),
            E::SizeMismatch { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "size-mismatch"),
            E::Body(_) => (StatusCode::BAD_REQUEST, "upload-interrupted"),
            E::Vanished(_) => (StatusCode::SERVICE_UNAVAILABLE, "blob-vanished"),
            E::Missing(_) | E::Address { .. } | E::Store(_) | E::Io(_) | E::Database(_) => {
                return Self::internal(&error);
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<import::Error> for ApiError {
    fn from(error: import::Error) -> Self {
        match error {
            import::Error::Lineage(error) => error.into(),
            import::Error::Database(error) => error.into(),
        }
    }
}

impl From<catalog::Error> for ApiError {
    fn from(error: catalog::Error) -> Self {
        use catalog::Error as E;
        let (status, code) = match error {
            E::Storage(error) => return error.into(),
            E::Database(error) => return error.into(),
            E::Name(error) => return error.into(),
            E::ModelNotFound(_) => (StatusCode::NOT_FOUND, "model-not-found"),
            E::RevisionNotFound { .. } => (StatusCode::NOT_FOUND, "revision-not-found"),
            E::RefNotFound(_) => (StatusCode::NOT_FOUND, "ref-not-found"),
            E::FileNotFound(_) => (StatusCode::NOT_FOUND, "file-not-found"),
            E::NameTaken(_) => (StatusCode::CONFLICT, "name-taken"),
            E::RefExists(_) => (StatusCode::CONFLICT, "ref-exists"),
            E::StaleParent => (StatusCode::PRECONDITION_FAILED, "stale-parent"),
            E::NotHosted(_) => (StatusCode::CONFLICT, "not-hosted"),
            E::BadCursor => (StatusCode::BAD_REQUEST, "bad-cursor"),
            E::MainIsKept => (StatusCode::BAD_REQUEST, "main-is-kept"),
            E::ContentNotUploaded { .. } => (StatusCode::BAD_REQUEST, "content-not-uploaded"),
            E::PathConflict(_) => (StatusCode::BAD_REQUEST, "path-conflict"),
            E::TooManyFiles { .. } => (StatusCode::BAD_REQUEST, "too-many-files"),
            E::TooLong { .. } => (StatusCode::BAD_REQUEST, "too-long"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<xet::Error> for ApiError {
    fn from(error: xet::Error) -> Self {
        use xet::Error as E;
        match error {
            E::Storage(error) => error.into(),
            E::Catalog(error) => error.into(),
            E::Database(error) => error.into(),
            E::Malformed(_) | E::UnknownXorb(_) => Self::new(StatusCode::BAD_REQUEST, "bad-xet", error.to_string()),
            E::Body(_) => Self::new(StatusCode::BAD_REQUEST, "upload-interrupted", error.to_string()),
        }
    }
}

impl From<lineage::Error> for ApiError {
    fn from(error: lineage::Error) -> Self {
        use lineage::Error as E;
        let (status, code) = match error {
            E::Catalog(error) => return error.into(),
            E::Database(error) => return error.into(),
            E::Storage(error) => return error.into(),
            E::Auth(error) => return error.into(),
            E::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            E::NoReason(_) => (StatusCode::BAD_REQUEST, "no-reason"),
            E::UnknownPolicy(_) => (StatusCode::BAD_REQUEST, "unknown-policy"),
            E::Weights(_) => return Self::internal(&error),
            E::Cycle(_) => (StatusCode::CONFLICT, "lineage-cycle"),
            E::Itself(_) => (StatusCode::BAD_REQUEST, "lineage-self"),
            E::ClaimNotFound(_) => (StatusCode::NOT_FOUND, "claim-not-found"),
            E::UnknownRelation(_) => (StatusCode::BAD_REQUEST, "unknown-relation"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<license::Error> for ApiError {
    fn from(error: license::Error) -> Self {
        match error {
            license::Error::Database(error) => error.into(),
            license::Error::Auth(error) => error.into(),
            license::Error::Catalog(error) => error.into(),
            license::Error::Storage(error) => error.into(),
            license::Error::Engine(_) => Self::internal(&error),
            license::Error::NotFound(message) => Self::not_found(message),
            license::Error::Entry(message) => Self::new(StatusCode::BAD_REQUEST, "bad-license-entry", message),
            other => Self::bad_request(other.to_string()),
        }
    }
}

impl From<hooks::Error> for ApiError {
    fn from(error: hooks::Error) -> Self {
        use hooks::Error as E;
        match error {
            E::Auth(error) => error.into(),
            E::Catalog(error) => error.into(),
            E::Database(error) => error.into(),
            E::NotFound => Self::not_found(error.to_string()),
            E::BadAddress(message) => Self::new(StatusCode::BAD_REQUEST, "bad-webhook", message),
            E::TooMany => Self::new(StatusCode::CONFLICT, "too-many-webhooks", error.to_string()),
            E::NotDelivered(_) => Self::internal(&error),
        }
    }
}

impl From<smoke::Error> for ApiError {
    fn from(error: smoke::Error) -> Self {
        Self::internal(&error)
    }
}

impl From<smoke::gate::Error> for ApiError {
    fn from(error: smoke::gate::Error) -> Self {
        use smoke::gate::Error as E;
        match error {
            E::Auth(error) => error.into(),
            E::Catalog(error) => error.into(),
            E::Database(error) => error.into(),
            E::UnknownPolicy(_) => Self::new(StatusCode::BAD_REQUEST, "unknown-policy", error.to_string()),
            E::NoReason => Self::new(StatusCode::BAD_REQUEST, "no-reason", error.to_string()),
            E::NotHeld => Self::new(StatusCode::CONFLICT, "not-held", error.to_string()),
        }
    }
}

impl From<jobs::queue::Error> for ApiError {
    fn from(error: jobs::queue::Error) -> Self {
        match error {
            jobs::queue::Error::Database(error) => error.into(),
            other @ jobs::queue::Error::Arguments(_) => Self::internal(&other),
        }
    }
}

impl From<jobs::publish::Error> for ApiError {
    fn from(error: jobs::publish::Error) -> Self {
        use jobs::publish::Error as E;
        match error {
            E::Catalog(error) => error.into(),
            E::Lineage(error) => error.into(),
            E::License(error) => error.into(),
            E::Queue(error) => error.into(),
            blocked @ E::Blocked { .. } => Self::new(StatusCode::FORBIDDEN, "license-policy", blocked.to_string()),
        }
    }
}
