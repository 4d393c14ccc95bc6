//! What every push does: publish, record the claims that the files make, enqueue what follows.

use serde_json::json;
use sqlx::PgConnection;

use super::{CountDescendants, FingerprintRevision, JudgeLicense, SmokeTest, queue};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Commit, Kind, Model, Published},
    license::{self, gate},
    lineage,
};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The commit was refused.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// A claim was refused, for instance because it would close a cycle.
    #[error(transparent)]
    Lineage(#[from] lineage::Error),
    /// The policy of the namespace refuses it.
    #[error(
        "the license policy of `{namespace}` refuses this push. {reason}. Nothing was published; see \
         /policy?namespace={namespace} for what is blocked and who may accept a finding"
    )]
    Blocked {
        /// The namespace.
        namespace: String,
        /// The findings.
        reason: String,
    },
    /// The license engine failed.
    #[error(transparent)]
    License(#[from] license::Error),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] queue::Error),
}

/// Publishes a commit and everything that belongs to it, in the caller's transaction.
pub async fn publish_and_enqueue(
    app: &App,
    tx: &mut PgConnection,
    caller: &Caller,
    model: &Model,
    commit: Commit<'_>,
) -> Result<Published, Error> {
    if model.kind == Kind::Catalogued {
        return Err(catalog::Error::NotHosted(model.name.clone()).into());
    }
    let branch = commit.branch.to_owned();
    let message = commit.message.to_owned();
    let published = catalog::publish(tx, &app.store, model, commit).await?;
    app.taps.keep(tx, &app.store, &published.files).await?;
    app.statistics.keep(tx, &published.files).await.map_err(catalog::Error::from)?;
    let is_main = branch == "main" || branch == "refs/heads/main";
    if !published.changed {
        return Ok(published);
    }
    let detail = json!({ "commit": published.revision.commit.as_str(), "branch": branch, "message": message });
    catalog::record_event(tx, caller.name(), "published", Some(model), &detail).await?;
    if !is_main {
        // The policy of a namespace may serve only what passed, on every branch.
        queue::enqueue(tx, &SmokeTest { model_id: model.id, revision_id: published.revision.id }).await?;
    }
    if is_main {
        let viewer = caller.viewer();
        lineage::record_from_files(tx, &app.store, model, &published.revision, &published.files, &viewer).await?;
        let namespace = model.name.namespace();
        let blocks = gate::find_push_blocks(tx, &app.store, model.id, namespace).await?;
        if !blocks.is_empty() {
            return Err(Error::Blocked { namespace: namespace.to_owned(), reason: gate::explain(&blocks) });
        }
        follow_up(tx, model.id, published.revision.id).await?;
    }
    Ok(published)
}

/// Enqueues what a new revision makes necessary.
async fn follow_up(tx: &mut PgConnection, model_id: i64, revision_id: i64) -> Result<(), queue::Error> {
    queue::enqueue(tx, &FingerprintRevision { model_id, revision_id }).await?;
    queue::enqueue(tx, &SmokeTest { model_id, revision_id }).await?;
    enqueue_after_lineage(tx, model_id).await
}

/// Enqueues what a changed parent link makes necessary.
pub async fn enqueue_after_lineage(tx: &mut PgConnection, model_id: i64) -> Result<(), queue::Error> {
    queue::enqueue(tx, &JudgeLicense { model_id }).await?;
    queue::enqueue(tx, &CountDescendants { model_id }).await
}
