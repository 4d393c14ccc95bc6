//! What exports are made of: models with their positions, files and parents.

use serde::Serialize;
use time::OffsetDateTime;

use super::{Finding, Obligation};

/// What a report covers, and where it comes from.
#[derive(Debug, Clone)]
pub struct ReportInfo {
    /// `NAMESPACE/NAME`, `NAMESPACE`, or empty for everything.
    pub scope: String,
    /// Version of this program.
    pub version: String,
    /// Version of the license catalogue.
    pub catalogue: String,
    /// Where the registry is, without a slash at the end: `https://models.example.org`.
    pub endpoint: String,
    /// When something in the reported data last changed: a report names no later time, so that two reports over the
    /// same data are equal.
    pub as_of: OffsetDateTime,
}

/// A file of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportFile {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// A parent link of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportParent {
    /// The parent.
    pub id: String,
    /// Its commit, when one is pinned.
    pub revision: Option<String>,
    /// How the child was made: the words of lineage.
    pub relation: String,
    /// `declared`, `inferred` or `detected`.
    pub origin: String,
    /// `confirmed`, `confirmed_family`, `contradicted`, `unverifiable` or `pending`.
    pub verdict: String,
}

/// A model of a report.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReportModel {
    /// `namespace/name`.
    pub id: String,
    /// Whether its files are here; otherwise it is known by metadata only.
    pub is_hosted: bool,
    /// Commit of the reported revision.
    pub commit: Option<String>,
    /// Its description, plain text; empty when there is none.
    pub description: String,
    /// Architecture as its config names it.
    pub architecture: Option<String>,
    /// Number of parameters.
    pub parameters: Option<i64>,
    /// Task, as the hub names it: `text-generation`.
    pub pipeline_tag: Option<String>,
    /// The label as declared.
    pub declared: Option<String>,
    /// What holds for the whole, as an SPDX expression.
    pub expression: Option<String>,
    /// `clear`, `notice`, `review`, `incomplete`, `violation` or `unknown`.
    pub position: String,
    /// Files of the revision, by path; none for a catalogued model.
    pub files: Vec<ReportFile>,
    /// Parents, by name.
    pub parents: Vec<ReportParent>,
    /// What the carried licenses ask.
    pub obligations: Vec<Obligation>,
    /// What was found, the gravest first; waived ones name their waiver.
    pub findings: Vec<Finding>,
}
