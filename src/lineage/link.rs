//! One parent link with everything that is known of it: claims, verdict, evidence, what people decided.

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    Error,
    check::ALGORITHM,
    db::{self, Decision, LinkClaim},
    settle_status,
    weights::{print::VERSION, sample},
};
use crate::{
    auth::{self, Caller, Viewer},
    catalog::{self, Model},
};

/// What no comparison of weights can tell.
const LIMITS: [&str; 4] = [
    "Training on another model's outputs (distillation) leaves no trace in the weights and cannot be excluded.",
    "Continued training over very many tokens may wear a relation away; what is left can then look unrelated.",
    "Samples are compared first; a contradiction is shown only after all weights of both were compared.",
    "Who came first is told by irreversible changes and inherited values; where they are silent, by the time of upload.",
];

/// A parent link, as one viewer sees it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Link {
    /// The child.
    pub child: String,
    /// Its revision that was judged.
    pub child_revision: Option<String>,
    /// The parent.
    pub parent: String,
    /// Its revision that was compared.
    pub parent_revision: Option<String>,
    /// How the child was made.
    pub relation: String,
    /// `confirmed`, `confirmed_family`, `contradicted`, `unverifiable`, `detected` or `pending`.
    pub verdict: String,
    /// `certain`, `probable` or `none`.
    pub level: String,
    /// 0 to 1.
    pub confidence: f32,
    /// The verdict in words.
    pub sentence: String,
    /// A parent that fits better.
    pub nearer: Option<String>,
    /// What was measured; `member` and `base` name models. Empty where nothing could be compared.
    pub measured: Value,
    /// Who states the link, the latest first; withdrawn statements too.
    pub claims: Vec<LinkClaim>,
    /// What people said of the verdict, the latest first.
    pub decisions: Vec<Decision>,
    /// `dispute`, `confirm`, `overrule`: the decision in force.
    pub standing: Option<String>,
    /// Earlier verdicts.
    pub history: Vec<Past>,
    /// What cannot be told.
    pub limits: Vec<&'static str>,
    /// How to measure it again.
    pub reproduce: Value,
    /// When it was judged.
    #[serde(with = "time::serde::rfc3339::option")]
    pub computed_at: Option<OffsetDateTime>,
}

/// A verdict that was in force.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Past {
    /// What was concluded.
    pub verdict: String,
    /// Version of the decision procedure.
    pub algorithm: i32,
    /// From when.
    #[serde(with = "time::serde::rfc3339")]
    pub computed_at: OffsetDateTime,
    /// Until when.
    #[serde(with = "time::serde::rfc3339::option")]
    pub superseded_at: Option<OffsetDateTime>,
}

/// Returns what is known of a parent link; the viewer may read both models. `None` when nobody ever stated it.
pub async fn find_link(
    db: &mut PgConnection,
    child: &Model,
    parent: &Model,
    viewer: &Viewer,
) -> Result<Option<Link>, Error> {
    let claims = db::list_link_claims(db, child.id, parent.id).await?;
    let Some(first) = claims.first() else { return Ok(None) };
    let mut verdicts = db::list_verdicts(db, child.id, parent.id, 20).await?.into_iter().peekable();
    let decisions = db::list_decisions(db, child.id, parent.id).await?;
    let mut link = Link {
        child: child.name.to_string(),
        child_revision: None,
        parent: parent.name.to_string(),
        parent_revision: None,
        relation: first.relation.clone(),
        verdict: "pending".to_owned(),
        level: "none".to_owned(),
        confidence: 0.0,
        sentence: "The weights have not been compared.".to_owned(),
        nearer: None,
        measured: json!({}),
        standing: decisions.first().map(|decision| decision.action.clone()).filter(|action| action != "reopen"),
        claims,
        decisions,
        history: Vec::new(),
        limits: LIMITS.into(),
        reproduce: reproduce(),
        computed_at: None,
    };
    if let Some(current) = verdicts.next_if(|verdict| verdict.superseded_at.is_none()) {
        let mut ids = Vec::new();
        collect_models(&current.evidence, &mut ids);
        ids.extend(current.nearer_id);
        let names = db::list_names(db, &ids, viewer).await?;
        link.nearer = current.nearer_id.and_then(|id| names.get(&id).cloned());
        link.measured = current.evidence;
        name_models(&mut link.measured, &names);
        link.child_revision = current.child_revision;
        link.parent_revision = current.parent_revision;
        link.relation = current.relation;
        link.verdict = current.verdict;
        link.level = current.level;
        link.confidence = current.confidence;
        link.sentence = current.sentence;
        link.computed_at = Some(current.computed_at);
    }
    link.history = verdicts
        .map(|past| Past {
            verdict: past.verdict,
            algorithm: past.algorithm,
            computed_at: past.computed_at,
            superseded_at: past.superseded_at,
        })
        .collect();
    Ok(Some(link))
}

/// What somebody needs to measure it again.
fn reproduce() -> Value {
    json!({
        "algorithm": ALGORITHM,
        "fingerprint_version": VERSION,
        "sampling": format!(
            "splitmix64((axis << 40) + i) mod 2^18 (2^20 above), accepted below the axis' length without repetition; \
             {0} rows × {0} columns of each matrix, {1} embedding rows × {2} columns",
            sample::SIDE, sample::PANEL_ROWS, sample::PANEL_COLUMNS
        ),
        "command": "herdbook identify DIR --json",
    })
}

