//! Rows of fingerprints, and the search for candidates by bands and by whole tensors.

use std::collections::BinaryHeap;

use futures::TryStreamExt as _;
use sqlx::PgConnection;

use super::super::Error;
use crate::{auth::Viewer, digest::Digest};

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

/// Keys of bands, as columns.
#[derive(Debug, Default, Clone)]
pub(crate) struct Keys {
    pub(crate) kinds: Vec<i16>,
    pub(crate) bands: Vec<i16>,
    pub(crate) keys: Vec<i32>,
}

/// Returns the leaders that share a band with these keys, with the number of bands shared.
pub(crate) async fn find_leaders(db: &mut PgConnection, keys: &Keys) -> Result<Vec<(i64, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select b.leader_id, count(*) as "shared!"
        from unnest($1::smallint[], $2::smallint[], $3::integer[]) as wanted (kind, band, key)
        join fingerprint_bands b on b.kind = wanted.kind and b.band = wanted.band and b.key = wanted.key
        group by b.leader_id
        order by 2 desc, 1
        limit 1000
        "#,
        &keys.kinds,
        &keys.bands,
        &keys.keys,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.leader_id, row.shared)).collect())
}

/// Returns the leaders of these revisions, and those that share a band with one of them.
pub(crate) async fn list_near_leaders(db: &mut PgConnection, revisions: &[i64]) -> Result<Vec<i64>, Error> {
    let rows = sqlx::query_scalar!(
        r#"
        with own as (
            select distinct leader_id from fingerprints where revision_id = any($1) and leader_id is not null
        )
        select leader_id as "leader_id!" from own
        union
        select near.leader_id
        from own
        join fingerprint_bands b on b.leader_id = own.leader_id
        join fingerprint_bands near on near.kind = b.kind and near.band = b.band and near.key = b.key
        "#,
        revisions,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Makes a fingerprint the leader of what its bands find.
pub(crate) async fn insert_leader(db: &mut PgConnection, revision_id: i64, keys: &Keys) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into fingerprint_bands (kind, band, key, leader_id)
        select kind, band, key, $4 from unnest($1::smallint[], $2::smallint[], $3::integer[]) as k (kind, band, key)
        on conflict do nothing
        "#,
        &keys.kinds,
        &keys.bands,
        &keys.keys,
        revision_id,
    )
    .execute(&mut *db)
    .await?;
    set_leader(db, revision_id, revision_id).await
}

