//! What people decide: the policy of a namespace, waivers, who may grant them, licenses of their own.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use super::{
    Error,
    catalogue::{Catalogue, License},
    current::{self, Outcome, Subjects, load_catalogue},
    db::{self, NewWaiver, PolicyRow},
    gate::Block,
    profile::{Policy, Profile, Terms},
    question::{self, Question},
    rules::RULES,
    waiver::path_digest,
};
use crate::{
    auth::{Caller, Scope as TokenScope, Viewer},
    catalog::{self, Model},
    name::ModelName,
};

/// Longest reason or name of an owner, in bytes.
const MAX_TEXT: usize = 4000;
/// A waiver ends: nobody accepts something for more than this many days.
const LONGEST_WAIVER_DAYS: i64 = 5 * 366;
/// Models that an answer names.
const MOST_NAMED: usize = 200;
/// Licenses in a list of a policy.
const MOST_LISTED: usize = 500;

/// The license policy of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NamespacePolicy {
    /// What its models are to be used for.
    pub profile: Profile,
    /// Keys of licenses that may be carried; empty: any.
    pub allow: Vec<String>,
    /// Keys of licenses that may not be carried.
    pub deny: Vec<String>,
    /// Findings that refuse a push.
    pub block_push: Block,
    /// Findings that keep files from being served to those who do not push.
    pub block_download: Block,
}

impl NamespacePolicy {
    fn terms(&self) -> Terms {
        let policy = Policy { allow: self.allow.clone(), deny: self.deny.clone() };
        Terms { profile: self.profile.clone(), policy }
    }

    fn from_row(row: &PolicyRow) -> Self {
        Self {
            profile: serde_json::from_value(row.profile.clone()).unwrap_or_default(),
            allow: row.allow.clone(),
            deny: row.deny.clone(),
            block_push: Block::parse(&row.block_push).unwrap_or_default(),
            block_download: Block::parse(&row.block_download).unwrap_or_default(),
        }
    }
}

/// Whom a change of a policy hits.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Impact {
    /// Models of the namespace.
    pub models: usize,
    /// How many positions change.
    pub changed: usize,
    /// How many models would no longer be served.
    pub held: usize,
    /// How many models would be refused if they were pushed as they are.
    pub refused: usize,
    /// The models, by name; at most 200.
    pub examples: Vec<Hit>,
}

/// A model that a change hits.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Hit {
    /// The model.
    pub model: String,
    /// Its position now.
    pub from: String,
    /// Its position then.
    pub to: String,
    /// Whether its files would no longer be served to those who do not push.
    pub is_held: bool,
    /// Whether it would be refused if it were pushed as it is.
    pub is_refused: bool,
    /// The findings that decide, as `RULE@about`.
    pub because: Vec<String>,
}

/// Returns the policy of a namespace, with who changed it last and when.
pub async fn find_policy(
    db: &mut PgConnection,
    namespace: &str,
) -> Result<(NamespacePolicy, Option<(String, OffsetDateTime)>), Error> {
    let row = db::find_license_policy(db, &namespace.to_lowercase()).await?;
    let policy = row.as_ref().map(NamespacePolicy::from_row).unwrap_or_default();
    Ok((policy, row.map(|row| (row.changed_by, row.changed_at))))
}

/// Returns whom a policy would hit, without changing anything.
pub async fn try_policy(
    db: &mut PgConnection,
    caller: &Caller,
    namespace: &str,
    policy: &NamespacePolicy,
) -> Result<Impact, Error> {
    caller.require_administer(namespace)?;
    let catalogue = load_catalogue(db).await?;
    check_policy(&catalogue, policy)?;
    let key = namespace.to_lowercase();
    let models = db::list_of_namespace(db, &key).await?;
    let known = db::list_known(db, &models).await?;
    // As everybody in the namespace sees it: not with what an administrator of the installation may read beyond.
    let viewer = Viewer { everything: false, namespaces: vec![key.clone()] };
    let names = db::list_rows_by_name(db, &models).await?;
    let question = Question { models: Some(models), terms: Some((key, policy.terms())), ..Question::default() };
    let mut impact = Impact::default();
    for judgement in question::judge(db, &viewer, question).await? {
        impact.models += 1;
        let row = names.get(&judgement.id);
        let from = row.and_then(|row| known.get(row)).map_or("unknown", |known| known.position.as_str());
        let open = judgement.findings.iter().filter(|finding| finding.waiver.is_none());
        let is_met = |block: Block| open.clone().any(|finding| block.is_met_by(finding.severity));
        let (is_held, is_refused) = (is_met(policy.block_download), is_met(policy.block_push));
        let is_changed = from != judgement.position;
        impact.changed += usize::from(is_changed);
        impact.held += usize::from(is_held);
        impact.refused += usize::from(is_refused);
        if (is_changed || is_held || is_refused) && impact.examples.len() < MOST_NAMED {
            let worst = open.clone().map(|finding| finding.severity).max();
            let because =
                open.filter(|f| Some(f.severity) == worst).map(|f| format!("{}@{}", f.rule, f.about)).collect();
            let (from, to) = (from.to_owned(), judgement.position.clone());
            impact.examples.push(Hit { model: judgement.id, from, to, is_held, is_refused, because });
        }
    }
    Ok(impact)
}

