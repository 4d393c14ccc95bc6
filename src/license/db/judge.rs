//! Feeds the engine from the database, keeps what it says, and answers what pages and exports ask.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::{
    Error, Finding, Judgement,
    catalogue::CATALOGUE,
    graph::{Certainty, Edge, FileFacts, Graph, LicenseText, Link as Kind, ModelFacts},
    judge::Engine,
    profile::Terms,
};
use crate::{
    digest::Digest,
    formats::{self, FileKind},
    lineage::Relation,
};

/// Models that are judged and stored at once.
const BATCH: usize = 5000;

/// Judges a model and everything that descends from it; returns how many positions changed.
pub async fn rejudge_model_and_descendants(db: &mut PgConnection, model_id: i64) -> Result<usize, Error> {
    let subjects = sqlx::query_scalar!(
        r#"
        with recursive down as (
            select $1::bigint as id
            union
            select c.child_id from down join claims c on c.parent_id = down.id and c.withdrawn_at is null
        )
        select id as "id!" from down
        "#,
        model_id,
    )
    .fetch_all(&mut *db)
    .await?;
    rejudge(db, Some(&subjects)).await
}

/// Judges every model; returns how many positions changed.
pub async fn rejudge_all(db: &mut PgConnection) -> Result<usize, Error> {
    rejudge(db, None).await
}

async fn rejudge(db: &mut PgConnection, subjects: Option<&[i64]>) -> Result<usize, Error> {
    let graph = load_graph(db, subjects).await?;
    let wanted: Option<std::collections::HashSet<i64>> = subjects.map(|ids| ids.iter().copied().collect());
    let judged = tokio::task::spawn_blocking(move || {
        let engine = Engine::new(&CATALOGUE, &graph);
        let is_subject = |row: i64| wanted.as_ref().is_none_or(|wanted| wanted.contains(&row));
        let rows: HashMap<String, i64> = graph.models.iter().map(|m| (m.id.clone(), m.row)).collect();
        let judgements: Vec<(i64, Judgement)> = (0..graph.models.len())
            .filter(|index| is_subject(graph.models[*index].row))
            .map(|index| (graph.models[index].row, engine.judge(index, &Terms::default())))
            .collect();
        (judgements, rows)
    });
    let (judgements, rows) = judged.await.map_err(|error| Error::Graph(format!("the engine stopped: {error}")))?;
    let mut changed = 0;
    for batch in judgements.chunks(BATCH) {
        changed += store(db, batch, &rows).await?;
    }
    Ok(changed)
}

/// Loads models, with all ancestors of the subjects, or everything.
async fn load_graph(db: &mut PgConnection, subjects: Option<&[i64]>) -> Result<Graph, Error> {
    let rows = sqlx::query!(
        r#"
        with recursive up as (
            select id from unnest($1::bigint[]) as listed (id)
            union
            select c.parent_id from up join claims c on c.child_id = up.id and c.withdrawn_at is null
        )
        select m.id, m.namespace || '/' || m.name as "name!", m.license, m.license_name, m.visibility, m.kind,
            m.head_revision_id
        from models m
        where $2 or m.id in (select id from up)
        order by m.id
        "#,
        subjects.unwrap_or_default(),
        subjects.is_none(),
    )
    .fetch_all(&mut *db)
    .await?;
    let heads: Vec<i64> = rows.iter().filter(|r| r.kind == "hosted").filter_map(|r| r.head_revision_id).collect();
    let mut files = load_files(db, &heads).await?;
    let mut graph = Graph::default();
    let mut places = HashMap::new();
    for row in rows {
        places.insert(row.id, graph.models.len());
        let labels = row.license.iter().flat_map(|text| text.split(", ")).map(str::to_owned).collect();
        graph.models.push(ModelFacts {
            row: row.id,
            id: row.name,
            labels,
            license_name: row.license_name,
            license_link: None,
            is_private: row.visibility == "private",
            is_multimodal: None,
            files: row.head_revision_id.and_then(|head| files.remove(&head)),
        });
    }
    graph.parents = vec![Vec::new(); graph.models.len()];
    let ids: Vec<i64> = graph.models.iter().map(|model| model.row).collect();
    for link in load_links(db, &ids).await? {
        let (Some(child), Some(parent)) = (places.get(&link.child_id), places.get(&link.parent_id)) else { continue };
        graph.parents[*child].push(Edge { parent: *parent, ..link.edge });
    }
    Ok(graph)
}

