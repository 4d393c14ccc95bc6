//! What one may do with a model: declared and inherited licenses, obligations, findings.
//!
//! The engine ([`judge`]) is a pure function over a graph of models and the catalogue of licenses; [`db`] feeds it
//! and keeps what it says. It reports; it does not give legal advice.

pub mod catalogue;
pub mod db;
pub mod export;
pub mod finding;
pub mod graph;
pub mod inputs;
pub mod judge;
pub mod kit;
pub mod label;
pub mod offline;
pub mod profile;
pub mod report;
pub mod rules;
pub mod text;
pub mod waiver;
mod walk;
pub mod what_if;

pub use finding::{Finding, Judgement, Obligation, Severity};

/// What every report says once.
pub const DISCLAIMER: &str = "This report states what the texts and labels say. It is not legal advice.";

/// What can go wrong with licenses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A graph file that cannot be read.
    #[error("{0}")]
    Graph(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}
