//! Rows of claims.

use sqlx::PgConnection;

use super::super::{Claim, Error, Relation};
use crate::{auth::Viewer, name::ModelName};

pub(crate) struct NewClaim<'a> {
    pub(crate) child_id: i64,
    pub(crate) parent_id: i64,
    pub(crate) parent_revision: Option<String>,
    pub(crate) revision_id: Option<i64>,
    pub(crate) relation: Relation,
    pub(crate) origin: &'a str,
    pub(crate) source: &'a str,
    pub(crate) confidence: f32,
    pub(crate) evidence: &'a serde_json::Value,
    pub(crate) created_by: &'a str,
}

pub(crate) async fn insert_claim(db: &mut PgConnection, new: &NewClaim<'_>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into claims (child_id, parent_id, parent_revision, revision_id, relation, origin, source, confidence,
            evidence, created_by)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (child_id, parent_id, source) where withdrawn_at is null do update set
            parent_revision = excluded.parent_revision, revision_id = excluded.revision_id,
            relation = excluded.relation, evidence = excluded.evidence, created_by = excluded.created_by,
            verdict = 'pending'
        "#,
        new.child_id,
        new.parent_id,
        new.parent_revision,
        new.revision_id,
        new.relation.as_str(),
        new.origin,
        new.source,
        new.confidence,
        new.evidence,
        new.created_by,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Withdraws what a model's files claimed, before a new revision's files are read.
pub(crate) async fn withdraw_from_files(db: &mut PgConnection, child_id: i64) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update claims set withdrawn_at = now()
        where child_id = $1 and withdrawn_at is null and source in ('card', 'adapter_config', 'gguf', 'mergekit')
        "#,
        child_id,
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn withdraw_declared(db: &mut PgConnection, child_id: i64, parent_key: &str) -> Result<bool, Error> {
    let withdrawn = sqlx::query!(
        r#"
        update claims set withdrawn_at = now()
        where child_id = $1 and withdrawn_at is null and source = 'api'
            and parent_id = (select id from models where key = $2)
        "#,
        child_id,
        parent_key,
    )
    .execute(db)
    .await?;
    Ok(withdrawn.rows_affected() > 0)
}

/// Returns the id of a catalogued model of this name, made when there is none.
///
/// `None` when the name is of a private model, or could be: where somebody keeps models that the viewer may not read,
/// a name that is free is answered like one that is taken.
pub(crate) async fn catalogue_parent(
    db: &mut PgConnection,
    name: &ModelName,
    viewer: &Viewer,
) -> Result<Option<i64>, Error> {
    sqlx::query!(
        r#"
        insert into models (namespace, name, kind, smoke_verdict)
        select $1, $2, 'catalogued', 'none' where $3 or not exists (
            select from models
            where namespace_key = lower($1) and visibility = 'private' and not namespace_key = any($4))
        on conflict (key) do nothing
        "#,
        name.namespace(),
        name.name(),
        viewer.everything,
        &viewer.namespaces,
    )
    .execute(&mut *db)
    .await?;
    let id = sqlx::query_scalar!("select id from models where key = $1 and visibility = 'public'", name.key())
        .fetch_optional(db)
        .await?;
    Ok(id)
}

pub(crate) async fn add_flags(db: &mut PgConnection, model_id: i64, flags: &serde_json::Value) -> Result<(), Error> {
    sqlx::query!("update models set flags = flags || $2 where id = $1", model_id, flags).execute(db).await?;
    Ok(())
}

/// Derives the one-word status of a model from its claims.
pub async fn update_lineage_status(db: &mut PgConnection, model_id: i64) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update models m set lineage_status = coalesce((
            select case
                when count(*) = 0 then 'none'
                when bool_or(c.verdict = 'contradicted' and s.action is distinct from 'overrule') then 'contradicted'
                when bool_and(c.origin = 'detected') then 'detected'
                when bool_or(c.verdict = 'pending') then 'declared'
                when bool_and(c.verdict in ('confirmed', 'confirmed_family', 'detected')) then 'confirmed'
                when bool_or(c.verdict = 'unverifiable') then 'unverifiable'
                else 'declared'
            end
            from claims c
            join models p on p.id = c.parent_id
            left join link_standings s on s.child_id = c.child_id and s.parent_id = c.parent_id
            where c.child_id = m.id and c.withdrawn_at is null
                and (m.visibility = 'private' or p.visibility = 'public')
        ), 'none')
        where m.id = $1
        "#,
        model_id,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the names on the way from `parent` up to `child`, when there is one: the cycle that a claim would close.
