//! Rows of xorbs and of the places where their chunks lie.

use sqlx::PgConnection;
use xet_core_structures::merklehash::MerkleHash;

use super::Error;
use crate::digest::Digest;

/// A run of a xorb's chunks inside a blob.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Its first chunk.
    pub(crate) start: usize,
    /// Behind its last chunk.
    pub(crate) end: usize,
    /// The blob.
    pub(crate) digest: Digest,
    /// Where the run begins in it, in bytes.
    pub(crate) offset: u64,
}

/// A verified xorb.
#[derive(Debug, Clone)]
pub(crate) struct Xorb {
    /// Hash and length of each chunk.
    pub(crate) chunks: Vec<(MerkleHash, u64)>,
    /// Temporary key of its plain chunks while they wait.
    pub(crate) object: Option<String>,
    /// Where its chunks lie in blobs.
    pub(crate) extents: Vec<Extent>,
    /// Bytes before each chunk, and in the end all of them.
    offsets: Vec<u64>,
}

impl Xorb {
    /// Bytes before chunk `index`.
    pub(crate) fn offset(&self, index: usize) -> u64 {
        self.offsets.get(index).copied().unwrap_or_default()
    }

    /// Whether every chunk lies in some blob.
    pub(crate) fn is_covered(&self) -> bool {
        let mut at = 0;
        while at < self.chunks.len() {
            let ends = self.extents.iter().filter(|extent| extent.start <= at).map(|extent| extent.end);
            match ends.max().filter(|end| *end > at) {
                Some(end) => at = end,
                None => return false,
            }
        }
        true
    }
}

/// Remembers a verified xorb whose plain chunks lie at `object`; false when they are not needed.
pub(super) async fn insert_xorb(
    db: &mut PgConnection,
    user_id: i64,
    hash: &MerkleHash,
    chunks: &[(MerkleHash, u64)],
    object: &str,
) -> Result<bool, Error> {
    let hashes: Vec<u8> = chunks.iter().flat_map(|(hash, _)| hash.as_bytes().to_vec()).collect();
    let lengths: Vec<i32> = chunks.iter().map(|(_, length)| i32::try_from(*length).unwrap_or(i32::MAX)).collect();
    let inserted = sqlx::query!(
        r#"
        insert into xorbs as x (hash, user_id, chunk_hashes, chunk_lengths, object) values ($1, $2, $3, $4, $5)
        on conflict (hash, user_id) do update set object = excluded.object, created_at = now()
        where x.object is null and not exists (
            select from xorb_extents e where e.hash = x.hash and e.user_id = x.user_id
                and e.chunk_start = 0 and e.chunk_end = cardinality(x.chunk_lengths)
        )
        "#,
        hash.as_bytes(),
        user_id,
        hashes,
        &lengths,
        object,
    )
    .execute(db)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns a xorb that this user sent.
pub(super) async fn find_xorb(db: &mut PgConnection, user_id: i64, hash: &MerkleHash) -> Result<Option<Xorb>, Error> {
    let row = sqlx::query!(
        "select chunk_hashes, chunk_lengths, object from xorbs where hash = $1 and user_id = $2",
        hash.as_bytes(),
        user_id,
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let extents = sqlx::query!(
        r#"
        select chunk_start, chunk_end, digest, blob_offset from xorb_extents
        where hash = $1 and user_id = $2 order by chunk_start limit 20000
        "#,
        hash.as_bytes(),
        user_id,
    )
    .fetch_all(db)
    .await?;
    let hashes = row.chunk_hashes.chunks_exact(32).map(|bytes| MerkleHash::from_slice(bytes).unwrap_or_default());
    let lengths = row.chunk_lengths.iter().map(|length| u64::from(length.unsigned_abs()));
    let chunks: Vec<(MerkleHash, u64)> = hashes.zip(lengths).collect();
    let mut offsets = vec![0];
    for (_, length) in &chunks {
        offsets.push(offsets.last().copied().unwrap_or(0) + length);
    }
    let index = |number: i32| usize::try_from(number).unwrap_or(0);
    let extent = |start: i32, end: i32, digest: Vec<u8>, offset: i64| Extent {
        start: index(start),
        end: index(end),
        digest: digest.try_into().expect("a constraint keeps digests at 32 bytes"),
        offset: offset.cast_unsigned(),
    };
    let extents = extents.into_iter().map(|e| extent(e.chunk_start, e.chunk_end, e.digest, e.blob_offset)).collect();
    Ok(Some(Xorb { chunks, object: row.object, extents, offsets }))
}

/// Remembers where a run of chunks lies.
pub(super) async fn insert_extent(
    db: &mut PgConnection,
    user_id: i64,
    hash: &MerkleHash,
    extent: &Extent,
) -> Result<(), Error> {
    let number = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    sqlx::query!(
        r#"
        insert into xorb_extents (hash, user_id, chunk_start, chunk_end, digest, blob_offset)
        values ($1, $2, $3, $4, $5, $6) on conflict do nothing
        "#,
        hash.as_bytes(),
        user_id,
        number(extent.start),
        number(extent.end),
        extent.digest.as_bytes(),
        i64::try_from(extent.offset).unwrap_or(i64::MAX),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets the waiting chunks of a xorb.
pub(super) async fn forget_object(db: &mut PgConnection, user_id: i64, hash: &MerkleHash) -> Result<(), Error> {
    sqlx::query!("update xorbs set object = null where hash = $1 and user_id = $2", hash.as_bytes(), user_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Returns the generation of a user's uploads: part of the address that their clients remember chunks under.
pub async fn generation(db: &mut PgConnection, user_id: i64) -> Result<i64, sqlx::Error> {
    let generation = sqlx::query_scalar!("select generation from xet_generations where user_id = $1", user_id)
        .fetch_optional(db)
        .await?;
    Ok(generation.unwrap_or(1))
}
