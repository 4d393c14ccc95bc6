//! Gathers what the files at the tip of `main` say about a model.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Error, File, db::Facts, inspect, scans};
use crate::{
    db::without_nul,
    formats::{self, FileKind, card, config},
    storage::BlobStore,
};

/// Reads card, config and weights; what cannot be read becomes a flag, never an error.
pub(super) async fn gather(db: &mut PgConnection, store: &BlobStore, files: &[File]) -> Result<Facts, Error> {
    let mut facts = Facts { card: json!({}), flags: json!([]), ..Facts::default() };
    let mut flags = Vec::new();
    read_card(store, files, &mut facts, &mut flags).await?;
    read_config(store, files, &mut facts, &mut flags).await?;
    read_weights(db, store, files, &mut facts, &mut flags).await?;
    facts.flags = Value::Array(flags);
    let facts = serde_json::to_value(facts).and_then(|facts| serde_json::from_value(without_nul(facts)));
    let facts = facts.unwrap_or_default();
    Ok(facts)
}

fn flag(code: &str, detail: impl Into<String>) -> Value {
    json!({ "code": code, "detail": detail.into() })
}

async fn read_card(store: &BlobStore, files: &[File], facts: &mut Facts, flags: &mut Vec<Value>) -> Result<(), Error> {
    let Some(file) = find(files, FileKind::Card) else { return Ok(()) };
    let source = read_text(store, file, card::MAX_CARD).await?;
    let card = match card::parse(&source) {
        Ok(card) => card,
        Err(error) => {
            flags.push(flag("card-unreadable", format!("README.md: {error}")));
            facts.description = card::description(&source);
            return Ok(());
        }
    };
    if card::weight_difference(&source).is_some() {
        let detail =
            "the card says that these weights are a difference to another model's, to be added to it before use";
        flags.push(flag("weight-difference", detail));
    }
    flags.extend(card.problems.iter().map(|problem| flag("card-field", format!("README.md: {problem}"))));
    facts.description = card::description(&card.text);
    if !card.licenses.is_empty() {
        let label = card.licenses.join(", ");
        facts.license_id = Some(normalize_label(&card.licenses[0]));
        facts.license = Some(label);
    }
    facts.license_name = card.license_name;
    facts.license_link = card.license_link;
    facts.tags = card.tags;
    facts.pipeline_tag = card.pipeline_tag;
    facts.library = card.library;
    facts.card = Value::Object(card.metadata);
    Ok(())
}

/// Spells a license label the way the hub's identifiers are spelled.
pub fn normalize_label(label: &str) -> String {
    let lower = label.trim().to_lowercase().replace("licence", "license").replace(['_', ' '], "-");
    lower.strip_prefix("license:").unwrap_or(&lower).trim().to_owned()
}

async fn read_config(
    store: &BlobStore,
    files: &[File],
    facts: &mut Facts,
    flags: &mut Vec<Value>,
) -> Result<(), Error> {
    let Some(file) = find(files, FileKind::Config) else { return Ok(()) };
    if file.size.cast_unsigned() > config::MAX_CONFIG {
        flags.push(flag("config-unreadable", config::Error::TooLong(file.size.cast_unsigned()).to_string()));
        return Ok(());
    }
    let bytes = store.read_bytes(&file.digest, 0..file.size.cast_unsigned()).await?;
    match config::parse(&bytes) {
        Ok(config) => {
            facts.architecture = config.architecture().map(str::to_owned).or(config.model_type);
            facts.dtype = config.dtype;
        }
        Err(error) => flags.push(flag("config-unreadable", error.to_string())),
    }
    Ok(())
}

async fn read_weights(
    db: &mut PgConnection,
    store: &BlobStore,
    files: &[File],
    facts: &mut Facts,
    flags: &mut Vec<Value>,
) -> Result<(), Error> {
    scans::scan_all(db, store, files).await?;
    let reports = scans::find(db, files).await?;
    flags.extend(scans::flags(files, &reports, None));
    let mut parameters = BTreeMap::<String, (u64, BTreeMap<String, u64>)>::new();
    let is_pickle = |file: &File| formats::kind(file.path.as_str()) == FileKind::Pickle;
    if files
        .iter()
        .zip(&reports)
        .any(|(file, report)| is_pickle(file) && report.as_ref().is_some_and(|r| r.pickles > 0))
    {
        parameters.insert("pytorch".to_owned(), (0, BTreeMap::new()));
    }
    for file in files {
        let Some(summary) = inspect::inspect(db, store, file).await? else { continue };
        if let Some(error) = summary["error"].as_str() {
            flags.push(flag("file-unreadable", format!("{}: {error}", file.path)));
        }
        let format = summary["format"].as_str().unwrap_or("binary").to_owned();
        if facts.architecture.is_none() {
            facts.architecture = summary["architecture"].as_str().map(str::to_owned);
        }
        let entry = parameters.entry(format.clone()).or_default();
        let count = summary["parameters"].as_u64().unwrap_or(0);
        // A GGUF model's files are alternatives to each other, shards of safetensors are parts of one.
        entry.0 = if format == "gguf" { entry.0.max(count) } else { entry.0.saturating_add(count) };
        for (dtype, count) in summary["dtypes"].as_object().into_iter().flatten() {
            *entry.1.entry(dtype.clone()).or_default() += count.as_u64().unwrap_or(0);
        }
    }
    let is_adapter = find(files, FileKind::AdapterConfig).is_some();
    let best = ["safetensors", "gguf", "pytorch"].into_iter().find_map(|f| parameters.get_key_value(f));
    if let Some((format, (count, dtypes))) = best {
        facts.format = Some(if is_adapter { "adapter".to_owned() } else { format.clone() });
        facts.parameters = (*count > 0).then(|| i64::try_from(*count).unwrap_or(i64::MAX));
        let main = dtypes.iter().max_by_key(|(_, count)| **count).map(|(dtype, _)| dtype.clone());
        facts.dtype = main.or_else(|| facts.dtype.take());
    }
    Ok(())
}

/// Returns the file of a kind.
pub fn find(files: &[File], kind: FileKind) -> Option<&File> {
    files.iter().find(|file| formats::kind(file.path.as_str()) == kind)
}

/// Reads the beginning of a text file; bytes that are no UTF-8 are replaced.
pub async fn read_text(store: &BlobStore, file: &File, limit: u64) -> Result<String, Error> {
    let length = file.size.cast_unsigned().min(limit);
    let bytes = store.read_bytes(&file.digest, 0..length).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
