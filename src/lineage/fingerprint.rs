//! Makes the fingerprint of a revision from its stored files, and keeps it.
//!
//! Reading weights takes long, so it is apart from the rows: [`gather`] with a connection, [`make`] without one,
//! [`keep`] in a transaction.

use std::{io, ops::Range};

use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::runtime::Handle;

use super::{
    Error,
    db::{self, NewPrint, PrintKind},
    files::{self, Choice},
    relatives, taps,
    weights::{
        Fingerprint,
        adapter::{self, Target},
        bands,
        make::{self, Model, Source, Token, WeightFile},
        print::VERSION,
        slots::Role,
    },
};
use crate::{
    catalog::{self, File, facts, inspect},
    digest::Digest,
    formats::{self, FileKind, config, shards},
    storage::{self, BlobStore},
};

/// Longest tokenizer that is read, in bytes.
const MAX_TOKENIZER: i64 = 64 << 20;

/// The version of fingerprints as rows have it.
pub const ROW_VERSION: i32 = VERSION.cast_signed();

/// What a revision's fingerprint is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The revision.
    pub revision_id: i64,
    /// Its model.
    pub model_id: i64,
    /// The weight files, or why there is nothing to take.
    weights: Result<Weights, String>,
    /// The prints of all weight files, where all were taken while they were uploaded.
    taken: Vec<Fingerprint>,
    config: Option<File>,
    tokenizer: Option<File>,
    /// Digest of all of them.
    key: Digest,
}

#[derive(Debug, Clone)]
enum Weights {
    Model(Vec<File>),
    Adapter(Vec<File>),
}

/// What became of a plan.
#[derive(Debug)]
pub enum Made {
    /// A fingerprint.
    Print(Box<Fingerprint>),
    /// The weights are an adapter's.
    Adapter,
    /// There is none, because of this.
    Nothing(String),
}

/// Looks up what the fingerprint of a revision is made of.
pub async fn gather(db: &mut PgConnection, store: &BlobStore, model_id: i64, revision_id: i64) -> Result<Plan, Error> {
    let files = catalog::list_files(db, revision_id).await?;
    let weights = choose(store, &files).await?;
    let config = facts::find(&files, FileKind::Config).cloned();
    let tokenizer = files.iter().find(|f| f.path.as_str() == "tokenizer.json" && f.size <= MAX_TOKENIZER).cloned();
    let chosen = match &weights {
        Ok(Weights::Model(files) | Weights::Adapter(files)) => files.clone(),
        Err(_) => Vec::new(),
    };
    let mut taken = Vec::new();
    if let Ok(Weights::Model(files)) = &weights {
        for file in files {
            taken.extend(taps::find(db, store, file).await?);
        }
        if taken.len() < files.len() {
            taken.clear();
        }
    }
    let mut text = String::new();
    for file in chosen.iter().chain(&config).chain(&tokenizer) {
        text.push_str(&format!("{} {}\n", file.digest.to_hex(), file.path));
    }
    let key = Digest::of(text.as_bytes());
    Ok(Plan { revision_id, model_id, weights, taken, config, tokenizer, key })
}

/// Chooses the weight files among those of a revision.
async fn choose(store: &BlobStore, files: &[File]) -> Result<Result<Weights, String>, Error> {
    let index = files.iter().find(|file| {
        formats::kind(file.path.as_str()) == FileKind::SafetensorsIndex && !file.path.as_str().contains('/')
    });
    let mut listed: Vec<String> = Vec::new();
    if let Some(index) = index {
        let text = facts::read_text(store, index, 32 << 20).await?;
        if let Ok(index) = shards::parse(text.as_bytes()) {
            listed = index.weight_map.into_values().collect();
        }
    }
    let paths: Vec<(&str, u64)> = files.iter().map(|f| (f.path.as_str(), f.size.cast_unsigned())).collect();
    let pick = |chosen: Vec<usize>| -> Vec<File> { chosen.into_iter().map(|file| files[file].clone()).collect() };
    Ok(files::choose(&paths, &listed).map(|choice| match choice {
        Choice::Model(chosen) => Weights::Model(pick(chosen)),
        Choice::Adapter(chosen) => Weights::Adapter(pick(chosen)),
    }))
}