/// Puts a fingerprint behind a leader.
pub(crate) async fn set_leader(db: &mut PgConnection, revision_id: i64, leader_id: i64) -> Result<(), Error> {
    sqlx::query!("update fingerprints set leader_id = $2 where revision_id = $1", revision_id, leader_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Fingerprints of models that no bands find: their leader was deleted.
pub(crate) async fn list_without_leader(db: &mut PgConnection, limit: i64) -> Result<Vec<PrintRow>, Error> {
    let rows = sqlx::query_as!(
        PrintRow,
        r#"
        select revision_id, model_id, kind, version, weights, blob, reason, summary
        from fingerprints where leader_id is null and kind = 'model' and blob is not null order by revision_id limit $1
        "#,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// A model that may be a relative, by the fingerprint at its tip of `main`.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) revision_id: i64,
    pub(crate) model_id: i64,
    pub(crate) name: String,
    pub(crate) namespace_key: String,
    pub(crate) is_private: bool,
    /// The model's first revision: what was seen earlier has a smaller one.
    pub(crate) first_revision_id: i64,
    pub(crate) blob: Vec<u8>,
}

/// Returns the revisions at the tips of `main` behind these leaders, or named, whose signatures are nearest, as far as the
/// viewer may read them: at most `most`, the nearest first. A family may be very large: one signature is held at a time.
pub(crate) async fn rank_candidates(
    db: &mut PgConnection,
    leaders: &[i64],
    revisions: &[i64],
    viewer: &Viewer,
    most: usize,
    distance: &(dyn Fn(i64, &[u8]) -> u32 + Sync),
) -> Result<Vec<i64>, Error> {
    let mut rows = sqlx::query!(
        r#"
        select f.revision_id, f.signature
        from fingerprints f
        join models m on m.head_revision_id = f.revision_id
        where (f.leader_id = any($1) or f.revision_id = any($2)) and f.kind = 'model' and f.blob is not null
            and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
        "#,
        leaders,
        revisions,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch(db);
    let mut nearest: BinaryHeap<(u32, i64)> = BinaryHeap::new();
    while let Some(row) = rows.try_next().await? {
        nearest.push((distance(row.revision_id, row.signature.as_deref().unwrap_or_default()), row.revision_id));
        if nearest.len() > most {
            nearest.pop();
        }
    }
    Ok(nearest.into_sorted_vec().into_iter().map(|(_, revision_id)| revision_id).collect())
}

/// Returns at most `most` tips of `main` behind these leaders, or named by revision, that the viewer may read, but none of
/// `except`.
pub(crate) async fn list_candidates(
    db: &mut PgConnection,
    leaders: &[i64],
    revisions: &[i64],
    except: &[i64],
    viewer: &Viewer,
    most: usize,
) -> Result<Vec<Candidate>, Error> {
    let rows = sqlx::query_as!(
        Candidate,
        r#"
        select f.revision_id, f.model_id, m.namespace || '/' || m.name as "name!", m.namespace_key as "namespace_key!",
            m.visibility = 'private' as "is_private!", f.blob as "blob!",
            (select min(r.id) from revisions r where r.model_id = m.id) as "first_revision_id!"
        from fingerprints f
        join models m on m.head_revision_id = f.revision_id
        where (f.leader_id = any($1) or f.revision_id = any($2)) and not f.revision_id = any($3)
            and f.kind = 'model' and f.blob is not null
            and (m.visibility = 'public' or $4 or m.namespace_key = any($5))
        order by f.revision_id limit $6
        "#,
        leaders,
        revisions,
        except,
        viewer.everything,
        &viewer.namespaces,
        i64::try_from(most).unwrap_or(i64::MAX),
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Whether a private model stands near these revisions: behind one of their leaders, or one that shares a band with them.
pub(crate) async fn has_private_near(db: &mut PgConnection, revisions: &[i64]) -> Result<bool, Error> {
    let leaders = list_near_leaders(db, revisions).await?;
    let has = sqlx::query_scalar!(
        r#"
        select exists (
            select from fingerprints f join models m on m.head_revision_id = f.revision_id
            where f.leader_id = any($1) and m.visibility = 'private'
        ) as "has!"
        "#,
        &leaders,
    )
    .fetch_one(db)
    .await?;
    Ok(has)
}

/// Returns revisions that have some of these matrices, those with most of them first.
pub(crate) async fn find_by_tensors(
    db: &mut PgConnection,
    canonical: &[Vec<u8>],
    limit: i64,
) -> Result<Vec<i64>, Error> {
    let rows = sqlx::query_scalar!(
        r#"
        select t.revision_id
        from fingerprint_tensors t
        where t.canonical = any($1)
        group by t.revision_id order by count(*) desc, 1 limit $2
        "#,
        canonical,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Tips of `main` of the models that a model's claims in force name as parents.
pub(crate) async fn list_claimed_tips(db: &mut PgConnection, model_ids: &[i64]) -> Result<Vec<i64>, Error> {
    let rows = sqlx::query_scalar!(
        r#"
        select distinct p.head_revision_id as "id!"
        from claims c join models p on p.id = c.parent_id
        where c.child_id = any($1) and c.withdrawn_at is null and p.head_revision_id is not null
        "#,
        model_ids,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Tips of `main` of the models that claim to descend from this one.
pub(crate) async fn list_claiming_tips(db: &mut PgConnection, model_id: i64) -> Result<Vec<i64>, Error> {
    let rows = sqlx::query_scalar!(
        r#"
        select distinct m.head_revision_id as "id!"
        from claims c join models m on m.id = c.child_id
        where c.parent_id = $1 and c.withdrawn_at is null and m.head_revision_id is not null
        "#,
        model_id,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
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

/// A model that may be an adapter's base.
#[derive(Debug, Clone)]
pub(crate) struct BaseRow {
    pub(crate) revision_id: i64,
    pub(crate) model_id: i64,
    /// The same for those that are of one family: a leader, until they were compared.
    pub(crate) family: i64,
    pub(crate) blob: Vec<u8>,
    pub(crate) name: String,
    pub(crate) is_private: bool,
    pub(crate) first_revision_id: i64,
}

/// Returns models of this width that may be an adapter's base: those named by revision, and of each family the first,
/// as far as the viewer may read them.
pub(crate) async fn list_bases(
    db: &mut PgConnection,
    hidden: i64,
    named: &[i64],
    viewer: &Viewer,
    families: i64,
) -> Result<Vec<BaseRow>, Error> {
    let rows = sqlx::query_as!(
        BaseRow,
        r#"
        with readable as (
            select f.revision_id, f.model_id, f.leader_id, f.blob, m.namespace || '/' || m.name as name,
                m.visibility = 'private' as is_private,
                (select min(r.id) from revisions r where r.model_id = m.id) as first_revision_id
            from fingerprints f join models m on m.head_revision_id = f.revision_id
            where f.hidden = $1 and f.kind = 'model' and f.leader_id is not null and f.blob is not null
                and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
        ), first_of_each as (
            select distinct on (leader_id) revision_id from readable order by leader_id, first_revision_id
        ), chosen as (
            select revision_id from first_of_each order by revision_id limit $5
        )
        select revision_id as "revision_id!", model_id as "model_id!", leader_id as "family!", blob as "blob!", name as "name!",
            is_private as "is_private!", first_revision_id as "first_revision_id!"
        from readable where revision_id = any($2) or revision_id in (select revision_id from chosen)
        order by 1
        "#,
        hidden,
        named,
        viewer.everything,
        &viewer.namespaces,
        families,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}
