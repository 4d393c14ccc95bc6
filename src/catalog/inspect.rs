//! Looks into weight files as they are published: tensors, parameters, element types.
//! What loading a file would run is asked in [`super::scans`].

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Error, File, db, scans};
use crate::{
    db::without_nul,
    digest::Digest,
    formats::{self, FileKind, TensorEntry, gguf, safetensors},
    storage::BlobStore,
};

/// Returns what the parsers found in a file, looking into its blob when nobody has yet.
///
/// `None` for kinds that are not looked into. A file that lies has `error` in its summary.
pub async fn inspect(db: &mut PgConnection, store: &BlobStore, file: &File) -> Result<Option<Value>, Error> {
    let kind = formats::kind(file.path.as_str());
    let Some(word) = word(kind) else { return Ok(None) };
    // The kind is part of the question: the same bytes under another name are read by another parser.
    if let Some(known) = db::find_inspection(db, &file.digest, word).await? {
        return Ok(Some(known));
    }
    let size = file.size.cast_unsigned();
    let summary = match kind {
        FileKind::Safetensors => weights("safetensors", read_safetensors(store, &file.digest, size).await?),
        _ => read_gguf_summary(store, &file.digest, size).await?,
    };
    let summary = without_nul(summary);
    db::insert_inspection(db, &file.digest, word, &summary).await?;
    Ok(Some(summary))
}

/// Returns what is known of a file without looking: what a parser found, or what a pickle imports.
pub async fn known(db: &mut PgConnection, file: &File) -> Result<Option<Value>, Error> {
    if let Some(word) = word(formats::kind(file.path.as_str())) {
        return db::find_inspection(db, &file.digest, word).await;
    }
    let report = scans::find(db, std::slice::from_ref(file)).await?.pop().flatten();
    Ok(report.map(|report| json!({ "format": report.content, "danger": report.danger(), "imports": report.imports })))
}

fn word(kind: FileKind) -> Option<&'static str> {
    match kind {
        FileKind::Safetensors => Some("safetensors"),
        FileKind::Gguf => Some("gguf"),
        _ => None,
    }
}

/// Returns the tensors of a safetensors or GGUF blob, or says how the file lies.
pub async fn tensors(
    store: &BlobStore,
    kind: FileKind,
    digest: &Digest,
    size: u64,
) -> Result<Result<Vec<TensorEntry>, String>, Error> {
    if kind == FileKind::Gguf {
        return Ok(read_gguf(store, digest, size).await?.map(|header| header.tensors));
    }
    read_safetensors(store, digest, size).await
}

async fn read_safetensors(
    store: &BlobStore,
    digest: &Digest,
    size: u64,
) -> Result<Result<Vec<TensorEntry>, String>, Error> {
    let first = store.read_bytes(digest, 0..size.min(8)).await?;
    let length = match safetensors::header_length(&first, size) {
        Ok(length) => length,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let header = store.read_bytes(digest, 8..8 + length).await?;
    let parsed = tokio::task::spawn_blocking(move || safetensors::parse(&header, size)).await;
    let parsed = parsed.unwrap_or_else(|error| Err(safetensors::Error::NotJson(error.to_string())));
    Ok(parsed.map(|header| header.tensors).map_err(|error| error.to_string()))
}

/// Reads the header of a GGUF blob, fetching more until it is complete.
pub async fn read_gguf(store: &BlobStore, digest: &Digest, size: u64) -> Result<Result<gguf::Header, String>, Error> {
    let mut wanted = size.min(256 * 1024);
    loop {
        let prefix = store.read_bytes(digest, 0..wanted).await?;
        match gguf::parse(&prefix, size) {
            Ok(header) => return Ok(Ok(header)),
            Err(gguf::Error::NeedMore { at_least }) if wanted < size => {
                wanted = at_least.max(wanted * 4).min(size).min(gguf::MAX_HEADER);
            }
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
}

async fn read_gguf_summary(store: &BlobStore, digest: &Digest, size: u64) -> Result<Value, Error> {
    let header = match read_gguf(store, digest, size).await? {
        Ok(header) => header,
        Err(error) => return Ok(json!({ "format": "gguf", "error": error })),
    };
    let mut summary = weights("gguf", Ok(header.tensors.clone()));
    summary["architecture"] = json!(header.architecture());
    summary["name"] = json!(header.text("general.name"));
    summary["license"] = json!(header.text("general.license"));
    summary["base_models"] = json!(header.base_models());
    Ok(summary)
}

fn weights(format: &str, tensors: Result<Vec<TensorEntry>, String>) -> Value {
    match tensors {
        Err(error) => json!({ "format": format, "error": error }),
        Ok(tensors) => {
            let dtypes = formats::parameters_by_dtype(&tensors);
            let parameters = dtypes.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
            json!({ "format": format, "tensors": tensors.len(), "parameters": parameters, "dtypes": dtypes })
        }
    }
}
