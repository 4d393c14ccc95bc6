//! REST v1: JSON in and out, errors as problem+json, described at `/api/v1/openapi.json`.

pub mod audit;
pub mod catalogue;
pub mod evidence;
pub mod files;
pub mod hooks;
pub mod import;
pub mod license;
pub mod lineage;
pub mod models;
pub mod openapi;
pub mod policy;
pub mod registry;
pub mod smoke;
pub mod uploads;
pub mod waivers;

use actix_web::http::StatusCode;
use sqlx::PgConnection;

use super::{error::ApiError, extract::ModelPath};
use crate::{
    auth::Caller,
    catalog::{self, Model},
    digest::Digest,
    license as licenses,
    lineage::db as lineage_db,
    smoke::gate,
};

/// Returns the model of a path, if the caller may read it.
pub(crate) async fn readable(db: &mut PgConnection, caller: &Caller, path: &ModelPath) -> Result<Model, ApiError> {
    Ok(catalog::get_model(db, &path.parse()?, &caller.viewer()).await?)
}

/// Returns the model of a path, if the caller may push to it.
pub(crate) async fn writable(db: &mut PgConnection, caller: &Caller, path: &ModelPath) -> Result<Model, ApiError> {
    let model = readable(db, caller, path).await?;
    caller.require_write(model.name.namespace())?;
    Ok(model)
}

/// Returns the model of a path, if the caller may change its settings.
pub(crate) async fn administrable(db: &mut PgConnection, caller: &Caller, path: &ModelPath) -> Result<Model, ApiError> {
    let model = readable(db, caller, path).await?;
    caller.require_administer(model.name.namespace())?;
    Ok(model)
}

/// Refuses to serve the files of a revision that is held back to those who do not push to it.
pub(crate) async fn check_holds(
    db: &mut PgConnection,
    caller: &Caller,
    model: &Model,
    revision_id: i64,
) -> Result<(), ApiError> {
    match find_hold(db, caller, model, revision_id).await? {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

/// Models that are looked at to answer whether somebody may read a blob.
const MOST_HOLDERS: i64 = 100;

/// Tells whether the caller may read a blob: through a revision that they may see and that is served to them.
pub(crate) async fn may_read_blob(db: &mut PgConnection, caller: &Caller, digest: &Digest) -> Result<bool, ApiError> {
    for (model_id, revision_id) in catalog::list_holders(db, &caller.viewer(), digest, MOST_HOLDERS).await? {
        if let Some(model) = catalog::find_model_by_id(db, model_id).await?
            && find_hold(db, caller, &model, revision_id).await?.is_none()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the refusal to serve a revision to this caller, if it is held back by any gate.
async fn find_hold(
    db: &mut PgConnection,
    caller: &Caller,
    model: &Model,
    revision_id: i64,
) -> Result<Option<ApiError>, ApiError> {
    if caller.may_write(model.name.namespace()) {
        return Ok(None);
    }
    if lineage_db::find_hold(db, model.id).await?.as_deref() == Some("quarantine") {
        let message = format!(
            "`{0}` is in quarantine: the weights contradict the base that it declares, and its owners chose not to \
             serve it until that is settled; see /{0}/pedigree",
            model.name
        );
        return Ok(Some(ApiError::new(StatusCode::FORBIDDEN, "quarantined", message)));
    }
    if licenses::db::is_license_held(db, model.id).await? {
        let findings = licenses::db::list_model_findings(db, &caller.viewer(), model.id).await?;
        let open: Vec<_> = findings.into_iter().filter(|f| f.waiver.is_none()).collect();
        let message = format!(
            "`{0}` is not served: the license policy of its namespace keeps it back until this is settled. {1}. See \
             /{0}/license",
            model.name,
            licenses::gate::explain(&open)
        );
        return Ok(Some(ApiError::new(StatusCode::FORBIDDEN, "license-held", message)));
    }
    if let Some(hold) = gate::find_hold(db, model.name.namespace(), revision_id).await? {
        let message = hold.explain(&model.name.to_string());
        return Ok(Some(ApiError::new(StatusCode::FORBIDDEN, "smoke-held", message)));
    }
    Ok(None)
}
