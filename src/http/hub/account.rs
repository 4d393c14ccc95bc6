//! Who calls.

use actix_web::web::Json;
use serde_json::{Value, json};

use crate::{
    auth::{Caller, Scope},
    http::error::HubResult,
};

/// `GET /api/whoami-v2`
pub async fn whoami(caller: Caller) -> HubResult<Json<Value>> {
    // This very text keeps clients from reporting a missing repository.
    let user = caller.require_user().map_err(|_| crate::auth::Error::InvalidToken)?;
    let organizations: Vec<Value> = caller
        .organizations
        .iter()
        .map(|o| json!({ "type": "org", "id": o.id.to_string(), "name": o.name, "fullname": o.name, "roleInOrg": o.role }))
        .collect();
    let role = if caller.scope == Scope::Read { "read" } else { "write" };
    Ok(Json(json!({
        "type": "user",
        "id": user.id.to_string(),
        "name": user.name,
        "fullname": user.full_name,
        "email": null,
        "emailVerified": false,
        "isPro": false,
        "avatarUrl": "/static/logo.svg",
        "orgs": organizations,
        "auth": { "type": "access_token", "accessToken": { "displayName": caller.token_name, "role": role } },
    })))
}
