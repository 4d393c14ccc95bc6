//! What operator commands share: database and store, with or without a running server.

use anyhow::Context as _;

use crate::{
    config::DataOptions,
    db::{self, Database},
    storage::BlobStore,
    telemetry,
};

/// Opens database and store; joins the cluster of a running server, or starts it for the while.
pub(super) async fn open(options: &DataOptions) -> anyhow::Result<(Database, BlobStore)> {
    telemetry::start(options.log_format, "warn");
    let database = db::open(options, false).await?;
    let store = BlobStore::open(options.store.as_ref(), &options.data_dir).context("the store cannot be opened")?;
    Ok((database, store))
}

/// Closes the pool, and stops the cluster if this process started it.
pub(super) async fn close(database: Database) {
    database.pool.close().await;
    if let Some(cluster) = database.cluster {
        cluster.stop().await;
    }
}
