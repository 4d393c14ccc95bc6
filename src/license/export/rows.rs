//! Findings as rows of the database, a line of CSV each.

use super::csv::field;
use crate::license::db::FindingRow;

/// The header of the CSV form.
pub const CSV_HEADER: &str = "model,position,rule,severity,about,license,section,path,message,remedy\n";

/// Returns one line of CSV (RFC 4180) for a finding.
pub fn csv_line(finding: &FindingRow) -> String {
    let fields = [
        finding.model.as_str(),
        &finding.position,
        &finding.rule,
        &finding.severity,
        &finding.about,
        finding.license.as_deref().unwrap_or_default(),
        finding.section.as_deref().unwrap_or_default(),
        &finding.path.join(" > "),
        &finding.message,
        &finding.remedy,
    ]
    .map(field);
    format!("{}\n", fields.join(","))
}
