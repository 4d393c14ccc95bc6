//! How to push a model, with this host and this user filled in.

use actix_web::{HttpRequest, web::Data};
use askama::Template;

use super::{Frame, error::PageResult, page};
use crate::{app::App, auth::Caller, http::origin::base_url};

#[derive(Template)]
#[template(path = "upload.html")]
struct UploadPage {
    frame: Frame,
    base: String,
    namespace: String,
    is_signed_in: bool,
}

/// `GET /upload`
pub async fn get_upload(app: Data<App>, request: HttpRequest, caller: Caller) -> PageResult {
    page(&UploadPage {
        frame: Frame::new(&caller, "Push a model", "upload", ""),
        base: base_url(&app, &request),
        namespace: caller.user.as_ref().map_or_else(|| "you".to_owned(), |user| user.name.clone()),
        is_signed_in: caller.user.is_some(),
    })
}
