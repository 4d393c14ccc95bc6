//! The catalogue of licenses: which terms are known, each with its clause.

use actix_web::web::Path;
use askama::Template;
use serde_json::Value;

use super::{Frame, error::PageResult, page};
use crate::{
    auth::Caller,
    http::error::ApiError,
    license::{DISCLAIMER, catalogue::CATALOGUE},
};

struct Entry {
    key: String,
    name: String,
    category: String,
    commercial: String,
}

#[derive(Template)]
#[template(path = "licenses.html")]
struct LicensesPage {
    frame: Frame,
    version: String,
    licenses: Vec<Entry>,
}

/// `GET /licenses`
pub async fn list_licenses(caller: Caller) -> PageResult {
    let licenses = CATALOGUE.licenses.iter().map(|license| Entry {
        key: license.key.clone(),
        name: license.name.clone(),
        category: license.category.clone(),
        commercial: text(license.value("commercial_use")),
    });
    page(&LicensesPage {
        frame: Frame::new(&caller, "Licenses", "", "/api/v1/licenses"),
        version: CATALOGUE.version.clone(),
        licenses: licenses.collect(),
    })
}

struct Term {
    name: String,
    value: String,
    clause: String,
}

#[derive(Template)]
#[template(path = "license.html")]
struct LicensePage {
    frame: Frame,
    key: String,
    name: String,
    category: String,
    expression: String,
    identifiers: String,
    terms: Vec<Term>,
    disclaimer: &'static str,
}

/// `GET /licenses/{key}`
pub async fn get_license(caller: Caller, key: Path<String>) -> PageResult {
    let found = CATALOGUE.find_by_key(&key);
    let license = found
        .ok_or_else(|| ApiError::not_found("this license is not in the catalogue: /licenses lists those that are"))?;
    let terms = license.terms.as_object().into_iter().flatten().map(|(name, term)| Term {
        name: name.replace('_', " "),
        value: text(&term["value"]),
        clause: text(&term["clause"]),
    });
    page(&LicensePage {
        frame: Frame::new(&caller, license.name.clone(), "", format!("/api/v1/licenses/{}", license.key)),
        key: license.key.clone(),
        name: license.name.clone(),
        category: license.category.clone(),
        expression: license.expression(),
        identifiers: license.hf_ids.join(", "),
        terms: terms.collect(),
        disclaimer: DISCLAIMER,
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains(' ') => text.clone(),
        Value::String(word) => word.replace('_', " "),
        Value::Null => "not known".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join("; "),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::Object(parts) => {
            let part = |(name, value): (&String, &Value)| format!("{}: {}", name.replace('_', " ").trim(), text(value));
            parts.iter().map(part).collect::<Vec<_>>().join("; ")
        }
        Value::Number(number) => number.to_string(),
    }
}
