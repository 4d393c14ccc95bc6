//! A line per finding (RFC 4180), for spreadsheets. A model without findings has no line: the other forms have it.

use super::{Exporter, names::timestamp};
use crate::license::{Finding, report::ReportModel};

const HEADER: &str =
    "model,revision,position,rule,severity,about,license,section,path,message,remedy,waiver,owner,expires\r\n";

/// Writes CSV.
pub(super) struct Csv;

impl Exporter for Csv {
    fn content_type(&self) -> &'static str {
        "text/csv; charset=utf-8; header=present"
    }

    fn extension(&self) -> &'static str {
        "csv"
    }

    fn passes(&self) -> usize {
        1
    }

    fn begin(&mut self, _pass: usize) -> String {
        HEADER.to_owned()
    }

    fn model(&mut self, _pass: usize, model: &ReportModel) -> String {
        model.findings.iter().map(|finding| line(model, finding)).collect()
    }

    fn end(&mut self, _pass: usize) -> String {
        String::new()
    }
}

fn line(model: &ReportModel, finding: &Finding) -> String {
    let waiver = finding.waiver.as_ref();
    let fields = [
        model.id.as_str(),
        model.commit.as_deref().unwrap_or_default(),
        &model.position,
        &finding.rule,
        finding.severity.as_str(),
        &finding.about,
        finding.license.as_deref().unwrap_or_default(),
        finding.section.as_deref().unwrap_or_default(),
        &finding.path.join(" > "),
        &finding.message,
        &finding.remedy,
        waiver.map_or("", |waived| waived.reason.as_str()),
        waiver.map_or("", |waived| waived.owner.as_str()),
        &waiver.map(|waived| timestamp(waived.expires)).unwrap_or_default(),
    ];
    format!("{}\r\n", fields.map(field).join(","))
}

/// Quotes what needs it. What a spreadsheet would run as a formula begins with a `'`, which it shows as text
/// (<https://owasp.org/www-community/attacks/CSV_Injection>); control characters, which some readers refuse, are
/// replaced.
pub(super) fn field(text: &str) -> String {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let text = text.replace(is_control, "\u{fffd}");
    let is_formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r', '\n']);
    let text = if is_formula { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}
