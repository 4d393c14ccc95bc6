//! How positions came about: their changes, counts over time, and whether they are being judged.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::Error;
use crate::auth::Viewer;

/// A change of a model's position.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct PositionChange {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The position before; null: it was never judged.
    pub previous: Option<String>,
    /// The position from then on.
    pub position: String,
    /// The finding that decided, as `RULE@about`; empty when none did.
    pub reason: String,
}

/// Returns how a model's position changed, the latest first.
pub async fn list_position_changes(
    db: &mut PgConnection,
    model_id: i64,
    limit: i64,
) -> Result<Vec<PositionChange>, Error> {
    let changes = sqlx::query_as!(
        PositionChange,
        r#"
        select at, previous, position, reason from position_changes where model_id = $1 order by id desc limit $2
        "#,
        model_id,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(changes)
}

/// Models by position at the end of a day.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct TrendPoint {
    /// The day (UTC).
    pub day: String,
    /// The position.
    pub position: String,
    /// Models that were in it.
    pub models: i64,
}

/// Returns whether a job that will judge the model is waiting or running: for the model, an ancestor, its namespace, or
/// everything.
pub async fn is_being_judged(db: &mut PgConnection, model_id: i64) -> Result<bool, Error> {
    let is = sqlx::query_scalar!(
        r#"
        with recursive up as (
            select $1::bigint as id
            union
            select c.parent_id from up join claims c on c.child_id = up.id and c.withdrawn_at is null
        )
        select exists (
            select from jobs j where j.state in ('pending', 'running') and j.run_at <= now() and (
                (j.kind = 'judge_license' and j.model_id in (select id from up))
                or (j.kind = 'judge_licenses' and (j.payload ->> 'namespace' is null
                    or j.payload ->> 'namespace' = (select namespace_key from models where id = $1))))
        ) as "is!"
        "#,
        model_id,
    )
    .fetch_one(db)
    .await?;
    Ok(is)
}

/// Returns how many models carry a license: declared, and by an obligation or finding from further up.
pub async fn list_license_users(
    db: &mut PgConnection,
    viewer: &Viewer,
    labels: &[String],
    license: &str,
    limit: i64,
) -> Result<LicenseUsers, Error> {
    let declared = sqlx::query_scalar!(
        r#"
        select count(*) as "count!" from models m
        where m.license_id = any($1) and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        "#,
        labels,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_one(&mut *db)
    .await?;
    let first = sqlx::query_scalar!(
        r#"
        select m.namespace || '/' || m.name as "name!" from models m
        where m.license_id = any($1) and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        order by m.downloads desc, m.id limit $4
        "#,
        labels,
        viewer.everything,
        &viewer.namespaces,
        limit,
    )
    .fetch_all(&mut *db)
    .await?;
    let probe = serde_json::json!([license]);
    let rows = sqlx::query!(
        r#"
        select m.namespace || '/' || m.name as "name!", count(*) over () as "count!"
        from positions p join models m on m.id = p.model_id
        where jsonb_path_query_array(p.obligations, '$[*].license') @> $1 and not coalesce(m.license_id = any($2), false)
            and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
        order by m.downloads desc, m.id limit $5
        "#,
        probe,
        labels,
        viewer.everything,
        &viewer.namespaces,
        limit,
    )
    .fetch_all(db)
    .await?;
    let inherited = rows.first().map_or(0, |row| row.count);
    Ok(LicenseUsers {
        declared,
        first_declared: first,
        inherited,
        first_inherited: rows.into_iter().map(|r| r.name).collect(),
    })
}

/// Which models here carry a license.
#[derive(Debug, Clone, Default, serde::Serialize, utoipa::ToSchema)]
pub struct LicenseUsers {
    /// Models that declare it.
    pub declared: i64,
    /// Those of them that are downloaded most.
    pub first_declared: Vec<String>,
    /// Models that do not declare it and carry it from an ancestor.
    pub inherited: i64,
    /// Those of them that are downloaded most.
    pub first_inherited: Vec<String>,
}
