//! What findings block: a push before it is published, a download until they are settled.

use sqlx::PgConnection;

use super::{
    Error, Finding, Severity,
    current::load_catalogue,
    db, evidence,
    question::{self, Question},
};
use crate::{auth::Viewer, storage::BlobStore};

/// From which severity on something is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Block {
    /// Nothing is.
    #[default]
    Never,
    /// Something forbidden.
    Violation,
    /// A duty whose evidence is missing, or something graver.
    Incomplete,
    /// Something that a person must decide, or something graver.
    Review,
}

impl Block {
    /// All of them, the mildest first.
    pub const ALL: [Self; 4] = [Self::Never, Self::Violation, Self::Incomplete, Self::Review];

    /// The word in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Violation => "violation",
            Self::Incomplete => "incomplete",
            Self::Review => "review",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|block| block.as_str() == word)
    }

    /// Whether a finding of this severity blocks.
    pub fn is_met_by(self, severity: Severity) -> bool {
        match self {
            Self::Never => false,
            Self::Violation => severity >= Severity::Violation,
            Self::Incomplete => severity >= Severity::Incomplete,
            Self::Review => severity >= Severity::Review,
        }
    }
}

/// Returns the findings that keep a revision from being published under the policy of its namespace; to be asked in the
/// transaction that publishes, after files and claims are in it. Nothing is kept.
pub async fn find_push_blocks(
    db: &mut PgConnection,
    store: &BlobStore,
    model_id: i64,
    namespace: &str,
) -> Result<Vec<Finding>, Error> {
    let key = namespace.to_lowercase();
    let policy = db::find_license_policy(db, &key).await?;
    let block = policy.as_ref().and_then(|policy| Block::parse(&policy.block_push)).unwrap_or_default();
    if block == Block::Never {
        return Ok(Vec::new());
    }
    let catalogue = load_catalogue(db).await?;
    let heads = db::list_heads(db, Some(&[model_id])).await?;
    evidence::recognize(db, store, &heads, &catalogue).await?;
    // The pusher reads the reason: only models that readers of their namespace may read may be named in it.
    let viewer = Viewer { everything: false, namespaces: vec![key] };
    let question = Question { models: Some(vec![model_id]), ..Question::default() };
    let judged = question::judge(db, &viewer, question).await?;
    let findings = judged.into_iter().flat_map(|judgement| judgement.findings);
    Ok(findings.filter(|f| f.waiver.is_none() && block.is_met_by(f.severity)).collect())
}

/// Returns the findings in a sentence or a few, for the one who is refused.
pub fn explain(findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let clause = match (&finding.license, &finding.section) {
            (Some(license), Some(section)) => format!(" ({license} {section})"),
            _ => String::new(),
        };
        let remedy =
            if finding.remedy.is_empty() { String::new() } else { format!("; to mend it: {}", finding.remedy) };
        format!("{}: {}{clause}{remedy}", finding.rule, finding.message)
    };
    let said: Vec<String> = findings.iter().take(3).map(one).collect();
    let more = findings.len().saturating_sub(said.len());
    let more = if more > 0 { format!(" — and {more} more") } else { String::new() };
    format!("{}{more}", said.join(". "))
}
