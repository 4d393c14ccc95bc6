//! Create, delete, move, settings.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data, Json, Path},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::find;
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Visibility},
    formats::card,
    http::{
        api::models::{change_visibility, delete},
        error::{ApiError, HubResult},
        extract::ModelPath,
        origin::base_url,
    },
    jobs::publish::enqueue_after_lineage,
    lineage,
    name::ModelName,
};

/// A model by the names that clients send.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    organization: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    private: Option<bool>,
    visibility: Option<String>,
    #[serde(rename = "existOk", default)]
    exist_ok: bool,
}

impl Named {
    fn model(&self, caller: &Caller) -> HubResult<ModelName> {
        if self.kind.as_deref().is_some_and(|kind| kind != "model") {
            return Err(ApiError::bad_request("only models are kept here, no datasets and no spaces").into());
        }
        if let Some((namespace, name)) = self.name.split_once('/') {
            return Ok(ModelName::new(namespace, name)?);
        }
        let namespace = match &self.organization {
            Some(organization) => organization,
            None => &caller.require_user()?.name,
        };
        Ok(ModelName::new(namespace, &self.name)?)
    }

    fn visibility(&self) -> HubResult<Visibility> {
        match &self.visibility {
            Some(word) => Ok(word.parse().map_err(ApiError::bad_request)?),
            None if self.private == Some(true) => Ok(Visibility::Private),
            None => Ok(Visibility::Public),
        }
    }
}

/// `POST /api/repos/create`
pub async fn create(app: Data<App>, request: HttpRequest, caller: Caller, body: Bytes) -> HubResult<HttpResponse> {
    let named: Named = super::json(&body)?;
    let name = named.model(&caller)?;
    let user = caller.require_write(name.namespace())?;
    let url = |name: &ModelName| format!("{}/{name}", base_url(&app, &request));
    let mut tx = app.db.begin().await?;
    let existing = catalog::find_model(&mut tx, &name, &caller.viewer()).await?;
    if let Some(model) = existing.filter(|model| model.kind == catalog::Kind::Hosted) {
        let message = "You already created this model repo";
        let answer = json!({ "url": url(&model.name), "name": model.name.to_string(), "error": message });
        let status = if named.exist_ok { StatusCode::OK } else { StatusCode::CONFLICT };
        return Ok(HttpResponse::build(status).insert_header(("X-Error-Message", message)).json(answer));
    }
    let visibility = named.visibility()?;
    let model = catalog::create_model(&mut tx, &app.store, &name, visibility, &user.name).await?;
    catalog::record_event(&mut tx, caller.name(), "created", Some(&model), &json!({ "visibility": visibility }))
        .await?;
    tx.commit().await?;
    let answer = json!({ "url": url(&model.name), "name": model.name.to_string(), "id": model.id.to_string() });
    Ok(HttpResponse::Ok().json(answer))
}

/// `DELETE /api/repos/delete`
pub async fn remove(app: Data<App>, request: HttpRequest, caller: Caller, body: Bytes) -> HubResult<HttpResponse> {
    let named: Named = super::json(&body)?;
    let name = named.model(&caller)?;
    let path = ModelPath { ns: name.namespace().to_owned(), name: name.name().to_owned() };
    let mut tx = app.db.begin().await?;
    let model = find(&mut tx, &caller, &request, &path).await?;
    caller.require_administer(model.name.namespace())?;
    delete(&mut tx, &caller, &model).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().body("OK"))
}

/// A move.
#[derive(Debug, Deserialize)]
struct Move {
    #[serde(rename = "fromRepo")]
    from: ModelName,
    #[serde(rename = "toRepo")]
    to: ModelName,
}

