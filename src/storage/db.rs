//! Which blobs there are.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Error;
use crate::digest::Digest;

/// Inserts the row of a stored blob, or marks it used; returns whether it is new.
pub async fn insert_blob(db: &mut PgConnection, digest: &Digest, size: u64) -> Result<bool, Error> {
    let is_new = sqlx::query_scalar!(
        r#"
        insert into blobs (digest, size) values ($1, $2)
        on conflict (digest) do update set last_used_at = now()
        returning (xmax = 0) as "is_new!"
        "#,
        digest.as_bytes(),
        i64::try_from(size).unwrap_or(i64::MAX),
    )
    .fetch_one(db)
    .await?;
    Ok(is_new)
}

/// Returns the size of a blob in bytes, when it is known.
pub async fn find_blob(db: &mut PgConnection, digest: &Digest) -> Result<Option<u64>, Error> {
    let size =
        sqlx::query_scalar!("select size from blobs where digest = $1", digest.as_bytes()).fetch_optional(db).await?;
    Ok(size.map(i64::cast_unsigned))
}

/// A row of `blobs`, for the checks.
#[derive(Debug, Clone, Copy)]
pub struct BlobRow {
    /// Its digest.
    pub digest: Digest,
    /// Its recorded size in bytes.
    pub size: u64,
}

/// Returns up to `limit` blobs after `after`, in the order of their digests.
pub async fn list_blobs(db: &mut PgConnection, after: &[u8], limit: i64) -> Result<Vec<BlobRow>, Error> {
    let rows = sqlx::query!("select digest, size from blobs where digest > $1 order by digest limit $2", after, limit)
        .fetch_all(db)
        .await?;
    let read = |digest: Vec<u8>, size: i64| BlobRow {
        digest: digest.try_into().expect("a constraint keeps digests at 32 bytes"),
        size: size.cast_unsigned(),
    };
    Ok(rows.into_iter().map(|row| read(row.digest, row.size)).collect())
}

/// Names of models that hold a blob, for messages to operators: `namespace/name@commit path`, at most `limit`.
pub async fn list_uses(db: &mut PgConnection, digest: &Digest, limit: i64) -> Result<Vec<String>, Error> {
    let uses = sqlx::query_scalar!(
        r#"
        select m.namespace || '/' || m.name || '@' || left(r.commit, 12) || ' ' || f.path as "place!"
        from files f
        join revisions r on r.id = f.revision_id
        join models m on m.id = r.model_id
        where f.digest = $1
        order by r.id desc
        limit $2
        "#,
        digest.as_bytes(),
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(uses)
}

/// Blobs that nothing names and that nobody used since `before`.
pub async fn list_unused(db: &mut PgConnection, before: OffsetDateTime) -> Result<Vec<BlobRow>, Error> {
    let rows = sqlx::query!(
        r#"
        select b.digest, b.size
        from blobs b
        where b.last_used_at < $1
            and not exists (select from files f where f.digest = b.digest)
            and not exists (select from upload_files u where u.digest = b.digest)
            and not exists (select from fingerprints p where p.blob = b.digest)
            and not exists (select from file_prints p where p.blob = b.digest)
        order by b.digest
        "#,
        before,
    )
    .fetch_all(db)
    .await?;
    let read = |digest: Vec<u8>, size: i64| BlobRow {
        digest: digest.try_into().expect("a constraint keeps digests at 32 bytes"),
        size: size.cast_unsigned(),
    };
    Ok(rows.into_iter().map(|row| read(row.digest, row.size)).collect())
}

/// Takes the row of an unused blob away, unless somebody used it meanwhile; holds its key until the transaction ends.
pub async fn take_unused(db: &mut PgConnection, digest: &Digest, before: OffsetDateTime) -> Result<bool, Error> {
    // Clients remember chunks by address and would never send them again: those who lose some get a new address.
    sqlx::query!(
        r#"
        insert into xet_generations as g (user_id, generation)
        select distinct e.user_id, 2 from xorb_extents e join blobs b on b.digest = e.digest
        where b.digest = $1
            and b.last_used_at < $2
            and not exists (select from files f where f.digest = b.digest)
            and not exists (select from upload_files u where u.digest = b.digest)
            and not exists (select from fingerprints p where p.blob = b.digest)
            and not exists (select from file_prints p where p.blob = b.digest)
        on conflict (user_id) do update set generation = g.generation + 1
        "#,
        digest.as_bytes(),
        before,
    )
    .execute(&mut *db)
    .await?;
    let taken = sqlx::query!(
        r#"
        delete from blobs b
        where b.digest = $1
            and b.last_used_at < $2
            and not exists (select from files f where f.digest = b.digest)
            and not exists (select from upload_files u where u.digest = b.digest)
            and not exists (select from fingerprints p where p.blob = b.digest)
            and not exists (select from file_prints p where p.blob = b.digest)
        "#,
        digest.as_bytes(),
        before,
    )
    .execute(db)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Claims the key of an object that has no row, so that no upload can record it before this transaction ends.
/// Returns false when a row exists after all.
pub async fn claim_orphan(db: &mut PgConnection, digest: &Digest) -> Result<bool, Error> {
    let claimed = sqlx::query!(
        "insert into blobs (digest, size) values ($1, 0) on conflict (digest) do nothing",
        digest.as_bytes(),
    )
    .execute(&mut *db)
    .await?;
    if claimed.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query!("delete from blobs where digest = $1", digest.as_bytes()).execute(db).await?;
    Ok(true)
}

/// Temporary keys that rows still name: parts of unfinished uploads, xorbs that wait for their shard.
pub async fn list_temporary(db: &mut PgConnection) -> Result<Vec<String>, Error> {
    let keys = sqlx::query_scalar!(
        r#"
        select object as "object!" from partial_parts
        union
        select object as "object!" from xorbs where object is not null
        "#
    )
    .fetch_all(db)
    .await?;
    Ok(keys)
}

/// Forgets uploads, grants and xorbs that nobody touched since `before`; returns how many rows went.
pub async fn expire_uploads(db: &mut PgConnection, before: OffsetDateTime) -> Result<u64, Error> {
    let mut gone = 0;
    gone += sqlx::query!("delete from partial_uploads where touched_at < $1", before)
        .execute(&mut *db)
        .await?
        .rows_affected();
    gone += sqlx::query!("delete from uploads where touched_at < $1", before).execute(&mut *db).await?.rows_affected();
    gone += sqlx::query!("delete from upload_grants where created_at < $1", before)
        .execute(&mut *db)
        .await?
        .rows_affected();
    sqlx::query!(
        r#"
        insert into xet_generations as g (user_id, generation)
        select distinct user_id, 2 from xorbs where object is not null and created_at < $1
        on conflict (user_id) do update set generation = g.generation + 1
        "#,
        before,
    )
    .execute(&mut *db)
    .await?;
    gone += sqlx::query!("update xorbs set object = null where object is not null and created_at < $1", before)
        .execute(&mut *db)
        .await?
        .rows_affected();
    Ok(gone)
}

/// How many blobs there are and how many bytes they have.
pub async fn totals(db: &mut PgConnection) -> Result<(i64, i64), Error> {
    let row = sqlx::query!(r#"select count(*) as "blobs!", coalesce(sum(size), 0)::bigint as "bytes!" from blobs"#)
        .fetch_one(db)
        .await?;
    Ok((row.blobs, row.bytes))
}
