//! Runs the smoke test on a revision: brings its files into a folder, starts the confined child, keeps the report.

use std::path::Path;

use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tracing::info;

use super::{Job, Outcome};
use crate::{
    app::App,
    catalog::{self, File},
    formats::{self, FileKind},
    smoke,
};

/// Most bytes that are brought into a folder; larger revisions are skipped until weights are read from the store.
const MAX_STAGED: i64 = 8 << 30;

/// Tests a revision.
#[derive(Debug, Serialize, Deserialize)]
pub struct SmokeTest {
    /// The model.
    pub model_id: i64,
    /// Its revision.
    pub revision_id: i64,
}

/// What can go wrong on the way to a verdict.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
    #[error(transparent)]
    Smoke(#[from] smoke::Error),
    #[error("the files cannot be brought into a folder: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl Job for SmokeTest {
    const KIND: &'static str = "smoke_test";

    fn dedupe(&self) -> Option<String> {
        Some(self.revision_id.to_string())
    }

    fn model_id(&self) -> Option<i64> {
        Some(self.model_id)
    }

    async fn run(&self, app: &App) -> Outcome {
        match test(app, self).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}

async fn test(app: &App, job: &SmokeTest) -> Result<(), Error> {
    let files = catalog::list_files(&mut *app.db.acquire().await?, job.revision_id).await?;
    let wanted: Vec<&File> = files.iter().filter(|file| is_wanted(file)).collect();
    let has_weights = wanted.iter().any(|file| is_weights(file));
    let bytes: i64 = wanted.iter().map(|file| file.size).sum();
    let report = if !has_weights {
        let detail = if files.iter().any(|f| formats::kind(f.path.as_str()) == FileKind::Pickle) {
            "pickle-based weights are scanned for imports, never loaded"
        } else {
            "the revision holds no weights"
        };
        smoke::Report::skipped("files.parse", detail)
    } else if bytes > MAX_STAGED {
        smoke::Report::skipped("files.parse", "the weights are larger than 8 GiB, which this engine does not run yet")
    } else {
        let folder = tempfile::Builder::new().prefix("herdbook-smoke-").tempdir()?;
        stage(app, &wanted, folder.path()).await?;
        let mut input = smoke::Input::new(folder.path());
        input.program = Some(app.smoke_program.to_path_buf());
        smoke::run(&input).await?
    };
    let mut tx = app.db.begin().await?;
    smoke::db::insert_report(&mut tx, job.model_id, job.revision_id, &report).await?;
    tx.commit().await?;
    info!(
        model.id = job.model_id,
        verdict = report.verdict.as_str(),
        "smoke test of model {} {}",
        job.model_id,
        report.verdict
    );
    Ok(())
}

fn is_weights(file: &File) -> bool {
    matches!(formats::kind(file.path.as_str()), FileKind::Safetensors | FileKind::Gguf)
}

/// Only what the engine reads; pickles stay in the store.
fn is_wanted(file: &File) -> bool {
    let is_root = !file.path.as_str().contains('/');
    let by_kind = matches!(
        formats::kind(file.path.as_str()),
        FileKind::Safetensors
            | FileKind::SafetensorsIndex
            | FileKind::Gguf
            | FileKind::Config
            | FileKind::AdapterConfig
    );
    let is_text = [".json", ".txt", ".jinja"].iter().any(|suffix| file.path.as_str().ends_with(suffix));
    is_root && (by_kind || (is_text && file.size < 64 << 20))
}

async fn stage(app: &App, files: &[&File], folder: &Path) -> Result<(), Error> {
    for file in files {
        let mut target = tokio::fs::File::create(folder.join(file.path.as_str())).await?;
        let mut stream = app.store.read(&file.digest).await?;
        while let Some(piece) = stream.next().await {
            target.write_all(&piece?).await?;
        }
        target.flush().await?;
    }
    Ok(())
}
