//! A model's settings: visibility, parents, what its namespace does on a contradiction, deletion.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Form, Path},
};
use askama::Template;
use serde::Deserialize;

use super::{
    Frame,
    error::PageResult,
    model::{Head, Loaded, find, load},
    page,
};
use crate::{
    app::App,
    auth::Caller,
    catalog::Visibility,
    http::{
        api::models::{change_visibility, delete},
        error::ApiError,
        extract::ModelPath,
    },
    jobs::{CheckLineage, publish::enqueue_after_lineage, queue},
    lineage::{self, Declaration, Relation, link},
    name::ModelName,
    smoke::gate,
};

#[derive(Template)]
#[template(path = "model/settings.html")]
struct SettingsPage {
    frame: Frame,
    head: Head,
    is_private: bool,
    relations: Vec<&'static str>,
    policies: Vec<Policy>,
    smoke_policies: Vec<Policy>,
}

/// What a namespace may do about something, as a choice.
pub(super) struct Policy {
    pub(super) value: &'static str,
    pub(super) word: &'static str,
    pub(super) meaning: &'static str,
    pub(super) is_here: bool,
}

/// `GET /{ns}/{name}/settings`
pub async fn get_settings(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, head, frame, .. } = load(&mut db, &app, &caller, &request, &path, "Settings").await?;
    caller.require_administer(model.name.namespace())?;
    let is_private = model.visibility == Visibility::Private;
    let policy = lineage::db::find_policy(&mut db, &model.name.namespace().to_lowercase()).await?;
    let relations = Relation::ALL.map(Relation::as_str).into();
    let smoke_policies = smoke_policies(&gate::policy(&mut db, model.name.namespace()).await?);
    page(&SettingsPage { frame, head, is_private, relations, policies: policies(&policy), smoke_policies })
}

/// What a namespace may do with revisions that do not pass the smoke test.
pub(super) fn smoke_policies(here: &str) -> Vec<Policy> {
    let known = gate::POLICIES.map(|value| match value {
        "off" => {
            (value, "Nothing", "The tab \u{201c}Smoke test\u{201d} says what was found; a failed test changes nothing.")
        }
        "warn" => (value, "Say so", "Each page of the model says that it failed; its files are served as before."),
        _ => (
            value,
            "Quarantine it",
            "What fails, breaks off or is not tested yet is served only to those who push to the namespace, until it \
             passes or an administrator of this installation releases it with a reason.",
        ),
    });
    known.map(|(value, word, meaning)| Policy { value, word, meaning, is_here: value == here }).into()
}

fn policies(here: &str) -> Vec<Policy> {
    let known = link::POLICIES.map(|value| match value {
        "note" => (value, "Note it", "The model and its pedigree say so; everything else goes on as before."),
        "review" => (
            value,
            "Ask for a review",
            "Each page of the model says that it waits for review, and it is listed under Compliance until an administrator decides.",
        ),
        _ => (
            value,
            "Quarantine it",
            "As with a review, and its files are served only to those who push to the namespace.",
        ),
    });
    known.map(|(value, word, meaning)| Policy { value, word, meaning, is_here: value == here }).into()
}

/// A change of settings.
#[derive(Debug, Deserialize)]
pub struct Change {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    visibility: String,
    #[serde(default)]
    parent: String,
    #[serde(default)]
    relation: String,
    #[serde(default)]
    note: String,
    #[serde(default)]
    confirm: String,
    #[serde(default)]
    policy: String,
}

/// `POST /{ns}/{name}/settings`
pub async fn change_settings(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    form: Form<Change>,
) -> PageResult {
    caller.check_form(&form.csrf)?;
    let mut tx = app.db.begin().await?;
    let model = find(&mut tx, &caller, &request, &path).await?;
    caller.require_administer(model.name.namespace())?;
    let mut place = format!("/{}/settings", model.name);
    match form.action.as_str() {
        "visibility" => {
            let visibility = form.visibility.parse().map_err(ApiError::bad_request)?;
            change_visibility(&mut tx, &caller, &model, visibility).await?;
        }
        "declare" => {
            let parent: ModelName = form.parent.trim().parse()?;
            let relation: Relation = form.relation.parse()?;
            let declaration = Declaration { parent: &parent, revision: None, relation, note: &form.note };
            lineage::declare(&mut tx, &caller, &model, &declaration).await?;
            enqueue_after_lineage(&mut tx, model.id).await?;
            queue::enqueue(&mut tx, &CheckLineage { model_id: model.id, spread: false }).await?;
            place = format!("/{}/pedigree", model.name);
        }
        "policy" => link::set_policy(&mut tx, &caller, model.name.namespace(), &form.policy).await?,
        "smoke-policy" => gate::set_policy(&mut tx, &caller, model.name.namespace(), &form.policy).await?,
        "delete" if form.confirm.trim() == model.name.to_string() => {
            delete(&mut tx, &caller, &model).await?;
            place = format!("/{}", model.name.namespace());
        }
        "delete" => return Err(ApiError::bad_request("the name was not typed exactly: nothing was deleted").into()),
        other => return Err(ApiError::bad_request(format!("`{other}` is not an action")).into()),
    }
    tx.commit().await?;
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish())
}
