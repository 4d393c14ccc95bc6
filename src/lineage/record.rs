//! Records the claims that a revision's files make: card, adapter config, GGUF metadata, merge recipe.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{Error, Relation, db};
use crate::{
    auth::Viewer,
    catalog::{self, File, Model, Revision, facts},
    db::{text_without_nul, without_nul},
    formats::{self, FileKind, adapter, card, mergekit},
    name::ModelName,
    storage::BlobStore,
};

/// A parent link as somebody or some file states it.
#[derive(Debug, Clone)]
pub(super) struct Stated {
    pub(super) parent: ModelName,
    pub(super) revision: Option<String>,
    pub(super) relation: Relation,
    pub(super) origin: &'static str,
    pub(super) source: &'static str,
    pub(super) confidence: f32,
    pub(super) evidence: Value,
}

/// What the files of a revision say, before relations are settled.
#[derive(Debug, Default)]
struct Said {
    from_card: Vec<String>,
    relation: Option<Relation>,
    from_adapter: Option<adapter::AdapterConfig>,
    from_gguf: Vec<(String, String)>,
    from_recipe: Option<mergekit::Recipe>,
    has_gguf: bool,
    flags: Vec<Value>,
}

/// Replaces the claims that the model's files make by those of a new revision.
///
/// A claim of the card that would close a cycle refuses the push; other sources only flag it. A parent that the pusher
/// may not know of is flagged like one that does not exist.
pub async fn record_from_files(
    db: &mut PgConnection,
    store: &BlobStore,
    model: &Model,
    revision: &Revision,
    files: &[File],
    viewer: &Viewer,
) -> Result<(), Error> {
    let mut said = read(db, store, files).await?;
    let stated = settle(&mut said, &model.name);
    db::withdraw_from_files(db, model.id).await?;
    for claim in &stated {
        match add(db, viewer, &revision.author, model, Some(revision.id), claim).await {
            Err(Error::Cycle(members)) if claim.source != "card" => {
                said.flags.push(flag("lineage-cycle", &format!("{} names {}", claim.source, members.join(" → "))));
            }
            Err(Error::Catalog(missing @ catalog::Error::ModelNotFound(_))) => {
                said.flags.push(flag("lineage-unknown", &format!("{} names a base: {missing}", claim.source)));
            }
            other => other?,
        }
    }
    if !said.flags.is_empty() {
        db::add_flags(db, model.id, &without_nul(Value::Array(said.flags))).await?;
    }
    db::update_lineage_status(db, model.id).await
}

fn flag(code: &str, detail: &str) -> Value {
    json!({ "code": code, "detail": detail })
}

async fn read(db: &mut PgConnection, store: &BlobStore, files: &[File]) -> Result<Said, Error> {
    let mut said = Said::default();
    if let Some(file) = facts::find(files, FileKind::Card)
        && let Ok(card) = card::parse(&facts::read_text(store, file, card::MAX_CARD).await?)
    {
        said.from_card = card.base_models;
        said.relation = card.base_model_relation.as_deref().and_then(|text| match text.parse() {
            Ok(relation) => Some(relation),
            Err(_) => {
                said.flags
                    .push(flag("lineage-relation", &format!("the card's base_model_relation `{text}` is not known")));
                None
            }
        });
    }
    if let Some(file) = facts::find(files, FileKind::AdapterConfig) {
        match adapter::parse(facts::read_text(store, file, adapter::MAX_CONFIG + 1).await?.as_bytes()) {
            Ok(config) => said.from_adapter = Some(config),
            Err(problem) => said.flags.push(flag("file-unreadable", &problem)),
        }
    }
    if let Some(file) = facts::find(files, FileKind::MergekitConfig) {
        match mergekit::parse(&facts::read_text(store, file, mergekit::MAX_RECIPE + 1).await?) {
            Ok(recipe) => said.from_recipe = Some(recipe),
            Err(problem) => said.flags.push(flag("file-unreadable", &problem)),
        }
    }
    for file in files.iter().filter(|file| formats::kind(file.path.as_str()) == FileKind::Gguf) {
        said.has_gguf = true;
        let summary = catalog::inspect::inspect(db, store, file).await?.unwrap_or_default();
        for base in summary["base_models"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            said.from_gguf.push((base.to_owned(), file.path.to_string()));
        }
    }
    Ok(said)
}

/// The text that names a base, its revision, the relation, whether declared or inferred, the source, the evidence.
type Raw = (String, Option<String>, Relation, &'static str, &'static str, Value);

