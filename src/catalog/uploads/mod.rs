//! Files that arrive in pieces, and collections of files that one commit publishes.
//!
//! An uninterrupted file is hashed and written once. When its connection breaks, what came is kept as a part; the
//! client asks how much that was, sends the rest, and the parts are read once more to be hashed as one.

pub mod db;
pub mod underway;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use sqlx::PgPool;

use super::Error;
use crate::{
    digest::Digest,
    storage::{self, BlobStore, Outcome, Stored},
};

/// Whose file, and which.
#[derive(Debug, Clone)]
pub struct Slot {
    /// The model.
    pub model_id: i64,
    /// Who sends it.
    pub user_id: i64,
    /// What tells it from their other uploads to this model.
    pub key: String,
}

/// Largest file that is taken, in bytes: 10,000 parts of 64 MiB, as many as object stores take of one file.
pub const MAX_FILE: u64 = 10_000 * 64 * 1024 * 1024;

/// A piece of a file: `offset` of `total` bytes, `length` of them.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// How long it is, when the client says so.
    pub length: Option<u64>,
    /// How long the whole file is, when the client says so.
    pub total: Option<u64>,
}

/// What became of a piece.
#[derive(Debug)]
pub enum Received {
    /// The file is complete and stored.
    Complete(Stored),
    /// More is needed, from this offset on.
    Partial(u64),
    /// The piece does not begin where the last one ended.
    WrongOffset(u64),
}

/// Takes a piece of a file. The first piece replaces what an earlier attempt left.
pub async fn receive<S>(
    pool: &PgPool,
    store: &BlobStore,
    slot: &Slot,
    piece: Piece,
    expected: Option<Digest>,
    body: S,
) -> Result<Received, Error>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let _underway = underway::begin(slot).await;
    let held = db::offset(&mut *pool.acquire().await?, slot).await?.unwrap_or(0);
    if piece.offset != 0 && piece.offset != held {
        return Ok(Received::WrongOffset(held));
    }
    if piece.offset == 0 && held > 0 {
        discard(pool, store, slot).await?;
    }
    let whole_in_one = piece.offset == 0 && piece.total.is_none_or(|total| piece.length.is_none_or(|l| l == total));
    let key = format!("parts/{:032x}", rand::random::<u128>());
    let body = complete(body, piece.length);
    if whole_in_one {
        return match store.put_resumable(Box::pin(body), expected, &key).await? {
            Outcome::Stored(stored) => Ok(Received::Complete(stored)),
            Outcome::Interrupted(interrupted) => {
                let total = piece.total.or(piece.length).unwrap_or(0);
                keep(pool, store, slot, 0, interrupted.kept, total, &key).await?;
                Err(storage::Error::Body(interrupted.reason).into())
            }
        };
    }
    let (kept, broken) = store.put_part(&key, Box::pin(body)).await?;
    let total = piece.total.unwrap_or(0);
    keep(pool, store, slot, piece.offset, kept, total, &key).await?;
    if let Some(reason) = broken {
        return Err(storage::Error::Body(reason).into());
    }
    let end = piece.offset + kept;
    if end < total {
        return Ok(Received::Partial(end));
    }
    let stored = assemble(pool, store, slot, expected).await?;
    Ok(Received::Complete(stored))
}

/// Turns a body that ends before its announced length into one that breaks off: a lost connection may look like an end.
fn complete<S>(body: S, length: Option<u64>) -> impl Stream<Item = std::io::Result<Bytes>>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    futures::stream::unfold((body, length, 0_u64), |(mut body, length, came)| async move {
        match body.next().await {
            Some(Ok(bytes)) => {
                let came = came + bytes.len() as u64;
                Some((Ok(bytes), (body, length, came)))
            }
            Some(Err(error)) => Some((Err(error), (body, None, came))),
            None if length.is_some_and(|length| came < length) => {
                let error = std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the connection closed early");
                Some((Err(error), (body, None, came)))
            }
            None => None,
        }
    })
}

async fn keep(
    pool: &PgPool,
    store: &BlobStore,
    slot: &Slot,
    offset: u64,
    kept: u64,
    total: u64,
    key: &str,
) -> Result<(), Error> {
    if kept == 0 {
        return Ok(store.delete_temporary(key).await?);
    }
    let mut tx = pool.begin().await?;
    db::add_part(&mut tx, slot, offset, kept, total, key).await?;
    Ok(tx.commit().await?)
}

/// Reads the parts as one stream, stores it, and removes them. The caller has checked that none is missing.
pub async fn assemble(
    pool: &PgPool,
    store: &BlobStore,
    slot: &Slot,
    expected: Option<Digest>,
) -> Result<Stored, Error> {
    let parts = db::list_parts(&mut *pool.acquire().await?, slot).await?;
    let streams = futures::stream::iter(parts).then(|part| {
        let store = store.clone();
        async move { store.read_temporary(&part.object, None).await }
    });
    let whole = streams.try_flatten().map_err(std::io::Error::other);
    let stored = store.put_stream(Box::pin(whole), expected).await;
    // Parts that made other content than announced are of no use to another attempt.
    if matches!(stored, Ok(_) | Err(storage::Error::DigestMismatch { .. })) {
        discard(pool, store, slot).await?;
    }
    Ok(stored?)
}

/// Forgets what was kept of a file.
pub async fn discard(pool: &PgPool, store: &BlobStore, slot: &Slot) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    let parts = db::list_parts(&mut tx, slot).await?;
    db::forget(&mut tx, slot).await?;
    tx.commit().await?;
    for part in parts {
        store.delete_temporary(&part.object).await?;
    }
    Ok(())
}