struct Link {
    child_id: i64,
    parent_id: i64,
    edge: Edge,
}

/// One link per pair: a declared statement is stronger than an inferred one, a contradiction stands over both.
async fn load_links(db: &mut PgConnection, ids: &[i64]) -> Result<Vec<Link>, Error> {
    let rows = sqlx::query!(
        r#"
        select distinct on (c.child_id, c.parent_id)
            c.child_id, c.parent_id, c.relation, c.origin, c.verdict
        from claims c
        where c.withdrawn_at is null and c.child_id = any($1)
        order by c.child_id, c.parent_id, (c.verdict = 'contradicted') desc, (c.relation = 'unknown'), c.origin
        "#,
        ids,
    )
    .fetch_all(db)
    .await?;
    let link = |child_id, parent_id, relation: &str, origin: &str, verdict: &str| Link {
        child_id,
        parent_id,
        edge: Edge {
            parent: 0,
            link: Kind::Made(relation.parse().unwrap_or(Relation::Unknown)),
            certainty: match (origin, verdict) {
                ("detected", _) => Certainty::Detected,
                (_, "confirmed" | "confirmed_family") => Certainty::Confirmed,
                (_, "unverifiable") => Certainty::Unverifiable,
                _ => Certainty::Declared,
            },
            is_contradicted: verdict == "contradicted",
        },
    };
    Ok(rows.into_iter().map(|r| link(r.child_id, r.parent_id, &r.relation, &r.origin, &r.verdict)).collect())
}

/// Which license texts and notices the tips of hosted models hold.
async fn load_files(db: &mut PgConnection, heads: &[i64]) -> Result<HashMap<i64, FileFacts>, Error> {
    let rows = sqlx::query!("select revision_id, path from files where revision_id = any($1)", heads)
        .fetch_all(&mut *db)
        .await?;
    let mut facts: HashMap<i64, FileFacts> = HashMap::new();
    for row in rows {
        let entry = facts.entry(row.revision_id).or_default();
        if formats::kind(&row.path) == FileKind::License {
            if row.path.to_lowercase().contains("notice") {
                entry.notice.push_str(&row.path);
            } else {
                entry.license_texts.push(LicenseText { path: row.path, key: None });
            }
        }
    }
    let cards = sqlx::query!(
        "select head_revision_id as \"head!\", description, card from models where head_revision_id = any($1)",
        heads
    )
    .fetch_all(db)
    .await?;
    for card in cards {
        facts.entry(card.head).or_default().readme = format!("{} {}", card.description, card.card);
    }
    Ok(facts)
}

/// Stores what changed of a batch of judgements.
async fn store(db: &mut PgConnection, batch: &[(i64, Judgement)], rows: &HashMap<String, i64>) -> Result<usize, Error> {
    let ids: Vec<i64> = batch.iter().map(|(id, _)| *id).collect();
    let known = sqlx::query!("select model_id, input_digest from positions where model_id = any($1)", &ids)
        .fetch_all(&mut *db)
        .await?;
    let known: HashMap<i64, Vec<u8>> = known.into_iter().map(|row| (row.model_id, row.input_digest)).collect();
    let mut changed = Vec::new();
    for (id, judgement) in batch {
        let digest = Digest::of(serde_json::to_string(judgement).unwrap_or_default().as_bytes()).as_bytes().to_vec();
        if known.get(id) != Some(&digest) {
            changed.push((*id, judgement, digest));
        }
    }
    store_positions(db, &changed).await?;
    store_findings(db, &changed, rows).await?;
    Ok(changed.len())
}

