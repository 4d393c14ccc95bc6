//! Accepted findings: who accepted what, why, and until when.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{Finding, graph::namespace_key};
use crate::digest::Digest;

/// How far a waiver reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// One model.
    Model,
    /// All models of a namespace.
    Namespace,
}

/// An accepted finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Waiver {
    /// Row id.
    pub id: i64,
    /// How far it reaches.
    pub scope: Scope,
    /// The model, for the scope `model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// Stable id of the rule.
    pub rule: String,
    /// The license or model that the finding is about.
    pub about: String,
    /// Digest of the path that was accepted, hexadecimal; `None`: any path. A finding by another path comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_digest: Option<String>,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
}

impl Waiver {
    /// Whether a model, `namespace/name`, is one that it is about.
    pub fn covers(&self, id: &str) -> bool {
        match self.scope {
            Scope::Model => self.model.as_deref().is_some_and(|model| model.eq_ignore_ascii_case(id)),
            Scope::Namespace => self.namespace.eq_ignore_ascii_case(&namespace_key(id)),
        }
    }
}

/// What a waived finding says of its waiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Waived {
    /// Row id of the waiver.
    pub id: i64,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
}

/// Digest of a finding's path: SHA-256 over the lower-case model ids from the second on, joined by line feeds, in
/// hexadecimal. The model itself is not part of it, so that a waiver for a namespace holds for each model on the way.
pub fn path_digest(path: &[String]) -> String {
    let rest: Vec<String> = path.iter().skip(1).map(|id| id.to_lowercase()).collect();
    Digest::of(rest.join("\n").as_bytes()).to_hex()
}

/// Marks the findings of a model that are accepted at this moment. Where several waivers hold, the one that lasts
/// longest is named.
pub fn apply(findings: &mut [Finding], model: &str, waivers: &[Waiver], now: OffsetDateTime) {
    for finding in findings {
        let holds = |waiver: &&Waiver| {
            waiver.covers(model)
                && waiver.expires > now
                && waiver.rule == finding.rule
                && waiver.about.eq_ignore_ascii_case(&finding.about)
                && waiver.path_digest.as_ref().is_none_or(|digest| *digest == path_digest(&finding.path))
        };
        let longest = waivers.iter().filter(holds).max_by_key(|waiver| (waiver.expires, waiver.id));
        finding.waiver = longest.map(|waiver| Waived {
            id: waiver.id,
            reason: waiver.reason.clone(),
            owner: waiver.owner.clone(),
            expires: waiver.expires,
        });
    }
}
