//! Finds models: the one dynamic query, its facets, and its paging.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};
use time::OffsetDateTime;

use super::Error;
use crate::{auth::Viewer, tally::Tally};

/// Most rows of a page.
pub const MAX_LIMIT: i64 = 1000;

/// What is wanted.
#[derive(Debug, Clone, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
pub struct Query {
    /// Words of the name, and `key:value` filters (`llama license:mit position:clear base:ns/name`).
    pub search: String,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only descendants of this model.
    pub base: Option<String>,
    /// Only with this relation to a parent.
    pub relation: Option<String>,
    /// Only with this license.
    pub license: Option<String>,
    /// Only in this position.
    pub position: Option<String>,
    /// Only with this verdict of the smoke test.
    pub verdict: Option<String>,
    /// Only with this verdict over the parent links.
    pub lineage: Option<String>,
    /// Only of this architecture.
    pub arch: Option<String>,
    /// Only in this format.
    pub format: Option<String>,
    /// `hosted` or `catalogued`.
    pub kind: Option<String>,
    /// Only with these tags, separated by commas; tasks and libraries count as tags.
    pub tag: Option<String>,
    /// `reach` (descendants), `downloads`, `recent` or `name`.
    pub sort: Option<String>,
    /// Rows of a page, at most 1000.
    pub limit: Option<i64>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

impl Query {
    /// Moves `key:value` words of the search into their filters.
    #[must_use]
    pub fn understood(mut self) -> Self {
        let mut words = Vec::new();
        for word in self.search.split_whitespace() {
            let slot = match word.split_once(':').map(|(key, value)| (key, value.to_owned())) {
                Some(("license", value)) => Some((&mut self.license, value)),
                Some(("position", value)) => Some((&mut self.position, value)),
                Some(("base", value)) => Some((&mut self.base, value)),
                Some(("relation", value)) => Some((&mut self.relation, value)),
                Some(("verdict", value)) => Some((&mut self.verdict, value)),
                Some(("lineage", value)) => Some((&mut self.lineage, value)),
                Some(("arch", value)) => Some((&mut self.arch, value)),
                Some(("format", value)) => Some((&mut self.format, value)),
                Some(("kind", value)) => Some((&mut self.kind, value)),
                Some(("tag", value)) => Some((&mut self.tag, value)),
                Some(("namespace" | "author", value)) => Some((&mut self.namespace, value)),
                _ => None,
            };
            match slot {
                Some((filter, value)) if !value.is_empty() => *filter = Some(value),
                _ => words.push(word.to_owned()),
            }
        }
        self.search = words.join(" ");
        for filter in [
            &mut self.namespace,
            &mut self.base,
            &mut self.relation,
            &mut self.license,
            &mut self.position,
            &mut self.verdict,
            &mut self.lineage,
            &mut self.arch,
            &mut self.format,
            &mut self.kind,
            &mut self.tag,
            &mut self.cursor,
            &mut self.sort,
        ] {
            if filter.as_deref().is_some_and(str::is_empty) {
                *filter = None;
            }
        }
        self
    }

    fn has_filters(&self) -> bool {
        let filters = [
            &self.namespace,
            &self.base,
            &self.relation,
            &self.license,
            &self.position,
            &self.verdict,
            &self.lineage,
            &self.arch,
            &self.format,
            &self.kind,
            &self.tag,
        ];
        !self.search.is_empty() || filters.into_iter().any(Option::is_some)
    }

    fn order(&self) -> Order {
        match self.sort.as_deref() {
            Some("downloads") => Order { column: "m.downloads", is_descending: true, kind: Place::Number },
            Some("recent") => Order { column: "m.updated_at", is_descending: true, kind: Place::Instant },
            Some("name") => Order { column: "m.key", is_descending: false, kind: Place::Text },
            _ => Order { column: "m.descendants", is_descending: true, kind: Place::Number },
        }
    }
}

/// By what a list is sorted.
struct Order {
    column: &'static str,
    is_descending: bool,
    kind: Place,
}

/// What the sorting column holds; cursors carry its value as text, instants as microseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    Number,
    Instant,
}

