//! Stylesheet, script and logo, in the binary and cached for long under a versioned address.

use std::sync::LazyLock;

use actix_web::{HttpResponse, http::header, web::Path};

use super::error::PageResult;
use crate::{digest::Digest, http::error::ApiError};

const FILES: &[(&str, &str, &str)] = &[
    ("style.css", "text/css; charset=utf-8", include_str!("../../../static/style.css")),
    ("app.js", "text/javascript; charset=utf-8", include_str!("../../../static/app.js")),
    ("upload.js", "text/javascript; charset=utf-8", include_str!("../../../static/upload.js")),
    ("logo.svg", "image/svg+xml", include_str!("../../../static/logo.svg")),
];

static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all: String = FILES.iter().map(|(_, _, content)| *content).collect();
    Digest::of(all.as_bytes()).to_hex()[..12].to_owned()
});

/// What the addresses of these files carry: changes when a file does.
pub fn version() -> &'static str {
    &VERSION
}

/// `GET /static/{file}`
pub async fn get_asset(file: Path<String>) -> PageResult {
    let found = FILES.iter().find(|(name, ..)| *name == file.as_str());
    let (_, kind, content) = found.ok_or_else(|| ApiError::not_found("there is no such file"))?;
    Ok(HttpResponse::Ok()
        .content_type(*kind)
        .insert_header((header::CACHE_CONTROL, "public, max-age=31536000, immutable"))
        .body(*content))
}

/// `GET /favicon.ico`: browsers ask for it whatever the page says.
pub async fn favicon() -> HttpResponse {
    HttpResponse::Ok().content_type("image/svg+xml").body(include_str!("../../../static/logo.svg"))
}

/// `GET /robots.txt`
pub async fn robots() -> &'static str {
    "User-agent: *\nDisallow: /api/\nDisallow: /sign-in\n"
}