/// Changes the policy of a namespace and judges its models again.
pub async fn set_policy(
    db: &mut PgConnection,
    caller: &Caller,
    namespace: &str,
    policy: &NamespacePolicy,
) -> Result<Outcome, Error> {
    caller.require_administer(namespace)?;
    let catalogue = load_catalogue(db).await?;
    check_policy(&catalogue, policy)?;
    let key = namespace.to_lowercase();
    let row = PolicyRow {
        profile: json!(policy.profile),
        allow: policy.allow.clone(),
        deny: policy.deny.clone(),
        block_push: policy.block_push.as_str().to_owned(),
        block_download: policy.block_download.as_str().to_owned(),
        changed_by: caller.name().to_owned(),
        changed_at: OffsetDateTime::now_utc(),
    };
    db::upsert_license_policy(db, &key, &row).await?;
    let detail = json!({ "namespace": namespace, "policy": policy });
    catalog::record_event(db, caller.name(), "license policy changed", None, &detail).await?;
    current::rejudge(db, &Subjects::Namespace(key)).await
}

fn check_policy(catalogue: &Catalogue, policy: &NamespacePolicy) -> Result<(), Error> {
    for key in policy.allow.iter().chain(&policy.deny) {
        if catalogue.find_by_key(key).is_none() {
            let key: String = key.chars().take(80).collect();
            return Err(Error::Invalid(format!("`{key}` is not a license of the catalogue: /licenses lists the keys")));
        }
    }
    if policy.allow.len() + policy.deny.len() > MOST_LISTED {
        return Err(Error::Invalid(format!("a policy lists at most {MOST_LISTED} licenses")));
    }
    if let Some(both) = policy.allow.iter().find(|key| policy.deny.contains(key)) {
        return Err(Error::Invalid(format!("`{both}` is both allowed and denied: take it out of one list")));
    }
    Ok(())
}

/// What is to be accepted.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WaiverRequest {
    /// The model, for a finding of one model.
    pub model: Option<String>,
    /// The namespace, for the same finding of all its models.
    pub namespace: Option<String>,
    /// Stable id of the rule.
    pub rule: String,
    /// The license or model that the finding is about.
    pub about: String,
    /// Accept it by whichever path; otherwise the waiver ends when the path changes.
    pub any_path: bool,
    /// Why.
    pub reason: String,
    /// Who answers for it; the caller when absent.
    pub owner: Option<String>,
    /// Until when: `2027-06-30` or an RFC 3339 time.
    pub expires: Option<String>,
}

/// Whether the caller may accept findings of a namespace.
pub async fn may_waive(db: &mut PgConnection, caller: &Caller, namespace: &str) -> Result<bool, Error> {
    if caller.is_admin() {
        return Ok(true);
    }
    let Some(user) = caller.user.as_ref().filter(|_| caller.scope >= TokenScope::Write) else { return Ok(false) };
    db::has_waiver_right(db, &namespace.to_lowercase(), user.id).await
}

async fn require_waive(db: &mut PgConnection, caller: &Caller, namespace: &str) -> Result<(), Error> {
    caller.require_user()?;
    if may_waive(db, caller, namespace).await? {
        return Ok(());
    }
    let why = format!(
        "`{}` may not accept findings of `{namespace}`: that right is given by those who administer the namespace, with \
         `PUT /api/v1/namespaces/{namespace}/waiver-rights` or on its policy page",
        caller.name()
    );
    Err(crate::auth::Error::Forbidden(why).into())
}

