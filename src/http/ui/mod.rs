//! The pages: HTML that works without a script, from askama templates.
//!
//! Handlers ask the domain as the caller, shape the answer into what the template shows, and render. Every list and
//! every tab is a URL; the footer links its JSON twin in REST v1.

pub mod account;
mod activations;
pub mod assets;
pub mod browse;
pub mod compliance;
pub mod compliance_forms;
pub mod error;
pub mod evidence;
mod format;
mod herdmap;
pub mod home;
pub mod identify;
mod license_path;
pub mod licenses;
mod measured;
pub mod model;
mod pedigree;
pub mod policy;
mod selling;
pub mod settings;
mod smoke_run;
mod smoke_words;
mod strip;
pub mod tabs;
pub mod tree;
mod trend;
pub mod upload;
pub mod usage;
pub mod what_if;
mod words;

use actix_web::{HttpResponse, http::header::ContentType};
use askama::Template;

use super::error::ApiError;
use crate::auth::Caller;
use error::{PageError, PageResult};

/// What every page has around its content.
pub struct Frame {
    /// Title of the document.
    pub title: String,
    /// Who is signed in.
    pub user: Option<String>,
    /// Guards forms of somebody who is signed in.
    pub csrf: String,
    /// What the search field shows.
    pub search: String,
    /// The same in REST v1.
    pub twin: String,
    /// Which entry of the menu this is.
    pub section: &'static str,
    /// Version of the product.
    pub version: &'static str,
    /// Version of stylesheet and script, in their addresses.
    pub assets: &'static str,
}

impl Frame {
    fn new(caller: &Caller, title: impl Into<String>, section: &'static str, twin: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            user: caller.user.as_ref().map(|user| user.name.clone()),
            csrf: caller.csrf.clone().unwrap_or_default(),
            search: String::new(),
            twin: twin.into(),
            section,
            version: env!("CARGO_PKG_VERSION"),
            assets: assets::version(),
        }
    }
}

fn page(template: &impl Template) -> PageResult {
    let html = template.render().map_err(|error| PageError::from(ApiError::internal(&error)))?;
    Ok(HttpResponse::Ok().content_type(ContentType::html()).body(html))
}

/// Text made safe inside HTML, for the drawings that are written without a template.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// A query string of the pairs that have a value.
fn query_string(pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}
