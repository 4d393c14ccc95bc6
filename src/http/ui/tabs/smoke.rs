//! What smoke tests found, one run or the latest; the forms that run one again and release a revision.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Form, Path},
};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::super::{
    Frame,
    error::{PageError, PageResult},
    format,
    model::{Head, Loaded, load},
    page,
    smoke_run::{self, Run, RunRow},
};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Model},
    http::{
        api::smoke::{RunPath, no_run},
        error::ApiError,
        extract::ModelPath,
    },
    jobs::{queue, smoke_test::SmokeTest},
    smoke::{
        self,
        gate::{self, Hold},
    },
};

/// Runs that are listed.
const LISTED: i64 = 20;

/// A test that has not ended.
struct WaitingLine {
    commit: String,
    is_running: bool,
    since: String,
}

/// Whether a revision is served, where the policy of its namespace asks.
#[derive(Default)]
struct Standing {
    /// Why it is held back.
    held: Option<Held>,
    /// Why it is served all the same.
    released: Option<Released>,
}

struct Held {
    sentence: &'static str,
    /// What the checks that decided found: the matter, and details as HTML.
    checks: Vec<(String, String)>,
    commit: String,
    short: String,
    may_release: bool,
}

struct Released {
    by: String,
    at: String,
    reason: String,
    short: String,
}

#[derive(Template)]
#[template(path = "model/smoke.html")]
struct SmokePage {
    frame: Frame,
    head: Head,
    run: Option<Run>,
    /// The page of one run, not the tab.
    is_one: bool,
    /// The run is about the tip of `main`.
    is_tip: bool,
    tip: String,
    standing: Standing,
    waiting: Vec<WaitingLine>,
    policy: &'static str,
    runs: Vec<RunRow>,
    may_run: bool,
}

/// `GET /{ns}/{name}/smoke-test`
pub async fn get_smoke(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    show(&app, &request, &caller, &path, None).await
}

/// `GET /{ns}/{name}/smoke-test/{id}`
pub async fn get_run(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    run: Path<RunPath>,
) -> PageResult {
    show(&app, &request, &caller, &path, Some(run.id())).await
}

async fn show(app: &App, request: &HttpRequest, caller: &Caller, path: &ModelPath, id: Option<i64>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, revision, mut head, mut frame } =
        load(&mut db, app, caller, request, path, "Smoke test").await?;
    // This page says more.
    head.smoke_note = None;
    let viewer = caller.viewer();
    let reports = smoke::db::list_reports(&mut db, &viewer, model.id, LISTED).await?;
    let runs = reports.iter().map(smoke_run::row).collect();
    let shown = match id {
        Some(id) => {
            let found = smoke::db::find_report(&mut db, &viewer, model.id, id).await?;
            Some(found.ok_or_else(|| no_run(&model.name))?)
        }
        None => reports.into_iter().next(),
    };
    frame.twin = format!("/api/v1/models/{}/smoke-tests", model.name);
    if let Some(id) = id {
        frame.twin = format!("{}/{id}", frame.twin);
        frame.title = format!("Run {id} · {}", frame.title);
    }
    // The tab tells whether the model is served as it is now, the page of a run whether its revision is.
    let about = match (&shown, &revision) {
        (Some(report), _) if id.is_some() => Some((report.revision_id, report.commit.clone())),
        (_, Some(revision)) => Some((revision.id, revision.commit.to_string())),
        _ => None,
    };
    let standing = match about {
        Some((revision_id, commit)) => find_standing(&mut db, caller, &model, revision_id, commit).await?,
        None => Standing::default(),
    };
    let waiting = smoke::db::list_waiting(&mut db, model.id).await?;
    page(&SmokePage {
        is_one: id.is_some(),
        is_tip: shown.as_ref().is_some_and(|report| Some(report.revision_id) == model.head_revision_id),
        tip: revision.map(|revision| short(revision.commit.as_str())).unwrap_or_default(),
        run: shown.map(smoke_run::shape),
        standing,
        waiting: waiting.iter().map(waiting_line).collect(),
        policy: policy_words(&gate::policy(&mut db, model.name.namespace()).await?),
        runs,
        may_run: caller.may_write(model.name.namespace()) && model.head_revision_id.is_some(),
        frame,
        head,
    })
}

fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

fn waiting_line(waiting: &smoke::db::Waiting) -> WaitingLine {
    WaitingLine {
        commit: short(&waiting.commit),
        is_running: waiting.is_running,
        since: format::age(waiting.created_at),
    }
}

/// What follows from a test that does not pass.
fn policy_words(policy: &str) -> &'static str {
    match policy {
        "off" => "A failed test changes nothing here: its owners chose that it is only recorded on this page.",
        "quarantine" => {
            "A revision that fails, breaks off or is not tested yet is served only to those who push here, until it \
             passes or an administrator releases it with a reason."
        }
        _ => "A revision that fails is served all the same; each page of the model says that it failed.",
    }
}

async fn find_standing(
    db: &mut PgConnection,
    caller: &Caller,
    model: &Model,
    revision_id: i64,
    commit: String,
) -> Result<Standing, PageError> {
    if let Some(hold) = gate::find_hold(db, model.name.namespace(), revision_id).await? {
        return Ok(Standing { held: Some(held(hold, commit, caller.is_admin())), released: None });
    }
    let released = smoke::db::find_release(db, revision_id).await?.map(|release| Released {
        by: release.released_by,
        at: format::instant(release.created_at),
        reason: release.reason,
        short: short(&commit),
    });
    Ok(Standing { held: None, released })
}

fn held(hold: Hold, commit: String, may_release: bool) -> Held {
    let of = |checks: Vec<smoke::Check>| checks.iter().map(smoke_run::found).collect();
    let (sentence, checks) = match hold {
        Hold::Untested => ("is not served yet: its test has not ended.", Vec::new()),
        Hold::Unscanned => ("is not served yet: its files were not scanned by this version. Test again.", Vec::new()),
        Hold::Unsafe(found) => {
            let found =
                found.into_iter().map(|detail| ("Found by the scan".to_owned(), format::message(&detail))).collect();
            ("is in quarantine: the scan of its files found something that could run code.", found)
        }
        Hold::NotPassed(smoke::Status::Error, checks) => ("is in quarantine: its smoke test broke off.", of(checks)),
        Hold::NotPassed(smoke::Status::Skipped, checks) => {
            ("is in quarantine: its weights could not be tested.", of(checks))
        }
        Hold::NotPassed(_, checks) => ("is in quarantine: it failed the smoke test.", of(checks)),
    };
    Held { sentence, checks, short: short(&commit), commit, may_release }
}

/// What the forms of the page send.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SmokeForm {
    csrf: String,
    /// `release`; else it is run again.
    action: String,
    /// A commit; the tip of `main` unless said.
    revision: String,
    reason: String,
}

/// `POST /{ns}/{name}/smoke-test`: runs it again, or releases a revision from quarantine
pub async fn change_smoke(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    form: Form<SmokeForm>,
) -> PageResult {
    caller.check_form(&form.csrf)?;
    let mut tx = app.db.begin().await?;
    let model = super::super::model::find(&mut tx, &caller, &request, &path).await?;
    match form.action.as_str() {
        "" | "run" => run_again(&mut tx, &caller, &model, &form.revision).await?,
        "release" => {
            let revision = catalog::get_revision(&mut tx, &model, &form.revision).await?;
            gate::release(&mut tx, &caller, &model, &revision, &form.reason).await?;
        }
        other => return Err(ApiError::bad_request(format!("`{other}` is not an action")).into()),
    }
    tx.commit().await?;
    let place = format!("/{}/smoke-test", model.name);
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish())
}

async fn run_again(db: &mut PgConnection, caller: &Caller, model: &Model, revision: &str) -> Result<(), PageError> {
    caller.require_write(model.name.namespace())?;
    let tip = model.head_revision_id.ok_or_else(|| catalog::Error::NotHosted(model.name.clone()))?;
    let revision_id = match revision {
        "" => tip,
        name => catalog::get_revision(db, model, name).await?.id,
    };
    queue::enqueue(db, &SmokeTest { model_id: model.id, revision_id }).await?;
    Ok(())
}