/// `POST /api/repos/move`
pub async fn relocate(app: Data<App>, request: HttpRequest, caller: Caller, body: Bytes) -> HubResult<HttpResponse> {
    let wanted: Move = super::json(&body)?;
    let path = ModelPath { ns: wanted.from.namespace().to_owned(), name: wanted.from.name().to_owned() };
    let mut tx = app.db.begin().await?;
    let model = find(&mut tx, &caller, &request, &path).await?;
    caller.require_administer(model.name.namespace())?;
    caller.require_write(wanted.to.namespace())?;
    if let Err(error) = catalog::move_model(&mut tx, &model, &wanted.to).await {
        if let catalog::Error::NameTaken(name) = &error {
            let message = format!("A model repository called {name} already exists");
            return Err(ApiError::new(StatusCode::CONFLICT, "name-taken", message).into());
        }
        return Err(error.into());
    }
    let (old, new) = (model.name.to_string(), format!("`{}`", wanted.to));
    lineage::db::rename_in_verdicts(&mut tx, &old, &new, None).await?;
    let detail = json!({ "from": wanted.from, "to": wanted.to });
    catalog::record_event(&mut tx, caller.name(), "moved", Some(&model), &detail).await?;
    enqueue_after_lineage(&mut tx, model.id).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().body("OK"))
}

/// `PUT /api/models/{ns}/{name}/settings`
pub async fn settings(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    body: Bytes,
) -> HubResult<Json<Value>> {
    let wanted: Value = super::json(&body)?;
    let mut tx = app.db.begin().await?;
    let model = find(&mut tx, &caller, &request, &path).await?;
    caller.require_administer(model.name.namespace())?;
    let visibility = match (wanted["visibility"].as_str(), wanted["private"].as_bool()) {
        (Some(word), _) => Some(word.parse::<Visibility>().map_err(ApiError::bad_request)?),
        (None, Some(true)) => Some(Visibility::Private),
        (None, Some(false)) => Some(Visibility::Public),
        (None, None) => None,
    };
    if let Some(visibility) = visibility.filter(|visibility| *visibility != model.visibility) {
        change_visibility(&mut tx, &caller, &model, visibility).await?;
    }
    tx.commit().await?;
    Ok(Json(json!({ "visibility": visibility.unwrap_or(model.visibility) })))
}

/// `GET /api/models/{ns}/{name}/auth-check`
pub async fn auth_check(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
) -> HubResult<Json<Value>> {
    find(&mut *app.db.acquire().await?, &caller, &request, &path).await?;
    Ok(Json(json!({})))
}

/// `GET /api/models/{ns}/{name}/discussions`: there are none, which keeps listing code alive.
pub async fn discussions(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
) -> HubResult<Json<Value>> {
    find(&mut *app.db.acquire().await?, &caller, &request, &path).await?;
    Ok(Json(json!({ "discussions": [], "count": 0, "start": 0, "numClosedDiscussions": 0 })))
}

/// A single-segment name: such models do not exist here.
pub async fn no_namespace(caller: Caller, name: Path<String>) -> HubResult<HttpResponse> {
    Err(super::unknown(&caller, &ModelPath { ns: String::new(), name: name.into_inner() }))
}

/// `POST /api/validate-yaml`: clients send a card before its files, and stop when it is broken.
pub async fn validate_yaml(body: Bytes) -> HubResult<HttpResponse> {
    #[derive(Deserialize)]
    struct Given {
        content: String,
    }
    let given: Given = super::json(&body)?;
    match card::parse(&given.content) {
        Ok(card) if card.metadata.is_empty() => {
            let warning = "empty or missing yaml metadata in repo card";
            Ok(HttpResponse::Ok().json(json!({ "errors": [], "warnings": [{ "message": warning }] })))
        }
        Ok(_) => Ok(HttpResponse::Ok().json(json!({ "errors": [], "warnings": [] }))),
        Err(error) => {
            let message = format!("the card's metadata cannot be read: {error}");
            let answer = json!({ "error": message, "errors": [{ "message": message }], "warnings": [] });
            let header = message.replace(['\n', '\r'], " ");
            let mut response = HttpResponse::BadRequest();
            if let Ok(value) = actix_web::http::header::HeaderValue::from_str(&header) {
                response.insert_header(("X-Error-Message", value));
            }
            Ok(response.json(answer))
        }
    }
}
