//! Runs the smoke test on a revision: brings its small files into a folder, starts the confined child, reads weights for
//! it from the store, keeps the report.

use std::{ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use tracing::info;

use super::{Job, Outcome, queue};
use crate::{
    app::App,
    catalog::{self, File},
    digest::Digest,
    formats::{self, FileKind},
    smoke::{self, Relation, Remote, db::Base},
    storage::BlobStore,
};

/// Most bytes of configs and tokenizers that are brought into a folder; weights are read from the store.
const MAX_STAGED: i64 = 512 << 20;

/// Most tensors whose sums are handed to the child; the others it reads.
const MAX_SUMMED: usize = 200_000;

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
    Queue(#[from] queue::Error),
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
    let mut connection = app.db.acquire().await?;
    let files = catalog::list_files(&mut connection, job.revision_id).await?;
    // A revision of before, or of an older scanner, gets its answers here.
    catalog::scans::scan_all(&mut connection, &app.store, &files).await?;
    let base = smoke::db::find_base(&mut connection, job.model_id).await?;
    let of_base = match &base {
        Some(base) => catalog::list_files(&mut connection, base.revision_id).await?,
        None => Vec::new(),
    };
    drop(connection);
    let needs_base = base.as_ref().is_some_and(|base| base.relation == Relation::Adapter)
        || (!of_base.is_empty() && is_difference(app, &files).await?);
    let lends_words = base.as_ref().is_some_and(|base| base.record.is_some()) && !files.iter().any(is_tokenizer);
    let base_files: Vec<File> =
        of_base.into_iter().filter(|file| needs_base || (lends_words && is_tokenizer(file))).collect();
    let wanted: Vec<&File> = files.iter().filter(|file| is_wanted(file)).collect();
    let base_wanted: Vec<&File> = base_files.iter().filter(|file| is_wanted(file)).collect();
    let has_weights = wanted.iter().any(|file| is_weights(file));
    let texts = wanted.iter().chain(&base_wanted).filter(|file| !is_weights(file));
    let bytes = texts.fold(0_i64, |sum, file| sum.saturating_add(file.size));
    let report = if !has_weights {
        let detail = if files.iter().any(|f| formats::kind(f.path.as_str()) == FileKind::Pickle) {
            "pickle-based weights are scanned for imports, never loaded"
        } else {
            "the revision holds no weights"
        };
        smoke::Report::skipped("files.parse", detail)
    } else if bytes > MAX_STAGED {
        smoke::Report::skipped(
            "files.parse",
            "the files beside the weights are larger than 512 MiB together, which is not read",
        )
    } else {
        run(app, &wanted, &base_wanted, base.as_ref()).await?
    };
    let mut tx = app.db.begin().await?;
    let base_id = base.map(|base| base.model_id);
    smoke::db::insert_report(&mut tx, job.model_id, job.revision_id, &report, base_id).await?;
    for (model_id, revision_id) in smoke::db::list_waiting_for_base(&mut tx, job.model_id).await? {
        queue::enqueue(&mut tx, &SmokeTest { model_id, revision_id }).await?;
    }
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

/// Brings all but weights into folders and runs the test: an adapter or a difference on its base, others beside what their
/// base's test kept.
async fn run(app: &App, files: &[&File], base_files: &[&File], base: Option<&Base>) -> Result<smoke::Report, Error> {
    let folder = tempfile::Builder::new().prefix("herdbook-smoke-").tempdir()?;
    stage(app, files, folder.path()).await?;
    let mut input = smoke::Input::new(folder.path());
    let base_folder = tempfile::Builder::new().prefix("herdbook-smoke-base-").tempdir()?;
    if !base_files.is_empty() {
        stage(app, base_files, base_folder.path()).await?;
        input = input.with_base(base_folder.path());
    }
    if let Some(base) = base {
        input.relation = Some(base.relation);
        input.record.clone_from(&base.record);
    }
    input = input.with_weights(remote(app, files, base_files).await?);
    input.program = Some(app.smoke_program.to_path_buf());
    Ok(smoke::run(&input).await?)
}

/// Weights as they lie in the store.
struct InStore {
    store: BlobStore,
    digests: Vec<Digest>,
}

impl smoke::Weights for InStore {
    fn read(&self, file: usize, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, String>> {
        async move {
            let digest = self.digests.get(file).ok_or("there is no such file")?;
            self.store.read_bytes(digest, range).await.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

async fn remote(app: &App, files: &[&File], base_files: &[&File]) -> Result<Remote, Error> {
    let of = |files: &[&'_ File]| files.iter().copied().filter(|file| is_weights(file)).cloned().collect::<Vec<File>>();
    let named = |file: &File| (file.path.as_str().to_owned(), u64::try_from(file.size).unwrap_or(0));
    let (own, base) = (of(files), of(base_files));
    let digests: Vec<Digest> = own.iter().chain(&base).map(|file| file.digest).collect();
    let weights = Arc::new(InStore { store: app.store.clone(), digests: digests.clone() });
    let mut remote = Remote::new(own.iter().map(named), weights).with_base(base.iter().map(named));
    let mut connection = app.db.acquire().await?;
    let mut tensors = 0;
    for (number, digest) in digests.iter().take(own.len()).enumerate() {
        let Some(sums) = smoke::db::find_statistics(&mut connection, digest).await? else { continue };
        tensors += sums.len();
        if tensors <= MAX_SUMMED {
            remote.set_statistics(number, sums);
        }
    }
    Ok(remote)
}

/// Whether the card says that the weights are a difference to another model's.
async fn is_difference(app: &App, files: &[File]) -> Result<bool, Error> {
    let Some(card) = files.iter().find(|file| file.path.as_str() == "README.md") else { return Ok(false) };
    let text = app.store.read_all(&card.digest, formats::card::MAX_CARD).await?;
    Ok(formats::card::weight_difference(&String::from_utf8_lossy(&text)).is_some())
}

fn is_tokenizer(file: &File) -> bool {
    file.path.as_str() == "tokenizer.json"
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
    // The card tells a difference of weights from weights.
    let is_text = [".json", ".txt", ".jinja", "README.md"].iter().any(|suffix| file.path.as_str().ends_with(suffix));
    is_root && (by_kind || (is_text && file.size < 64 << 20))
}

async fn stage(app: &App, files: &[&File], folder: &Path) -> Result<(), Error> {
    for file in files.iter().filter(|file| !is_weights(file)) {
        let mut target = tokio::fs::File::create(folder.join(file.path.as_str())).await?;
        let mut stream = app.store.read(&file.digest).await?;
        while let Some(piece) = stream.next().await {
            target.write_all(&piece?).await?;
        }
        target.flush().await?;
    }
    Ok(())
}
