//! Findings and duties as pages show them.

use super::super::{
    format::{self, Mark},
    words,
};
use crate::license::{Finding, Obligation, catalogue::Catalogue, db::FindingRow, waiver::Waived};

/// A finding as pages show it.
pub(in crate::http::ui) struct FindingView {
    pub(in crate::http::ui) model: String,
    pub(in crate::http::ui) severity: String,
    pub(in crate::http::ui) mark: Mark,
    pub(in crate::http::ui) rule: String,
    /// What is the matter, in plain words.
    pub(in crate::http::ui) title: String,
    pub(in crate::http::ui) about: String,
    /// Why, as HTML.
    pub(in crate::http::ui) message: String,
    /// Key of the license, when its page exists.
    pub(in crate::http::ui) license: Option<String>,
    pub(in crate::http::ui) section: Option<String>,
    pub(in crate::http::ui) path: Vec<String>,
    /// What mends it, as HTML.
    pub(in crate::http::ui) remedy: String,
    pub(in crate::http::ui) waiver: Option<WaiverView>,
}

/// Who accepted a finding.
pub(in crate::http::ui) struct WaiverView {
    pub(in crate::http::ui) id: i64,
    pub(in crate::http::ui) reason: String,
    pub(in crate::http::ui) owner: String,
    pub(in crate::http::ui) until: String,
}

impl WaiverView {
    fn new(waiver: Waived) -> Self {
        Self { until: format::day(waiver.expires), id: waiver.id, reason: waiver.reason, owner: waiver.owner }
    }
}

impl FindingView {
    pub(in crate::http::ui) fn new(finding: FindingRow, catalogue: &Catalogue) -> Self {
        Self::judged(finding.model, finding.finding, catalogue)
    }

    /// A finding that is not kept: judged for a question.
    pub(in crate::http::ui) fn judged(model: String, finding: Finding, catalogue: &Catalogue) -> Self {
        let severity = finding.severity.as_str();
        Self {
            model,
            mark: Mark::position(severity),
            severity: severity.to_owned(),
            title: words::rule_title(&finding.rule),
            rule: finding.rule,
            about: finding.about,
            message: words::sentence(&finding.message),
            license: finding.license.filter(|key| catalogue.find_by_key(key).is_some()),
            section: finding.section,
            path: finding.path,
            remedy: words::sentence(&finding.remedy),
            waiver: finding.waiver.map(WaiverView::new),
        }
    }
}

/// What one license asks, by one path.
pub(in crate::http::ui) struct DutyGroup {
    /// Key of the license.
    pub(in crate::http::ui) license: String,
    /// From the ancestor to the model; the model alone for its own license.
    pub(in crate::http::ui) path: Vec<String>,
    pub(in crate::http::ui) duties: Vec<DutyView>,
}

/// A duty as pages show it.
pub(in crate::http::ui) struct DutyView {
    pub(in crate::http::ui) summary: String,
    pub(in crate::http::ui) section: String,
    pub(in crate::http::ui) mark: Mark,
}

/// Duties by license and path, in their order.
pub(in crate::http::ui) fn group(duties: Vec<Obligation>) -> Vec<DutyGroup> {
    let mut groups: Vec<DutyGroup> = Vec::new();
    for duty in duties {
        let path: Vec<String> = duty.via.iter().rev().cloned().collect();
        let view = view(&duty);
        match groups.iter_mut().find(|group| group.license == duty.license && group.path == path) {
            Some(group) => group.duties.push(view),
            None => groups.push(DutyGroup { license: duty.license, path, duties: vec![view] }),
        }
    }
    groups
}

fn view(duty: &Obligation) -> DutyView {
    let (class, symbol, word) = match duty.satisfied.as_str() {
        "yes" => ("clear", "☑", "done"),
        "no" => ("notice", "☐", "not done"),
        _ => ("none", "○", "not checked"),
    };
    DutyView {
        mark: Mark { class, symbol, word: word.to_owned() },
        summary: words::sentence(&duty.summary),
        section: duty.section.clone(),
    }
}

/// How much is done, as `3 of 5 done, 2 not checked`; empty when nothing was checked.
pub(in crate::http::ui) fn progress(duties: &[Obligation]) -> String {
    let checked = duties.iter().filter(|duty| matches!(duty.satisfied.as_str(), "yes" | "no")).count();
    let done = duties.iter().filter(|duty| duty.satisfied == "yes").count();
    if checked == 0 {
        return String::new();
    }
    format!("{done} of {checked} done, {} not checked", duties.len() - checked)
}
