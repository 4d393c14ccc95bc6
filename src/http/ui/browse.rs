//! Lists of models: search, facets, sort, paging.

use actix_web::web::{Data, Path, Query};
use askama::Template;
use sqlx::PgConnection;

use super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    page, query_string,
};
use crate::{
    app::App,
    auth::Caller,
    catalog::search::{self, Facets, Summary},
    http::error::ApiError,
    name,
    tally::Tally,
};

/// A row of a list.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) description: String,
    pub(super) is_private: bool,
    pub(super) is_catalogued: bool,
    pub(super) license: Option<String>,
    pub(super) parent: Option<String>,
    pub(super) relation: String,
    pub(super) position: Mark,
    pub(super) verdict: Mark,
    pub(super) facts: String,
}

impl Row {
    pub(super) fn new(model: &Summary) -> Self {
        let mut facts = Vec::new();
        if model.descendants > 0 {
            facts.push(format::plural(i64::from(model.descendants), "descendant"));
        }
        facts.extend(model.parameters.map(format::parameters));
        facts.extend(model.dtype.clone());
        if model.bytes > 0 {
            facts.push(format::bytes(model.bytes));
        }
        facts.push(format!("{} ↓", format::count(model.downloads)));
        if model.kind == "hosted" {
            facts.push(format::age(model.updated_at));
        }
        Self {
            id: model.id.clone(),
            description: model.description.clone(),
            is_private: model.visibility == "private",
            is_catalogued: model.kind == "catalogued",
            license: model.license.clone(),
            parent: model.parent.clone(),
            relation: format::relation(model.relation.as_deref().unwrap_or_default()).to_owned(),
            position: Mark::position(&model.position),
            verdict: Mark::verdict(&model.verdict),
            facts: facts.join(" · "),
        }
    }
}

struct Choice {
    word: String,
    count: String,
    url: String,
    is_here: bool,
}

struct Facet {
    title: &'static str,
    choices: Vec<Choice>,
}

struct Chip {
    label: String,
    url: String,
}

struct Sort {
    word: &'static str,
    url: String,
    is_here: bool,
}

