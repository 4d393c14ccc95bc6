//! Counts of children and descendants.

use sqlx::PgConnection;

use super::super::Error;
use crate::auth::Viewer;

/// Counts a model's descendants as the viewer sees them.
pub async fn count_descendants(db: &mut PgConnection, model_id: i64, viewer: &Viewer) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"
        with recursive down as (
            select $1::bigint as id
            union
            select c.child_id
            from down
            join claims c on c.parent_id = down.id and c.withdrawn_at is null
            join models m on m.id = c.child_id and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        )
        select count(*) - 1 as "count!" from down
        "#,
        model_id,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_one(db)
    .await?;
    Ok(count)
}

/// Recounts children and descendants of a model and of everything above it, public ones only.
pub async fn recount_ancestors(db: &mut PgConnection, model_id: i64) -> Result<(), Error> {
    let above = sqlx::query_scalar!(
        r#"
        with recursive up as (
            select $1::bigint as id
            union
            select c.parent_id from up join claims c on c.child_id = up.id and c.withdrawn_at is null
        )
        select id as "id!" from up
        "#,
        model_id,
    )
    .fetch_all(&mut *db)
    .await?;
    // Withdrawn parents lose a descendant too.
    let former = sqlx::query_scalar!(
        "select distinct parent_id from claims where child_id = $1 and withdrawn_at is not null",
        model_id
    )
    .fetch_all(&mut *db)
    .await?;
    for id in above.into_iter().chain(former) {
        let descendants = count_descendants(db, id, &Viewer::anonymous()).await?;
        sqlx::query!(
            r#"
            update models set descendants = $2, children = (
                select count(distinct c.child_id) from claims c join models m on m.id = c.child_id
                where c.parent_id = $1 and c.withdrawn_at is null and m.visibility = 'public')
            where id = $1
            "#,
            id,
            i32::try_from(descendants).unwrap_or(i32::MAX),
        )
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Every public claim in force as (child, parent) row ids, for counting all at once.
pub async fn list_all_links(db: &mut PgConnection) -> Result<Vec<(i64, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select distinct c.child_id, c.parent_id from claims c join models m on m.id = c.child_id
        where c.withdrawn_at is null and m.visibility = 'public'
        "#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.child_id, row.parent_id)).collect())
}

/// Stores counted children and descendants, only where they differ.
pub async fn store_counts(
    db: &mut PgConnection,
    ids: &[i64],
    children: &[i32],
    descendants: &[i32],
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update models m set children = counted.children, descendants = counted.descendants
        from unnest($1::bigint[], $2::integer[], $3::integer[]) as counted (id, children, descendants)
        where m.id = counted.id
            and (m.children, m.descendants) is distinct from (counted.children, counted.descendants)
        "#,
        ids,
        children,
        descendants,
    )
    .execute(db)
    .await?;
    Ok(())
}
