//! The license policy of a namespace as a page: what its models are for, which licenses it accepts, what is blocked,
//! who may accept findings, whom to tell; and what follows from a smoke test that does not pass.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Form, Query},
};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    Frame,
    error::{PageError, PageResult},
    format::{self, Mark},
    page, query_string,
    settings::{Policy, smoke_policies},
    usage::UseForm,
    words,
};
use crate::{
    app::App,
    auth::Caller,
    hooks,
    http::{api::policy::apply, error::ApiError},
    license::{
        catalogue::Catalogue,
        current::load_catalogue,
        db,
        gate::Block,
        manage::{self, Impact, NamespacePolicy},
        profile::Profile,
    },
    name,
    smoke::gate,
};

/// Whose policy.
#[derive(Debug, Deserialize)]
pub struct PolicyQuery {
    namespace: String,
}

/// What blocks, as a choice.
struct Choice {
    value: &'static str,
    word: &'static str,
    is_here: bool,
}

struct HookLine {
    id: i64,
    url: String,
    by: String,
    last: String,
}

/// Keys that a list may name, by kind.
struct Keys {
    kind: String,
    keys: Vec<String>,
}

/// Whom a change would hit.
struct Preview {
    sentence: String,
    hits: Vec<HitLine>,
    more: usize,
}

struct HitLine {
    model: String,
    from: Mark,
    to: Mark,
    what: String,
    because: String,
}

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage {
    frame: Frame,
    namespace: String,
    may_administer: bool,
    changed: String,
    usage: UseForm,
    allow: String,
    deny: String,
    push: Vec<Choice>,
    download: Vec<Choice>,
    says: Vec<String>,
    keys: Vec<Keys>,
    preview: Option<Preview>,
    rights: Vec<String>,
    hooks: Vec<HookLine>,
    secret: Option<String>,
    smoke_policies: Vec<Policy>,
}

/// `GET /policy`
pub async fn get_policy(app: Data<App>, caller: Caller, query: Query<PolicyQuery>) -> PageResult {
    let namespace = known(&query.namespace)?;
    // Who is refused may read by what; who administers may change it.
    caller.require_write(namespace)?;
    let mut connection = app.db.acquire().await?;
    let (policy, changed) = manage::find_policy(&mut connection, namespace).await?;
    let mut shown = show(&mut connection, &caller, namespace, &policy).await?;
    shown.changed = changed.map(|(by, at)| format!("Changed by {by}, {}.", format::age(at))).unwrap_or_default();
    page(&shown)
}

fn known(namespace: &str) -> Result<&str, PageError> {
    let namespace = namespace.trim();
    name::check_part(namespace).map_err(|_| ApiError::not_found("there is no such namespace"))?;
    Ok(namespace)
}

async fn show(
    db: &mut PgConnection,
    caller: &Caller,
    namespace: &str,
    policy: &NamespacePolicy,
) -> Result<PolicyPage, PageError> {
    let catalogue = load_catalogue(db).await?;
    let may_administer = caller.may_administer(namespace);
    let hooks = if may_administer { hooks::db::list(db, namespace).await? } else { Vec::new() };
    let twin = format!("/api/v1/policy?{}", query_string(&[("namespace", namespace)]));
    Ok(PolicyPage {
        frame: Frame::new(caller, format!("License policy of {namespace}"), "compliance", twin),
        namespace: namespace.to_owned(),
        may_administer,
        changed: String::new(),
        usage: UseForm::from_profile(&policy.profile),
        allow: policy.allow.join("\n"),
        deny: policy.deny.join("\n"),
        push: choices(policy.block_push),
        download: choices(policy.block_download),
        says: says(policy),
        keys: keys(&catalogue),
        preview: None,
        rights: db::list_waiver_rights(db, &namespace.to_lowercase()).await?,
        hooks: hooks.into_iter().map(hook).collect(),
        secret: None,
        smoke_policies: smoke_policies(&gate::policy(db, namespace).await?),
    })
}

fn choices(here: Block) -> Vec<Choice> {
    let word = |block| match block {
        Block::Never => "nothing",
        Block::Violation => "violations",
        Block::Incomplete => "violations and what is incomplete",
        Block::Review => "everything that a person must decide, or worse",
    };
    Block::ALL.map(|block| Choice { value: block.as_str(), word: word(block), is_here: block == here }).into()
}

/// The policy in sentences.
fn says(policy: &NamespacePolicy) -> Vec<String> {
    let word = |block| choices(block).into_iter().find(|choice| choice.is_here).map_or("nothing", |choice| choice.word);
    let mut says = vec![
        format!("Its models are judged for this use: {}.", super::usage::describe(&policy.profile)),
        format!("A push is refused for: {}.", word(policy.block_push)),
        format!("Files are kept back for: {}.", word(policy.block_download)),
    ];
    if !policy.allow.is_empty() {
        says.push(format!("Only these licenses may be carried: {}.", policy.allow.join(", ")));
    }
    if !policy.deny.is_empty() {
        says.push(format!("These licenses may not be carried: {}.", policy.deny.join(", ")));
    }
    says
}

fn keys(catalogue: &Catalogue) -> Vec<Keys> {
    let mut kinds: Vec<Keys> = Vec::new();
    for license in &catalogue.licenses {
        match kinds.iter_mut().find(|kind| kind.kind == license.category) {
            Some(kind) => kind.keys.push(license.key.clone()),
            None => kinds.push(Keys { kind: license.category.clone(), keys: vec![license.key.clone()] }),
        }
    }
    kinds
}

