//! What a namespace does with revisions that do not pass: nothing, say so, or not serve them.

use serde_json::json;
use sqlx::PgConnection;

use super::{Check, Status, db};
use crate::{
    auth::{self, Caller},
    catalog::{self, Model},
};

/// Longest reason for a release, in bytes.
const MAX_REASON: usize = 4000;

/// What a namespace can do with a revision that does not pass.
pub const POLICIES: [&str; 3] = ["off", "warn", "quarantine"];

/// What can go wrong with policies and releases.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A policy that is not known.
    #[error("`{0}` is not a policy, use one of: off, warn, quarantine")]
    UnknownPolicy(String),
    /// A release without a reason, or with a novel.
    #[error("say why, in at most {MAX_REASON} bytes")]
    NoReason,
    /// The revision is served anyway.
    #[error("this revision is not held back: there is nothing to release")]
    NotHeld,
    /// The caller may not.
    #[error(transparent)]
    Auth(#[from] auth::Error),
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Why a revision is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// Its test has not ended yet.
    Untested,
    /// It did not pass; the checks that decided.
    NotPassed(Status, Vec<Check>),
}

impl Hold {
    /// In a sentence, for the one who is refused.
    pub fn explain(&self, model: &str) -> String {
        let who = "its owners chose not to serve revisions that do not pass the smoke test";
        match self {
            Self::Untested => format!(
                "this revision of `{model}` is not served yet: {who}, and its test has not ended; try again in a minute, or \
                 see /{model}/smoke-test"
            ),
            Self::NotPassed(status, checks) => {
                let said: Vec<String> =
                    checks.iter().take(3).map(|check| format!("{}: {}", check.id, check.detail)).collect();
                let how =
                    if *status == Status::Error { "its smoke test broke off" } else { "it failed the smoke test" };
                format!(
                    "this revision of `{model}` is in quarantine: {how} ({}), and {who}; see /{model}/smoke-test",
                    said.join("; ")
                )
            }
        }
    }
}

/// Returns why a revision is not served, where the policy of its namespace holds it back.
pub async fn find_hold(db: &mut PgConnection, namespace: &str, revision_id: i64) -> Result<Option<Hold>, Error> {
    if db::find_policy(db, &namespace.to_lowercase()).await?.as_deref() != Some("quarantine") {
        return Ok(None);
    }
    if db::is_released(db, revision_id).await? {
        return Ok(None);
    }
    let Some((status, checks)) = db::find_checks(db, revision_id).await? else { return Ok(Some(Hold::Untested)) };
    let decides = |check: &Check| check.status == status;
    Ok(match status {
        Status::Failed | Status::Error => Some(Hold::NotPassed(status, checks.into_iter().filter(decides).collect())),
        Status::Passed | Status::Warned | Status::Skipped => None,
    })
}

/// Returns what a namespace does with revisions that do not pass: `off`, `warn` or `quarantine`.
pub async fn policy(db: &mut PgConnection, namespace: &str) -> Result<String, Error> {
    Ok(db::find_policy(db, &namespace.to_lowercase()).await?.unwrap_or_else(|| "warn".to_owned()))
}

/// Changes what a namespace does with revisions that do not pass.
pub async fn set_policy(
    db: &mut PgConnection,
    caller: &Caller,
    namespace: &str,
    on_failure: &str,
) -> Result<(), Error> {
    caller.require_administer(namespace)?;
    if !POLICIES.contains(&on_failure) {
        return Err(Error::UnknownPolicy(on_failure.chars().take(40).collect()));
    }
    db::upsert_policy(db, &namespace.to_lowercase(), on_failure, caller.name()).await?;
    let detail = json!({ "namespace": namespace, "on_failure": on_failure });
    catalog::record_event(db, caller.name(), "smoke policy changed", None, &detail).await?;
    Ok(())
}

/// Lets a revision be served although it did not pass.
pub async fn release(
    db: &mut PgConnection,
    caller: &Caller,
    model: &Model,
    revision: &catalog::Revision,
    reason: &str,
) -> Result<(), Error> {
    caller.require_admin()?;
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON {
        return Err(Error::NoReason);
    }
    if find_hold(db, model.name.namespace(), revision.id).await?.is_none() {
        return Err(Error::NotHeld);
    }
    db::insert_release(db, revision.id, reason, caller.name()).await?;
    let detail = json!({ "commit": revision.commit.as_str(), "reason": reason });
    catalog::record_event(db, caller.name(), "released from quarantine", Some(model), &detail).await?;
    Ok(())
}
