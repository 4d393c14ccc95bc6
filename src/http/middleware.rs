//! Around every request: an id, a line in the log, a count, headers that keep browsers safe, and no packed bodies.

use std::time::Instant;

use actix_web::{
    Error, ResponseError as _,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use tracing::info;

use super::{error::ApiError, extract::SESSION_COOKIE};
use crate::app::App;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Pages load nothing from elsewhere and run only our own scripts.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'; connect-src 'self'";

/// Wraps a request.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let id = format!("{:016x}", rand::random::<u64>());
    let method = request.method().clone();
    let path = request.path().to_owned();
    let app = request.app_data::<Data<App>>().cloned();
    let is_known = request.headers().contains_key(header::AUTHORIZATION) || request.cookie(SESSION_COOKIE).is_some();
    let mut response = next.call(request).await?;
    let duration = started.elapsed();
    let status = response.status().as_u16();
    if let Some(app) = app {
        let route = response.request().match_pattern().unwrap_or_else(|| "unmatched".to_owned());
        app.metrics.requests.with_label_values(&[method.as_str(), &route, &status.to_string()]).inc();
        app.metrics.latency.with_label_values(&[&route]).observe(duration.as_secs_f64());
    }
    let duration_ms = duration.as_secs_f64() * 1e3;
    info!(request.id = %id, %method, status, duration_ms, "{method} {path} {status}");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID.clone(), value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    keep_private(headers, is_known);
    let is_page = headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    if is_page {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    }
    Ok(response)
}

/// Refuses bodies that are packed for the way: the extractors unpack a whole network piece before they look at their
/// limit, and few bytes unpack to many gigabytes. No client of ours packs what it sends.
pub async fn refuse_packed<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let mut encodings = request.headers().get_all(header::CONTENT_ENCODING);
    if encodings.all(|encoding| encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let message = "bodies of requests are not unpacked here: send the body as it is, without `Content-Encoding`";
    let refused = ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "packed-body", message);
    Ok(request.into_response(refused.error_response()).map_into_right_body())
}

/// Says that an answer depends on who asks, and that no shared cache keeps what a known caller got.
///
/// Files keep their validators, so that their reader may ask again whether they changed.
fn keep_private(headers: &mut HeaderMap, is_known: bool) {
    let said = headers.get(header::CACHE_CONTROL).map(|value| value.as_bytes().to_vec());
    if said.as_deref().is_some_and(|said| said.starts_with(b"public")) {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("Authorization, Cookie"));
    if is_known || headers.contains_key(header::SET_COOKIE) {
        let keeps = if said.as_deref() == Some(b"no-cache") { "private, no-cache" } else { "private, no-store" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keeps));
    }
}
