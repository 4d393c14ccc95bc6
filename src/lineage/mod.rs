//! Where a model comes from: claims, evidence, verdicts, and the graph they form.
//!
//! Claims are declared by people or inferred from files. Whether the weights agree is another step; until it ran, a
//! claim's verdict is `pending`. What a viewer may not read is neither shown nor walked through.

pub mod check;
pub mod comparison;
pub mod db;
mod files;
pub mod fingerprint;
pub mod folder;
pub mod identify;
pub mod link;
mod record;
pub mod relatives;
pub mod taps;
pub mod weights;

use std::{fmt, str::FromStr};

use serde::Serialize;
use sqlx::PgConnection;

use crate::{
    auth::Caller,
    catalog::{self, Model},
    name::ModelName,
};
pub use record::record_from_files;

/// What can go wrong with lineage.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A claim that would make a model its own ancestor; holds the cycle's members in order.
    #[error("this would make a model its own ancestor: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// A model cannot be its own parent.
    #[error("`{0}` cannot be its own parent")]
    Itself(ModelName),
    /// There is no such claim to withdraw.
    #[error("there is no declared claim that `{0}` is a parent")]
    ClaimNotFound(ModelName),
    /// A relation that is not known.
    #[error(
        "`{0}` is not a relation, use one of: finetune, adapter, merge, quantized, copy, pruned, extended, distill, unknown"
    )]
    UnknownRelation(String),
    /// A decision without a reason, or with a novel.
    #[error("say why, in at most {0} bytes")]
    NoReason(usize),
    /// A policy that is not known.
    #[error("`{0}` is not a policy, use one of: note, review, quarantine")]
    UnknownPolicy(String),
    /// Too many ask at the same time.
    #[error("too many fingerprints are being identified at this moment, try again in a few seconds")]
    Busy,
    /// The caller may not.
    #[error(transparent)]
    Auth(#[from] crate::auth::Error),
    /// Weights cannot be read.
    #[error("the weights cannot be read: {0}")]
    Weights(std::io::Error),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// How a child was made from its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Trained further.
    Finetune,
    /// Parameters beside the base's.
    Adapter,
    /// Several models combined.
    Merge,
    /// Stored with fewer bits.
    Quantized,
    /// The same values.
    Copy,
    /// Parts left out.
    Pruned,
    /// Parts added.
    Extended,
    /// Trained on its outputs.
    Distill,
    /// Not said.
    Unknown,
}

impl Relation {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Finetune,
        Self::Adapter,
        Self::Merge,
        Self::Quantized,
        Self::Copy,
        Self::Pruned,
        Self::Extended,
        Self::Distill,
        Self::Unknown,
    ];

    /// The word in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finetune => "finetune",
            Self::Adapter => "adapter",
            Self::Merge => "merge",
            Self::Quantized => "quantized",
            Self::Copy => "copy",
            Self::Pruned => "pruned",
            Self::Extended => "extended",
            Self::Distill => "distill",
            Self::Unknown => "unknown",
        }
    }
}

impl FromStr for Relation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let lower = text.trim().to_lowercase();
        if lower == "unspecified" {
            return Ok(Self::Unknown);
        }
        let found = Self::ALL.into_iter().find(|relation| relation.as_str() == lower);
        found.ok_or_else(|| Error::UnknownRelation(text.chars().take(60).collect()))
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stated parent link, as lists show it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Claim {
    /// The child.
    pub child: String,
    /// The parent.
    pub parent: String,
    /// The parent's revision when it was hosted.
    pub parent_revision: Option<String>,
    /// How the child was made.
    pub relation: String,
    /// `declared`, `inferred` or `detected`.
    pub origin: String,
    /// Where it is stated: `card`, `adapter_config`, `gguf`, `mergekit`, `api`, `import`.
    pub source: String,
    /// `pending` until the weights were compared.
    pub verdict: String,
    /// 0 to 1.
    pub confidence: f32,
    /// What supports it.
    pub evidence: serde_json::Value,
    /// Part of a cycle that an import brought.
    pub in_cycle: bool,
}

/// A model of the graph, as lists and trees show it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Node {
    /// `namespace/name`.
    pub id: String,
    /// Steps from the root.
    pub depth: i32,
    /// `hosted` or `catalogued`.
    pub kind: String,
    /// The declared label.
    pub license: Option<String>,
    /// License position.
    pub position: String,
    /// Verdict of the smoke test.
    pub verdict: String,
    /// Verdict over its parent links.
    pub lineage: String,
    /// Number of parameters.
    pub parameters: Option<i64>,
    /// Downloads.
    pub downloads: i64,
    /// All descendants, whoever may see them publicly.
    pub descendants: i32,
}

/// A part of the graph.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Graph {
    /// Where the walk began.
    pub root: String,
    /// What it reached, nearest first.
    pub nodes: Vec<Node>,
    /// The claims between them.
    pub edges: Vec<Claim>,
    /// Whether a limit cut it off.
    pub truncated: bool,
}

/// Which way to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Towards the parents.
    Ancestors,
    /// Towards the children.
    Descendants,
    /// Both.
    #[default]
    Both,
}

/// A declared parent.
#[derive(Debug)]
pub struct Declaration<'a> {
    /// The parent.
    pub parent: &'a ModelName,
    /// Its revision; without it, the tip of `main` when it is hosted.
    pub revision: Option<&'a str>,
    /// How the child was made.
    pub relation: Relation,
    /// Why one says so.
    pub note: &'a str,
}

/// Declares a parent of a model. Unknown parents become catalogued models.
pub async fn declare(
    db: &mut PgConnection,
    caller: &Caller,
    child: &Model,
    declaration: &Declaration<'_>,
) -> Result<(), Error> {
    let evidence = serde_json::json!({ "note": declaration.note });
    let stated = record::Stated {
        parent: declaration.parent.clone(),
        revision: declaration.revision.map(str::to_owned),
        relation: declaration.relation,
        origin: "declared",
        source: "api",
        confidence: 1.0,
        evidence,
    };
    record::add(db, &caller.viewer(), caller.name(), child, None, &stated).await?;
    let detail = serde_json::json!({
        "parent": declaration.parent.to_string(), "relation": declaration.relation.as_str(), "note": declaration.note,
    });
    catalog::record_event(db, caller.name(), "parent declared", Some(child), &detail).await?;
    db::update_lineage_status(db, child.id).await
}

/// Withdraws a parent that was declared through the API; what files say stays until the files change.
pub async fn withdraw(db: &mut PgConnection, caller: &Caller, child: &Model, parent: &ModelName) -> Result<(), Error> {
    if !db::withdraw_declared(db, child.id, &parent.key()).await? {
        return Err(Error::ClaimNotFound(parent.clone()));
    }
    let detail = serde_json::json!({ "parent": parent.to_string() });
    catalog::record_event(db, caller.name(), "parent withdrawn", Some(child), &detail).await?;
    db::update_lineage_status(db, child.id).await
}

/// Derives what follows from verdicts and decisions: the model's status, and whether it is held back.
async fn settle_status(db: &mut PgConnection, model_id: i64) -> Result<(), Error> {
    db::update_lineage_status(db, model_id).await?;
    db::update_holds(db, Some(model_id), None).await
}
