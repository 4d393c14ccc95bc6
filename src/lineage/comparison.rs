//! Compares all weights of two revisions, streamed: what a contradiction rests on.

use sqlx::PgConnection;

use super::{
    Error, db,
    fingerprint::{self, Plan},
    weights::{
        full::{self, Full},
        make,
    },
};
use crate::{catalog, storage::BlobStore};

/// Two revisions to compare.
#[derive(Debug)]
pub struct Pair {
    /// The model in question.
    pub child_model_id: i64,
    child: Plan,
    parent: Plan,
}

/// Looks up what two revisions consist of; `None` when one is gone.
pub async fn gather(
    db: &mut PgConnection,
    store: &BlobStore,
    child_revision: i64,
    parent_revision: i64,
) -> Result<Option<Pair>, Error> {
    let child = catalog::find_revision_by_id(db, child_revision).await?;
    let parent = catalog::find_revision_by_id(db, parent_revision).await?;
    let (Some(child), Some(parent)) = (child, parent) else { return Ok(None) };
    Ok(Some(Pair {
        child_model_id: child.model_id,
        child: fingerprint::gather(db, store, child.model_id, child.id).await?,
        parent: fingerprint::gather(db, store, parent.model_id, parent.id).await?,
    }))
}

/// Streams both and compares every matrix that both have; or says why that cannot be done.
pub async fn compare(store: &BlobStore, pair: &Pair) -> Result<Result<Full, String>, Error> {
    let child = fingerprint::open(store, &pair.child).await?;
    let parent = fingerprint::open(store, &pair.parent).await?;
    let (Some((child, mut child_source)), Some((parent, mut parent_source))) = (child, parent) else {
        return Ok(Err("the weights of one of both cannot be read".to_owned()));
    };
    let compared = tokio::task::spawn_blocking(move || {
        full::compare_full(&child, &mut child_source, &parent, &mut parent_source, &[], &mut |_| ())
    });
    match compared.await {
        Ok(Ok(result)) => Ok(Ok(result)),
        Ok(Err(make::Error::Io(error))) => Err(Error::Weights(error)),
        Ok(Err(error)) => Ok(Err(error.to_string())),
        Err(panic) => Err(Error::Weights(std::io::Error::other(panic))),
    }
}

/// Keeps the result.
pub async fn keep(db: &mut PgConnection, pair: &Pair, result: &Result<Full, String>) -> Result<(), Error> {
    let result = match result {
        Ok(full) => serde_json::to_value(full).unwrap_or_default(),
        Err(reason) => serde_json::json!({ "error": reason }),
    };
    db::insert_comparison(db, pair.child.revision_id, pair.parent.revision_id, &result).await
}
