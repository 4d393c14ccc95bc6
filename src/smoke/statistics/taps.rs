//! Sums weight files while they are uploaded, so that the smoke test need not read them once more.
//!
//! Sums wait in memory until their file is committed, and are kept with it then. Files that arrived in pieces, or through
//! another server, are summed by the test.

use std::sync::Arc;

use moka::sync::Cache;
use sqlx::PgConnection;

use super::{super::db, OfFile, Tap};
use crate::{
    catalog::File,
    digest::Digest,
    formats::{self, FileKind},
    storage::{Observe, Observer, Stored},
};

/// Tensors whose sums wait for the commit of their file.
const KEPT_TENSORS: u64 = 500_000;

/// Sums that wait for their commit; cheap to clone.
#[derive(Clone)]
pub struct Statistics(Cache<Digest, Arc<OfFile>>);

impl Default for Statistics {
    fn default() -> Self {
        let weigh = |_: &Digest, sums: &Arc<OfFile>| u32::try_from(sums.len()).unwrap_or(u32::MAX);
        Self(Cache::builder().weigher(weigh).max_capacity(KEPT_TENSORS).build())
    }
}

impl Statistics {
    /// What a store is to do with each stream.
    pub fn observe(&self) -> Observe {
        let waiting = self.clone();
        Arc::new(move || Box::new(Watch { waiting: waiting.clone(), tap: Tap::default() }))
    }

    /// Keeps the sums of files that are being committed.
    pub async fn keep(&self, db: &mut PgConnection, files: &[File]) -> Result<(), sqlx::Error> {
        for file in files {
            let is_weights = matches!(formats::kind(file.path.as_str()), FileKind::Safetensors | FileKind::Gguf);
            let Some(sums) = self.0.get(&file.digest).filter(|_| is_weights) else { continue };
            db::insert_statistics(db, &file.digest, &sums).await?;
            self.0.invalidate(&file.digest);
        }
        Ok(())
    }
}

struct Watch {
    waiting: Statistics,
    tap: Tap,
}

impl Observer for Watch {
    fn push(&mut self, bytes: &[u8]) {
        self.tap.push(bytes);
    }

    fn finish(self: Box<Self>, stored: &Stored) {
        if let Some(sums) = self.tap.finish(stored.size) {
            self.waiting.0.insert(stored.digest, Arc::new(sums));
        }
    }
}
