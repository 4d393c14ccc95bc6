//! What a smoke test says: statuses, checks, the report, and the lines in which the child reports.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Record;

/// The outcome of a check, and of a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Sound.
    Passed,
    /// Works, with something to look at.
    Warned,
    /// Does not work.
    Failed,
    /// Was not looked at; the detail says why. Never counts as passed.
    Skipped,
    /// The test itself did not end: says nothing about the model.
    Error,
}

impl Status {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a model relates to the base that it is compared with; decides how far it may be from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Trained further.
    Finetune,
    /// An adapter on it.
    Adapter,
    /// Merged from it and others.
    Merge,
    /// In fewer bits.
    Quantized,
    /// The same weights in another form.
    Copy,
    /// Cut down, extended, or distilled from it: only reported.
    Other,
}

impl Relation {
    /// Returns the word that is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finetune => "finetune",
            Self::Adapter => "adapter",
            Self::Merge => "merge",
            Self::Quantized => "quantized",
            Self::Copy => "copy",
            Self::Other => "other",
        }
    }
}

/// One item of a smoke test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked: `values.finite`.
    pub id: String,
    /// The level it belongs to, 0 to 4.
    pub level: u8,
    /// How it ended.
    pub status: Status,
    /// Why, in plain words.
    pub detail: String,
}

impl Check {
    /// Makes a check.
    pub fn new(id: &str, level: u8, status: Status, detail: impl Into<String>) -> Self {
        Self { id: id.to_owned(), level, status, detail: detail.into() }
    }
}

/// A finished part of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// `headers`, `tokenizer`, `scan`, `forward`, `base`, `text`, `sample`, `finish`.
    pub name: String,
    /// How long it took.
    pub ms: u64,
    /// CPU time of all threads, in milliseconds.
    #[serde(default)]
    pub cpu_ms: u64,
}

/// What one run over a folder found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The conclusion.
    pub verdict: Status,
    /// The deepest level that was asked for.
    pub level: u8,
    /// The checks in the order in which they were made.
    pub checks: Vec<Check>,
    /// Numbers: parameters, absolute maxima, entropy, peak memory, ….
    pub metrics: Map<String, Value>,
    /// The stages that ended, with their times.
    pub stages: Vec<Stage>,
    /// What the model wrote, greedily; `None` when nothing was generated.
    pub sample: Option<String>,
    /// What it found likely at each position of the text, so that models made of it can be compared without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Record>,
    /// Engine, its version, the machine, how the child was confined.
    pub environment: Map<String, Value>,
    /// Why the run did not end (`timeout`, `memory_exceeded`, …), for the verdict `error`.
    pub cause: Option<String>,
    /// How long the run took, start of the child included.
    pub duration_ms: u64,
}

impl Report {
    /// A report on a model that was not looked at, with the reason as its one check.
    pub fn skipped(check: &str, reason: &str) -> Self {
        Self {
            verdict: Status::Skipped,
            level: 0,
            checks: vec![Check::new(check, 0, Status::Skipped, reason)],
            metrics: Map::new(),
            stages: Vec::new(),
            sample: None,
            record: None,
            environment: Map::new(),
            cause: None,
            duration_ms: 0,
        }
    }
}

/// Concludes from the checks of a run that ended.
///
/// A failure outweighs everything. Where the model could not be run, the run is `skipped`, however many lesser checks
/// passed: nobody should read "passed" for a model that nothing has run.
pub fn conclude(checks: &[Check]) -> Status {
    let any = |status| checks.iter().any(|check| check.status == status);
    let decisive = ["files.parse", "arch.known", "forward.finite"];
    let not_run = checks.iter().any(|c| c.status == Status::Skipped && decisive.contains(&c.id.as_str()));
    match () {
        () if any(Status::Failed) => Status::Failed,
        () if any(Status::Error) => Status::Error,
        () if not_run => Status::Skipped,
        () if any(Status::Warned) => Status::Warned,
        () => Status::Passed,
    }
}

/// A line of the child's standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Line {
    /// A stage begins: says where the child was when it dies.
    Begin {
        /// Its name.
        stage: String,
    },
    /// A stage ended.
    Stage {
        /// Its name.
        name: String,
        /// How long it took.
        ms: u64,
        /// CPU time of all threads.
        #[serde(default)]
        cpu_ms: u64,
        /// Its checks.
        checks: Vec<Check>,
        /// Its numbers.
        metrics: Map<String, Value>,
    },
    /// The logits of one position, on request.
    Logits {
        /// Little-endian f32 as base64.
        values: String,
    },
    /// The last line.
    Verdict {
        /// The conclusion.
        verdict: Status,
        /// What the model wrote.
        sample: Option<String>,
        /// What it found likely.
        #[serde(default)]
        record: Option<Record>,
        /// What the child knows of itself.
        environment: Map<String, Value>,
    },
}