/// Reads the weights. `progress` hears how many bytes have been read.
pub async fn make(store: &BlobStore, plan: &Plan, progress: impl FnMut(u64) + Send + 'static) -> Result<Made, Error> {
    let files = match &plan.weights {
        Ok(Weights::Model(files)) => files.clone(),
        Ok(Weights::Adapter(_)) => return Ok(Made::Adapter),
        Err(reason) => return Ok(Made::Nothing(reason.clone())),
    };
    let model = match read_model(store, plan, &files).await? {
        Ok(model) => model,
        Err(reason) => return Ok(Made::Nothing(reason)),
    };
    let source = StoreSource::new(store, &files);
    let taken = plan.taken.clone();
    let made = tokio::task::spawn_blocking(move || {
        let (mut source, mut progress) = (source, progress);
        if taken.is_empty() {
            return make::make(&model, &mut source, &mut progress);
        }
        make::assemble(taken, &model, &mut source)
    });
    match made.await {
        Ok(Ok(print)) => Ok(Made::Print(Box::new(print))),
        Ok(Err(make::Error::Io(error))) => Err(Error::Weights(error)),
        Ok(Err(error)) => Ok(Made::Nothing(error.to_string())),
        Err(panic) => Err(Error::Weights(io::Error::other(panic))),
    }
}

/// Reads headers, config and tokenizer of a plan's files; or says why they cannot be read.
async fn read_model(store: &BlobStore, plan: &Plan, files: &[File]) -> Result<Result<Model, String>, Error> {
    let mut model = Model::default();
    if let Some(file) = plan.config.as_ref().filter(|file| file.size.cast_unsigned() <= config::MAX_CONFIG) {
        let bytes = store.read_bytes(&file.digest, 0..file.size.cast_unsigned()).await?;
        model.config = config::parse(&bytes).ok();
    }
    for file in files {
        let size = file.size.cast_unsigned();
        if formats::kind(file.path.as_str()) == FileKind::Gguf {
            match inspect::read_gguf(store, &file.digest, size).await? {
                Ok(header) => model.files.push(header.into()),
                Err(error) => return Ok(Err(format!("{}: {error}", file.path))),
            }
            continue;
        }
        match inspect::tensors(store, FileKind::Safetensors, &file.digest, size).await? {
            Ok(tensors) => model.files.push(WeightFile { tensors, shape: None }),
            Err(error) => return Ok(Err(format!("{}: {error}", file.path))),
        }
    }
    model.tokens = read_tokens(store, plan, &model).await?;
    Ok(Ok(model))
}

/// The tokens that the invariant looks at: by their strings where the tokenizer can be read, else by number.
async fn read_tokens(store: &BlobStore, plan: &Plan, model: &Model) -> Result<Vec<Token>, Error> {
    let vocabulary = model.config.as_ref().and_then(|config| config.vocab_size);
    let of_file = || model.files.iter().find_map(|file| file.shape.as_ref()).map(|shape| shape.vocabulary);
    let by_number = || make::choose_rows(vocabulary.or_else(of_file).unwrap_or(0));
    let Some(file) = &plan.tokenizer else { return Ok(by_number()) };
    let bytes = store.read_bytes(&file.digest, 0..file.size.cast_unsigned()).await?;
    let read = tokio::task::spawn_blocking(move || tokens_of(&bytes)).await;
    Ok(read.ok().flatten().unwrap_or_else(by_number))
}

/// The tokens of a `tokenizer.json`: a map from string to number, or a list of pairs of string and score.
pub(super) fn tokens_of(tokenizer: &[u8]) -> Option<Vec<Token>> {
    let tokenizer: Value = serde_json::from_slice(tokenizer).ok()?;
    let vocabulary = &tokenizer["model"]["vocab"];
    let tokens = match vocabulary {
        Value::Object(map) => {
            make::choose_tokens(map.iter().filter_map(|(text, number)| Some((text.as_str(), number.as_u64()?))))
        }
        Value::Array(list) => {
            let numbered = (0..).zip(list).filter_map(|(number, pair)| Some((pair[0].as_str()?, number)));
            make::choose_tokens(numbered)
        }
        _ => return None,
    };
    Some(tokens).filter(|tokens| !tokens.is_empty())
}

/// Reads stored files for code that waits.
pub(crate) struct StoreSource {
    store: BlobStore,
    digests: Vec<Digest>,
    runtime: Handle,
}

impl StoreSource {
    /// A source of these files, for a thread that may wait.
    pub(crate) fn new(store: &BlobStore, files: &[File]) -> Self {
        let digests = files.iter().map(|file| file.digest).collect();
        Self { store: store.clone(), digests, runtime: Handle::current() }
    }
}

impl Source for StoreSource {
    fn read(&mut self, file: usize, range: Range<u64>) -> io::Result<Vec<u8>> {
        let digest = self.digests.get(file).copied().ok_or_else(|| io::Error::other("no such file"))?;
        let length = range.end - range.start;
        let bytes = self.runtime.block_on(self.store.read_bytes(&digest, range)).map_err(io::Error::other)?;
        if bytes.len() as u64 != length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends early"));
        }
        Ok(bytes.into())
    }
}

