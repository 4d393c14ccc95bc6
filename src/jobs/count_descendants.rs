//! Keeps the numbers of children and descendants of a model's ancestors.

use serde::{Deserialize, Serialize};

use super::{Job, Outcome};
use crate::{app::App, lineage};

/// Counts again for a model and everything above it.
#[derive(Debug, Serialize, Deserialize)]
pub struct CountDescendants {
    /// The model whose parents changed.
    pub model_id: i64,
}

impl Job for CountDescendants {
    const KIND: &'static str = "count_descendants";

    fn dedupe(&self) -> Option<String> {
        Some(self.model_id.to_string())
    }

    fn model_id(&self) -> Option<i64> {
        Some(self.model_id)
    }

    async fn run(&self, app: &App) -> Outcome {
        let counted = async {
            let mut db = app.db.acquire().await?;
            lineage::db::recount_ancestors(&mut db, self.model_id).await
        };
        match counted.await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}
