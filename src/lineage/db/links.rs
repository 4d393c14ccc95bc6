//! Rows of claims as the check of the weights reads and writes them.

use sqlx::PgConnection;

use super::super::{Error, Relation};

/// A claim in force, as the check reads it.
#[derive(Debug, Clone)]
pub(crate) struct ClaimRow {
    pub(crate) parent_id: i64,
    pub(crate) parent_name: String,
    pub(crate) parent_head: Option<i64>,
    pub(crate) parent_is_private: bool,
    pub(crate) relation: String,
    pub(crate) source: String,
}

/// Returns the claims in force of a model.
pub(crate) async fn list_claim_rows(db: &mut PgConnection, child_id: i64) -> Result<Vec<ClaimRow>, Error> {
    let rows = sqlx::query_as!(
        ClaimRow,
        r#"
        select c.parent_id, p.namespace || '/' || p.name as "parent_name!", p.head_revision_id as parent_head, p.visibility = 'private' as "parent_is_private!",
            c.relation, c.source
        from claims c join models p on p.id = c.parent_id
        where c.child_id = $1 and c.withdrawn_at is null
        order by c.parent_id, (c.origin <> 'declared'), c.id
        "#,
        child_id,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Withdraws a link that was detected and is no longer.
pub(crate) async fn withdraw_detected(db: &mut PgConnection, child_id: i64, parent_id: i64) -> Result<bool, Error> {
    let gone = sqlx::query!(
        r#"
        update claims set withdrawn_at = now()
        where child_id = $1 and parent_id = $2 and source = 'weights' and withdrawn_at is null
        "#,
        child_id,
        parent_id,
    )
    .execute(db)
    .await?;
    Ok(gone.rows_affected() > 0)
}

/// A link that the weights show without a claim.
pub(crate) struct Detected<'a> {
    pub(crate) child_id: i64,
    pub(crate) child_revision_id: i64,
    pub(crate) parent_id: i64,
    pub(crate) parent_commit: Option<String>,
    pub(crate) relation: Relation,
    pub(crate) confidence: f32,
    pub(crate) in_cycle: bool,
    pub(crate) evidence: &'a serde_json::Value,
}

/// Keeps a detected link; returns whether it is new or changed.
pub(crate) async fn upsert_detected(db: &mut PgConnection, new: &Detected<'_>) -> Result<bool, Error> {
    let changed = sqlx::query!(
        r#"
        insert into claims as c (child_id, parent_id, parent_revision, revision_id, relation, origin, source, verdict,
            confidence, evidence, in_cycle, created_by)
        values ($1, $2, $3, $4, $5, 'detected', 'weights', 'detected', $6, $7, $8, '')
        on conflict (child_id, parent_id, source) where withdrawn_at is null do update set
            parent_revision = excluded.parent_revision, revision_id = excluded.revision_id,
            relation = excluded.relation, confidence = excluded.confidence, in_cycle = excluded.in_cycle
        where (c.parent_revision, c.revision_id, c.relation, c.in_cycle)
            is distinct from (excluded.parent_revision, excluded.revision_id, excluded.relation, excluded.in_cycle)
        "#,
        new.child_id,
        new.parent_id,
        new.parent_commit,
        new.child_revision_id,
        new.relation.as_str(),
        new.confidence,
        new.evidence,
        new.in_cycle,
    )
    .execute(db)
    .await?;
    Ok(changed.rows_affected() > 0)
}

/// Waits until no other check runs, and keeps others out until the transaction ends.
pub(crate) async fn lock_checks(db: &mut PgConnection) -> Result<(), Error> {
    // Any number that nothing else locks: the first bytes of `lineage`.
    sqlx::query!("select pg_advisory_xact_lock(30515171087737701)").execute(db).await?;
    Ok(())
}

/// Returns hosted models that claim to descend from one of these.
pub(crate) async fn list_claiming_models(db: &mut PgConnection, model_ids: &[i64]) -> Result<Vec<i64>, Error> {
    let ids = sqlx::query_scalar!(
        r#"
        select distinct m.id
        from claims c join models m on m.id = c.child_id
        where c.parent_id = any($1) and c.withdrawn_at is null and m.kind = 'hosted'
        order by 1 limit 1000
        "#,
        model_ids,
    )
    .fetch_all(db)
    .await?;
    Ok(ids)
}