const FIELDS: [&str; 2] = ["member", "base"];

fn collect_models(value: &Value, ids: &mut Vec<i64>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_i64().filter(|_| FIELDS.contains(&name.as_str())) {
                    Some(id) => ids.push(id),
                    None => collect_models(field, ids),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_models(item, ids)),
        _ => {}
    }
}

/// Puts names where rows of models are named; what the viewer may not read, or is gone, is left out.
fn name_models(value: &mut Value, names: &std::collections::HashMap<i64, String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                match field.as_i64().filter(|_| FIELDS.contains(&name.as_str())) {
                    Some(id) => *field = names.get(&id).map_or(Value::Null, |name| json!(name)),
                    None => name_models(field, names),
                }
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| name_models(item, names));
            items.retain(|item| !item.get("member").is_some_and(Value::is_null));
        }
        _ => {}
    }
}

/// What somebody may say of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// An owner does not agree.
    Dispute,
    /// An administrator looked and agrees with the measurement.
    Confirm,
    /// An administrator sets the verdict aside.
    Overrule,
    /// Takes back what was decided.
    Reopen,
}

impl Action {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispute => "dispute",
            Self::Confirm => "confirm",
            Self::Overrule => "overrule",
            Self::Reopen => "reopen",
        }
    }
}

/// Longest reason, in bytes.
const MAX_REASON: usize = 4000;

/// Records what somebody says of a verdict. Owners of either model dispute, administrators decide; the measured verdict
/// stays as it is.
pub async fn decide(
    db: &mut PgConnection,
    caller: &Caller,
    child: &Model,
    parent: &Model,
    action: Action,
    reason: &str,
) -> Result<(), Error> {
    caller.require_user()?;
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON {
        return Err(Error::NoReason(MAX_REASON));
    }
    if action == Action::Dispute {
        let owns = caller.may_administer(child.name.namespace()) || caller.may_administer(parent.name.namespace());
        if !owns {
            let why = "only owners of one of both models, and administrators, may dispute this".to_owned();
            return Err(auth::Error::Forbidden(why).into());
        }
    } else {
        caller.require_admin()?;
    }
    if db::list_link_claims(db, child.id, parent.id).await?.is_empty() {
        return Err(Error::ClaimNotFound(parent.name.clone()));
    }
    db::insert_decision(db, child.id, parent.id, action.as_str(), reason, caller.name()).await?;
    let detail = json!({ "parent": parent.name.to_string(), "action": action.as_str(), "reason": reason });
    catalog::record_event(db, caller.name(), "verdict decided", Some(child), &detail).await?;
    settle_status(db, child.id).await
}

/// What a namespace does with models whose declared parent is contradicted.
pub const POLICIES: [&str; 3] = ["note", "review", "quarantine"];

/// Changes what a namespace does with models whose declared parent is contradicted.
pub async fn set_policy(
    db: &mut PgConnection,
    caller: &Caller,
    namespace: &str,
    on_contradiction: &str,
) -> Result<(), Error> {
    caller.require_administer(namespace)?;
    if !POLICIES.contains(&on_contradiction) {
        return Err(Error::UnknownPolicy(on_contradiction.chars().take(40).collect()));
    }
    let key = namespace.to_lowercase();
    db::upsert_policy(db, &key, on_contradiction, caller.name()).await?;
    let detail = json!({ "namespace": namespace, "on_contradiction": on_contradiction });
    catalog::record_event(db, caller.name(), "lineage policy changed", None, &detail).await?;
    db::update_holds(db, None, Some(&key)).await
}

/// Returns what the weights say of a model as a whole, and of which weights that is.
pub async fn describe_fingerprint(db: &mut PgConnection, model: &Model, viewer: &Viewer) -> Result<Value, Error> {
    let row = match model.head_revision_id {
        Some(head) => db::find_print(db, head).await?,
        None => None,
    };
    let Some(row) = row else {
        let reason = if model.head_revision_id.is_some() {
            "the fingerprint is being made"
        } else {
            "its files are not in this registry"
        };
        return Ok(json!({ "kind": "none", "reason": reason }));
    };
    let mut described = json!({
        "kind": row.kind, "version": row.version, "reason": row.reason, "weights": row.summary,
    });
    if let Some(judgment) = db::find_judgment(db, model.id, viewer).await? {
        let names =
            async |db: &mut PgConnection, revisions: &[i64]| db::list_names_of_revisions(db, revisions, viewer).await;
        let mut detail = judgment.detail;
        let mut ids = Vec::new();
        collect_models(&detail, &mut ids);
        let named = db::list_names(db, &ids, viewer).await?;
        name_models(&mut detail, &named);
        described["judgment"] = json!({
            "kind": judgment.kind,
            "detail": detail,
            "related": names(db, &judgment.related).await?,
            "shared_start": names(db, &judgment.shared_start).await?,
        });
    }
    Ok(described)
}
