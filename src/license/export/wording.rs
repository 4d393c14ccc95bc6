//! Findings and obligations as sentences, for formats that have no fields for their parts.

use super::names::timestamp;
use crate::license::{Finding, Obligation, report::ReportParent, waiver::Waived};

/// A finding in full.
pub(super) fn finding(finding: &Finding) -> String {
    let clause =
        [finding.license.as_deref(), finding.section.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let clause = if clause.is_empty() { String::new() } else { format!(" ({clause})") };
    let mut text = format!("{} {}: {}{clause}.", finding.severity.as_str(), finding.rule, finding.message);
    if finding.path.len() > 1 {
        text.push_str(&format!(" Path: {}.", finding.path.join(" > ")));
    }
    if !finding.remedy.is_empty() {
        text.push_str(&format!(" Remedy: {}.", finding.remedy));
    }
    if let Some(waived) = &finding.waiver {
        text.push_str(&format!(" Accepted: {}.", waiver(waived)));
    }
    text
}

/// Why a finding was accepted, by whom and until when.
pub(super) fn waiver(waived: &Waived) -> String {
    format!("{} (by {}, until {})", waived.reason, waived.owner, timestamp(waived.expires))
}

/// An obligation in full.
pub(super) fn obligation(obligation: &Obligation) -> String {
    let met = match obligation.satisfied.as_str() {
        "yes" => "met",
        "no" => "not met",
        _ => "not checked",
    };
    let Obligation { license, section, summary, via, .. } = obligation;
    let clause = if section.is_empty() { license.clone() } else { format!("{license} {section}") };
    format!("{summary} ({clause}): {met}. Path: {}.", via.join(" > "))
}

/// What is known of a parent link.
pub(super) fn parent(parent: &ReportParent) -> String {
    let revision = parent.revision.as_ref().map(|commit| format!(" at {commit}")).unwrap_or_default();
    format!("{} of {}{revision}, {}, {}", parent.relation, parent.id, parent.origin, parent.verdict)
}

/// Whether the weights contradict a claimed parent: then it is told, and not passed on as lineage.
pub(super) fn is_contradicted(parent: &ReportParent) -> bool {
    parent.verdict == "contradicted"
}
