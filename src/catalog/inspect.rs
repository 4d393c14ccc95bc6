//! Looks into weight files as they are published: tensors, parameters, element types, what a pickle would import.

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Error, File, db};
use crate::{
    db::without_nul,
    digest::Digest,
    formats::{self, FileKind, TensorEntry, gguf, pickle, safetensors},
    storage::BlobStore,
};

/// Largest pickle that is scanned, in bytes; weights lie outside it.
const MAX_PICKLE: u64 = 64 * 1024 * 1024;

/// Returns what the parsers found in a file, looking into its blob when nobody has yet.
///
/// `None` for kinds that are not looked into. A file that lies has `error` in its summary.
pub async fn inspect(db: &mut PgConnection, store: &BlobStore, file: &File) -> Result<Option<Value>, Error> {
    let kind = formats::kind(file.path.as_str());
    if !matches!(kind, FileKind::Safetensors | FileKind::Gguf | FileKind::Pickle) {
        return Ok(None);
    }
    if let Some(known) = db::find_inspection(db, &file.digest).await? {
        return Ok(Some(known));
    }
    let size = file.size.cast_unsigned();
    let summary = match kind {
        FileKind::Safetensors => weights("safetensors", read_safetensors(store, &file.digest, size).await?),
        FileKind::Gguf => read_gguf_summary(store, &file.digest, size).await?,
        _ => scan_pickle(store, &file.digest, size).await?,
    };
    let summary = without_nul(summary);
    db::insert_inspection(db, &file.digest, &summary).await?;
    Ok(Some(summary))
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

async fn scan_pickle(store: &BlobStore, digest: &Digest, size: u64) -> Result<Value, Error> {
    let tail_length = size.min(pickle::ZIP_TAIL);
    let tail = store.read_bytes(digest, size - tail_length..size).await?;
    let Some((offset, length)) = pickle::zip_directory(&tail) else {
        return Ok(if size > MAX_PICKLE {
            scan_start(store, digest).await?
        } else {
            scan_bytes(&store.read_bytes(digest, 0..size).await?)
        });
    };
    let fits = offset.checked_add(length).is_some_and(|end| end <= size) && length <= MAX_PICKLE;
    if !fits {
        return Ok(unscanned("its zip directory lies outside the file"));
    }
    let directory = store.read_bytes(digest, offset..offset + length).await?;
    let members = pickle::zip_members(&directory, 100_000);
    let pickles = members.iter().filter(|m| m.name.ends_with(".pkl") || m.name.ends_with(".pickle"));
    let mut merged = pickle::Scan { imports: std::collections::BTreeMap::new(), stopped: None };
    for member in pickles.take(64) {
        match read_member(store, digest, size, member).await? {
            Ok(bytes) => {
                let scan = pickle::scan(&bytes);
                merged.imports.extend(scan.imports);
                merged.stopped = merged.stopped.or(scan.stopped);
            }
            Err(reason) => merged.stopped = Some(reason),
        }
    }
    Ok(describe(&merged))
}

async fn read_member(
    store: &BlobStore,
    digest: &Digest,
    size: u64,
    member: &pickle::Member,
) -> Result<Result<bytes::Bytes, String>, Error> {
    if member.method != 0 {
        return Ok(Err(format!("`{}` is compressed inside the archive and was not scanned", member.name)));
    }
    let fixed_end = member.header_offset.checked_add(30).filter(|end| *end <= size);
    let Some(fixed_end) = fixed_end else { return Ok(Err(format!("`{}` lies outside the file", member.name))) };
    let fixed = store.read_bytes(digest, member.header_offset..fixed_end).await?;
    let two = |at: usize| fixed.get(at..at + 2).map_or(0, |b| u64::from(u16::from_le_bytes([b[0], b[1]])));
    let start = fixed_end + two(26) + two(28);
    let end = start.checked_add(member.stored).filter(|end| *end <= size && member.stored <= MAX_PICKLE);
    let Some(end) = end else { return Ok(Err(format!("`{}` lies outside the file or is too large", member.name))) };
    Ok(Ok(store.read_bytes(digest, start..end).await?))
}

async fn scan_start(store: &BlobStore, digest: &Digest) -> Result<Value, Error> {
    let mut summary = scan_bytes(&store.read_bytes(digest, 0..MAX_PICKLE).await?);
    if summary["stopped"].is_null() {
        summary["stopped"] = json!(format!("only the first {MAX_PICKLE} bytes were scanned"));
    }
    Ok(summary)
}

fn scan_bytes(bytes: &[u8]) -> Value {
    // Most `.bin` files that are no zip begin with a protocol mark; others are not pickles at all.
    if bytes.first().is_none_or(|first| *first != 0x80 && !b"(c]}".contains(first)) {
        return json!({ "format": "binary" });
    }
    describe(&pickle::scan(bytes))
}

fn describe(scan: &pickle::Scan) -> Value {
    json!({ "format": "pytorch", "danger": scan.danger(), "imports": scan.imports, "stopped": scan.stopped })
}

fn unscanned(reason: &str) -> Value {
    json!({ "format": "pytorch", "danger": "suspicious", "imports": {}, "stopped": reason })
}
