//! What the smoke test found, and the button that runs it again.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Form, Path},
};
use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    model::{Head, Loaded, load},
    page,
};
use crate::{
    app::App,
    auth::Caller,
    catalog,
    http::extract::ModelPath,
    jobs::{queue, smoke_test::SmokeTest},
    smoke,
};

struct CheckRow {
    id: String,
    mark: Mark,
    detail: String,
}

struct RunRow {
    commit: String,
    mark: Mark,
    at: String,
    duration: String,
}

#[derive(Template)]
#[template(path = "model/smoke.html")]
struct SmokePage {
    frame: Frame,
    head: Head,
    verdict: Option<Mark>,
    at: String,
    checks: Vec<CheckRow>,
    sample: Option<String>,
    metrics: Vec<(&'static str, String)>,
    environment: Vec<(String, String)>,
    runs: Vec<RunRow>,
    may_run: bool,
}

/// `GET /{ns}/{name}/smoke-test`
pub async fn get_smoke(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, head, mut frame, .. } = load(&mut db, &app, &caller, &request, &path, "Smoke test").await?;
    frame.twin = format!("/api/v1/models/{}/smoke-tests", model.name);
    let reports = smoke::db::list_reports(&mut db, model.id, 20).await?;
    let runs = reports.iter().map(|report| RunRow {
        commit: report.commit.chars().take(12).collect(),
        mark: Mark::verdict(report.verdict.as_str()),
        at: format::instant(report.started_at),
        duration: format!("{:.2} s", std::time::Duration::from_millis(report.duration_ms.unsigned_abs()).as_secs_f64()),
    });
    let runs = runs.collect();
    let latest = reports.into_iter().next();
    let pairs = |value: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
    };
    page(&SmokePage {
        verdict: latest.as_ref().map(|report| Mark::verdict(report.verdict.as_str())),
        at: latest.as_ref().map(|report| format::age(report.started_at)).unwrap_or_default(),
        checks: latest.iter().flat_map(|report| &report.checks).map(check).collect(),
        sample: latest.as_ref().and_then(|report| report.sample.clone()),
        metrics: latest.as_ref().map(|report| measurements(&report.metrics)).unwrap_or_default(),
        environment: latest.as_ref().map(|report| pairs(&report.environment)).unwrap_or_default(),
        runs,
        may_run: caller.may_write(model.name.namespace()),
        frame,
        head,
    })
}

/// Writes a measurement for people.
type Show<'a> = &'a dyn Fn(f64) -> String;

/// The measurements that people read, named; all of them are in the JSON.
#[expect(clippy::cast_possible_truncation, reason = "counts that JSON holds are far smaller")]
fn measurements(metrics: &Value) -> Vec<(&'static str, String)> {
    let bytes = |value: f64| format::bytes(value as i64);
    let milliseconds = |value: f64| format!("{value:.0} ms");
    let number = |value: f64| format::count(value as i64);
    let rows: [(&str, &'static str, Show); 11] = [
        ("parameters", "Parameters", &number),
        ("tensors", "Tensors", &number),
        ("bytes", "Weights read", &bytes),
        ("surprise", "Surprise at plain English", &|value| format!("{value:.2} nats a token")),
        ("entropy_normalized", "Entropy of the next word", &|value| {
            format!("{:.1} % of the largest possible", value * 100.0)
        }),
        ("logits_deviation", "Standard deviation of the logits", &|value| format!("{value:.2}")),
        ("nan", "Values that are no number", &number),
        ("infinite", "Infinite values", &number),
        ("peak_memory_bytes", "Peak memory", &bytes),
        ("cpu_ms", "Processor time", &milliseconds),
        ("sample_ms", "Writing the sample", &milliseconds),
    ];
    rows.iter().filter_map(|(key, name, show)| Some((*name, show(metrics[*key].as_f64()?)))).collect()
}

fn check(check: &smoke::Check) -> CheckRow {
    CheckRow {
        id: check.id.clone(),
        mark: Mark::verdict(check.status.as_str()),
        detail: format::message(&check.detail),
    }
}

/// A form that only proves where it comes from.
#[derive(Debug, Deserialize)]
pub struct Guard {
    #[serde(default)]
    csrf: String,
}

/// `POST /{ns}/{name}/smoke-test`: runs it again
pub async fn run_smoke(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    form: Form<Guard>,
) -> PageResult {
    caller.check_form(&form.csrf)?;
    let mut db = app.db.acquire().await?;
    let model = super::super::model::find(&mut db, &caller, &request, &path).await?;
    caller.require_write(model.name.namespace())?;
    let revision_id = model.head_revision_id.ok_or_else(|| catalog::Error::NotHosted(model.name.clone()))?;
    queue::enqueue(&mut db, &SmokeTest { model_id: model.id, revision_id }).await?;
    let place = format!("/{}/smoke-test", model.name);
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish())
}