type Changed<'a> = (i64, &'a Judgement, Vec<u8>);

async fn store_positions(db: &mut PgConnection, changed: &[Changed<'_>]) -> Result<(), Error> {
    let ids: Vec<i64> = changed.iter().map(|(id, ..)| *id).collect();
    let positions: Vec<String> = changed.iter().map(|(_, j, _)| j.position.clone()).collect();
    let declared: Vec<Option<String>> = changed.iter().map(|(_, j, _)| j.declared.clone()).collect();
    let expressions: Vec<Option<String>> = changed.iter().map(|(_, j, _)| j.expression.clone()).collect();
    let obligations: Vec<serde_json::Value> =
        changed.iter().map(|(_, j, _)| serde_json::to_value(&j.obligations).unwrap_or_default()).collect();
    let digests: Vec<Vec<u8>> = changed.iter().map(|(.., digest)| digest.clone()).collect();
    sqlx::query!(
        r#"
        insert into positions (model_id, position, declared, expression, obligations, input_digest)
        select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::bytea[])
        on conflict (model_id) do update set
            position = excluded.position, declared = excluded.declared, expression = excluded.expression,
            obligations = excluded.obligations, input_digest = excluded.input_digest, computed_at = now()
        "#,
        &ids,
        &positions,
        &declared as &[Option<String>],
        &expressions as &[Option<String>],
        &obligations,
        &digests,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        update models m set position = judged.position
        from unnest($1::bigint[], $2::text[]) as judged (id, position)
        where m.id = judged.id and m.position <> judged.position
        "#,
        &ids,
        &positions,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn store_findings(
    db: &mut PgConnection,
    changed: &[Changed<'_>],
    rows: &HashMap<String, i64>,
) -> Result<(), Error> {
    let ids: Vec<i64> = changed.iter().map(|(id, ..)| *id).collect();
    sqlx::query!("delete from findings where model_id = any($1)", &ids).execute(&mut *db).await?;
    let all: Vec<(i64, &Finding)> = changed.iter().flat_map(|(id, j, _)| j.findings.iter().map(|f| (*id, f))).collect();
    let column = |of: fn(&Finding) -> String| all.iter().map(|(_, f)| of(f)).collect::<Vec<String>>();
    let optional = |of: fn(&Finding) -> Option<String>| all.iter().map(|(_, f)| of(f)).collect::<Vec<_>>();
    let models: Vec<i64> = all.iter().map(|(id, _)| *id).collect();
    // Arrays of arrays must be rectangular in SQL: paths travel as JSON.
    let paths: Vec<serde_json::Value> = all.iter().map(|(_, f)| serde_json::json!(f.path)).collect();
    let path_ids: Vec<serde_json::Value> = all
        .iter()
        .map(|(_, f)| f.path.iter().filter_map(|name| rows.get(name)).collect::<Vec<_>>())
        .map(|ids| serde_json::json!(ids))
        .collect();
    sqlx::query!(
        r#"
        insert into findings (model_id, rule, severity, about, message, license, section, remedy, path, path_ids)
        select l.model_id, l.rule, l.severity, l.about, l.message, l.license, l.section, l.remedy,
            array(select jsonb_array_elements_text(l.path)),
            array(select jsonb_array_elements_text(l.path_ids)::bigint)
        from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::jsonb[], $10::jsonb[])
            as l (model_id, rule, severity, about, message, license, section, remedy, path, path_ids)
        "#,
        &models,
        &column(|f| f.rule.clone()),
        &column(|f| f.severity.as_str().to_owned()),
        &column(|f| f.about.clone()),
        &column(|f| f.message.clone()),
        &optional(|f| f.license.clone()) as &[Option<String>],
        &optional(|f| f.section.clone()) as &[Option<String>],
        &column(|f| f.remedy.clone()),
        &paths,
        &path_ids,
    )
    .execute(db)
    .await?;
    Ok(())
}
