//! Counts that are dear to compute and the same for everybody with the same view: kept until the data changes.
//!
//! The database's `data_version` moves with every change that is counted, so a kept count is never older than the last
//! commit that a new count could have seen, but for a change that commits between reading the version and counting:
//! that is why nothing is kept for more than [`LONGEST`].

use std::{any::Any, sync::Arc, time::Duration};

use moka::future::Cache;
use sqlx::PgConnection;

use crate::{auth::Viewer, db};

/// How long a count is kept at most.
const LONGEST: Duration = Duration::from_secs(20);
/// Counts that are kept at the same time.
const MOST: u64 = 2000;

/// Kept counts; cheap to clone.
#[derive(Clone)]
pub struct Tally(Cache<String, Arc<dyn Any + Send + Sync>>);

impl Default for Tally {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_live(LONGEST).build())
    }
}

impl Tally {
    /// Returns what `count` returns, or returned since the data changed last. `what` names the count and its arguments.
    pub async fn get<T, E>(
        &self,
        db: &mut PgConnection,
        viewer: &Viewer,
        what: &str,
        count: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<Arc<T>, E>
    where
        T: Send + Sync + 'static,
        E: From<sqlx::Error>,
    {
        let version = db::data_version(db).await?;
        let key = format!("{version}\n{}\n{}\n{what}", viewer.everything, viewer.namespaces.join(" "));
        if let Some(kept) = self.0.get(&key).await
            && let Ok(kept) = kept.downcast::<T>()
        {
            return Ok(kept);
        }
        let counted = Arc::new(count(db).await?);
        self.0.insert(key, counted.clone()).await;
        Ok(counted)
    }
}
