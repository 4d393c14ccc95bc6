//! Judges the license position of a model and of everything that descends from it.

use serde::{Deserialize, Serialize};
use tracing::info;

use super::{Job, Outcome};
use crate::{app::App, license};

/// Judges again after a label, a file or a parent link changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct JudgeLicense {
    /// The model that changed.
    pub model_id: i64,
}

impl Job for JudgeLicense {
    const KIND: &'static str = "judge_license";

    fn dedupe(&self) -> Option<String> {
        Some(self.model_id.to_string())
    }

    fn model_id(&self) -> Option<i64> {
        Some(self.model_id)
    }

    async fn run(&self, app: &App) -> Outcome {
        let judged = async {
            let mut tx = app.db.begin().await?;
            let count = license::db::rejudge_model_and_descendants(&mut tx, self.model_id).await?;
            tx.commit().await?;
            Ok::<_, license::Error>(count)
        };
        match judged.await {
            Ok(count) => {
                info!(model.id = self.model_id, count, "judged the license position of {count} models");
                Outcome::Done
            }
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}
