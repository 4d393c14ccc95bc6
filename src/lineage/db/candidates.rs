//! The search for relatives: by bands behind leaders, by whole tensors, by what is claimed, by width.

use std::collections::BinaryHeap;

use futures::TryStreamExt as _;
use sqlx::PgConnection;

use super::{super::Error, PrintRow};
use crate::auth::Viewer;

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
    /// Its card says that its weights are a difference to another model's.
    pub(crate) is_difference: bool,
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
            m.flags @> '[{"code": "weight-difference"}]' as "is_difference!",
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

/// Returns the namespaces of private models near these revisions: behind one of their leaders, or one that shares a band
/// with them.
pub(crate) async fn list_private_namespaces_near(
    db: &mut PgConnection,
    revisions: &[i64],
) -> Result<Vec<String>, Error> {
    let leaders = list_near_leaders(db, revisions).await?;
    let namespaces = sqlx::query_scalar!(
        r#"
        select distinct m.namespace_key as "namespace!"
        from fingerprints f join models m on m.head_revision_id = f.revision_id
        where f.leader_id = any($1) and m.visibility = 'private'
        order by 1
        "#,
        &leaders,
    )
    .fetch_all(db)
    .await?;
    Ok(namespaces)
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
