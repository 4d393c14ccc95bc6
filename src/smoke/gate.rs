//! What a namespace does with revisions that do not pass: nothing, say so, or not serve them.

use serde_json::json;
use sqlx::PgConnection;

use super::{Check, Status, db};
use crate::{
    auth::{self, Caller},
    catalog::{
        self, File, Model,
        scans::{self, Danger},
    },
    formats::{self, FileKind, scan::Report},
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
    /// Loading its files would run code, or they were not looked through; what was found.
    Unsafe(Vec<String>),
    /// Not all of its files were looked into by the scanner of today.
    Unscanned,
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
                let how = match status {
                    Status::Error => "its smoke test broke off",
                    Status::Skipped => "its weights could not be tested",
                    _ => "it failed the smoke test",
                };
                format!(
                    "this revision of `{model}` is in quarantine: {how} ({}), and {who}; see /{model}/smoke-test",
                    said.join("; ")
                )
            }
            Self::Unsafe(found) => {
                let said: Vec<&str> = found.iter().take(3).map(String::as_str).collect();
                format!(
                    "this revision of `{model}` is in quarantine: the scan of its files found something ({}), and {who}; \
                     see /{model}/smoke-test",
                    said.join("; ")
                )
            }
            Self::Unscanned => format!(
                "this revision of `{model}` is not served yet: {who}, and its files were not scanned by this version; run \
                 its smoke test again at /{model}/smoke-test"
            ),
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
    let deciding = checks.into_iter().filter(|check| check.status == status).collect();
    if matches!(status, Status::Failed | Status::Error) {
        return Ok(Some(Hold::NotPassed(status, deciding)));
    }
    let files = catalog::list_files(db, revision_id).await?;
    let reports = scans::find(db, &files).await?;
    if reports.iter().any(Option::is_none) {
        return Ok(Some(Hold::Unscanned));
    }
    let found = scans::details(&files, &reports, Danger::Suspicious);
    if !found.is_empty() {
        return Ok(Some(Hold::Unsafe(found)));
    }
    // Nobody has shown that these weights are sound; a revision without any has nothing to show.
    let is_untested = status == Status::Skipped && has_weights(&files, &reports);
    Ok(is_untested.then_some(Hold::NotPassed(status, deciding)))
}

fn has_weights(files: &[File], reports: &[Option<Report>]) -> bool {
    let is_weights = |file: &File| {
        matches!(formats::kind(file.path.as_str()), FileKind::Safetensors | FileKind::Gguf | FileKind::Pickle)
    };
    files.iter().any(is_weights) || reports.iter().flatten().any(|report| report.pickles > 0)
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