impl Order {
    /// SQL of the value that a cursor carries.
    fn place(&self) -> String {
        match self.kind {
            Place::Text | Place::Number => format!("{}::text", self.column),
            Place::Instant => format!("(extract(epoch from {}) * 1000000)::bigint::text", self.column),
        }
    }
}

/// A row of a list.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Summary {
    /// `namespace/name`.
    pub id: String,
    /// `hosted` or `catalogued`.
    pub kind: String,
    /// `public` or `private`.
    pub visibility: String,
    /// One line.
    pub description: String,
    /// The declared label.
    pub license: Option<String>,
    /// License position.
    pub position: String,
    /// Verdict of the smoke test.
    pub verdict: String,
    /// Verdict over the parent links.
    pub lineage: String,
    /// Architecture.
    pub architecture: Option<String>,
    /// Number of parameters.
    pub parameters: Option<i64>,
    /// Element type.
    pub dtype: Option<String>,
    /// Format of the weights.
    pub format: Option<String>,
    /// Bytes of the files.
    pub bytes: i64,
    /// Downloads.
    pub downloads: i64,
    /// Likes.
    pub likes: i64,
    /// Descendants.
    pub descendants: i32,
    /// One parent, when there is any.
    pub parent: Option<String>,
    /// The relation to it.
    pub relation: Option<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// Task.
    pub pipeline_tag: Option<String>,
    /// Library.
    pub library: Option<String>,
    /// Tip of main.
    pub revision: Option<String>,
    /// When it was created.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it changed last.
    #[serde(with = "time::serde::rfc3339")]
    pub updated_at: OffsetDateTime,
}

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page {
    /// The rows.
    pub items: Vec<Summary>,
    /// The cursor of the next page.
    pub next: Option<String>,
}

/// Values with counts, by facet.
pub type Facets = BTreeMap<&'static str, Vec<(String, i64)>>;

