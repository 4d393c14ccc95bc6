//! Writes batches of imported facts.

use sqlx::{Executor as _, PgConnection};
use time::OffsetDateTime;

use super::{Error, lines::Record};

/// How many models a batch changed.
pub struct Written {
    /// New.
    pub created: u64,
    /// Catalogued, with other facts than before.
    pub updated: u64,
    /// Hosted: left alone.
    pub hosted: u64,
}

/// Inserts or updates catalogued models.
pub async fn upsert_models(db: &mut PgConnection, batch: &[Record]) -> Result<Written, Error> {
    let namespaces: Vec<String> = batch.iter().map(|r| r.name.namespace().to_owned()).collect();
    let names: Vec<String> = batch.iter().map(|r| r.name.name().to_owned()).collect();
    let licenses: Vec<Option<String>> = batch.iter().map(|r| r.license.clone()).collect();
    let license_ids: Vec<Option<String>> = batch.iter().map(|r| r.license_id.clone()).collect();
    let tags: Vec<serde_json::Value> = batch.iter().map(|r| serde_json::json!(r.tags)).collect();
    let tasks: Vec<Option<String>> = batch.iter().map(|r| r.pipeline_tag.clone()).collect();
    let libraries: Vec<Option<String>> = batch.iter().map(|r| r.library.clone()).collect();
    let architectures: Vec<Option<String>> = batch.iter().map(|r| r.architecture.clone()).collect();
    let parameters: Vec<Option<i64>> = batch.iter().map(|r| r.parameters).collect();
    let downloads: Vec<i64> = batch.iter().map(|r| r.downloads).collect();
    let likes: Vec<i64> = batch.iter().map(|r| r.likes).collect();
    let gates: Vec<Option<String>> = batch.iter().map(|r| r.gated.clone()).collect();
    let instants: Vec<Option<OffsetDateTime>> = batch.iter().map(|r| r.created_at).collect();
    let sources: Vec<serde_json::Value> = batch.iter().map(|r| serde_json::json!(r.sources)).collect();
    let flags: Vec<serde_json::Value> = batch.iter().map(|r| serde_json::json!(r.flags)).collect();
    let hosted = count_hosted(db, batch).await?;
    let rows = sqlx::query_scalar!(
        r#"
        insert into models as m (namespace, name, kind, license, license_id, tags, pipeline_tag, library, architecture,
            parameters, downloads, likes, gated, created_at, updated_at, sources, flags, smoke_verdict, lineage_status)
        select l.namespace, l.name, 'catalogued', l.license, l.license_id,
            array(select jsonb_array_elements_text(l.tags)), l.pipeline_tag, l.library, l.architecture, l.parameters,
            l.downloads, l.likes, l.gated, coalesce(l.created_at, now()), coalesce(l.created_at, now()),
            array(select jsonb_array_elements_text(l.sources)), l.flags, 'none', 'none'
        from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::text[], $7::text[], $8::text[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::text[], $13::timestamptz[], $14::jsonb[], $15::jsonb[])
            as l (namespace, name, license, license_id, tags, pipeline_tag, library, architecture, parameters,
                downloads, likes, gated, created_at, sources, flags)
        on conflict (key) do update set
            license = excluded.license, license_id = excluded.license_id, tags = excluded.tags,
            pipeline_tag = excluded.pipeline_tag, library = excluded.library, architecture = excluded.architecture,
            parameters = excluded.parameters, downloads = excluded.downloads, likes = excluded.likes,
            gated = excluded.gated, sources = excluded.sources,
            flags = excluded.flags || jsonb_path_query_array(m.flags, '$[*] ? (@.code == "lineage-cycle")'),
            created_at = least(m.created_at, excluded.created_at), updated_at = now()
        where m.kind = 'catalogued' and
            (m.license, m.license_id, m.tags, m.pipeline_tag, m.library, m.architecture, m.parameters, m.downloads,
                m.likes, m.gated, m.sources, m.flags)
            is distinct from
            (excluded.license, excluded.license_id, excluded.tags, excluded.pipeline_tag, excluded.library,
                excluded.architecture, excluded.parameters, excluded.downloads, excluded.likes, excluded.gated,
                excluded.sources,
                excluded.flags || jsonb_path_query_array(m.flags, '$[*] ? (@.code == "lineage-cycle")'))
        returning (xmax = 0) as "is_new!"
        "#,
        &namespaces,
        &names,
        &licenses as &[Option<String>],
        &license_ids as &[Option<String>],
        &tags,
        &tasks as &[Option<String>],
        &libraries as &[Option<String>],
        &architectures as &[Option<String>],
        &parameters as &[Option<i64>],
        &downloads,
        &likes,
        &gates as &[Option<String>],
        &instants as &[Option<OffsetDateTime>],
        &sources,
        &flags,
    )
    .fetch_all(db)
    .await?;
    let created = rows.iter().filter(|is_new| **is_new).count() as u64;
    Ok(Written { created, updated: rows.len() as u64 - created, hosted })
}

