//! Makes fingerprints findable again whose leader was deleted.

use serde::{Deserialize, Serialize};

use super::{Job, Outcome, fingerprint::Error};
use crate::{app::App, lineage::relatives};

/// Finds leaders for fingerprints without one.
#[derive(Debug, Serialize, Deserialize)]
pub struct AdoptOrphans {}

impl Job for AdoptOrphans {
    const KIND: &'static str = "adopt_orphans";

    fn dedupe(&self) -> Option<String> {
        Some(String::new())
    }

    async fn run(&self, app: &App) -> Outcome {
        match adopt(app).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}

async fn adopt(app: &App) -> Result<(), Error> {
    loop {
        let mut tx = app.db.begin().await?;
        let adopted = relatives::adopt_orphans(&mut tx, &app.store).await?;
        tx.commit().await?;
        if adopted == 0 {
            return Ok(());
        }
    }
}
