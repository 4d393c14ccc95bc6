//! The address under which the client reached us: links we return must carry it.

use actix_web::HttpRequest;

use crate::app::App;

/// Returns scheme and host without a slash at the end, such as `http://127.0.0.1:8080`.
///
/// The configured public address wins; then a trusted proxy's headers; then the request's own `Host`.
pub fn base_url(app: &App, request: &HttpRequest) -> String {
    if let Some(url) = &app.options.public_url {
        return url.as_str().trim_end_matches('/').to_owned();
    }
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.split(',').next()).map(str::trim).filter(|value| is_host(value))
    };
    let forwarded = app.options.trust_proxy;
    let host = header("x-forwarded-host").filter(|_| forwarded).or_else(|| header("host"));
    let scheme = header("x-forwarded-proto").filter(|proto| forwarded && *proto == "https");
    format!("{}://{}", scheme.unwrap_or("http"), host.unwrap_or(&app.options.listen))
}

fn is_host(value: &str) -> bool {
    !value.is_empty() && value.len() <= 260 && value.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c))
}

/// Whether the client came over TLS, so that cookies may be limited to it.
pub fn is_secure(app: &App, request: &HttpRequest) -> bool {
    base_url(app, request).starts_with("https://")
}
