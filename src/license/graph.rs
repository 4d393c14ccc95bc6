//! What the engine judges: models with their labels, and the links between them.

use crate::lineage::Relation;

/// What the files of a revision show, when they were collected.
#[derive(Debug, Clone, Default)]
pub struct FileFacts {
    /// Whether a license text is among them.
    pub has_license_text: bool,
    /// Whether a notice file is among them.
    pub has_notice: bool,
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
    /// Whether it is private: duties of distribution sleep.
    pub is_private: bool,
    /// `None` when its files were not collected.
    pub files: Option<FileFacts>,
}

/// A link from a child to a parent.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// Index of the parent.
    pub parent: usize,
    /// How the child was made.
    pub relation: Relation,
    /// Found in the weights, declared by nobody.
    pub is_detected_only: bool,
    /// Contradicted by the weights: its terms do not pass.
    pub is_contradicted: bool,
}

/// Models and links.
#[derive(Debug, Default)]
pub struct Graph {
    /// The models.
    pub models: Vec<ModelFacts>,
    /// The links of each model to its parents.
    pub parents: Vec<Vec<Edge>>,
}
