//! Walks over the graph.

use sqlx::PgConnection;

use super::super::{Claim, Direction, Error, Graph, Node, Relation};
use crate::{auth::Viewer, catalog::Model};

/// Most models that one answer holds.
pub const MAX_NODES: i64 = 50_000;

/// What a walk is to return.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Which way.
    pub direction: Direction,
    /// How far.
    pub depth: i32,
    /// Only along this relation.
    pub relation: Option<Relation>,
    /// Most models.
    pub limit: i64,
    /// Whether the claims' evidence is wanted.
    pub with_evidence: bool,
}

/// Walks the graph from a model.
pub async fn walk(db: &mut PgConnection, root: &Model, walk: &Walk, viewer: &Viewer) -> Result<Graph, Error> {
    let mut ids: Vec<(i64, i32)> = vec![(root.id, 0)];
    if walk.direction != Direction::Descendants {
        ids.extend(reach_up(db, root.id, walk, viewer).await?);
    }
    if walk.direction != Direction::Ancestors {
        ids.extend(reach_down(db, root.id, walk, viewer).await?);
    }
    let truncated = i64::try_from(ids.len()).unwrap_or(i64::MAX) > walk.limit;
    ids.truncate(usize::try_from(walk.limit).unwrap_or(usize::MAX));
    let (ids, depths): (Vec<i64>, Vec<i32>) = ids.into_iter().unzip();
    let nodes = list_nodes(db, &ids, &depths).await?;
    let edges = list_edges(db, &ids, walk).await?;
    Ok(Graph { root: root.name.to_string(), nodes, edges, truncated })
}

async fn reach_down(db: &mut PgConnection, root: i64, walk: &Walk, viewer: &Viewer) -> Result<Vec<(i64, i32)>, Error> {
    let relation = walk.relation.map(Relation::as_str);
    let mut seen = std::collections::HashSet::from([root]);
    let mut reached = Vec::new();
    let mut front = vec![root];
    // One indexed query a generation: a recursive query cannot stop at what it has seen at a lesser depth.
    for depth in 1..=walk.depth {
        let next = sqlx::query_scalar!(
            r#"
            select distinct c.child_id
            from claims c join models m on m.id = c.child_id
            where c.parent_id = any($1) and c.withdrawn_at is null and ($2::text is null or c.relation = $2)
                and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
            order by 1
            "#,
            &front,
            relation,
            viewer.everything,
            &viewer.namespaces,
        )
        .fetch_all(&mut *db)
        .await?;
        front = next.into_iter().filter(|id| seen.insert(*id)).collect();
        reached.extend(front.iter().map(|id| (*id, depth)));
        if front.is_empty() || i64::try_from(reached.len()).unwrap_or(i64::MAX) > walk.limit {
            break;
        }
    }
    Ok(reached)
}

async fn reach_up(db: &mut PgConnection, root: i64, walk: &Walk, viewer: &Viewer) -> Result<Vec<(i64, i32)>, Error> {
    let relation = walk.relation.map(Relation::as_str);
    let mut seen = std::collections::HashSet::from([root]);
    let mut reached = Vec::new();
    let mut front = vec![root];
    for depth in 1..=walk.depth {
        let next = sqlx::query_scalar!(
            r#"
            select distinct c.parent_id
            from claims c join models m on m.id = c.parent_id
            where c.child_id = any($1) and c.withdrawn_at is null and ($2::text is null or c.relation = $2)
                and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
            order by 1
            "#,
            &front,
            relation,
            viewer.everything,
            &viewer.namespaces,
        )
        .fetch_all(&mut *db)
        .await?;
        front = next.into_iter().filter(|id| seen.insert(*id)).collect();
        reached.extend(front.iter().map(|id| (*id, -depth)));
        if front.is_empty() {
            break;
        }
    }
    Ok(reached)
}

async fn list_nodes(db: &mut PgConnection, ids: &[i64], depths: &[i32]) -> Result<Vec<Node>, Error> {
    let nodes = sqlx::query_as!(
        Node,
        r#"
        select m.namespace || '/' || m.name as "id!", listed.depth as "depth!", m.kind, m.license, m.position,
            m.smoke_verdict as verdict, m.lineage_status as lineage, m.parameters, m.downloads, m.descendants
        from unnest($1::bigint[], $2::integer[]) as listed (id, depth)
        join models m on m.id = listed.id
        order by abs(listed.depth), m.descendants desc, m.key
        "#,
        ids,
        depths,
    )
    .fetch_all(db)
    .await?;
    Ok(nodes)
}

