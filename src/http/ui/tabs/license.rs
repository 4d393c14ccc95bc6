//! A model's license position: findings with clause and remedy, obligations.

use actix_web::{
    HttpRequest,
    web::{Data, Path},
};
use askama::Template;

use super::super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    model::{Head, Loaded, load},
    page,
};
use super::finding::FindingView;
use crate::{
    app::App,
    auth::Caller,
    http::extract::ModelPath,
    license::{self, DISCLAIMER},
};

struct Duty {
    summary: String,
    license: String,
    section: String,
    state: &'static str,
    symbol: &'static str,
    via: String,
}

#[derive(Template)]
#[template(path = "model/license.html")]
struct LicensePage {
    frame: Frame,
    head: Head,
    mark: Mark,
    sentence: String,
    declared: Option<String>,
    expression: Option<String>,
    judged: String,
    findings: Vec<FindingView>,
    duties: Vec<Duty>,
    disclaimer: &'static str,
}

/// `GET /{ns}/{name}/license`
pub async fn get_license(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, head, mut frame, .. } = load(&mut db, &app, &caller, &request, &path, "License").await?;
    frame.twin = format!("/api/v1/models/{}/license", model.name);
    let position = license::db::find_position(&mut db, &caller.viewer(), model.id).await?;
    let findings = license::db::list_model_findings(&mut db, &caller.viewer(), model.id).await?;
    let duties = position.as_ref().map(|position| position.obligations.clone()).unwrap_or_default();
    let duties: Vec<license::Obligation> = serde_json::from_value(duties).unwrap_or_default();
    let duty = |duty: license::Obligation| {
        let (symbol, state) = match duty.satisfied.as_str() {
            "yes" => ("☑", "done"),
            "no" => ("☐", "not done"),
            _ => ("○", "not checked"),
        };
        let via = duty.via.join(" → ");
        Duty { symbol, state, via, summary: duty.summary, license: duty.license, section: duty.section }
    };
    page(&LicensePage {
        mark: Mark::position(&model.position),
        sentence: sentence(&model.position).to_owned(),
        declared: model.license.clone(),
        judged: position.as_ref().map(|position| format::age(position.computed_at)).unwrap_or_default(),
        expression: position.and_then(|position| position.expression),
        findings: findings.into_iter().map(FindingView::new).collect(),
        duties: duties.into_iter().map(duty).collect(),
        disclaimer: DISCLAIMER,
        frame,
        head,
    })
}

fn sentence(position: &str) -> &'static str {
    match position {
        "clear" => "Nothing was found that speaks against using it under its license.",
        "notice" => "Usable; there is something worth knowing.",
        "incomplete" => "A duty of a carried license is checkably not fulfilled.",
        "review" => "A person must look at this before it is used.",
        "violation" => "A carried license forbids what is declared here.",
        _ => "Nothing is known: no license is declared and none can be derived.",
    }
}