/// Gives each statement its relation, drops what names no model, and says so in a flag.
fn settle(said: &mut Said, own: &ModelName) -> Vec<Stated> {
    let is_adapter = said.from_adapter.is_some();
    let is_merge = said.from_recipe.is_some() || said.from_card.len() > 1;
    let inferred = match (is_adapter, is_merge, said.has_gguf) {
        (true, _, _) => Relation::Adapter,
        (_, true, _) => Relation::Merge,
        (_, _, true) => Relation::Quantized,
        _ => Relation::Finetune,
    };
    let relation = said.relation.unwrap_or(inferred);
    let mut raw: Vec<Raw> = Vec::new();
    for base in &said.from_card {
        let evidence =
            json!({ "file": "README.md", "field": "base_model", "relation_declared": said.relation.is_some() });
        raw.push((base.clone(), None, relation, "declared", "card", evidence));
    }
    if let Some(config) = &said.from_adapter
        && let Some(base) = &config.base
    {
        let evidence = json!({ "file": "adapter_config.json", "kind": config.kind, "rank": config.rank });
        raw.push((base.clone(), config.revision.clone(), Relation::Adapter, "inferred", "adapter_config", evidence));
    }
    for (base, file) in &said.from_gguf {
        raw.push((base.clone(), None, Relation::Quantized, "inferred", "gguf", json!({ "file": file })));
    }
    if let Some(recipe) = &said.from_recipe {
        for parent in &recipe.parents {
            let evidence = json!({ "file": "mergekit_config.yml", "method": recipe.method });
            raw.push((parent.clone(), None, Relation::Merge, "inferred", "mergekit", evidence));
        }
    }
    let mut stated: BTreeMap<(String, &'static str), Stated> = BTreeMap::new();
    for (text, revision, relation, origin, source, evidence) in raw {
        let Some(parent) = model_of(&text) else {
            said.flags
                .push(flag("lineage-unusable", &format!("{source} names `{text}` as a base, which is no model name")));
            continue;
        };
        if parent.key() == own.key() {
            said.flags.push(flag("lineage-self", &format!("{source} names the model itself as its base")));
            continue;
        }
        let confidence = if origin == "declared" { 0.8 } else { 0.7 };
        let key = (parent.key(), source);
        let (revision, evidence) = (revision.map(|text| text_without_nul(&text)), without_nul(evidence));
        stated.insert(key, Stated { parent, revision, relation, origin, source, confidence, evidence });
    }
    stated.into_values().collect()
}

/// Returns the model that a text names: `namespace/name`, or its address on the hub.
fn model_of(text: &str) -> Option<ModelName> {
    let text = text.trim().trim_end_matches('/');
    let path = text.strip_prefix("https://huggingface.co/").or_else(|| text.strip_prefix("hf://")).unwrap_or(text);
    path.parse().ok()
}

/// Adds one claim: finds or catalogues the parent, pins its revision, refuses a cycle.
pub(super) async fn add(
    db: &mut PgConnection,
    viewer: &Viewer,
    by: &str,
    child: &Model,
    revision_id: Option<i64>,
    stated: &Stated,
) -> Result<(), Error> {
    if stated.parent.key() == child.name.key() {
        return Err(Error::Itself(stated.parent.clone()));
    }
    let parent = match catalog::find_model(db, &stated.parent, viewer).await? {
        Some(parent) => parent,
        None => {
            let missing = || catalog::Error::ModelNotFound(stated.parent.clone());
            let id = db::catalogue_parent(db, &stated.parent, viewer).await?.ok_or_else(missing)?;
            catalog::find_model_by_id(db, id).await?.ok_or_else(missing)?
        }
    };
    if let Some(cycle) = db::find_cycle(db, child.id, parent.id, viewer).await? {
        return Err(Error::Cycle(cycle));
    }
    let pinned = match &stated.revision {
        Some(revision) => catalog::find_revision(db, parent.id, revision).await?,
        None => match parent.head_revision_id {
            Some(head) => catalog::find_revision_by_id(db, head).await?,
            None => None,
        },
    };
    let pinned = pinned.map(|revision| revision.commit.as_str().to_owned());
    let new = db::NewClaim {
        child_id: child.id,
        parent_id: parent.id,
        parent_revision: pinned.or_else(|| stated.revision.clone()),
        revision_id,
        relation: stated.relation,
        origin: stated.origin,
        source: stated.source,
        confidence: stated.confidence,
        evidence: &stated.evidence,
        created_by: by,
    };
    db::insert_claim(db, &new).await
}