/// Returns the weight files of a revision with their model, for a comparison of all values.
pub(crate) async fn open(store: &BlobStore, plan: &Plan) -> Result<Option<(Model, StoreSource)>, Error> {
    let Ok(Weights::Model(files)) = &plan.weights else { return Ok(None) };
    let Ok(model) = read_model(store, plan, files).await? else { return Ok(None) };
    Ok(Some((model, StoreSource::new(store, files))))
}

/// Largest adapter that is read, in bytes.
const MAX_ADAPTER: u64 = 2 << 30;

/// Reads the low-rank pairs of an adapter; none where it is too large or cannot be read.
pub(crate) async fn read_adapter(store: &BlobStore, plan: &Plan) -> Result<Vec<Target>, Error> {
    let Ok(Weights::Adapter(files)) = &plan.weights else { return Ok(Vec::new()) };
    if files.iter().map(|file| file.size.cast_unsigned()).sum::<u64>() > MAX_ADAPTER {
        return Ok(Vec::new());
    }
    let Ok(model) = read_model(store, plan, files).await? else { return Ok(Vec::new()) };
    let mut source = StoreSource::new(store, files);
    let read = tokio::task::spawn_blocking(move || adapter::read(&model, &mut source));
    read.await.map_err(|panic| Error::Weights(io::Error::other(panic)))?.map_err(Error::Weights)
}

/// Whether a fingerprint of exactly these files is there already; it is taken over then.
pub async fn reuse(db: &mut PgConnection, store: &BlobStore, plan: &Plan) -> Result<bool, Error> {
    let own = db::find_print(db, plan.revision_id).await?;
    let is_own = own.is_some_and(|row| row.version == ROW_VERSION && row.weights == plan.key.as_bytes());
    if is_own {
        return Ok(true);
    }
    let Some(same) = db::find_same_weights(db, plan.key.as_bytes(), ROW_VERSION).await? else { return Ok(false) };
    let Some(print) = relatives::read_print(store, same.blob.as_deref()).await? else { return Ok(false) };
    keep(db, store, plan, &Made::Print(Box::new(print))).await?;
    Ok(true)
}

/// Keeps what was made.
pub async fn keep(db: &mut PgConnection, store: &BlobStore, plan: &Plan, made: &Made) -> Result<(), Error> {
    let new = NewPrint {
        revision_id: plan.revision_id,
        model_id: plan.model_id,
        kind: PrintKind::None,
        version: ROW_VERSION,
        weights: plan.key.as_bytes(),
        blob: None,
        reason: None,
        hidden: 0,
        summary: &json!({}),
        signature: None,
    };
    let print = match made {
        Made::Print(print) => print,
        Made::Adapter => return db::upsert_print(db, &NewPrint { kind: PrintKind::Adapter, ..new }).await,
        Made::Nothing(reason) => return db::upsert_print(db, &NewPrint { reason: Some(reason), ..new }).await,
    };
    let stored = store.put_bytes(print.encode().into()).await?;
    storage::record(db, store, &stored).await?;
    let signature = bands::signature(print).to_bytes();
    let new = NewPrint {
        kind: PrintKind::Model,
        blob: Some(stored.digest),
        hidden: i64::try_from(print.shape.hidden).unwrap_or(0),
        summary: &summary(print, stored.size),
        signature: Some(&signature),
        ..new
    };
    db::upsert_print(db, &new).await?;
    let (slots, digests) = matrices(print);
    db::insert_tensors(db, plan.revision_id, &slots, &digests).await?;
    relatives::find_leader(db, plan.revision_id, print).await
}

/// Slots and digests of the matrices by which copies and shared layers are found.
pub(crate) fn matrices(print: &Fingerprint) -> (Vec<String>, Vec<Vec<u8>>) {
    let tensors = print.tensors.iter().filter(|(_, tensor)| tensor.is_matrix());
    tensors.filter_map(|(slot, tensor)| Some((slot.to_string(), tensor.canonical?.to_vec()))).unzip()
}

/// What people see of a fingerprint.
fn summary(print: &Fingerprint, bytes: u64) -> Value {
    let roles = Role::MATRICES.iter().filter(|role| print.get((*role).clone(), 0).is_some());
    json!({
        "architecture": print.shape.architecture,
        "hidden": print.shape.hidden,
        "layers": print.shape.layers,
        "vocabulary": print.shape.vocabulary,
        "precision": format!("{:?}", print.precision()).to_lowercase(),
        "grid": print.grid(),
        "tensors": print.tensors.len(),
        "roles": roles.map(Role::word).collect::<Vec<_>>(),
        "parameters_covered": print.covered.0,
        "parameters": print.covered.1,
        "has_invariant": print.invariant.is_some(),
        "skipped": print.skipped.iter().take(20).collect::<Vec<_>>(),
        "bytes": bytes,
    })
}
