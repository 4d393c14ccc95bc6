//! The write side of Xet: what the hub's present clients send instead of LFS objects.
//!
//! A client cuts files into chunks, packs chunks into xorbs, and names in a shard which chunks of which xorbs make a
//! file (huggingface/hub-docs, `docs/xet`). Here xorbs are a transport: each is verified as it arrives and kept as
//! its plain chunks; the shard turns them into blobs of the store, verified again by SHA-256. What stays is an index
//! from xorbs to places in blobs, because later uploads name chunks of earlier ones.

mod assemble;
mod chunks;
pub mod db;
mod shard;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use sqlx::PgPool;
use xet_core_structures::merklehash::{MerkleHash, xorb_hash};

use crate::storage::{self, BlobStore};
pub use assemble::{Progress, Uploader, put_shard};
pub use shard::MAX_SHARD;

/// Most bytes of a xorb's chunks, unpacked: twice what the specification lets a client pack.
const MAX_XORB: u64 = 128 * 1024 * 1024;
/// Most chunks of a xorb (specification: 8 Ki).
const MAX_CHUNKS: usize = 8 * 1024;

/// What can go wrong with an upload over Xet.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes that are not what they claim.
    #[error("{0}")]
    Malformed(String),
    /// A xorb that this user never sent, or that is gone.
    #[error("xorb {0} is not held: send it first")]
    UnknownXorb(String),
    /// The client's stream broke off.
    #[error("the upload broke off: {0}")]
    Body(std::io::Error),
    /// The store failed or refused.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// The catalog refused.
    #[error(transparent)]
    Catalog(#[from] crate::catalog::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Returns the hash that some text names.
fn parse_hash(text: &str) -> Result<MerkleHash, Error> {
    let bad = || Error::Malformed("a Xet hash is 64 hexadecimal digits".to_owned());
    if text.len() != 64 || !text.is_ascii() {
        return Err(bad());
    }
    MerkleHash::from_hex(text).map_err(|_| bad())
}

/// Takes a serialized xorb: unpacks and hashes every chunk as it passes, and keeps the plain chunks until a shard names
/// them. Returns whether it was new. Nothing is kept of a xorb that is not what its hash says.
pub async fn put_xorb<S>(pool: &PgPool, store: &BlobStore, user_id: i64, hash: &str, body: S) -> Result<bool, Error>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin + Send + 'static,
{
    let hash = parse_hash(hash)?;
    let found = Arc::new(Mutex::new(Vec::new()));
    let plain = chunks::plain(body, Arc::clone(&found));
    let object = format!("xorbs/{:032x}", rand::random::<u128>());
    let stored = store.put_temporary(&object, plain.map(|chunk| chunk.map_err(std::io::Error::other)).boxed()).await;
    if let Err(storage::Error::Body(error)) = stored {
        return Err(chunks::unwrap(error));
    }
    stored?;
    let chunks = std::mem::take(&mut *found.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    if chunks.is_empty() || xorb_hash(&chunks) != hash {
        store.delete_temporary(&object).await?;
        return Err(Error::Malformed("the xorb's chunks have another hash than its address says".to_owned()));
    }
    let is_kept = db::insert_xorb(&mut *pool.acquire().await?, user_id, &hash, &chunks, &object).await?;
    if !is_kept {
        store.delete_temporary(&object).await?;
    }
    Ok(is_kept)
}
