//! A finding as pages show it.

use super::super::format::{self, Mark};
use crate::license::{catalogue::CATALOGUE, db::FindingRow};

/// A finding as pages show it.
pub(in crate::http::ui) struct FindingView {
    pub(in crate::http::ui) model: String,
    pub(in crate::http::ui) severity: String,
    pub(in crate::http::ui) mark: Mark,
    pub(in crate::http::ui) rule: String,
    pub(in crate::http::ui) message: String,
    pub(in crate::http::ui) license: Option<String>,
    pub(in crate::http::ui) section: Option<String>,
    pub(in crate::http::ui) path: Vec<String>,
    pub(in crate::http::ui) remedy: String,
}

impl FindingView {
    pub(in crate::http::ui) fn new(finding: FindingRow) -> Self {
        Self {
            model: finding.model,
            mark: Mark::position(&finding.severity),
            severity: finding.severity,
            rule: finding.rule,
            message: format::message(&finding.message),
            license: finding.license.filter(|key| CATALOGUE.find_by_key(key).is_some()),
            section: finding.section,
            path: finding.path,
            remedy: format::message(&finding.remedy),
        }
    }
}
