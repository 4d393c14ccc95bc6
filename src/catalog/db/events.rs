//! The log of what happened, and counts of what is there.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::{Error, Model};
use crate::auth::Viewer;

/// Writes a line of the audit log.
pub async fn record_event(
    db: &mut PgConnection,
    actor: &str,
    kind: &str,
    model: Option<&Model>,
    detail: &serde_json::Value,
) -> Result<(), Error> {
    let subject = model.map(|model| model.name.to_string()).unwrap_or_default();
    sqlx::query!(
        "insert into events (actor, kind, model_id, subject, detail) values ($1, $2, $3, $4, $5)",
        actor,
        kind,
        model.map(|model| model.id),
        subject,
        detail,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A line of the log.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Event {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who.
    pub actor: String,
    /// What: `published`, `created`, `deleted`, ….
    pub kind: String,
    /// The model it is about, under its name of then.
    pub subject: String,
    /// More.
    pub detail: serde_json::Value,
}

/// Returns what happened to one model or to all that the viewer may read, the latest first; parents that the viewer
/// may not read are left out.
pub async fn list_events(
    db: &mut PgConnection,
    model_id: Option<i64>,
    viewer: &Viewer,
    limit: i64,
) -> Result<Vec<Event>, Error> {
    let events = sqlx::query_as!(
        Event,
        r#"
        select e.at, e.actor, e.kind, e.subject, case
                when $2 or exists (
                    select from models p where p.key = lower(e.detail ->> 'parent')
                        and (p.visibility = 'public' or p.namespace_key = any($3))) then e.detail
                else e.detail - 'parent'
            end as "detail!"
        from events e left join models m on m.id = e.model_id
        where ($1::bigint is null or e.model_id = $1)
            and ($2 or m.visibility = 'public' or m.namespace_key = any($3))
        order by e.id desc
        limit $4
        "#,
        model_id,
        viewer.everything,
        &viewer.namespaces,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(events)
}

/// How much the registry holds.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Totals {
    /// Models whose files are here.
    pub hosted: i64,
    /// Models known by metadata.
    pub catalogued: i64,
    /// Parent links in force.
    pub claims: i64,
    /// Bytes of stored content, each blob once.
    pub blob_bytes: i64,
}

/// Counts what the viewer may read.
pub async fn count_all(db: &mut PgConnection, viewer: &Viewer) -> Result<Totals, Error> {
    let totals = sqlx::query_as!(
        Totals,
        r#"
        with hidden as (
            select id from models where visibility = 'private' and not $1 and not namespace_key = any($2)
        )
        select count(*) filter (where m.kind = 'hosted') as "hosted!",
            count(*) filter (where m.kind = 'catalogued') as "catalogued!",
            (select count(*) from claims where withdrawn_at is null) - (select count(*) from (
                select c.id from hidden h join claims c on c.child_id = h.id and c.withdrawn_at is null
                union
                select c.id from hidden h join claims c on c.parent_id = h.id and c.withdrawn_at is null
            ) as unseen) as "claims!",
            (select coalesce(sum(b.size), 0)::bigint from blobs b where $1 or exists (
                select from files f join revisions r on r.id = f.revision_id join models m on m.id = r.model_id
                where f.digest = b.digest and (m.visibility = 'public' or m.namespace_key = any($2)))) as "blob_bytes!"
        from models m where m.visibility = 'public' or $1 or m.namespace_key = any($2)
        "#,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_one(db)
    .await?;
    Ok(totals)
}
