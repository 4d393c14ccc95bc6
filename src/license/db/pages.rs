//! What pages ask beside the lists: models per label, the last month, where somebody may accept findings.

use std::{collections::HashMap, sync::Arc};

use sqlx::PgConnection;

use super::{super::Error, history::TrendPoint};
use crate::{auth::Viewer, tally::Tally};

/// Number of models by the identifier of the license that they declare; kept until the data changes.
pub async fn kept_labels(
    tally: &Tally,
    db: &mut PgConnection,
    viewer: &Viewer,
) -> Result<Arc<HashMap<String, i64>>, Error> {
    tally.get(db, viewer, "labels", async |db| count_labels(db, viewer).await).await
}

async fn count_labels(db: &mut PgConnection, viewer: &Viewer) -> Result<HashMap<String, i64>, Error> {
    let rows = sqlx::query!(
        r#"
        select m.license_id as "label!", count(*) as "count!" from models m
        where m.license_id is not null and (m.visibility = 'public' or $1 or m.namespace_key = any($2))
        group by m.license_id
        "#,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.label, row.count)).collect())
}

/// How many of the models that are here now were in which position at the end of each of the last days; kept until the
/// data changes.
pub async fn kept_trend(
    tally: &Tally,
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace: Option<&str>,
    days: i32,
) -> Result<Arc<Vec<TrendPoint>>, Error> {
    let what = format!("trend {namespace:?} {days}");
    tally.get(db, viewer, &what, async |db| count_by_day(db, viewer, namespace, days).await).await
}

async fn count_by_day(
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace: Option<&str>,
    days: i32,
) -> Result<Vec<TrendPoint>, Error> {
    // Back from now, without what came later: only changes of these days are read.
    let points = sqlx::query_as!(
        TrendPoint,
        r#"
        with days as (
            select generate_series(current_date - $4::int + 1, current_date, interval '1 day')::date as day
        ), visible as (
            select m.id, m.position, m.created_at from models m
            where ($1::text is null or m.namespace_key = $1)
                and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        ), changes as (
            select c.id, c.model_id, c.at::date as day, coalesce(c.previous, 'unknown') as previous, c.position
            from position_changes c join visible v on v.id = c.model_id
            where c.at >= current_date - $4::int + 1
        ), firsts as (
            select distinct on (model_id) model_id, previous from changes order by model_id, id
        ), moves as (
            select day, previous as position, -1 as models from changes
            union all
            select day, position, 1 from changes
            union all
            select v.created_at::date, coalesce(f.previous, v.position), 1
            from visible v left join firsts f on f.model_id = v.id
            where v.created_at >= current_date - $4::int + 1
        ), moved as (
            select day, position, sum(models) as models from moves group by day, position
        ), now as (
            select position, count(*) as models from visible group by position
        ), positions as (
            select position from moved union select position from now
        ), counted as (
            select d.day, p.position, coalesce(n.models, 0) - coalesce(
                (select sum(m.models) from moved m where m.position = p.position and m.day > d.day), 0) as models
            from days d cross join positions p left join now n on n.position = p.position
        )
        select to_char(day, 'YYYY-MM-DD') as "day!", position as "position!", models::bigint as "models!"
        from counted where models > 0
        order by day, position
        "#,
        namespace,
        viewer.everything,
        &viewer.namespaces,
        days,
    )
    .fetch_all(db)
    .await?;
    Ok(points)
}

/// Returns the namespaces, in lower case, whose findings a user may accept.
pub async fn list_waivable(db: &mut PgConnection, user_id: i64) -> Result<Vec<String>, Error> {
    let namespaces =
        sqlx::query_scalar!("select namespace from waiver_rights where user_id = $1 order by namespace", user_id)
            .fetch_all(db)
            .await?;
    Ok(namespaces)
}
