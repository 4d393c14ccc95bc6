//! Rows of fingerprints: what is known of each revision's weights, and what was taken of files as they were uploaded.

use sqlx::PgConnection;

use super::super::Error;
use crate::digest::Digest;

/// What a row of a fingerprint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrintKind {
    /// Whole weights.
    Model,
    /// An adapter: it is attributed by its coupling to a base.
    Adapter,
    /// Nothing that can be fingerprinted.
    None,
}

impl PrintKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Adapter => "adapter",
            Self::None => "none",
        }
    }
}

/// A fingerprint to keep.
pub(crate) struct NewPrint<'a> {
    pub(crate) revision_id: i64,
    pub(crate) model_id: i64,
    pub(crate) kind: PrintKind,
    pub(crate) version: i32,
    pub(crate) weights: &'a [u8],
    pub(crate) blob: Option<Digest>,
    pub(crate) reason: Option<&'a str>,
    pub(crate) hidden: i64,
    pub(crate) summary: &'a serde_json::Value,
    pub(crate) signature: Option<&'a [u8]>,
}

/// Keeps a fingerprint; one of another version gives way.
pub(crate) async fn upsert_print(db: &mut PgConnection, new: &NewPrint<'_>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into fingerprints (revision_id, model_id, kind, version, weights, blob, reason, hidden, summary, signature)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (revision_id) do update set
            kind = excluded.kind, version = excluded.version, weights = excluded.weights, blob = excluded.blob,
            reason = excluded.reason, hidden = excluded.hidden, summary = excluded.summary,
            signature = excluded.signature, leader_id = null
        "#,
        new.revision_id,
        new.model_id,
        new.kind.as_str(),
        new.version,
        new.weights,
        new.blob.as_ref().map(|digest| &digest.as_bytes()[..]),
        new.reason,
        new.hidden,
        new.summary,
        new.signature,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("delete from fingerprint_tensors where revision_id = $1", new.revision_id).execute(&mut *db).await?;
    sqlx::query!("delete from fingerprint_bands where leader_id = $1", new.revision_id).execute(db).await?;
    Ok(())
}

/// Keeps the digests of a fingerprint's matrices.
pub(crate) async fn insert_tensors(
    db: &mut PgConnection,
    revision_id: i64,
    slots: &[String],
    canonical: &[Vec<u8>],
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into fingerprint_tensors (revision_id, slot, canonical)
        select $1, slot, canonical from unnest($2::text[], $3::bytea[]) as listed (slot, canonical)
        on conflict do nothing
        "#,
        revision_id,
        slots,
        canonical,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A fingerprint's row.
#[derive(Debug, Clone)]
pub struct PrintRow {
    /// The revision.
    pub revision_id: i64,
    /// Its model.
    pub model_id: i64,
    /// `model`, `adapter` or `none`.
    pub kind: String,
    /// The version that it was made by.
    pub version: i32,
    /// Digest of the files that it depends on.
    pub weights: Vec<u8>,
    /// The fingerprint file.
    pub blob: Option<Vec<u8>>,
    /// Why there is none.
    pub reason: Option<String>,
    /// Shape, element type, coverage, what was left out.
    pub summary: serde_json::Value,
}

/// Returns the fingerprint's row of a revision.
pub async fn find_print(db: &mut PgConnection, revision_id: i64) -> Result<Option<PrintRow>, Error> {
    let row = sqlx::query_as!(
        PrintRow,
        r#"
        select revision_id, model_id, kind, version, weights, blob, reason, summary
        from fingerprints where revision_id = $1
        "#,
        revision_id,
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Returns a fingerprint that was made of the same files by the same version.
pub(crate) async fn find_same_weights(
    db: &mut PgConnection,
    weights: &[u8],
    version: i32,
) -> Result<Option<PrintRow>, Error> {
    let row = sqlx::query_as!(
        PrintRow,
        r#"
        select revision_id, model_id, kind, version, weights, blob, reason, summary
        from fingerprints where weights = $1 and version = $2 and kind = 'model' and blob is not null limit 1
        "#,
        weights,
        version,
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Returns tips of `main` after `after` that have no fingerprint of this version, as (revision, model).
pub async fn list_outdated(
    db: &mut PgConnection,
    version: i32,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select r.id, r.model_id
        from revisions r
        join models m on m.head_revision_id = r.id
        left join fingerprints f on f.revision_id = r.id
        where r.id > $2 and (f.revision_id is null or f.version <> $1)
        order by r.id limit $3
        "#,
        version,
        after,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.model_id)).collect())
}

/// How many tips of `main` have no fingerprint of this version.
pub async fn count_outdated(db: &mut PgConnection, version: i32) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
        from models m left join fingerprints f on f.revision_id = m.head_revision_id
        where m.head_revision_id is not null and (f.revision_id is null or f.version <> $1)
        "#,
        version,
    )
    .fetch_one(db)
    .await?;
    Ok(count)
}

/// Returns what was taken of a weight file while it was uploaded.
pub(crate) async fn find_file_print(
    db: &mut PgConnection,
    digest: &Digest,
    version: i32,
) -> Result<Option<Vec<u8>>, Error> {
    let blob = sqlx::query_scalar!(
        "select blob from file_prints where digest = $1 and version = $2",
        digest.as_bytes(),
        version,
    )
    .fetch_optional(db)
    .await?;
    Ok(blob)
}

/// Keeps what was taken of a weight file while it was uploaded.
pub(crate) async fn insert_file_print(
    db: &mut PgConnection,
    digest: &Digest,
    version: i32,
    blob: &Digest,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into file_prints (digest, version, blob) values ($1, $2, $3)
        on conflict (digest) do update set version = excluded.version, blob = excluded.blob
        "#,
        digest.as_bytes(),
        version,
        blob.as_bytes(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Keeps the width of the base that an adapter fits.
pub(crate) async fn update_hidden(db: &mut PgConnection, revision_id: i64, hidden: i64) -> Result<(), Error> {
    sqlx::query!("update fingerprints set hidden = $2 where revision_id = $1 and hidden <> $2", revision_id, hidden)
        .execute(db)
        .await?;
    Ok(())
}

/// Returns adapters that may fit one of these models, where it is the first of its family: a base that came after its
/// adapters, or one more stranger that these are measured by.
pub(crate) async fn list_adapters_beside(db: &mut PgConnection, model_ids: &[i64]) -> Result<Vec<i64>, Error> {
    let ids = sqlx::query_scalar!(
        r#"
        select distinct a.model_id
        from models base
        join fingerprints own on own.revision_id = base.head_revision_id and own.leader_id = own.revision_id
        join fingerprints a on a.hidden = own.hidden and a.kind = 'adapter'
        join models m on m.head_revision_id = a.revision_id
        where base.id = any($1)
        order by 1 limit 1000
        "#,
        model_ids,
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}
