//! Reports in forms that other tools read: CSV, CycloneDX, SPDX and SARIF. The API's own JSON is not one of them.
//!
//! Pure: models in, text out. Nothing here reads a clock or rolls a die: equal input gives equal bytes.

mod csv;
mod cyclonedx;
mod expression;
mod names;
mod sarif;
mod spdx;
mod wording;

use std::{fmt, str::FromStr};

use super::report::{ReportInfo, ReportModel};

/// Writes a report piece by piece, at memory that does not grow with the files, findings and paths in it.
///
/// For each pass from 0 to `passes()`, a driver calls `begin`, `model` for every model in the same order, and `end`,
/// and sends the pieces one after the other. A report of one model (its scope names a model) takes that model only.
pub trait Exporter: Send {
    /// The media type of the whole.
    fn content_type(&self) -> &'static str;
    /// What the name of a file with it ends with, without the first dot.
    fn extension(&self) -> &'static str;
    /// How often the models are wanted.
    fn passes(&self) -> usize;
    /// What stands before the models of a pass.
    fn begin(&mut self, pass: usize) -> String;
    /// What a model adds in a pass.
    fn model(&mut self, pass: usize, model: &ReportModel) -> String;
    /// What stands behind the models of a pass.
    fn end(&mut self, pass: usize) -> String;
}

/// A form of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A line per finding; models without one have no line.
    Csv,
    /// CycloneDX 1.6, as a bill of materials for machine learning.
    CycloneDx,
    /// SPDX 3.0.1, with the profile for AI.
    Spdx,
    /// SARIF 2.1.0, for pages that show what scanners find.
    Sarif,
}

impl Format {
    /// Whether a report lists findings, not models with all that is known of them.
    pub fn lists_findings(self) -> bool {
        matches!(self, Self::Csv | Self::Sarif)
    }

    /// All of them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::CycloneDx, Self::Spdx, Self::Sarif];

    /// The word on the command line and in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::CycloneDx => "cyclonedx",
            Self::Spdx => "spdx",
            Self::Sarif => "sarif",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no form of report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no form of report: there are `csv`, `cyclonedx`, `spdx` and `sarif`")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(word: &str) -> Result<Self, UnknownFormat> {
        let known = Self::ALL.into_iter().find(|format| format.as_str() == word);
        known.ok_or_else(|| UnknownFormat(word.to_owned()))
    }
}

/// Returns what writes a report in this form.
pub fn exporter(format: Format, info: ReportInfo) -> Box<dyn Exporter> {
    match format {
        Format::Csv => Box::new(csv::Csv),
        Format::CycloneDx => Box::new(cyclonedx::CycloneDx::new(info)),
        Format::Spdx => Box::new(spdx::Spdx::new(info)),
        Format::Sarif => Box::new(sarif::Sarif::new(info)),
    }
}

/// Returns a whole report over models that are at hand.
pub fn whole(format: Format, info: ReportInfo, models: &[ReportModel]) -> String {
    let mut exporter = exporter(format, info);
    let mut text = String::new();
    for pass in 0..exporter.passes() {
        text.push_str(&exporter.begin(pass));
        for model in models {
            text.push_str(&exporter.model(pass, model));
        }
        text.push_str(&exporter.end(pass));
    }
    text
}

/// The commas between the members of an array that is written piece by piece, each on a line of its own.
#[derive(Debug, Default)]
struct Members {
    is_begun: bool,
}

impl Members {
    fn next(&mut self, member: &serde_json::Value) -> String {
        let separator = if self.is_begun { ",\n" } else { "\n" };
        self.is_begun = true;
        format!("{separator}{member}")
    }
}

/// A value without the members that say nothing: null, and empty lists, objects and texts.
fn without_gaps(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, member| {
            let is_empty = member.as_str().is_some_and(str::is_empty)
                || member.as_array().is_some_and(Vec::is_empty)
                || member.as_object().is_some_and(serde_json::Map::is_empty);
            !member.is_null() && !is_empty
        });
    }
    value
}
