//! What can be done on a model's license tab: accept a finding, take that back, add what is missing.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Form, Path},
};
use serde::Deserialize;

use super::super::{error::PageResult, model::find};
use crate::{
    app::App,
    auth::Caller,
    http::{
        api::waivers::{grant, revoke},
        error::ApiError,
        extract::ModelPath,
        kit,
    },
    license::manage::WaiverRequest,
};

/// What the forms send.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Change {
    csrf: String,
    action: String,
    rule: String,
    about: String,
    reason: String,
    owner: String,
    expires: String,
    any_path: String,
    waiver: String,
}

/// `POST /{ns}/{name}/license`
pub async fn change_license(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    form: Form<Change>,
) -> PageResult {
    caller.check_form(&form.csrf)?;
    let mut tx = app.db.begin().await?;
    let model = find(&mut tx, &caller, &request, &path).await?;
    let mut place = format!("/{}/license", model.name);
    match form.action.as_str() {
        "waive" => {
            grant(&mut tx, &caller, &request_of(&form, model.name.to_string())).await?;
            place.push_str("#findings");
        }
        "revoke" => {
            let id = form.waiver.parse().map_err(|_| ApiError::bad_request("`waiver` is not a number"))?;
            revoke(&mut tx, &caller, id).await?;
            place.push_str("#findings");
        }
        "kit" => {
            drop(tx);
            let committed = kit::commit(&app, &caller, &path).await?;
            place.push_str(&format!("?added={}#kit", committed.files.len()));
            return Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish());
        }
        other => return Err(ApiError::bad_request(format!("`{other}` is not an action")).into()),
    }
    tx.commit().await?;
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish())
}

fn request_of(form: &Change, model: String) -> WaiverRequest {
    WaiverRequest {
        model: Some(model),
        namespace: None,
        rule: form.rule.clone(),
        about: form.about.clone(),
        any_path: !form.any_path.is_empty(),
        reason: form.reason.clone(),
        owner: Some(form.owner.trim().to_owned()).filter(|owner| !owner.is_empty()),
        expires: Some(form.expires.clone()),
    }
}