fn hook(row: hooks::db::HookRow) -> HookLine {
    let last = match (row.last_status, row.last_at) {
        (Some(status), Some(at)) => format!("{status}, {}", format::age(at)),
        _ => "nothing was sent yet".to_owned(),
    };
    HookLine { id: row.id, url: row.url, by: row.created_by, last }
}

/// What the forms send.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PolicyForm {
    csrf: String,
    namespace: String,
    action: String,
    commercial: String,
    eu: String,
    end_user: String,
    mau: String,
    annual_revenue_usd: String,
    #[serde(rename = "as")]
    distribution: String,
    allow: String,
    deny: String,
    block_push: String,
    block_download: String,
    user: String,
    url: String,
    hook: String,
    policy: String,
}

impl PolicyForm {
    fn policy(&self) -> Result<NamespacePolicy, ApiError> {
        let usage = UseForm {
            commercial: self.commercial.clone(),
            eu: self.eu.clone(),
            end_user: self.end_user.clone(),
            mau: self.mau.clone(),
            annual_revenue_usd: self.annual_revenue_usd.clone(),
            distribution: self.distribution.clone(),
        };
        let block = |word: &str, field: &str| {
            let bad = || ApiError::bad_request(format!("`{field}`: `{word}` is not a choice"));
            if word.is_empty() { Ok(Block::Never) } else { Block::parse(word).ok_or_else(bad) }
        };
        Ok(NamespacePolicy {
            profile: usage.query()?.over(&Profile::default()),
            allow: listed(&self.allow),
            deny: listed(&self.deny),
            block_push: block(&self.block_push, "block_push")?,
            block_download: block(&self.block_download, "block_download")?,
        })
    }
}

fn listed(text: &str) -> Vec<String> {
    text.split(|c: char| c.is_whitespace() || c == ',').filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

/// `POST /policy`
pub async fn change_policy(app: Data<App>, caller: Caller, form: Form<PolicyForm>) -> PageResult {
    caller.check_form(&form.csrf)?;
    let namespace = known(&form.namespace)?;
    caller.require_administer(namespace)?;
    let mut tx = app.db.begin().await?;
    match form.action.as_str() {
        "try" => {
            let policy = form.policy()?;
            let impact = manage::try_policy(&mut tx, &caller, namespace, &policy).await?;
            let mut shown = show(&mut tx, &caller, namespace, &policy).await?;
            shown.preview = Some(preview(impact));
            return page(&shown);
        }
        "apply" => apply(&mut tx, &caller, namespace, &form.policy()?).await?,
        "give" => manage::set_waiver_right(&mut tx, &caller, namespace, form.user.trim(), true).await?,
        "take" => manage::set_waiver_right(&mut tx, &caller, namespace, form.user.trim(), false).await?,
        "smoke-policy" => gate::set_policy(&mut tx, &caller, namespace, &form.policy).await?,
        "add-hook" => {
            let hook = hooks::create(&mut tx, &caller, namespace, form.url.trim(), app.options.webhook_private).await?;
            let (policy, _) = manage::find_policy(&mut tx, namespace).await?;
            let mut shown = show(&mut tx, &caller, namespace, &policy).await?;
            shown.secret = Some(hook.secret);
            tx.commit().await?;
            return page(&shown);
        }
        "remove-hook" => {
            let id = form.hook.parse().map_err(|_| ApiError::bad_request("`hook` is not a number"))?;
            hooks::remove(&mut tx, &caller, namespace, id).await?;
        }
        other => return Err(ApiError::bad_request(format!("`{other}` is not an action")).into()),
    }
    tx.commit().await?;
    let place = format!("/policy?{}", query_string(&[("namespace", namespace)]));
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish())
}

fn preview(impact: Impact) -> Preview {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let sentence = format!(
        "Of {}, the position of {} changes; {} would not be served any more, and {} would be refused if they were pushed \
         as they are.",
        format::plural(number(impact.models), "model"),
        format::count(number(impact.changed)),
        format::count(number(impact.held)),
        format::count(number(impact.refused)),
    );
    let hit = |hit: manage::Hit| HitLine {
        from: Mark::position(&hit.from),
        to: Mark::position(&hit.to),
        what: match (hit.is_held, hit.is_refused) {
            (true, true) => "kept back, and refused when pushed",
            (true, false) => "kept back",
            (false, true) => "refused when pushed",
            (false, false) => "",
        }
        .to_owned(),
        because: because(&hit.because),
        model: hit.model,
    };
    let affected = impact.changed.max(impact.held).max(impact.refused);
    let more = affected.saturating_sub(impact.examples.len());
    Preview { sentence, hits: impact.examples.into_iter().map(hit).collect(), more }
}

/// `RULE@about` in plain words, the first two.
fn because(reasons: &[String]) -> String {
    let word = |reason: &String| match reason.split_once('@') {
        Some((rule, about)) => format!("{} ({about})", words::rule_title(rule)),
        None => reason.clone(),
    };
    let mut said: Vec<String> = reasons.iter().take(2).map(word).collect();
    if reasons.len() > 2 {
        said.push(format!("and {} more", reasons.len() - 2));
    }
    said.join("; ")
}
