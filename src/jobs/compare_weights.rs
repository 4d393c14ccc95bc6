//! Compares all weights of two revisions: no contradiction is shown before that.

use serde::{Deserialize, Serialize};
use tracing::info;

use super::{CheckLineage, Job, Outcome, fingerprint::Error, queue};
use crate::{app::App, lineage::comparison};

/// Streams two revisions and compares them.
#[derive(Debug, Serialize, Deserialize)]
pub struct CompareWeights {
    /// The revision in question.
    pub child_revision_id: i64,
    /// The revision that is said to be its parent.
    pub parent_revision_id: i64,
}

impl Job for CompareWeights {
    const KIND: &'static str = "compare_weights";

    fn dedupe(&self) -> Option<String> {
        Some(format!("{} {}", self.child_revision_id, self.parent_revision_id))
    }

    async fn run(&self, app: &App) -> Outcome {
        match compare(app, self).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}

async fn compare(app: &App, job: &CompareWeights) -> Result<(), Error> {
    let mut db = app.db.acquire().await?;
    let pair = comparison::gather(&mut db, &app.store, job.child_revision_id, job.parent_revision_id).await?;
    drop(db);
    // One of both is gone: there is nothing left to say.
    let Some(pair) = pair else { return Ok(()) };
    let result = comparison::compare(&app.store, &pair).await?;
    let mut tx = app.db.begin().await?;
    comparison::keep(&mut tx, &pair, &result).await?;
    queue::enqueue(&mut tx, &CheckLineage { model_id: pair.child_model_id, spread: false }).await?;
    tx.commit().await?;
    info!(
        model.id = pair.child_model_id,
        "compared all weights of model {} with a claimed parent", pair.child_model_id
    );
    Ok(())
}