#[derive(Template)]
#[template(path = "browse.html")]
struct BrowsePage {
    frame: Frame,
    heading: String,
    total: Option<String>,
    rows: Vec<Row>,
    facets: Vec<Facet>,
    chips: Vec<Chip>,
    sorts: Vec<Sort>,
    next: Option<String>,
    is_first: bool,
    first: String,
    /// Pages about the namespace, where the list is of one.
    about: Vec<(&'static str, String)>,
}

/// The filters of a query with their names in the URL.
fn filters(query: &search::Query) -> Vec<(&'static str, &str)> {
    vec![
        ("search", query.search.as_str()),
        ("namespace", query.namespace.as_deref().unwrap_or_default()),
        ("base", query.base.as_deref().unwrap_or_default()),
        ("relation", query.relation.as_deref().unwrap_or_default()),
        ("license", query.license.as_deref().unwrap_or_default()),
        ("position", query.position.as_deref().unwrap_or_default()),
        ("verdict", query.verdict.as_deref().unwrap_or_default()),
        ("lineage", query.lineage.as_deref().unwrap_or_default()),
        ("arch", query.arch.as_deref().unwrap_or_default()),
        ("format", query.format.as_deref().unwrap_or_default()),
        ("kind", query.kind.as_deref().unwrap_or_default()),
        ("tag", query.tag.as_deref().unwrap_or_default()),
        ("sort", query.sort.as_deref().unwrap_or_default()),
    ]
}

/// The URL of this list with one parameter set, or taken away when empty.
fn with(query: &search::Query, key: &str, value: &str) -> String {
    let mut pairs: Vec<(&str, &str)> = filters(query).into_iter().filter(|(name, _)| *name != key).collect();
    pairs.push((key, value));
    format!("/models?{}", query_string(&pairs))
}

/// `GET /models`
pub async fn get_models(app: Data<App>, caller: Caller, query: Query<search::Query>) -> PageResult {
    let query = query.into_inner().understood();
    let heading = match (&query.base, &query.namespace) {
        (Some(base), _) => format!("Descendants of {base}"),
        (None, Some(namespace)) => format!("Models of {namespace}"),
        (None, None) => "Models".to_owned(),
    };
    show(&app.tally, &mut *app.db.acquire().await?, &caller, &query, heading).await
}

/// `GET /{ns}`
pub async fn get_namespace(app: Data<App>, caller: Caller, namespace: Path<String>) -> PageResult {
    name::check_part(&namespace).map_err(|_| ApiError::not_found("there is nothing at this address"))?;
    let query = search::Query { namespace: Some(namespace.clone()), ..search::Query::default() };
    let mut db = app.db.acquire().await?;
    let is_known = crate::auth::db::find_namespace(&mut db, &namespace).await?.is_some();
    let has_models = !search::search(&mut db, &search::Query { limit: Some(1), ..query.clone() }, &caller.viewer())
        .await?
        .items
        .is_empty();
    if !is_known && !has_models {
        return Err(ApiError::not_found(format!("there is no namespace `{namespace}`")).into());
    }
    show(&app.tally, &mut db, &caller, &query, namespace.into_inner()).await
}

async fn show(
    tally: &Tally,
    db: &mut PgConnection,
    caller: &Caller,
    query: &search::Query,
    heading: String,
) -> PageResult {
    let viewer = caller.viewer();
    let found = search::search(db, query, &viewer).await?;
    let is_first = query.cursor.is_none();
    let counts = search::kept_facets(tally, db, query, &viewer).await?;
    let pairs = filters(query);
    let next = found.next.map(|cursor| {
        let mut pairs = pairs.clone();
        pairs.push(("cursor", &cursor));
        format!("/models?{}", query_string(&pairs))
    });
    let mut frame = Frame::new(caller, heading.clone(), "browse", format!("/api/v1/models?{}", query_string(&pairs)));
    frame.search.clone_from(&query.search);
    page(&BrowsePage {
        frame,
        heading,
        total: Some(format::count(counts.1)),
        rows: found.items.iter().map(Row::new).collect(),
        facets: facet_lists(query, &counts.0),
        chips: chips(query),
        sorts: sorts(query),
        next,
        is_first,
        first: format!("/models?{}", query_string(&pairs)),
        about: query.namespace.as_deref().map(|namespace| about(caller, namespace)).unwrap_or_default(),
    })
}

/// Pages about a namespace.
fn about(caller: &Caller, namespace: &str) -> Vec<(&'static str, String)> {
    let of = query_string(&[("namespace", namespace)]);
    let mut pages = vec![
        ("License audit", format!("/compliance?{of}")),
        ("Which may not be sold?", format!("/compliance?{of}&use=commercial")),
    ];
    if caller.may_write(namespace) {
        pages.push(("License policy", format!("/policy?{of}")));
    }
    pages
}

fn chips(query: &search::Query) -> Vec<Chip> {
    let shown = filters(query).into_iter().filter(|(name, value)| *name != "sort" && !value.is_empty());
    shown.map(|(name, value)| Chip { label: format!("{name}: {value}"), url: with(query, name, "") }).collect()
}

fn sorts(query: &search::Query) -> Vec<Sort> {
    let here = query.sort.as_deref().unwrap_or("reach");
    let words = [("reach", "reach"), ("downloads", "downloads"), ("recent", "recent"), ("name", "name")];
    words.into_iter().map(|(key, word)| Sort { word, url: with(query, "sort", key), is_here: key == here }).collect()
}

fn facet_lists(query: &search::Query, facets: &Facets) -> Vec<Facet> {
    let titles = [
        ("position", "position", "License position"),
        ("license", "license", "License"),
        ("kind", "kind", "Files"),
        ("verdict", "verdict", "Smoke test"),
        ("lineage", "lineage", "Lineage"),
        ("architecture", "arch", "Architecture"),
        ("format", "format", "Format"),
    ];
    let mut lists = vec![relations(query)];
    for (facet, key, title) in titles {
        let here = filters(query).into_iter().find(|(name, _)| *name == key).map_or("", |(_, value)| value);
        let values = facets.get(facet).map(Vec::as_slice).unwrap_or_default();
        let choices = values.iter().map(|(value, count)| {
            let is_here = value == here;
            let url = with(query, key, if is_here { "" } else { value });
            Choice { word: value.clone(), count: format::count(*count), url, is_here }
        });
        let choices: Vec<Choice> = choices.collect();
        if !choices.is_empty() {
            lists.push(Facet { title, choices });
        }
    }
    lists
}

/// Relations are chosen without counts: they belong to links, not to models.
fn relations(query: &search::Query) -> Facet {
    let here = query.relation.as_deref().unwrap_or_default();
    let words = ["finetune", "adapter", "merge", "quantized"];
    let choices = words.into_iter().map(|word| {
        let is_here = word == here;
        Choice {
            word: word.to_owned(),
            count: String::new(),
            url: with(query, "relation", if is_here { "" } else { word }),
            is_here,
        }
    });
    Facet { title: "Relation to a parent", choices: choices.collect() }
}