/// Returns a page of models that the viewer may read.
pub async fn search(db: &mut PgConnection, query: &Query, viewer: &Viewer) -> Result<Page, Error> {
    let order = query.order();
    let limit = query.limit.unwrap_or(25).clamp(1, MAX_LIMIT);
    let mut sql = QueryBuilder::new("with page as (select m.id, ");
    sql.push(order.place()).push(" as place from models m where ");
    filter(&mut sql, query, viewer, None);
    let direction = if order.is_descending { "desc" } else { "asc" };
    if let Some(cursor) = &query.cursor {
        let (place, id) = read_cursor(cursor, order.kind).ok_or(Error::BadCursor)?;
        let comparison = if order.is_descending { "<" } else { ">" };
        sql.push(" and (").push(order.column).push(", m.id) ").push(comparison).push(" (");
        match order.kind {
            Place::Text => sql.push_bind(place),
            Place::Number => sql.push_bind(place).push("::text::bigint"),
            Place::Instant => {
                sql.push("timestamptz 'epoch' + interval '1 microsecond' * ").push_bind(place).push("::text::bigint")
            }
        };
        sql.push(", ").push_bind(id).push(")");
    }
    sql.push(" order by ").push(order.column).push(" ").push(direction).push(", m.id ").push(direction);
    sql.push(" limit ").push_bind(limit + 1);
    sql.push(
        ") select m.id, m.namespace || '/' || m.name as name, m.kind, m.visibility, m.description, m.license, m.position,
            m.smoke_verdict, m.lineage_status, m.architecture, m.parameters, m.dtype, m.format, m.bytes, m.downloads,
            m.likes, m.descendants, m.tags, m.pipeline_tag, m.library, r.commit, m.created_at, m.updated_at,
            page.place, up.parent, up.relation
        from page join models m on m.id = page.id
        left join revisions r on r.id = m.head_revision_id
        left join lateral (
            select p.namespace || '/' || p.name as parent, c.relation
            from claims c join models p on p.id = c.parent_id
            where c.child_id = m.id and c.withdrawn_at is null and (p.visibility = 'public' or ",
    );
    sql.push_bind(viewer.everything).push(" or p.namespace_key = any(").push_bind(viewer.namespaces.clone());
    sql.push(")) order by (c.origin <> 'declared'), c.id limit 1) up on true order by ");
    sql.push(order.column).push(" ").push(direction).push(", m.id ").push(direction);
    let mut rows = sql.build().fetch_all(db).await?;
    let has_more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = match rows.last() {
        Some(last) if has_more => Some(write_cursor(&last.try_get::<String, _>("place")?, last.try_get("id")?)),
        _ => None,
    };
    let items = rows.iter().map(summary).collect::<Result<_, sqlx::Error>>()?;
    Ok(Page { items, next })
}

fn summary(row: &sqlx::postgres::PgRow) -> Result<Summary, sqlx::Error> {
    Ok(Summary {
        id: row.try_get("name")?,
        kind: row.try_get("kind")?,
        visibility: row.try_get("visibility")?,
        description: row.try_get("description")?,
        license: row.try_get("license")?,
        position: row.try_get("position")?,
        verdict: row.try_get("smoke_verdict")?,
        lineage: row.try_get("lineage_status")?,
        architecture: row.try_get("architecture")?,
        parameters: row.try_get("parameters")?,
        dtype: row.try_get("dtype")?,
        format: row.try_get("format")?,
        bytes: row.try_get("bytes")?,
        downloads: row.try_get("downloads")?,
        likes: row.try_get("likes")?,
        descendants: row.try_get("descendants")?,
        parent: row.try_get("parent")?,
        relation: row.try_get("relation")?,
        tags: row.try_get("tags")?,
        pipeline_tag: row.try_get("pipeline_tag")?,
        library: row.try_get("library")?,
        revision: row.try_get("commit")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

/// The cursor of a page: where its last row stands. Opaque to clients.
fn write_cursor(place: &str, id: i64) -> String {
    hex::encode(format!("{id}:{place}"))
}

fn read_cursor(cursor: &str, kind: Place) -> Option<(String, i64)> {
    let text = String::from_utf8(hex::decode(cursor).ok()?).ok()?;
    let (id, place) = text.split_once(':')?;
    let is_sound = kind == Place::Text && !place.contains('\0') || place.parse::<i64>().is_ok();
    is_sound.then_some((place.to_owned(), id.parse().ok()?))
}

/// Columns that facets count.
const FACETS: &[(&str, &str)] = &[
    ("position", "m.position"),
    ("license", "m.license_id"),
    ("lineage", "m.lineage_status"),
    ("verdict", "m.smoke_verdict"),
    ("architecture", "m.architecture"),
    ("format", "m.format"),
    ("kind", "m.kind"),
];

/// Counts the values of each facet under the other filters; the commonest twelve of each, and how many models in all.
pub async fn facets(db: &mut PgConnection, query: &Query, viewer: &Viewer) -> Result<(Facets, i64), Error> {
    let mut facets = Facets::new();
    let is_plain = !query.has_filters() || FACETS.iter().all(|(facet, _)| is_unset(query, facet));
    let mut sql = QueryBuilder::new(
        "with found as materialized (select m.position, m.license_id, m.lineage_status, \
        m.smoke_verdict, m.architecture, m.format, m.kind from models m where ",
    );
    filter(&mut sql, query, viewer, None);
    sql.push(") select 'total' as facet, null as value, count(*) as count from found");
    for (facet, column) in FACETS {
        let plain = column.trim_start_matches("m.");
        if is_plain || is_unset(query, facet) {
            sql.push(format!(
                " union all (select '{facet}', {plain}, count(*) from found where {plain} is not null group by {plain} order by 3 desc, 2 limit 12)"
            ));
        }
    }
    let mut total = 0;
    for row in sql.build().fetch_all(&mut *db).await? {
        let (facet, count): (String, i64) = (row.try_get("facet")?, row.try_get("count")?);
        match FACETS.iter().find(|(name, _)| *name == facet) {
            Some((name, _)) => facets.entry(name).or_default().push((row.try_get("value")?, count)),
            None => total = count,
        }
    }
    for (facet, column) in FACETS.iter().filter(|(facet, _)| !is_plain && !is_unset(query, facet)) {
        let mut sql = QueryBuilder::new("select ");
        sql.push(*column).push(" as value, count(*) as count from models m where ");
        filter(&mut sql, query, viewer, Some(facet));
        sql.push(" and ").push(*column).push(" is not null group by 1 order by 2 desc, 1 limit 12");
        for row in sql.build().fetch_all(&mut *db).await? {
            facets.entry(facet).or_default().push((row.try_get("value")?, row.try_get("count")?));
        }
    }
    Ok((facets, total))
}

/// The same counts, kept until the data changes.
pub async fn kept_facets(
    tally: &Tally,
    db: &mut PgConnection,
    query: &Query,
    viewer: &Viewer,
) -> Result<Arc<(Facets, i64)>, Error> {
    let what = format!("facets {:?}", Query { sort: None, limit: None, cursor: None, ..query.clone() });
    tally.get(db, viewer, &what, async |db| facets(db, query, viewer).await).await
}

fn is_unset(query: &Query, facet: &str) -> bool {
    match facet {
        "position" => query.position.is_none(),
        "license" => query.license.is_none(),
        "lineage" => query.lineage.is_none(),
        "verdict" => query.verdict.is_none(),
        "architecture" => query.arch.is_none(),
        "format" => query.format.is_none(),
        "kind" => query.kind.is_none(),
        _ => true,
    }
}

/// Appends the condition of a query; `except` leaves one facet's own filter out.
fn filter(sql: &mut QueryBuilder<Postgres>, query: &Query, viewer: &Viewer, except: Option<&str>) {
    if viewer.everything {
        sql.push("true");
    } else if viewer.namespaces.is_empty() {
        sql.push("m.visibility = 'public'");
    } else {
        sql.push("(m.visibility = 'public' or m.namespace_key = any(").push_bind(viewer.namespaces.clone()).push("))");
    }
    for word in query.search.to_lowercase().split_whitespace().take(8) {
        let pattern = word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        sql.push(" and m.key like ").push_bind(format!("%{pattern}%"));
    }
    let equal = [
        ("namespace", "m.namespace_key", query.namespace.as_ref().map(|n| n.to_lowercase())),
        ("license", "m.license_id", query.license.as_deref().map(super::facts::normalize_label)),
        ("position", "m.position", query.position.clone()),
        ("verdict", "m.smoke_verdict", query.verdict.clone()),
        ("lineage", "m.lineage_status", query.lineage.clone()),
        ("architecture", "m.architecture", query.arch.clone()),
        ("format", "m.format", query.format.clone()),
        ("kind", "m.kind", query.kind.clone()),
    ];
    for (facet, column, value) in equal {
        if let Some(value) = value.filter(|_| except != Some(facet)) {
            sql.push(" and ").push(column).push(" = ").push_bind(value);
        }
    }
    for tag in query.tag.iter().flat_map(|tags| tags.split(',')).filter(|tag| !tag.is_empty()) {
        sql.push(" and (").push_bind(tag.to_owned()).push(" = any(m.tags) or ").push_bind(tag.to_owned());
        sql.push(" in (m.pipeline_tag, m.library))");
    }
    if let Some(relation) = &query.relation {
        sql.push(
            " and exists (select from claims c where c.child_id = m.id and c.withdrawn_at is null and c.relation = ",
        );
        sql.push_bind(relation.clone()).push(")");
    }
    if let Some(base) = &query.base {
        sql.push(" and m.id in (with recursive down as (select id, true as is_root from models b where b.key = ");
        sql.push_bind(base.to_lowercase());
        sql.push(" and (b.visibility = 'public' or ").push_bind(viewer.everything).push(" or b.namespace_key = any(");
        sql.push_bind(viewer.namespaces.clone());
        sql.push(
            ")) union select c.child_id, false from down join claims c on c.parent_id = down.id and c.withdrawn_at is null
              join models w on w.id = c.child_id and (w.visibility = 'public' or ",
        );
        sql.push_bind(viewer.everything).push(" or w.namespace_key = any(").push_bind(viewer.namespaces.clone());
        sql.push("))) select id from down where not is_root)");
    }
}
