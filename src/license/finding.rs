//! What a judgement says: findings, obligations, positions.

use serde::{Deserialize, Serialize};

use super::waiver;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// A person must decide.
    Review,
    /// A duty whose evidence is checkably missing.
    Incomplete,
    /// The text forbids what is there.
    Violation,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 4] = [Self::Notice, Self::Review, Self::Incomplete, Self::Violation];

    /// The word in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Review => "review",
            Self::Incomplete => "incomplete",
            Self::Violation => "violation",
        }
    }

    /// Reads the word; a position that is none (`clear`, `unknown`) gives `None`.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

/// What the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Finding {
    /// Stable id of the rule.
    pub rule: String,
    /// How grave.
    pub severity: Severity,
    /// The license or the model it is about.
    pub about: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// Key of the license, when it is about one.
    pub license: Option<String>,
    /// The clause.
    pub section: Option<String>,
    /// From the model to the ancestor whose license decides.
    pub path: Vec<String>,
    /// What mends it.
    pub remedy: String,
    /// Who accepted it, when somebody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiver: Option<waiver::Waived>,
}

/// What a license asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Obligation {
    /// Which duty.
    pub id: String,
    /// In plain words.
    pub summary: String,
    /// Key of the license.
    pub license: String,
    /// The clause.
    pub section: String,
    /// The models through which it reaches this one.
    pub via: Vec<String>,
    /// `yes`, `no` or `unchecked`.
    pub satisfied: String,
}

/// A model's license situation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Judgement {
    /// The model.
    pub id: String,
    /// The label as declared.
    pub declared: Option<String>,
    /// What holds for the whole, as an SPDX expression.
    pub expression: Option<String>,
    /// Where a label offers alternatives and one is better for the user: the model, and what was chosen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// `clear`, `notice`, `review`, `incomplete`, `violation` or `unknown`.
    pub position: String,
    /// What the carried licenses ask.
    pub obligations: Vec<Obligation>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// The gravest severity of the findings that nobody accepted.
pub fn gravest_open<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Option<Severity> {
    findings.into_iter().filter(|finding| finding.waiver.is_none()).map(|finding| finding.severity).max()
}

/// The position that everybody sees, made graver by findings that only some may read.
pub fn position_with(position: &str, findings: &[Finding]) -> String {
    let gravest = gravest_open(findings).filter(|gravest| Some(*gravest) > Severity::parse(position));
    gravest.map_or(position, |gravest| gravest.as_str()).to_owned()
}
