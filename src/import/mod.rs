//! Brings catalogued models in from JSON lines: facts about models whose files are elsewhere.
//!
//! Nothing is dropped silently: what is odd is kept and flagged on the model, what cannot be kept is counted with its
//! line number. A second import of the same lines changes nothing. A hosted model is never overwritten.

mod counts;
pub mod db;
mod lines;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use sqlx::PgConnection;

pub use counts::recount_all;
pub use lines::{Record, parse};

use crate::lineage;

/// Records that are written at once.
const BATCH: usize = 2000;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Counting the graph failed.
    #[error(transparent)]
    Lineage(#[from] lineage::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What an import did.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Summary {
    /// Lines read.
    pub lines: u64,
    /// Models that are new.
    pub created: u64,
    /// Catalogued models whose facts changed.
    pub updated: u64,
    /// Models that were known with the same facts.
    pub unchanged: u64,
    /// Hosted models, which keep their own facts.
    pub hosted: u64,
    /// Parents without a record of their own, catalogued by name.
    pub parents_created: u64,
    /// Claims that are new or changed.
    pub claims: u64,
    /// Claims that are part of a cycle.
    pub cyclic_claims: u64,
    /// Flags by code.
    pub flags: BTreeMap<String, u64>,
    /// Lines that could not be kept, with the reason; at most 100.
    pub refused: Vec<String>,
    /// How many lines could not be kept.
    pub refused_count: u64,
}

/// An import under way.
#[derive(Default)]
pub struct Import {
    summary: Summary,
    batch: Vec<Record>,
    /// Lower-cased names of the batch: a file may name a model twice.
    places: HashMap<String, usize>,
}

impl Import {
    /// Takes one line.
    pub async fn line(&mut self, db: &mut PgConnection, line: &[u8]) -> Result<(), Error> {
        self.summary.lines += 1;
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        match parse(line) {
            Ok(record) => match self.places.get(&record.name.key()) {
                Some(place) => self.batch[*place].absorb(record),
                None => {
                    self.places.insert(record.name.key(), self.batch.len());
                    self.batch.push(record);
                }
            },
            Err(reason) => {
                self.summary.refused_count += 1;
                if self.summary.refused.len() < 100 {
                    self.summary.refused.push(format!("line {}: {reason}", self.summary.lines));
                }
            }
        }
        if self.batch.len() >= BATCH { self.flush(db).await } else { Ok(()) }
    }

    /// Lines taken so far.
    pub fn lines(&self) -> u64 {
        self.summary.lines
    }

    async fn flush(&mut self, db: &mut PgConnection) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.batch);
        self.places.clear();
        if batch.is_empty() {
            return Ok(());
        }
        for flag in batch.iter().flat_map(|record| &record.flags) {
            *self.summary.flags.entry(flag.code.to_owned()).or_default() += 1;
        }
        let written = db::upsert_models(db, &batch).await?;
        self.summary.created += written.created;
        self.summary.updated += written.updated;
        self.summary.hosted += written.hosted;
        self.summary.unchanged += batch.len() as u64 - written.created - written.updated - written.hosted;
        self.summary.parents_created += db::create_parents(db, &batch).await?;
        self.summary.claims += db::upsert_claims(db, &batch).await?;
        Ok(())
    }

    /// Writes what is left, marks cycles, counts descendants.
    pub async fn finish(mut self, db: &mut PgConnection) -> Result<Summary, Error> {
        self.flush(db).await?;
        self.summary.cyclic_claims = recount_all(db).await?;
        Ok(self.summary)
    }
}
