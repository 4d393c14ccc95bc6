//! The license catalogue: what each license permits, asks and forbids, clause by clause; and licenses of one's own.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path},
};
use serde_json::{Value, json};

use crate::{
    app::App,
    auth::Caller,
    http::error::{ApiError, ApiResult},
    jobs::{JudgeLicenses, queue},
    license::{current::load_catalogue, db, manage},
};

/// Models that an answer names for each way to carry a license.
const MOST_NAMED: i64 = 20;

/// Lists the licenses whose terms are known.
#[utoipa::path(get, path = "/api/v1/licenses", tag = "licenses", responses((status = 200, body = Object)))]
pub async fn list_licenses(app: Data<App>) -> ApiResult<Json<Value>> {
    let catalogue = load_catalogue(&mut *app.db.acquire().await?).await?;
    Ok(Json(json!({ "version": catalogue.version, "licenses": catalogue.licenses })))
}

/// Returns one license: its terms, each with the clause it rests on, in plain words too, and which models carry it.
#[utoipa::path(get, path = "/api/v1/licenses/{key}", tag = "licenses", params(("key" = String, Path)),
    responses((status = 200, body = Object), (status = 404)))]
pub async fn get_license_terms(app: Data<App>, caller: Caller, key: Path<String>) -> ApiResult<Json<Value>> {
    let mut connection = app.db.acquire().await?;
    let catalogue = load_catalogue(&mut connection).await?;
    let found = catalogue.find_by_key(&key);
    let license = found.ok_or_else(|| ApiError::not_found("there is no license with this key in the catalogue"))?;
    let labels = license.labels();
    let used = db::list_license_users(&mut connection, &caller.viewer(), &labels, &license.key, MOST_NAMED).await?;
    let mut answer = json!(license);
    answer["plain"] = json!(license.plain_words());
    answer["models"] = json!(used);
    Ok(Json(answer))
}

/// Adds a license of one's own to the catalogue, in the catalogue's form, or replaces it; every model is judged again.
#[utoipa::path(put, path = "/api/v1/licenses/{key}", tag = "licenses", params(("key" = String, Path)),
    request_body = Object, responses((status = 200, body = Object), (status = 400), (status = 403)))]
pub async fn put_license(
    app: Data<App>,
    caller: Caller,
    key: Path<String>,
    body: Json<Value>,
) -> ApiResult<Json<Value>> {
    let mut tx = app.db.begin().await?;
    let license = manage::put_license(&mut tx, &caller, &key, &body).await?;
    queue::enqueue(&mut tx, &JudgeLicenses { namespace: None }).await?;
    tx.commit().await?;
    Ok(Json(json!(license)))
}

/// Removes a license of one's own from the catalogue; every model is judged again.
#[utoipa::path(delete, path = "/api/v1/licenses/{key}", tag = "licenses", params(("key" = String, Path)),
    responses((status = 204), (status = 403), (status = 404)))]
pub async fn delete_license(app: Data<App>, caller: Caller, key: Path<String>) -> ApiResult<HttpResponse> {
    let mut tx = app.db.begin().await?;
    manage::remove_license(&mut tx, &caller, &key).await?;
    queue::enqueue(&mut tx, &JudgeLicenses { namespace: None }).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}