async fn count_hosted(db: &mut PgConnection, batch: &[Record]) -> Result<u64, Error> {
    let keys: Vec<String> = batch.iter().map(|record| record.name.key()).collect();
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from models where key = any($1) and kind = 'hosted'"#,
        &keys
    )
    .fetch_one(db)
    .await?;
    Ok(count.unsigned_abs())
}

/// Catalogues the parents that a batch names and nobody knows; returns how many.
pub async fn create_parents(db: &mut PgConnection, batch: &[Record]) -> Result<u64, Error> {
    let parents = batch.iter().flat_map(|record| &record.parents);
    let (namespaces, names): (Vec<String>, Vec<String>) =
        parents.map(|(parent, _)| (parent.namespace().to_owned(), parent.name().to_owned())).unzip();
    let created = sqlx::query!(
        r#"
        insert into models (namespace, name, kind, smoke_verdict)
        select distinct on (lower(l.namespace || '/' || l.name)) l.namespace, l.name, 'catalogued', 'none'
        from unnest($1::text[], $2::text[]) as l (namespace, name)
        order by lower(l.namespace || '/' || l.name), l.namespace, l.name
        on conflict (key) do nothing
        "#,
        &namespaces,
        &names,
    )
    .execute(db)
    .await?;
    Ok(created.rows_affected())
}

/// Writes the batch's parent links; returns how many are new or changed. Private models are no parents here.
pub async fn upsert_claims(db: &mut PgConnection, batch: &[Record]) -> Result<u64, Error> {
    let mut children = Vec::new();
    let mut parents = Vec::new();
    let mut relations = Vec::new();
    let mut confidences = Vec::new();
    let mut sources = Vec::new();
    for record in batch {
        for (parent, relation) in &record.parents {
            children.push(record.name.key());
            parents.push(parent.key());
            relations.push(relation.as_str().to_owned());
            confidences.push(record.confidence);
            sources.push(serde_json::json!({ "sources": record.sources }));
        }
    }
    let written = sqlx::query!(
        r#"
        insert into claims (child_id, parent_id, relation, origin, source, confidence, evidence, verdict)
        select ch.id, p.id, l.relation, 'declared', 'import', l.confidence, l.evidence, 'unverifiable'
        from unnest($1::text[], $2::text[], $3::text[], $4::real[], $5::jsonb[])
            as l (child, parent, relation, confidence, evidence)
        join models ch on ch.key = l.child and ch.kind = 'catalogued'
        join models p on p.key = l.parent and p.visibility = 'public'
        on conflict (child_id, parent_id, source) where withdrawn_at is null do update set
            relation = excluded.relation, confidence = excluded.confidence, evidence = excluded.evidence
        where (claims.relation, claims.confidence, claims.evidence)
            is distinct from (excluded.relation, excluded.confidence, excluded.evidence)
        "#,
        &children,
        &parents,
        &relations,
        &confidences,
        &sources,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "update models set lineage_status = 'unverifiable' where key = any($1) and kind = 'catalogued' and lineage_status = 'none'",
        &children,
    )
    .execute(db)
    .await?;
    Ok(written.rows_affected())
}

/// Marks exactly these claims, as (child, parent), as part of a cycle.
pub async fn mark_cycles(db: &mut PgConnection, children: &[i64], parents: &[i64]) -> Result<u64, Error> {
    sqlx::query!(
        r#"
        update claims c set in_cycle = marked.is_cyclic
        from (
            select k.id, l.child is not null as is_cyclic
            from claims k left join unnest($1::bigint[], $2::bigint[]) as l (child, parent)
                on l.child = k.child_id and l.parent = k.parent_id
            where k.withdrawn_at is null
        ) marked
        where c.id = marked.id and c.in_cycle <> marked.is_cyclic
        "#,
        children,
        parents,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        update models set flags = flags || '[{"code": "lineage-cycle", "detail": "it is part of a cycle of parents"}]'
        where id = any($1) and not flags @> '[{"code": "lineage-cycle"}]'
        "#,
        children,
    )
    .execute(&mut *db)
    .await?;
    let marked =
        sqlx::query_scalar!(r#"select count(*) as "count!" from claims where in_cycle and withdrawn_at is null"#)
            .fetch_one(db)
            .await?;
    Ok(marked.unsigned_abs())
}

/// Has Postgres look at the tables that an import fills, outside a transaction.
///
/// It plans queries by what it last saw there. Its own look comes a minute or more later, and until then a search among
/// a hundred thousand new models is planned as one among none, at ten times its price.
pub async fn settle(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    db.execute("vacuum (analyze) models, claims, findings, positions").await.map(|_| ())
}
