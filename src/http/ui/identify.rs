//! What is this file on my disk? The answer to a fingerprint that somebody made of it; the weights stay where they are.

use actix_multipart::{Multipart, MultipartError};
use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use askama::Template;
use futures::TryStreamExt as _;

use super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    page,
};
use crate::{
    app::App,
    auth::Caller,
    http::{MAX_FINGERPRINT, api::evidence::identify, error::ApiError, origin::base_url},
    lineage::identify::{Identified, Relative},
};

/// Longest field of the form beside the file, in bytes.
const MAX_FIELD: usize = 1000;

struct RelativeRow {
    id: String,
    role: &'static str,
    relation: String,
    license: String,
    position: Mark,
    similarity: String,
    change: String,
    sentence: String,
}

struct Answer {
    sentence: String,
    relatives: Vec<RelativeRow>,
    scope: String,
}

#[derive(Template)]
#[template(path = "identify.html")]
struct IdentifyPage {
    frame: Frame,
    base: String,
    problem: Option<String>,
    answer: Option<Answer>,
}

/// `GET /identify`
pub async fn get_identify(app: Data<App>, request: HttpRequest, caller: Caller) -> PageResult {
    page(&show(&app, &request, &caller))
}

fn show(app: &App, request: &HttpRequest, caller: &Caller) -> IdentifyPage {
    let frame = Frame::new(caller, "Identify weights", "identify", "");
    IdentifyPage { frame, base: base_url(app, request), problem: None, answer: None }
}

/// `POST /identify`
pub async fn post_identify(app: Data<App>, request: HttpRequest, caller: Caller, form: Multipart) -> PageResult {
    let mut shown = show(&app, &request, &caller);
    match answer(&app, &caller, form).await {
        Ok(found) => {
            shown.answer = Some(found);
            page(&shown)
        }
        Err(error) if error.status.is_client_error() && error.status != StatusCode::FORBIDDEN => {
            shown.problem = Some(format::message(&error.message));
            let mut response: HttpResponse = page(&shown)?;
            *response.status_mut() = error.status;
            Ok(response)
        }
        Err(error) => Err(error.into()),
    }
}

async fn answer(app: &App, caller: &Caller, form: Multipart) -> Result<Answer, ApiError> {
    let sent = read(form).await?;
    caller.check_form(&sent.csrf)?;
    if sent.file.is_empty() {
        return Err(ApiError::bad_request(
            "choose the file that `herdbook identify DIR --save FILE` wrote, this one is empty",
        ));
    }
    Ok(answered(identify(app, caller, sent.file.into()).await?))
}

#[derive(Default)]
struct Sent {
    csrf: String,
    file: Vec<u8>,
}

/// Reads the form to its end, so that the browser hears the answer, and keeps what is not too long.
async fn read(mut form: Multipart) -> Result<Sent, ApiError> {
    let broken = |error: MultipartError| ApiError::bad_request(format!("the form cannot be read: {error}"));
    let mut sent = Sent::default();
    let mut is_too_long = false;
    while let Some(mut field) = form.try_next().await.map_err(broken)? {
        let is_file = field.name() == Some("fingerprint");
        let is_guard = field.name() == Some("csrf");
        let most = if is_file { MAX_FINGERPRINT } else { MAX_FIELD };
        let mut content = Vec::new();
        while let Some(piece) = field.try_next().await.map_err(broken)? {
            if content.len() + piece.len() <= most {
                content.extend_from_slice(&piece);
            } else {
                is_too_long = true;
            }
        }
        if is_file {
            sent.file = content;
        } else if is_guard {
            sent.csrf = String::from_utf8_lossy(&content).into_owned();
        }
    }
    if is_too_long {
        let message = format!(
            "a fingerprint has at most {} MiB: send what `herdbook identify DIR --save FILE` wrote, not the weights",
            MAX_FINGERPRINT >> 20
        );
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message));
    }
    Ok(sent)
}

fn answered(found: Identified) -> Answer {
    let compared = match found.compared {
        0 => "No model here is near enough to be compared.".to_owned(),
        number => format!(
            "{} near enough to be compared {} compared.",
            format::plural(i64::try_from(number).unwrap_or(i64::MAX), "model"),
            if number == 1 { "was" } else { "were" }
        ),
    };
    Answer {
        sentence: format::message(&found.sentence),
        scope: format!(
            "{compared} The fingerprint covers {} of the parameters.",
            format::percent(found.coverage.min(1.0))
        ),
        relatives: found.relatives.into_iter().map(row).collect(),
    }
}

fn row(relative: Relative) -> RelativeRow {
    RelativeRow {
        role: match relative.role {
            "shared-start" => "same random start",
            other => other,
        },
        relation: relative.relation.map(|word| format::with_article(format::relation(word))).unwrap_or_default(),
        license: relative.license.unwrap_or_else(|| "none declared".to_owned()),
        position: Mark::position(&relative.position),
        similarity: format::cosine(relative.similarity),
        change: format::percent(relative.change),
        sentence: format::message(&relative.sentence),
        id: relative.id,
    }
}
