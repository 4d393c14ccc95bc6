//! The license policy of a namespace: what its models are for, which licenses it accepts, what findings block.

use actix_web::web::{Data, Json, Query};
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    auth::Caller,
    http::error::ApiResult,
    jobs::deliver_hook,
    license::manage::{self, Impact, NamespacePolicy},
};

/// Whose policy.
#[derive(Debug, Deserialize, IntoParams)]
pub struct PolicyQuery {
    /// The namespace.
    namespace: String,
}

/// Returns the license policy of a namespace. Everybody who may administer it sees it.
#[utoipa::path(get, path = "/api/v1/policy", tag = "licenses", params(PolicyQuery),
    responses((status = 200, body = Object), (status = 403)))]
pub async fn get_policy(app: Data<App>, caller: Caller, query: Query<PolicyQuery>) -> ApiResult<Json<Value>> {
    caller.require_administer(&query.namespace)?;
    let mut db = app.db.acquire().await?;
    let (policy, changed) = manage::find_policy(&mut db, &query.namespace).await?;
    let by = changed.as_ref().map(|(by, _)| by.clone());
    let at = changed.and_then(|(_, at)| at.format(&Rfc3339).ok());
    Ok(Json(json!({ "namespace": query.namespace, "policy": policy, "changed_by": by, "changed_at": at })))
}

/// A policy that is to hold.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LicensePolicyBody {
    /// The namespace.
    namespace: String,
    /// The policy.
    policy: NamespacePolicy,
    /// Only say whom it would hit.
    #[serde(default)]
    dry_run: bool,
}

/// Changes the license policy of a namespace, or says whom that would hit; answers with whom it hits.
#[utoipa::path(put, path = "/api/v1/policy", tag = "licenses", request_body = LicensePolicyBody,
    responses((status = 200, body = Impact), (status = 400), (status = 403)))]
pub async fn put_policy(app: Data<App>, caller: Caller, body: Json<LicensePolicyBody>) -> ApiResult<Json<Impact>> {
    let mut tx = app.db.begin().await?;
    let impact = manage::try_policy(&mut tx, &caller, &body.namespace, &body.policy).await?;
    if !body.dry_run {
        apply(&mut tx, &caller, &body.namespace, &body.policy).await?;
        tx.commit().await?;
    }
    Ok(Json(impact))
}

/// Changes a policy and tells whoever wants to know.
pub(crate) async fn apply(
    tx: &mut sqlx::PgConnection,
    caller: &Caller,
    namespace: &str,
    policy: &NamespacePolicy,
) -> ApiResult<()> {
    let outcome = manage::set_policy(tx, caller, namespace, policy).await?;
    deliver_hook::announce(tx, &outcome.changes).await?;
    Ok(())
}
