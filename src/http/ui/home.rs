//! The start page.

use actix_web::web::Data;
use askama::Template;

use super::{Frame, browse::Row, error::PageResult, format, page};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, search},
    license,
};

struct Family {
    id: String,
    descendants: String,
    percent: i64,
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    hosted: String,
    catalogued: String,
    claims: String,
    findings: String,
    stored: String,
    newest: Vec<Row>,
    families: Vec<Family>,
}

/// `GET /`
pub async fn get_home(app: Data<App>, caller: Caller) -> PageResult {
    let viewer = caller.viewer();
    let mut db = app.db.acquire().await?;
    let count = async |db: &mut _| catalog::count_all(db, &viewer).await;
    let totals = app.tally.get(&mut db, &viewer, "totals", count).await?;
    let rules = license::db::kept_rules(&app.tally, &mut db, &viewer, None).await?;
    let newest = search::Query {
        kind: Some("hosted".to_owned()),
        sort: Some("recent".to_owned()),
        limit: Some(8),
        ..search::Query::default()
    };
    let newest = search::search(&mut db, &newest, &viewer).await?;
    let largest = search::Query { limit: Some(8), ..search::Query::default() };
    let largest = search::search(&mut db, &largest, &viewer).await?.items;
    let most = largest.first().map_or(1, |model| model.descendants.max(1));
    let families = largest.iter().filter(|model| model.descendants > 0).map(|model| Family {
        id: model.id.clone(),
        descendants: format::count(i64::from(model.descendants)),
        percent: i64::from(model.descendants) * 100 / i64::from(most),
    });
    page(&HomePage {
        frame: Frame::new(&caller, "The registry that knows how models are related", "home", "/api/v1/stats"),
        hosted: format::count(totals.hosted),
        catalogued: format::count(totals.catalogued),
        claims: format::count(totals.claims),
        findings: format::count(rules.iter().map(|rule| rule.models).sum()),
        stored: format::bytes(totals.blob_bytes),
        newest: newest.items.iter().map(Row::new).collect(),
        families: families.collect(),
    })
}
