//! Findings in forms that other tools read.

use super::db::FindingRow;

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

/// Quotes what needs it; a leading sign that a spreadsheet would run as a formula is disarmed.
fn field(text: &str) -> String {
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
