//! Errors as pages: what happened, what to try.

use std::fmt;

use actix_web::{
    HttpRequest, HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, ContentType},
    },
};
use askama::Template;

use super::{Frame, format};
use crate::{auth::Caller, http::error::ApiError};

/// An error on a page.
#[derive(Debug)]
pub struct PageError {
    error: ApiError,
    /// Models with a name near the one that was not found.
    near: Vec<String>,
    /// Where the page is under its present name.
    location: Option<String>,
}

/// What page handlers return.
pub type PageResult = Result<HttpResponse, PageError>;

impl PageError {
    /// Adds names that the visitor may have meant.
    #[must_use]
    pub fn with_near(mut self, near: Vec<String>) -> Self {
        self.near = near;
        self
    }

    /// Sends the visitor to the page's present address.
    pub fn moved(location: String) -> Self {
        let error = ApiError::new(StatusCode::PERMANENT_REDIRECT, "moved", "this page has another address now");
        Self { error, near: Vec::new(), location: Some(location) }
    }
}

impl<E: Into<ApiError>> From<E> for PageError {
    fn from(error: E) -> Self {
        Self { error: error.into(), near: Vec::new(), location: None }
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame,
    status: u16,
    headline: &'static str,
    message: String,
    near: &'a [String],
    offers_sign_in: bool,
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        self.error.status
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.error.status;
        if let Some(location) = &self.location {
            return HttpResponse::build(status).insert_header((header::LOCATION, location.as_str())).finish();
        }
        let headline = match status {
            StatusCode::NOT_FOUND => "There is nothing here",
            StatusCode::UNAUTHORIZED => "Sign in to see this",
            StatusCode::FORBIDDEN => "You may not do this",
            StatusCode::SERVICE_UNAVAILABLE => "The server is busy",
            status if status.is_server_error() => "Something failed on the server",
            _ => "That did not work",
        };
        let frame = Frame::new(&Caller::anonymous(), headline, "", "");
        let page = ErrorPage {
            frame,
            status: status.as_u16(),
            headline,
            message: format::message(&self.error.message),
            near: &self.near,
            offers_sign_in: matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND),
        };
        let html = page.render().unwrap_or_else(|_| headline.to_owned());
        HttpResponse::build(status).content_type(ContentType::html()).body(html)
    }
}

/// Answers addresses that do not exist: browsers with a page, programs with a problem.
pub async fn nothing_here(request: HttpRequest) -> HttpResponse {
    let accepts = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let error = ApiError::not_found("there is nothing at this address");
    if accepts.contains("text/html") { PageError::from(error).error_response() } else { error.error_response() }
}
