//! Git LFS transfers: basic, and multipart as the hub extends it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Bytes, Data, Json, Path, Payload, Query},
};
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use super::find_writable;
use crate::{
    app::App,
    auth::Caller,
    catalog::{
        self,
        uploads::{self, MAX_FILE, Slot},
    },
    digest::Digest,
    http::{
        error::{ApiError, HubResult},
        extract::ModelPath,
        origin::base_url,
    },
    storage::{self, Stored},
};

/// Files larger than one part go in parts, when the client can.
const PART: u64 = 64 * 1024 * 1024;
/// Most objects of one batch: each answer holds links, and each costs questions to the database.
const MAX_OBJECTS: usize = 1000;
/// Most links to parts that one answer holds, some 25 MB.
const MAX_LINKS: u64 = 100_000;
/// How long upload links hold, in seconds.
const VALID: i64 = 24 * 3600;
const MEDIA_TYPE: &str = "application/vnd.git-lfs+json";

#[derive(Debug, Deserialize)]
struct Batch {
    operation: String,
    #[serde(default)]
    transfers: Vec<String>,
    objects: Vec<Object>,
}

#[derive(Debug, Deserialize)]
struct Object {
    oid: String,
    size: u64,
}

/// `POST /{ns}/{name}.git/info/lfs/objects/batch`
pub async fn batch(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    body: Bytes,
) -> HubResult<HttpResponse> {
    let batch: Batch = super::json(&body)?;
    if batch.operation != "upload" {
        let message = "files are downloaded from /NAMESPACE/NAME/resolve/REVISION/PATH";
        return Err(ApiError::bad_request(message).into());
    }
    if batch.objects.len() > MAX_OBJECTS {
        let message = format!("a batch names at most {MAX_OBJECTS} objects: send the others in another one");
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-objects", message).into());
    }
    let parts = batch.objects.iter().filter(|object| object.size <= MAX_FILE).map(|object| object.size.div_ceil(PART));
    if parts.sum::<u64>() > MAX_LINKS {
        let message = format!("the objects of a batch have at most {MAX_LINKS} parts: send some in another one");
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "too-many-parts", message).into());
    }
    let mut db = app.db.acquire().await?;
    let model = find_writable(&mut db, &caller, &request, &path).await?;
    let user_id = caller.require_user()?.id;
    let in_parts = batch.transfers.iter().any(|transfer| transfer == "multipart")
        && batch.objects.iter().any(|object| object.size > PART && object.size <= MAX_FILE);
    let mut objects = Vec::new();
    for object in &batch.objects {
        let mut answer = json!({ "oid": object.oid, "size": object.size, "authenticated": true });
        let Ok(digest) = object.oid.parse::<Digest>() else {
            answer["error"] = json!({ "code": 422, "message": "the oid is not a SHA-256" });
            objects.push(answer);
            continue;
        };
        if object.size > MAX_FILE {
            let message = format!("a file has at most {MAX_FILE} bytes: split it");
            answer["error"] = json!({ "code": 422, "message": message });
            objects.push(answer);
            continue;
        }
        let is_held = catalog::may_use_blob(&mut db, user_id, model.id, &digest).await?
            && storage::db::find_blob(&mut db, &digest).await? == Some(object.size);
        if !is_held {
            let link = Link { base: base_url(&app, &request), user_id, model_id: model.id, digest, size: object.size };
            answer["actions"] = json!({ "upload": link.action(&app, in_parts && object.size > PART) });
        }
        objects.push(answer);
    }
    let transfer = if in_parts { "multipart" } else { "basic" };
    let body = json!({ "transfer": transfer, "objects": objects, "hash_algo": "sha256" });
    Ok(HttpResponse::Ok().content_type(MEDIA_TYPE).body(body.to_string()))
}

/// What an upload link says.
struct Link {
    base: String,
    user_id: i64,
    model_id: i64,
    digest: Digest,
    size: u64,
}

impl Link {
    fn action(&self, app: &App, in_parts: bool) -> Value {
        if !in_parts {
            return json!({ "href": self.url(app, "object", 0), "header": {} });
        }
        let mut header = Map::new();
        header.insert("chunk_size".to_owned(), json!(PART.to_string()));
        for number in 1..=self.size.div_ceil(PART) {
            header.insert(format!("{number:05}"), json!(self.url(app, "part", number)));
        }
        json!({ "href": self.url(app, "complete", 0), "header": header })
    }

    fn url(&self, app: &App, action: &str, part: u64) -> String {
        let Self { base, user_id, model_id, digest, size } = self;
        let until = OffsetDateTime::now_utc().unix_timestamp() + VALID;
        let oid = digest.to_hex();
        let signature = app.secret.sign(&message(action, &oid, *size, *user_id, *model_id, part, until));
        format!(
            "{base}/lfs/{action}/{oid}?size={size}&user={user_id}&model={model_id}&part={part}&until={until}&signature={signature}"
        )
    }
}

