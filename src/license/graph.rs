//! What the engine judges: models with their labels and files, and the links between them.

use std::str::FromStr;

use crate::lineage::Relation;

/// What one license file of a revision was recognized as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicenseText {
    /// Its path; empty for a text that was given without one.
    pub path: String,
    /// Key of the license whose text it is; `None`: not recognized.
    pub key: Option<String>,
}

/// What the files of a revision show, when they were collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// License texts.
    pub license_texts: Vec<LicenseText>,
    /// The text of notice files.
    pub notice: String,
    /// The text of the card.
    pub readme: String,
}

/// A model as the engine sees it.
#[derive(Debug, Clone, Default)]
pub struct ModelFacts {
    /// Row id, for whoever stores the judgement.
    pub row: i64,
    /// `namespace/name`.
    pub id: String,
    /// The labels as written.
    pub labels: Vec<String>,
    /// The card's `license_name`.
    pub license_name: Option<String>,
    /// The card's `license_link`.
    pub license_link: Option<String>,
    /// Whether it is private: duties of distribution sleep.
    pub is_private: bool,
    /// Whether it takes more than text; `None`: not known.
    pub is_multimodal: Option<bool>,
    /// `None` when its files were not collected.
    pub files: Option<FileFacts>,
}

impl ModelFacts {
    /// Its namespace in lower case.
    pub fn namespace_key(&self) -> String {
        namespace_key(&self.id)
    }
}

/// The namespace of `namespace/name`, in lower case.
pub fn namespace_key(id: &str) -> String {
    id.split('/').next().unwrap_or_default().to_lowercase()
}

/// How a child came from a parent, as far as licenses are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// As lineage says.
    Made(Relation),
    /// An adapter whose weights were added to its base's.
    AdapterMerged,
    /// Trained on a data set.
    TrainedOn,
    /// A data set made from a model's outputs.
    GeneratedBy,
    /// The same architecture, and nothing else.
    Architecture,
    /// The same tokenizer, and nothing else.
    Tokenizer,
    /// The difference of its weights to its base's: useless without the base.
    WeightDiff,
}

impl Link {
    /// Whether nothing that a license could reach passes through it.
    pub fn carries_nothing(self) -> bool {
        matches!(self, Self::Architecture | Self::Tokenizer)
    }

    /// Whether it says where weights come from, as opposed to data and outputs.
    pub fn is_lineage(self) -> bool {
        matches!(self, Self::Made(_) | Self::AdapterMerged | Self::WeightDiff)
    }

    /// The word in graph files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Made(relation) => relation.as_str(),
            Self::AdapterMerged => "adapter_merged",
            Self::TrainedOn => "trained_on",
            Self::GeneratedBy => "generated_by",
            Self::Architecture => "architecture",
            Self::Tokenizer => "tokenizer",
            Self::WeightDiff => "weight_diff",
        }
    }
}

impl FromStr for Link {
    type Err = UnknownLink;

    fn from_str(text: &str) -> Result<Self, UnknownLink> {
        let others = [
            Self::AdapterMerged,
            Self::TrainedOn,
            Self::GeneratedBy,
            Self::Architecture,
            Self::Tokenizer,
            Self::WeightDiff,
        ];
        let found = others.into_iter().find(|link| link.as_str() == text);
        let made = || Relation::from_str(text).map(Self::Made).map_err(|_| UnknownLink);
        found.map_or_else(made, Ok)
    }
}

/// A word that names no relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no relation")]
pub struct UnknownLink;

/// How sure it is that a link exists; the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Certainty {
    /// Declared, and cannot be checked.
    Unverifiable,
    /// Found in the weights, declared by nobody.
    Detected,
    /// Declared, not checked.
    #[default]
    Declared,
    /// Declared, and confirmed by the weights or by a person.
    Confirmed,
}

/// A link from a child to a parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Index of the parent.
    pub parent: usize,
    /// How the child was made.
    pub link: Link,
    /// How sure it is.
    pub certainty: Certainty,
    /// Contradicted by the weights: its terms do not pass.
    pub is_contradicted: bool,
}

/// Models and links.
#[derive(Debug, Default, Clone)]
pub struct Graph {
    /// The models.
    pub models: Vec<ModelFacts>,
    /// The links of each model to its parents.
    pub parents: Vec<Vec<Edge>>,
}
