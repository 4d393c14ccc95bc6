//! Models, revisions, refs and files: what exists, who may see it, and how a revision comes to be.
//!
//! Uses [`crate::storage`] for content. Knows nothing of lineage, licenses or smoke tests: those read what is
//! published here.

pub mod attributes;
pub mod db;
pub mod facts;
pub mod inspect;
pub mod publish;
pub mod scans;
pub mod search;
pub mod uploads;

use std::{fmt, str::FromStr};

use time::OffsetDateTime;

use crate::{
    digest::Digest,
    name::{self, CommitId, FilePath, ModelName},
};
pub use db::*;
pub use publish::{Change, Commit, Published, create_model, publish, squash};

/// What can go wrong with models and revisions.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A cursor that no page of this list gave out.
    #[error("this cursor belongs to no page of this list: begin again without it")]
    BadCursor,
    /// No such model, or the caller may not know of it.
    #[error("model `{0}` does not exist")]
    ModelNotFound(ModelName),
    /// No such branch, tag or commit.
    #[error("revision `{revision}` does not exist in model `{model}`")]
    RevisionNotFound {
        /// The model asked.
        model: String,
        /// What was asked for.
        revision: String,
    },
    /// No such file in a revision.
    #[error("file `{0}` does not exist in this revision")]
    FileNotFound(String),
    /// A model of that name exists.
    #[error("model `{0}` already exists")]
    NameTaken(ModelName),
    /// A branch or tag of that name exists.
    #[error("`{0}` already exists")]
    RefExists(String),
    /// No branch or tag of that name.
    #[error("`{0}` does not exist")]
    RefNotFound(String),
    /// `main` cannot be deleted.
    #[error("Cannot delete refs/heads/main")]
    MainIsKept,
    /// Somebody else committed meanwhile.
    #[error("The branch was updated since you opened this page. Please refresh and try again.")]
    StaleParent,
    /// A model without files here cannot take this.
    #[error("model `{0}` is catalogued, not hosted: create it first to push files")]
    NotHosted(ModelName),
    /// The caller may not publish this content: it was never sent, or not by them.
    #[error("the content of `{path}` ({digest}) was not uploaded, send it first")]
    ContentNotUploaded {
        /// The path that names it.
        path: String,
        /// The content.
        digest: Digest,
    },
    /// A path is both a file and a folder.
    #[error("`{0}` cannot be a file and a folder at once")]
    PathConflict(String),
    /// Too many files in one revision.
    #[error("a revision holds at most {limit} files, this one would have {found}")]
    TooManyFiles {
        /// The limit.
        limit: usize,
        /// What came.
        found: usize,
    },
    /// Too long a message.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// Which field.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// A name is not acceptable.
    #[error(transparent)]
    Name(#[from] name::Error),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Whether a model's files are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Its files are here.
    Hosted,
    /// Known by metadata only.
    Catalogued,
}

/// Who may see a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Everybody.
    Public,
    /// Its namespace only.
    Private,
}

impl Kind {
    /// The word the database stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hosted => "hosted",
            Self::Catalogued => "catalogued",
        }
    }
}

impl Visibility {
    /// The word the database stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
        }
    }
}

impl FromStr for Visibility {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "public" => Ok(Self::Public),
            "private" => Ok(Self::Private),
            other => Err(format!("`{other}` is not a visibility, use `public` or `private`")),
        }
    }
}

/// A named collection of weights.
#[derive(Debug, Clone)]
pub struct Model {
    /// Row id.
    pub id: i64,
    /// `namespace/name` in its own case.
    pub name: ModelName,
    /// Hosted here, or known by metadata only.
    pub kind: Kind,
    /// Who may see it.
    pub visibility: Visibility,
    /// One line for lists.
    pub description: String,
    /// The declared label as written.
    pub license: Option<String>,
    /// The declared label, normalized.
    pub license_id: Option<String>,
    /// The card's `license_name`.
    pub license_name: Option<String>,
    /// The card's `license_link`.
    pub license_link: Option<String>,
    /// The card's front matter.
    pub card: serde_json::Value,
    /// Tags of the card.
    pub tags: Vec<String>,
    /// The task it is for.
    pub pipeline_tag: Option<String>,
    /// The library that loads it.
    pub library: Option<String>,
    /// The architecture its config names.
    pub architecture: Option<String>,
    /// Number of parameters.
    pub parameters: Option<i64>,
    /// The element type of most parameters.
    pub dtype: Option<String>,
    /// `safetensors`, `gguf`, `pytorch` or `adapter`.
    pub format: Option<String>,
    /// Bytes of the files at the tip of `main`.
    pub bytes: i64,
    /// Downloads.
    pub downloads: i64,
    /// Likes, of imported records.
    pub likes: i64,
    /// The upstream gate of a catalogued model.
    pub gated: Option<String>,
    /// Where the record comes from.
    pub sources: Vec<String>,
    /// What an import or a publish found odd: `[{code, detail}]`.
    pub flags: serde_json::Value,
    /// License position.
    pub position: String,
    /// Verdict of the latest smoke test.
    pub smoke_verdict: String,
    /// The verdict over its parent links.
    pub lineage_status: String,
    /// Direct children.
    pub children: i32,
    /// All descendants.
    pub descendants: i32,
    /// The tip of `main`.
    pub head_revision_id: Option<i64>,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When it changed last.
    pub updated_at: OffsetDateTime,
}

/// An immutable state of a model.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Row id.
    pub id: i64,
    /// The model it belongs to.
    pub model_id: i64,
    /// Its name.
    pub commit: CommitId,
    /// The revision before it.
    pub parent_id: Option<i64>,
    /// Who published it.
    pub author: String,
    /// What it says of itself, first line.
    pub message: String,
    /// The rest of the message.
    pub description: String,
    /// Bytes of all its files.
    pub bytes: i64,
    /// When it was published.
    pub created_at: OffsetDateTime,
}

/// A path in a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub path: FilePath,
    /// Its length in bytes.
    pub size: i64,
    /// Its content.
    pub digest: Digest,
    /// Git's id of the content, or of the LFS pointer to it.
    pub git_id: [u8; 20],
    /// Whether git would keep it in LFS.
    pub is_lfs: bool,
    /// The revision that last changed it.
    pub last_revision_id: i64,
}

/// What a ref is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefKind {
    /// Moves with each commit.
    Branch,
    /// Stays.
    Tag,
    /// A proposed change, `refs/pr/N`.
    Pull,
}

impl RefKind {
    /// The word the database stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::Pull => "pull",
        }
    }
}

/// A branch or tag.
#[derive(Debug, Clone)]
pub struct Ref {
    /// What it is.
    pub kind: RefKind,
    /// Its name, without `refs/heads/`.
    pub name: String,
    /// What it points to.
    pub commit: CommitId,
    /// A tag's message.
    pub message: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
