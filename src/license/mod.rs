//! What one may do with a model: declared and inherited licenses, obligations, findings.
//!
//! The engine ([`judge`]) is a pure function over a graph of models and the catalogue of licenses; [`db`] feeds it
//! and keeps what it says. It reports; it does not give legal advice.

pub mod catalogue;
pub mod current;
pub mod db;
pub mod evidence;
pub mod export;
pub mod finding;
pub mod gate;
pub mod graph;
pub mod inputs;
pub mod judge;
pub mod kit;
pub mod label;
pub mod manage;
pub mod offline;
pub mod profile;
pub mod question;
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
    /// A license that is to be added, and is not complete.
    #[error("{0}")]
    Entry(String),
    /// A request that leaves out or contradicts something; says what to do.
    #[error("{0}")]
    Invalid(String),
    /// Something that is not there.
    #[error("{0}")]
    NotFound(String),
    /// The engine stopped.
    #[error("the license engine stopped: {0}")]
    Engine(String),
    /// The caller may not.
    #[error(transparent)]
    Auth(#[from] crate::auth::Error),
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] crate::catalog::Error),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] crate::storage::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}