async fn list_edges(db: &mut PgConnection, ids: &[i64], walk: &Walk) -> Result<Vec<Claim>, Error> {
    let claims = sqlx::query_as!(
        Claim,
        r#"
        select ch.namespace || '/' || ch.name as "child!", p.namespace || '/' || p.name as "parent!",
            c.parent_revision, c.relation, c.origin, c.source, c.verdict, c.confidence,
            case when $3 then c.evidence else '{}'::jsonb end as "evidence!", c.in_cycle
        from claims c
        join models ch on ch.id = c.child_id
        join models p on p.id = c.parent_id
        where c.child_id = any($1) and c.parent_id = any($1) and c.withdrawn_at is null
            and ($2::text is null or c.relation = $2)
        order by ch.key, p.key, c.source
        "#,
        ids,
        walk.relation.map(Relation::as_str),
        walk.with_evidence,
    )
    .fetch_all(db)
    .await?;
    Ok(claims)
}

/// Returns shortest paths from a descendant up to an ancestor, as names; at most `limit`.
pub async fn paths(
    db: &mut PgConnection,
    from: &Model,
    to: &Model,
    viewer: &Viewer,
    limit: i64,
) -> Result<Vec<Vec<String>>, Error> {
    let paths = sqlx::query_scalar!(
        r#"
        with recursive above as (
            select $2::bigint as id
            union
            select c.child_id
            from above join claims c on c.parent_id = above.id and c.withdrawn_at is null
            join models m on m.id = c.child_id and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
        ), up as (
            select $1::bigint as id, array[$1::bigint] as path
            union all
            select c.parent_id, up.path || c.parent_id
            from up join claims c on c.child_id = up.id and c.withdrawn_at is null
            where c.parent_id <> all (up.path) and cardinality(up.path) < 32 and up.id <> $2
                and c.parent_id in (select id from above)
        )
        -- The recursion goes breadth first and stops with the limits: many merges have very many paths.
        select walked.path as "path!" from (select id, path from up limit 200000) walked where walked.id = $2 limit $5
        "#,
        from.id,
        to.id,
        viewer.everything,
        &viewer.namespaces,
        limit,
    );
    let rows = paths.fetch_all(&mut *db).await?;
    let mut named = Vec::new();
    for path in rows {
        named.push(super::names(db, &path, viewer).await?);
    }
    Ok(named)
}

/// A common ancestor of two models.
#[derive(Debug, serde::Serialize)]
pub struct CommonAncestor {
    /// `namespace/name`.
    pub id: String,
    /// Steps from the first.
    pub depth_a: i32,
    /// Steps from the second.
    pub depth_b: i32,
}

/// Returns the nearest common ancestors of two models, by the sum of steps; a model counts as its own ancestor.
pub async fn common_ancestors(
    db: &mut PgConnection,
    a: &Model,
    b: &Model,
    viewer: &Viewer,
) -> Result<Vec<CommonAncestor>, Error> {
    let walk =
        Walk { direction: Direction::Ancestors, depth: 64, relation: None, limit: MAX_NODES, with_evidence: false };
    let mut of_a = reach_up(db, a.id, &walk, viewer).await?;
    of_a.push((a.id, 0));
    let mut of_b = reach_up(db, b.id, &walk, viewer).await?;
    of_b.push((b.id, 0));
    let depths: std::collections::HashMap<i64, i32> = of_b.into_iter().collect();
    let common = of_a.into_iter().filter_map(|(id, depth)| Some((id, -depth, -depths.get(&id)?)));
    let common: Vec<(i64, i32, i32)> = common.collect();
    let Some(nearest) = common.iter().map(|(_, a, b)| a + b).min() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (id, depth_a, depth_b) in common.into_iter().filter(|(_, a, b)| a + b == nearest) {
        let id = sqlx::query_scalar!(r#"select namespace || '/' || name as "id!" from models where id = $1"#, id)
            .fetch_one(&mut *db)
            .await?;
        found.push(CommonAncestor { id, depth_a, depth_b });
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}
