//! Rows of claims, and the walks over them. Every walk stays among models that the viewer may read.

use sqlx::PgConnection;

use super::{Claim, Direction, Error, Graph, Node, Relation};
use crate::{
    catalog::{Model, Viewer},
    name::ModelName,
};

/// Most models that one answer holds.
pub const MAX_NODES: i64 = 50_000;

pub(super) struct NewClaim<'a> {
    pub(super) child_id: i64,
    pub(super) parent_id: i64,
    pub(super) parent_revision: Option<String>,
    pub(super) revision_id: Option<i64>,
    pub(super) relation: Relation,
    pub(super) origin: &'a str,
    pub(super) source: &'a str,
    pub(super) confidence: f32,
    pub(super) evidence: &'a serde_json::Value,
    pub(super) created_by: &'a str,
}

pub(super) async fn insert_claim(db: &mut PgConnection, new: &NewClaim<'_>) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into claims (child_id, parent_id, parent_revision, revision_id, relation, origin, source, confidence,
            evidence, created_by)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (child_id, parent_id, source) where withdrawn_at is null do update set
            parent_revision = excluded.parent_revision, revision_id = excluded.revision_id,
            relation = excluded.relation, evidence = excluded.evidence, created_by = excluded.created_by
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
pub(super) async fn withdraw_from_files(db: &mut PgConnection, child_id: i64) -> Result<(), Error> {
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

pub(super) async fn withdraw_declared(db: &mut PgConnection, child_id: i64, parent_key: &str) -> Result<bool, Error> {
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

/// Returns the id of a catalogued model of this name, made when there is none; `None` when the name is another's.
pub(super) async fn catalogue_parent(db: &mut PgConnection, name: &ModelName) -> Result<Option<i64>, Error> {
    sqlx::query!(
        r#"
        insert into models (namespace, name, kind, smoke_verdict) values ($1, $2, 'catalogued', 'none')
        on conflict (key) do nothing
        "#,
        name.namespace(),
        name.name(),
    )
    .execute(&mut *db)
    .await?;
    let id = sqlx::query_scalar!("select id from models where key = $1 and visibility = 'public'", name.key())
        .fetch_optional(db)
        .await?;
    Ok(id)
}

pub(super) async fn add_flags(db: &mut PgConnection, model_id: i64, flags: &serde_json::Value) -> Result<(), Error> {
    sqlx::query!("update models set flags = flags || $2 where id = $1", model_id, flags).execute(db).await?;
    Ok(())
}

/// Derives the one-word status of a model from its claims.
pub async fn update_lineage_status(db: &mut PgConnection, model_id: i64) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update models m set lineage_status = coalesce((
            select case
                when bool_or(c.verdict = 'contradicted') then 'contradicted'
                when bool_and(c.verdict in ('confirmed', 'confirmed_family')) then 'confirmed'
                when bool_or(c.origin = 'declared') then 'declared'
                when bool_and(c.origin = 'detected') then 'detected'
                else 'declared'
            end
            from claims c where c.child_id = m.id and c.withdrawn_at is null
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
pub async fn find_cycle(db: &mut PgConnection, child_id: i64, parent_id: i64) -> Result<Option<Vec<String>>, Error> {
    let path = sqlx::query_scalar!(
        r#"
        with recursive up as (
            select $2::bigint as id, array[$2::bigint] as path
            union all
            select c.parent_id, up.path || c.parent_id
            from up join claims c on c.child_id = up.id and c.withdrawn_at is null
            where c.parent_id <> all (up.path) and up.id <> $1 and cardinality(up.path) < 64
        )
        select path as "path!" from up where id = $1 order by cardinality(path) limit 1
        "#,
        child_id,
        parent_id,
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(mut path) = path else { return Ok(None) };
    path.insert(0, child_id);
    Ok(Some(names(db, &path).await?))
}

async fn names(db: &mut PgConnection, ids: &[i64]) -> Result<Vec<String>, Error> {
    let names = sqlx::query_scalar!(
        r#"
        select case when m.visibility = 'public' then m.namespace || '/' || m.name else 'a private model' end as "name!"
        from unnest($1::bigint[]) with ordinality as listed (id, place)
        join models m on m.id = listed.id
        order by listed.place
        "#,
        ids,
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
            c.parent_revision, c.relation, c.origin, c.source, c.verdict, c.confidence, c.evidence, c.in_cycle
        from claims c
        join models m on m.id = c.parent_id
        join models ch on ch.id = c.child_id
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
        select distinct path as "path!", cardinality(path) as length
        from up where id = $2 order by length, path limit $5
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
        named.push(names(db, &path).await?);
    }
    Ok(named)
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
    let walk = Walk { direction: Direction::Ancestors, depth: 64, relation: None, limit: MAX_NODES, with_evidence: false };
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