/// A granted waiver.
#[derive(Debug)]
pub struct Granted {
    /// Its row.
    pub id: i64,
    /// The model that it is about; `None`: its namespace.
    pub model_id: Option<i64>,
    /// The namespace in lower case.
    pub namespace: String,
    /// When it ends.
    pub expires: OffsetDateTime,
    /// What was judged again.
    pub outcome: Outcome,
}

/// Accepts a finding: of one model, or of all models of a namespace.
pub async fn grant_waiver(db: &mut PgConnection, caller: &Caller, request: &WaiverRequest) -> Result<Granted, Error> {
    let now = OffsetDateTime::now_utc();
    let expires = read_expiry(request.expires.as_deref().unwrap_or_default(), now)?;
    let reason = bounded(&request.reason, "reason", "say why the finding is accepted")?;
    let owner = request.owner.as_deref().unwrap_or(caller.name());
    let owner = bounded(owner, "owner", "name who answers for it")?;
    if !RULES.iter().any(|rule| rule.id == request.rule) {
        let rule: String = request.rule.chars().take(80).collect();
        return Err(Error::Invalid(format!("`rule`: there is no rule `{rule}`")));
    }
    let about = bounded(&request.about, "about", "name the license or model that the finding is about")?;
    let mut new = NewWaiver {
        scope: "namespace",
        model_id: None,
        namespace: "",
        rule: &request.rule,
        about,
        path_digest: None,
        reason,
        owner,
        created_by: caller.name(),
        expires,
    };
    let (model, digest);
    match (&request.model, &request.namespace) {
        (Some(name), None) => {
            model = find_model(db, caller, name).await?;
            require_waive(db, caller, model.name.namespace()).await?;
            let path = find_path(db, caller, &model, request).await?;
            digest = hex::decode(path_digest(&path)).unwrap_or_default();
            (new.scope, new.model_id, new.namespace) = ("model", Some(model.id), model.name.namespace());
            new.path_digest = (!request.any_path).then_some(digest.as_slice());
        }
        (None, Some(namespace)) => {
            require_waive(db, caller, namespace).await?;
            new.namespace = namespace;
        }
        _ => return Err(Error::Invalid("name either `model` or `namespace`, and not both".to_owned())),
    }
    let id = db::insert_waiver(db, &new).await?;
    let detail = json!({
        "waiver": id, "namespace": new.namespace, "rule": new.rule, "about": new.about, "reason": new.reason,
        "owner": new.owner, "expires": expires.format(&Rfc3339).unwrap_or_default(), "any_path": request.any_path,
    });
    let on = match new.model_id {
        Some(id) => catalog::find_model_by_id(db, id).await?,
        None => None,
    };
    catalog::record_event(db, caller.name(), "finding waived", on.as_ref(), &detail).await?;
    let outcome = judge_scope(db, new.model_id, new.namespace).await?;
    Ok(Granted { id, model_id: new.model_id, namespace: new.namespace.to_lowercase(), expires, outcome })
}

/// Takes a waiver back; its findings return.
pub async fn revoke_waiver(db: &mut PgConnection, caller: &Caller, id: i64) -> Result<Outcome, Error> {
    let found = db::find_waiver(db, id).await?;
    let missing = || Error::NotFound(format!("there is no waiver {id} in force that you may see"));
    let (namespace, model_id) = found.ok_or_else(missing)?;
    if !question_may_see(caller, &namespace) {
        return Err(missing());
    }
    require_waive(db, caller, &namespace).await?;
    db::revoke_waiver(db, id, caller.name()).await?;
    let on = match model_id {
        Some(id) => catalog::find_model_by_id(db, id).await?,
        None => None,
    };
    let detail = json!({ "waiver": id, "namespace": namespace });
    catalog::record_event(db, caller.name(), "waiver revoked", on.as_ref(), &detail).await?;
    judge_scope(db, model_id, &namespace).await
}

fn question_may_see(caller: &Caller, namespace: &str) -> bool {
    let viewer = caller.viewer();
    viewer.everything || viewer.namespaces.contains(&namespace.to_lowercase())
}

/// Judges again what a waiver covers.
pub async fn judge_scope(db: &mut PgConnection, model_id: Option<i64>, namespace: &str) -> Result<Outcome, Error> {
    let subjects = match model_id {
        Some(id) => Subjects::Only(id),
        None => Subjects::Namespace(namespace.to_lowercase()),
    };
    current::rejudge(db, &subjects).await
}

