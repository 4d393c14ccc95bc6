//! Checks a model's parents against the weights, and has done again what depends on the answer.

use serde::{Deserialize, Serialize};
use tracing::info;

use super::{CompareWeights, Job, Outcome, fingerprint::Error, publish::enqueue_after_lineage, queue};
use crate::{app::App, license::catalogue::CATALOGUE, lineage::check};

/// Judges a model and those whose answer it may change.
#[derive(Debug, Serialize, Deserialize)]
pub struct CheckLineage {
    /// The model.
    pub model_id: i64,
    /// Whether the model is new, so that relatives are judged again too.
    pub spread: bool,
}

impl Job for CheckLineage {
    const KIND: &'static str = "check_lineage";

    fn dedupe(&self) -> Option<String> {
        Some(format!("{} {}", self.model_id, self.spread))
    }

    fn model_id(&self) -> Option<i64> {
        Some(self.model_id)
    }

    async fn run(&self, app: &App) -> Outcome {
        match check_model(app, self).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}

async fn check_model(app: &App, job: &CheckLineage) -> Result<(), Error> {
    // Who published a base that everybody knows is taken at their word about what came first.
    let is_attested = |name: &str| CATALOGUE.published_by_licensor(name).is_some();
    let mut tx = app.db.begin().await?;
    // What waits now is done along with this, where one herd holds them all; what comes later has seen more.
    let waiting = queue::list_waiting::<CheckLineage>(&mut tx).await?;
    let checked = check::check(&mut tx, &app.store, &app.prints, job.model_id, &is_attested).await?;
    for model_id in &checked.changed {
        enqueue_after_lineage(&mut tx, *model_id).await?;
    }
    for (child_revision_id, parent_revision_id) in &checked.to_compare {
        let (child_revision_id, parent_revision_id) = (*child_revision_id, *parent_revision_id);
        queue::enqueue(&mut tx, &CompareWeights { child_revision_id, parent_revision_id }).await?;
    }
    let is_done = |(_, waiting): &(i64, CheckLineage)| checked.settled.contains(&waiting.model_id);
    let along: Vec<(i64, CheckLineage)> = waiting.into_iter().filter(is_done).collect();
    queue::finish_along(&mut tx, &along.iter().map(|(id, _)| *id).collect::<Vec<i64>>()).await?;
    let spreading = along.iter().map(|(_, waiting)| waiting).chain([job]).filter(|done| done.spread);
    let spreading: Vec<i64> = spreading.map(|done| done.model_id).collect();
    if !spreading.is_empty() {
        for model_id in check::list_affected(&mut tx, &checked, &spreading).await? {
            queue::enqueue(&mut tx, &CheckLineage { model_id, spread: false }).await?;
        }
    }
    tx.commit().await?;
    let count = checked.changed.len();
    info!(model.id = job.model_id, count, "checked the lineage of model {}: {count} changed", job.model_id);
    Ok(())
}