fn message(action: &str, oid: &str, size: u64, user: i64, model: i64, part: u64, until: i64) -> String {
    format!("lfs {action} {oid} {size} {user} {model} {part} {until}")
}

/// The query of an upload link.
#[derive(Debug, Deserialize)]
pub struct Signed {
    size: u64,
    user: i64,
    model: i64,
    part: u64,
    until: i64,
    signature: String,
}

impl Signed {
    fn check(&self, app: &App, action: &str, oid: &str) -> HubResult<Digest> {
        let text = message(action, oid, self.size, self.user, self.model, self.part, self.until);
        let is_valid = app.secret.verify(&text, &self.signature);
        if !is_valid || self.until < OffsetDateTime::now_utc().unix_timestamp() {
            let message = "this upload link is not valid or has expired, start the upload again";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "bad-link", message).into());
        }
        Ok(oid.parse().map_err(|_| ApiError::bad_request("the oid is not a SHA-256"))?)
    }

    fn slot(&self, digest: &Digest) -> Slot {
        Slot { model_id: self.model, user_id: self.user, key: format!("lfs:{}", digest.to_hex()) }
    }

    async fn finish(&self, app: &App, stored: &Stored) -> HubResult<()> {
        if stored.size != self.size {
            return Err(storage::Error::SizeMismatch { expected: self.size, found: stored.size }.into());
        }
        let mut tx = app.db.begin().await?;
        storage::record(&mut tx, &app.store, stored).await?;
        catalog::grant_blob(&mut tx, self.user, self.model, &stored.digest).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// `PUT /lfs/object/{oid}`: a whole object
pub async fn put_object(
    app: Data<App>,
    oid: Path<String>,
    signed: Query<Signed>,
    payload: Payload,
) -> HubResult<HttpResponse> {
    let digest = signed.check(&app, "object", &oid)?;
    let body = payload.map_err(std::io::Error::other);
    let stored = app.store.put_stream(Box::pin(body), Some(digest)).await?;
    signed.finish(&app, &stored).await?;
    Ok(HttpResponse::Ok().finish())
}

/// `PUT /lfs/part/{oid}`: a part of an object, in any order
pub async fn put_part(
    app: Data<App>,
    oid: Path<String>,
    signed: Query<Signed>,
    payload: Payload,
) -> HubResult<HttpResponse> {
    let digest = signed.check(&app, "part", &oid)?;
    let offset = (signed.part - 1) * PART;
    let expected = PART.min(signed.size - offset);
    let key = format!("parts/{:032x}", rand::random::<u128>());
    let stored = app.store.put_temporary(&key, Box::pin(payload.map_err(std::io::Error::other))).await?;
    if stored.size != expected {
        app.store.delete_temporary(&key).await?;
        return Err(storage::Error::SizeMismatch { expected, found: stored.size }.into());
    }
    let mut tx = app.db.begin().await?;
    uploads::db::add_part(&mut tx, &signed.slot(&digest), offset, stored.size, signed.size, &key).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().insert_header((header::ETAG, format!("\"{}\"", stored.digest.to_hex()))).finish())
}

/// `POST /lfs/complete/{oid}`: all parts are there
pub async fn complete(app: Data<App>, oid: Path<String>, signed: Query<Signed>, body: Bytes) -> HubResult<Json<Value>> {
    let digest = signed.check(&app, "complete", &oid)?;
    let given: Value = super::json(&body)?;
    let wanted = signed.size.div_ceil(PART);
    let announced = given["parts"].as_array().map_or(0, Vec::len) as u64;
    let slot = signed.slot(&digest);
    let held = uploads::db::offset(&mut *app.db.acquire().await?, &slot).await?.unwrap_or(0);
    if announced != wanted || held != signed.size {
        let message = format!("{held} of {} bytes are here without a gap; send the missing parts", signed.size);
        return Err(ApiError::bad_request(message).into());
    }
    let stored = uploads::assemble(&app.db, &app.store, &slot, Some(digest)).await?;
    signed.finish(&app, &stored).await?;
    Ok(Json(json!({ "oid": digest.to_hex(), "size": stored.size })))
}

/// `POST /{ns}/{name}.git/info/lfs/objects/verify`
pub async fn verify(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    body: Bytes,
) -> HubResult<Json<Value>> {
    let object: Object = super::json(&body)?;
    let digest: Digest = object.oid.parse().map_err(|_| ApiError::bad_request("the oid is not a SHA-256"))?;
    let mut db = app.db.acquire().await?;
    let model = find_writable(&mut db, &caller, &request, &path).await?;
    let is_held = catalog::may_use_blob(&mut db, caller.require_user()?.id, model.id, &digest).await?
        && storage::db::find_blob(&mut db, &digest).await? == Some(object.size);
    if is_held { Ok(Json(json!({}))) } else { Err(ApiError::not_found("this object is not held").into()) }
}