/// Gives a user the right to accept findings of a namespace, or takes it.
pub async fn set_waiver_right(
    db: &mut PgConnection,
    caller: &Caller,
    namespace: &str,
    user: &str,
    is_granted: bool,
) -> Result<(), Error> {
    caller.require_administer(namespace)?;
    let found = crate::auth::db::find_user(db, user).await?;
    let to = found.ok_or_else(|| Error::NotFound(format!("user `{user}` does not exist")))?;
    db::set_waiver_right(db, &namespace.to_lowercase(), to.id, is_granted, caller.name()).await?;
    let kind = if is_granted { "right to waive granted" } else { "right to waive taken" };
    let detail = json!({ "namespace": namespace, "user": to.name });
    catalog::record_event(db, caller.name(), kind, None, &detail).await?;
    Ok(())
}

/// Adds a license to the catalogue, or replaces one that was added. All models have to be judged again after it.
pub async fn put_license(
    db: &mut PgConnection,
    caller: &Caller,
    key: &str,
    entry: &serde_json::Value,
) -> Result<License, Error> {
    caller.require_admin()?;
    if entry["key"].as_str().is_some_and(|inside| inside != key) {
        return Err(Error::Entry(format!("the entry's `key` and the key in the address differ: `{key}`")));
    }
    let mut entry = entry.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.insert("key".to_owned(), json!(key));
    }
    let license = License::from_entry(&entry).map_err(|problem| Error::Entry(problem.to_string()))?;
    db::upsert_custom_license(db, key, &entry, caller.name()).await?;
    // Fails where it clashes with a license that is there.
    load_catalogue(db).await?;
    let detail = json!({ "license": key });
    catalog::record_event(db, caller.name(), "license added", None, &detail).await?;
    Ok(license)
}

/// Removes a license that was added to the catalogue.
pub async fn remove_license(db: &mut PgConnection, caller: &Caller, key: &str) -> Result<(), Error> {
    caller.require_admin()?;
    if !db::delete_custom_license(db, key).await? {
        return Err(Error::NotFound(format!("no license `{key}` was added to the catalogue")));
    }
    catalog::record_event(db, caller.name(), "license removed", None, &json!({ "license": key })).await?;
    Ok(())
}

async fn find_model(db: &mut PgConnection, caller: &Caller, name: &str) -> Result<Model, Error> {
    let parsed: ModelName = name.parse().map_err(|error| Error::Invalid(format!("`model`: {error}")))?;
    Ok(catalog::get_model(db, &parsed, &caller.viewer()).await?)
}

/// The path of the finding that is to be accepted; there must be one.
async fn find_path(
    db: &mut PgConnection,
    caller: &Caller,
    model: &Model,
    request: &WaiverRequest,
) -> Result<Vec<String>, Error> {
    let findings = db::list_model_findings(db, &caller.viewer(), model.id).await?;
    let meant = findings.into_iter().find(|f| f.rule == request.rule && f.about.eq_ignore_ascii_case(&request.about));
    let missing = || {
        let what = format!("{}@{}", request.rule, request.about);
        Error::NotFound(format!("`{}` has no finding `{what}`: see /{}/license", model.name, model.name))
    };
    Ok(meant.ok_or_else(missing)?.path)
}

fn bounded<'a>(text: &'a str, field: &str, ask: &str) -> Result<&'a str, Error> {
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_TEXT || text.contains('\0') {
        return Err(Error::Invalid(format!("`{field}`: {ask}, in at most {MAX_TEXT} bytes")));
    }
    Ok(text)
}

/// Reads a date (its end counts, UTC) or a time; it must come, and not too late.
fn read_expiry(text: &str, now: OffsetDateTime) -> Result<OffsetDateTime, Error> {
    let ask = "`expires`: say until when the finding is accepted, as `2027-06-30` or an RFC 3339 time";
    let text = text.trim();
    let day = time::macros::format_description!("[year]-[month]-[day]");
    let at = match Date::parse(text, &day) {
        Ok(date) => date.with_hms(23, 59, 59).ok().map(time::PrimitiveDateTime::assume_utc),
        Err(_) => OffsetDateTime::parse(text, &Rfc3339).ok(),
    };
    let at = at.ok_or_else(|| Error::Invalid(ask.to_owned()))?;
    if at <= now {
        return Err(Error::Invalid(format!("`expires`: `{text}` is past; a waiver ends in the future")));
    }
    if at > now + time::Duration::days(LONGEST_WAIVER_DAYS) {
        return Err(Error::Invalid(format!("`expires`: `{text}` is too far; five years at most, then decide again")));
    }
    Ok(at)
}
