//! Judges license positions: of a model and its descendants, of a namespace, of everything.

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use tracing::info;

use super::{Job, Outcome, deliver_hook::announce, queue};
use crate::{
    app::App,
    license::{
        self,
        current::{self, Subjects, load_catalogue},
        evidence,
    },
};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    License(#[from] license::Error),
    #[error(transparent)]
    Queue(#[from] queue::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

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
        outcome(judge(app, &Subjects::Model(self.model_id)).await)
    }
}

/// Judges a namespace again, or everything, after what all its models depend on changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct JudgeLicenses {
    /// The namespace in lower case; `None`: every model.
    pub namespace: Option<String>,
}

impl Job for JudgeLicenses {
    const KIND: &'static str = "judge_licenses";

    fn dedupe(&self) -> Option<String> {
        Some(self.namespace.clone().unwrap_or_default())
    }

    async fn run(&self, app: &App) -> Outcome {
        let subjects = self.namespace.clone().map_or(Subjects::All, Subjects::Namespace);
        outcome(judge(app, &subjects).await)
    }
}

/// Judges again when a waiver has ended.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndWaiver {
    /// The waiver.
    pub waiver_id: i64,
    /// The model that it is about; `None`: its namespace.
    pub model_id: Option<i64>,
    /// The namespace in lower case.
    pub namespace: String,
}

impl Job for EndWaiver {
    const KIND: &'static str = "end_waiver";

    fn dedupe(&self) -> Option<String> {
        Some(self.waiver_id.to_string())
    }

    async fn run(&self, app: &App) -> Outcome {
        let subjects = self.model_id.map_or_else(|| Subjects::Namespace(self.namespace.clone()), Subjects::Only);
        outcome(judge(app, &subjects).await)
    }
}

fn outcome(judged: Result<(), Error>) -> Outcome {
    match judged {
        Ok(()) => Outcome::Done,
        Err(error) => Outcome::Retry(error.to_string()),
    }
}

async fn judge(app: &App, subjects: &Subjects) -> Result<(), Error> {
    let mut tx = app.db.begin().await?;
    judge_in(app, &mut tx, subjects).await?;
    tx.commit().await?;
    Ok(())
}

/// Judges in a transaction, after new license files were read.
async fn judge_in(app: &App, tx: &mut PgConnection, subjects: &Subjects) -> Result<(), Error> {
    let models = match subjects {
        Subjects::Model(id) | Subjects::Only(id) => Some(vec![*id]),
        // A policy changes no file.
        Subjects::Namespace(_) => Some(Vec::new()),
        Subjects::All => None,
    };
    let heads = license::db::list_heads(tx, models.as_deref()).await?;
    let catalogue = load_catalogue(tx).await?;
    evidence::recognize(tx, &app.store, &heads, &catalogue).await?;
    let judged = current::rejudge(tx, subjects).await?;
    announce(tx, &judged.changes).await?;
    let changed = judged.changes.len();
    info!(
        judged = judged.judged,
        changed, "judged {} of {} models again, {changed} positions changed", judged.judged, judged.looked_at
    );
    Ok(())
}
