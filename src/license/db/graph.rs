//! What the engine is fed with: models, links, files, policies.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::{
    Error,
    graph::{Certainty, Edge, FileFacts, Graph, LicenseText, Link, ModelFacts},
    profile::{Policy, Terms},
};
use crate::lineage::Relation;

/// Returns a model and everything that descends from it.
pub(crate) async fn list_with_descendants(db: &mut PgConnection, model_id: i64) -> Result<Vec<i64>, Error> {
    let ids = sqlx::query_scalar!(
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
    .fetch_all(db)
    .await?;
    Ok(ids)
}

/// Returns the models of a namespace, by row.
pub async fn list_of_namespace(db: &mut PgConnection, namespace_key: &str) -> Result<Vec<i64>, Error> {
    let ids = sqlx::query_scalar!("select id from models where namespace_key = $1 order by id", namespace_key)
        .fetch_all(db)
        .await?;
    Ok(ids)
}

/// Returns rows of models by their names.
pub(crate) async fn list_rows_by_name(db: &mut PgConnection, models: &[i64]) -> Result<HashMap<String, i64>, Error> {
    let rows = sqlx::query!(r#"select id, namespace || '/' || name as "name!" from models where id = any($1)"#, models)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.name, row.id)).collect())
}

/// Loads models, with all ancestors of the subjects, or everything.
pub(crate) async fn load_graph(db: &mut PgConnection, subjects: Option<&[i64]>) -> Result<Graph, Error> {
    let rows = sqlx::query!(
        r#"
        with recursive up as (
            select id from unnest($1::bigint[]) as listed (id)
            union
            select c.parent_id from up join claims c on c.child_id = up.id and c.withdrawn_at is null
        )
        select m.id, m.namespace || '/' || m.name as "name!", m.license, m.license_name, m.license_link, m.visibility,
            m.kind, m.head_revision_id, m.pipeline_tag
        from (select id from up union select id from models where $2) as wanted join models m on m.id = wanted.id
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
            license_link: row.license_link,
            is_private: row.visibility == "private",
            is_multimodal: row.pipeline_tag.as_deref().and_then(is_multimodal),
            files: row.head_revision_id.and_then(|head| files.remove(&head)),
        });
    }
    graph.parents = vec![Vec::new(); graph.models.len()];
    let ids: Vec<i64> = graph.models.iter().map(|model| model.row).collect();
    for (child, parent, edge) in load_links(db, &ids).await? {
        let (Some(child), Some(parent)) = (places.get(&child), places.get(&parent)) else { continue };
        graph.parents[*child].push(Edge { parent: *parent, ..edge });
    }
    Ok(graph)
}

/// What a task says of the inputs that a model takes; most tasks of text models are silent about it.
fn is_multimodal(pipeline_tag: &str) -> Option<bool> {
    let takes_more =
        ["image-text-to-text", "any-to-any", "visual-question-answering", "image-to-text", "video-text-to-text"];
    takes_more.contains(&pipeline_tag).then_some(true)
}

/// One link per pair: a declared statement is stronger than an inferred one, a contradiction stands over both unless
/// an administrator set it aside.
async fn load_links(db: &mut PgConnection, ids: &[i64]) -> Result<Vec<(i64, i64, Edge)>, Error> {
    let rows = sqlx::query!(
        r#"
        select distinct on (c.child_id, c.parent_id)
            c.child_id, c.parent_id, c.relation, c.origin, c.verdict,
            (select s.action from link_standings s where s.child_id = c.child_id and s.parent_id = c.parent_id) as action
        from claims c
        where c.withdrawn_at is null and c.child_id = any($1)
        order by c.child_id, c.parent_id, (c.verdict = 'contradicted') desc, (c.relation = 'unknown'), c.origin
        "#,
        ids,
    )
    .fetch_all(db)
    .await?;
    let link = |relation: &str, origin: &str, verdict: &str, action: Option<&str>| Edge {
        parent: 0,
        link: Link::Made(relation.parse().unwrap_or(Relation::Unknown)),
        certainty: match (origin, verdict, action) {
            (_, _, Some("confirm")) | (_, "confirmed" | "confirmed_family", _) => Certainty::Confirmed,
            ("detected", ..) => Certainty::Detected,
            (_, "unverifiable", _) => Certainty::Unverifiable,
            _ => Certainty::Declared,
        },
        is_contradicted: verdict == "contradicted" && action != Some("overrule"),
    };
    let edge = rows.into_iter().map(|row| {
        let edge = link(&row.relation, &row.origin, &row.verdict, row.action.as_deref());
        (row.child_id, row.parent_id, edge)
    });
    Ok(edge.collect())
}

/// Which license texts and notices the tips of hosted models hold, and what their cards say.
async fn load_files(db: &mut PgConnection, heads: &[i64]) -> Result<HashMap<i64, FileFacts>, Error> {
    let cards = sqlx::query!(
        "select head_revision_id as \"head!\", description, card from models where head_revision_id = any($1)",
        heads
    )
    .fetch_all(&mut *db)
    .await?;
    let mut facts: HashMap<i64, FileFacts> = HashMap::new();
    for card in cards {
        facts.entry(card.head).or_default().readme = format!("{} {}", card.description, card.card);
    }
    for file in super::list_license_files(db, heads).await? {
        let entry = facts.entry(file.revision_id).or_default();
        if file.is_notice() {
            entry.notice.push_str(file.excerpt.as_deref().unwrap_or_default());
            entry.notice.push('\n');
        } else {
            entry.license_texts.push(LicenseText { path: file.path, key: file.license });
        }
    }
    Ok(facts)
}

/// Returns the intended uses and accepted licenses of all namespaces that say something, by namespace in lower case.
pub(crate) async fn list_terms(db: &mut PgConnection) -> Result<HashMap<String, Terms>, Error> {
    let rows = sqlx::query!("select namespace, profile, allow, deny from license_policies").fetch_all(db).await?;
    let terms = rows.into_iter().map(|row| {
        let profile = serde_json::from_value(row.profile).unwrap_or_default();
        (row.namespace, Terms { profile, policy: Policy { allow: row.allow, deny: row.deny } })
    });
    Ok(terms.collect())
}