pub async fn find_cycle(
    db: &mut PgConnection,
    child_id: i64,
    parent_id: i64,
    viewer: &Viewer,
) -> Result<Option<Vec<String>>, Error> {
    let is_ancestor = sqlx::query_scalar!(
        r#"
        with recursive up as (
            select $2::bigint as id
            union
            select c.parent_id from up join claims c on c.child_id = up.id and c.withdrawn_at is null
        )
        select exists (select from up where id = $1) as "is_ancestor!"
        "#,
        child_id,
        parent_id,
    )
    .fetch_one(&mut *db)
    .await?;
    if !is_ancestor {
        return Ok(None);
    }
    let path = sqlx::query_scalar!(
        r#"
        with recursive up as (
            select $2::bigint as id, array[$2::bigint] as path
            union all
            select c.parent_id, up.path || c.parent_id
            from up join claims c on c.child_id = up.id and c.withdrawn_at is null
            where c.parent_id <> all (up.path) and up.id <> $1 and cardinality(up.path) < 64
        )
        select walked.path as "path!" from (select id, path from up limit 200000) walked where walked.id = $1 limit 1
        "#,
        child_id,
        parent_id,
    )
    .fetch_optional(&mut *db)
    .await?;
    let mut path = path.unwrap_or_else(|| vec![parent_id, child_id]);
    path.insert(0, child_id);
    Ok(Some(names(db, &path, viewer).await?))
}

/// Names of models, as far as the viewer may read them.
pub(crate) async fn names(db: &mut PgConnection, ids: &[i64], viewer: &Viewer) -> Result<Vec<String>, Error> {
    let names = sqlx::query_scalar!(
        r#"
        select case
            when m.visibility = 'public' or $2 or m.namespace_key = any($3) then m.namespace || '/' || m.name
            else 'a private model'
        end as "name!"
        from unnest($1::bigint[]) with ordinality as listed (id, place)
        join models m on m.id = listed.id
        order by listed.place
        "#,
        ids,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(names)
}

/// The parents of a model, those first that were confirmed or declared.
pub async fn list_parents(db: &mut PgConnection, model_id: i64, viewer: &Viewer) -> Result<Vec<Claim>, Error> {
    let claims = sqlx::query_as!(
        Claim,
        r#"
        select ch.namespace || '/' || ch.name as "child!", m.namespace || '/' || m.name as "parent!",
            c.parent_revision, c.relation, c.origin, c.source, c.verdict, c.confidence,
            c.evidence || coalesce(jsonb_build_object('sentence', v.sentence), '{}') as "evidence!", c.in_cycle
        from claims c
        join models m on m.id = c.parent_id
        join models ch on ch.id = c.child_id
        left join verdicts v on v.child_id = c.child_id and v.parent_id = c.parent_id and v.superseded_at is null
        where c.child_id = $1 and c.withdrawn_at is null
            and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        order by (c.origin <> 'declared'), m.key, c.source
        "#,
        model_id,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(claims)
}

/// Number of children by relation.
pub async fn children_by_relation(
    db: &mut PgConnection,
    model_id: i64,
    viewer: &Viewer,
) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select c.relation, count(distinct c.child_id) as "count!"
        from claims c join models m on m.id = c.child_id
        where c.parent_id = $1 and c.withdrawn_at is null
            and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        group by c.relation order by 2 desc, 1
        "#,
        model_id,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.relation, row.count)).collect())
}

/// Row ids of a model's children.
pub async fn list_child_ids(db: &mut PgConnection, model_id: i64) -> Result<Vec<i64>, Error> {
    let ids = sqlx::query_scalar!(
        "select distinct child_id from claims where parent_id = $1 and withdrawn_at is null",
        model_id
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}

/// Row ids of a model's parents.
pub async fn list_parent_ids(db: &mut PgConnection, model_id: i64) -> Result<Vec<i64>, Error> {
    let ids = sqlx::query_scalar!(
        "select distinct parent_id from claims where child_id = $1 and withdrawn_at is null",
        model_id
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}
