//! What people decide: disputes, confirmations, policies, and what is held back for them.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::{Claim, Error};
use crate::auth::Viewer;

/// What somebody said of a verdict.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct Decision {
    /// `dispute`, `confirm`, `overrule` or `reopen`.
    pub action: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub decided_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// Keeps what somebody said of a verdict.
pub(crate) async fn insert_decision(
    db: &mut PgConnection,
    child_id: i64,
    parent_id: i64,
    action: &str,
    reason: &str,
    by: &str,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into link_decisions (child_id, parent_id, action, reason, decided_by) values ($1, $2, $3, $4, $5)",
        child_id,
        parent_id,
        action,
        reason,
        by,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns what people said of a link, the latest first.
pub async fn list_decisions(db: &mut PgConnection, child_id: i64, parent_id: i64) -> Result<Vec<Decision>, Error> {
    let rows = sqlx::query_as!(
        Decision,
        r#"
        select action, reason, decided_by, created_at from link_decisions
        where child_id = $1 and parent_id = $2 order by id desc limit 100
        "#,
        child_id,
        parent_id,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Returns what a namespace does when a parent is contradicted: `note`, `review` or `quarantine`.
pub async fn find_policy(db: &mut PgConnection, namespace_key: &str) -> Result<String, Error> {
    let found =
        sqlx::query_scalar!("select on_contradiction from lineage_policies where namespace = $1", namespace_key)
            .fetch_optional(db)
            .await?;
    Ok(found.unwrap_or_else(|| "note".to_owned()))
}

/// Sets what a namespace does when a parent is contradicted.
pub(crate) async fn upsert_policy(
    db: &mut PgConnection,
    namespace_key: &str,
    on_contradiction: &str,
    by: &str,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into lineage_policies (namespace, on_contradiction, changed_by) values ($1, $2, $3)
        on conflict (namespace) do update set
            on_contradiction = excluded.on_contradiction, changed_by = excluded.changed_by, changed_at = now()
        "#,
        namespace_key,
        on_contradiction,
        by,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Sets or lifts the holds of models, by id or of a whole namespace, as policy and decisions ask.
pub(crate) async fn update_holds(
    db: &mut PgConnection,
    model_id: Option<i64>,
    namespace_key: Option<&str>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update models m set hold = wanted.hold
        from (
            select m.id, case
                when p.on_contradiction <> 'note' and exists (
                    select from claims c
                    left join link_standings s on s.child_id = c.child_id and s.parent_id = c.parent_id
                    where c.child_id = m.id and c.withdrawn_at is null and c.verdict = 'contradicted'
                        and s.action is distinct from 'overrule')
                then p.on_contradiction end as hold
            from models m left join lineage_policies p on p.namespace = m.namespace_key
            where ($1::bigint is null or m.id = $1) and ($2::text is null or m.namespace_key = $2)
                and m.kind = 'hosted'
        ) wanted
        where m.id = wanted.id and m.hold is distinct from wanted.hold
        "#,
        model_id,
        namespace_key,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns whether a model is held back: `review` or `quarantine`.
pub async fn find_hold(db: &mut PgConnection, model_id: i64) -> Result<Option<String>, Error> {
    let hold = sqlx::query_scalar!("select hold from models where id = $1", model_id).fetch_optional(db).await?;
    Ok(hold.flatten())
}

/// Returns the claims that wait for somebody to look: contradicted, held and not decided, or disputed.
pub async fn list_to_review(db: &mut PgConnection, viewer: &Viewer, limit: i64) -> Result<Vec<Claim>, Error> {
    let claims = sqlx::query_as!(
        Claim,
        r#"
        select ch.namespace || '/' || ch.name as "child!", p.namespace || '/' || p.name as "parent!",
            c.parent_revision, c.relation, c.origin, c.source, c.verdict, c.confidence, c.evidence, c.in_cycle
        from claims c
        join models ch on ch.id = c.child_id
        join models p on p.id = c.parent_id
        left join link_standings s on s.child_id = c.child_id and s.parent_id = c.parent_id
        where c.withdrawn_at is null
            and (ch.visibility = 'public' or $1 or ch.namespace_key = any($2))
            and (p.visibility = 'public' or $1 or p.namespace_key = any($2))
            and ((c.verdict = 'contradicted' and ch.hold is not null and coalesce(s.action, 'reopen') = 'reopen') or (
                select d.action from link_decisions d
                where d.child_id = c.child_id and d.parent_id = c.parent_id order by d.id desc limit 1) = 'dispute')
        order by c.id desc limit $3
        "#,
        viewer.everything,
        &viewer.namespaces,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(claims)
}
