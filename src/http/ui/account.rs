//! Signing in with a token, signing out, and one's tokens.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration},
    http::{StatusCode, header},
    web::{Data, Form, Query},
};
use askama::Template;
use serde::Deserialize;
use time::OffsetDateTime;
use url::Url;

use super::{Frame, error::PageResult, format, page};
use crate::{
    app::App,
    auth::{self, Caller, Scope},
    http::{
        error::ApiError,
        extract::SESSION_COOKIE,
        origin::{base_url, is_secure},
    },
};

/// How long a session holds, in days.
const SESSION_DAYS: i64 = 14;

#[derive(Template)]
#[template(path = "sign-in.html")]
struct SignInPage {
    frame: Frame,
    next: String,
    problem: Option<&'static str>,
}

/// Where to go afterwards.
#[derive(Debug, Deserialize)]
pub struct Next {
    #[serde(default)]
    next: String,
}

/// `GET /sign-in`
pub async fn get_sign_in(caller: Caller, query: Query<Next>) -> PageResult {
    let next = local(&query.next).to_owned();
    page(&SignInPage { frame: Frame::new(&caller, "Sign in", "", ""), next, problem: None })
}

/// A path on this host: never a link elsewhere.
///
/// Browsers drop tabs and line ends and read `\` as `/`, so what counts is where the URL standard says that it leads.
fn local(next: &str) -> &str {
    let stays = || {
        let base = Url::parse("http://herdbook.invalid/").ok()?;
        let joined = base.join(next).ok()?;
        (joined.origin() == base.origin() && !joined.path().starts_with("//")).then_some(())
    };
    let is_plain = next.starts_with('/') && next.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    if is_plain && stays().is_some() { next } else { "/" }
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub struct SignIn {
    token: String,
    #[serde(default)]
    next: String,
}

/// Refuses forms that another site made the browser send.
fn check_origin(app: &App, request: &HttpRequest) -> Result<(), ApiError> {
    let origin = request.headers().get(header::ORIGIN).and_then(|value| value.to_str().ok());
    if origin.is_some_and(|origin| origin != base_url(app, request)) {
        return Err(auth::Error::StaleForm.into());
    }
    Ok(())
}

/// `POST /sign-in`
pub async fn sign_in(app: Data<App>, request: HttpRequest, form: Form<SignIn>) -> PageResult {
    check_origin(&app, &request)?;
    let mut db = app.db.acquire().await?;
    let token = form.token.trim();
    if auth::db::find_caller_by_token(&mut db, token).await?.is_none() {
        let frame = Frame::new(&Caller::anonymous(), "Sign in", "", "");
        let next = local(&form.next).to_owned();
        let mut response =
            page(&SignInPage { frame, next, problem: Some("This token is not valid, or was revoked.") })?;
        *response.status_mut() = StatusCode::FORBIDDEN;
        return Ok(response);
    }
    let cookie = auth::generate_secret();
    let csrf = auth::generate_secret();
    let until = OffsetDateTime::now_utc() + time::Duration::days(SESSION_DAYS);
    auth::db::create_session(&mut db, token, &cookie, &csrf, until).await?;
    let cookie = Cookie::build(SESSION_COOKIE, cookie)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(is_secure(&app, &request))
        .max_age(Duration::days(SESSION_DAYS))
        .finish();
    Ok(HttpResponse::SeeOther().cookie(cookie).insert_header((header::LOCATION, local(&form.next))).finish())
}

/// A form that only proves where it comes from.
#[derive(Debug, Deserialize)]
pub struct Guard {
    #[serde(default)]
    csrf: String,
}

/// `POST /sign-out`
pub async fn sign_out(app: Data<App>, request: HttpRequest, caller: Caller, form: Form<Guard>) -> PageResult {
    caller.check_form(&form.csrf)?;
    if let Some(cookie) = request.cookie(SESSION_COOKIE) {
        auth::db::delete_session(&mut *app.db.acquire().await?, cookie.value()).await?;
    }
    let mut gone = Cookie::build(SESSION_COOKIE, "").path("/").finish();
    gone.make_removal();
    Ok(HttpResponse::SeeOther().cookie(gone).insert_header((header::LOCATION, "/")).finish())
}

struct TokenRow {
    id: i64,
    name: String,
    scope: &'static str,
    created: String,
    used: String,
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage {
    frame: Frame,
    tokens: Vec<TokenRow>,
    fresh: Option<String>,
    base: String,
    may_create_admin: bool,
}

/// `GET /settings/tokens`
pub async fn get_tokens(app: Data<App>, request: HttpRequest, caller: Caller) -> PageResult {
    show_tokens(&app, &request, &caller, None).await
}

async fn show_tokens(app: &App, request: &HttpRequest, caller: &Caller, fresh: Option<String>) -> PageResult {
    let user = caller.require_user()?;
    let tokens = auth::db::list_tokens(&mut *app.db.acquire().await?, user.id).await?;
    let row = |token: auth::Token| TokenRow {
        id: token.id,
        scope: match token.scope {
            Scope::Read => "read",
            Scope::Write => "write",
            Scope::Admin => "admin",
        },
        created: format::age(token.created_at),
        used: token.last_used_at.map_or_else(|| "never".to_owned(), format::age),
        name: token.name,
    };
    page(&TokensPage {
        frame: Frame::new(caller, "Tokens", "account", "/api/v1/tokens"),
        tokens: tokens.into_iter().map(row).collect(),
        fresh,
        base: base_url(app, request),
        may_create_admin: caller.scope == Scope::Admin,
    })
}

/// A token to create or to revoke.
#[derive(Debug, Deserialize)]
pub struct TokenForm {
    #[serde(default)]
    csrf: String,
    #[serde(default)]
    name: String,
    scope: Option<Scope>,
    revoke: Option<i64>,
}

/// `POST /settings/tokens`
pub async fn change_tokens(app: Data<App>, request: HttpRequest, caller: Caller, form: Form<TokenForm>) -> PageResult {
    caller.check_form(&form.csrf)?;
    let user = caller.require_user()?;
    let mut db = app.db.acquire().await?;
    if let Some(id) = form.revoke {
        auth::revoke_token(&mut db, &caller, id).await?;
        return Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, "/settings/tokens")).finish());
    }
    let scope = form.scope.unwrap_or(Scope::Read);
    caller.require_token_scope(scope)?;
    let name = form.name.trim();
    if name.is_empty() || name.len() > 100 {
        return Err(ApiError::bad_request("give the token a name of 1 to 100 characters").into());
    }
    let secret = auth::generate_secret();
    auth::db::create_token(&mut db, user.id, name, scope, &secret).await?;
    drop(db);
    show_tokens(&app, &request, &caller, Some(secret)).await
}
