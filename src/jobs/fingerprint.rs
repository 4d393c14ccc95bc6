//! Makes the fingerprint of a revision, and has its lineage checked.

use serde::{Deserialize, Serialize};
use tracing::info;

use super::{CheckLineage, Job, Outcome, queue};
use crate::{
    app::App,
    lineage::{self, fingerprint},
};

/// Fingerprints a revision.
#[derive(Debug, Serialize, Deserialize)]
pub struct FingerprintRevision {
    /// The model.
    pub model_id: i64,
    /// Its revision.
    pub revision_id: i64,
}

/// What can go wrong on the way to a fingerprint.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Lineage(#[from] lineage::Error),
    #[error(transparent)]
    Queue(#[from] queue::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Job for FingerprintRevision {
    const KIND: &'static str = "fingerprint";

    fn dedupe(&self) -> Option<String> {
        Some(self.revision_id.to_string())
    }

    fn model_id(&self) -> Option<i64> {
        Some(self.model_id)
    }

    async fn run(&self, app: &App) -> Outcome {
        match fingerprint_and_check(app, self).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}

async fn fingerprint_and_check(app: &App, job: &FingerprintRevision) -> Result<(), Error> {
    fingerprint_revision(app, job.model_id, job.revision_id, |_| ()).await?;
    let mut db = app.db.acquire().await?;
    queue::enqueue(&mut db, &CheckLineage { model_id: job.model_id, spread: true }).await?;
    Ok(())
}

/// Makes and keeps the fingerprint of a revision, unless one of the same files is there.
pub async fn fingerprint_revision(
    app: &App,
    model_id: i64,
    revision_id: i64,
    progress: impl FnMut(u64) + Send + 'static,
) -> Result<(), lineage::Error> {
    let mut tx = app.db.begin().await?;
    let plan = fingerprint::gather(&mut tx, &app.store, model_id, revision_id).await?;
    let is_known = fingerprint::reuse(&mut tx, &app.store, &plan).await?;
    tx.commit().await?;
    if is_known {
        return Ok(());
    }
    let started = std::time::Instant::now();
    let made = fingerprint::make(&app.store, &plan, progress).await?;
    let mut tx = app.db.begin().await?;
    fingerprint::keep(&mut tx, &app.store, &plan, &made).await?;
    tx.commit().await?;
    let duration_ms = started.elapsed().as_millis();
    info!(model.id = model_id, duration_ms, "fingerprinted revision {revision_id} of model {model_id}");
    Ok(())
}
