//! Accepts many findings at once, and takes waivers back.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Form},
};

use super::error::PageResult;
use crate::{
    app::App,
    auth::Caller,
    http::{
        api::waivers::{grant, revoke},
        error::ApiError,
    },
    license::manage::WaiverRequest,
};

/// Findings that are accepted at once: a page of them.
const MOST: usize = 100;

/// `POST /compliance`
pub async fn change_compliance(app: Data<App>, caller: Caller, form: Form<Vec<(String, String)>>) -> PageResult {
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    caller.check_form(field("csrf"))?;
    caller.require_user()?;
    let mut tx = app.db.begin().await?;
    match field("action") {
        "revoke" => {
            let id = field("waiver").parse().map_err(|_| ApiError::bad_request("`waiver` is not a number"))?;
            revoke(&mut tx, &caller, id).await?;
        }
        "waive" => {
            let picked: Vec<&str> =
                form.iter().filter(|(key, _)| key == "pick").map(|(_, value)| value.as_str()).collect();
            if picked.is_empty() || picked.len() > MOST {
                return Err(ApiError::bad_request(format!("mark 1 to {MOST} findings first")).into());
            }
            let owner = Some(field("owner").trim().to_owned()).filter(|owner| !owner.is_empty());
            for finding in picked {
                let mut request = read_pick(finding)?;
                request.reason = field("reason").to_owned();
                request.owner.clone_from(&owner);
                request.expires = Some(field("expires").to_owned());
                request.any_path = !field("any_path").is_empty();
                grant(&mut tx, &caller, &request).await?;
            }
        }
        other => return Err(ApiError::bad_request(format!("`{other}` is not an action")).into()),
    }
    tx.commit().await?;
    let back = field("back");
    let place = if back.starts_with("/compliance?") { back } else { "/compliance" };
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, format!("{place}#findings"))).finish())
}

/// Reads `namespace/name RULE about`.
fn read_pick(text: &str) -> Result<WaiverRequest, ApiError> {
    let mut parts = text.splitn(3, ' ').map(str::to_owned);
    let (Some(model), Some(rule), Some(about)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(ApiError::bad_request(format!("`{text}` is not a finding")));
    };
    Ok(WaiverRequest { model: Some(model), rule, about, ..WaiverRequest::default() })
}
