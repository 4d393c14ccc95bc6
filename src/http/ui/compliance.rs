//! The audit page: positions, rules, models by reach, findings, exports.

use actix_web::web::{Data, Query};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    page, query_string,
    tabs::finding::FindingView,
};
use crate::{
    app::App,
    auth::{Caller, Viewer},
    license::{DISCLAIMER, catalogue::CATALOGUE, db},
    lineage,
};

const PAGE: i64 = 50;
/// Parent links that are listed for review.
const MOST_REVIEWS: i64 = 100;

/// Which part is audited.
#[derive(Debug, Deserialize)]
pub struct ComplianceQuery {
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    rule: String,
    #[serde(default)]
    after: i64,
}

struct Share {
    position: String,
    mark: Mark,
    count: String,
    permille: i64,
    url: String,
}

struct Rule {
    rule: String,
    mark: Mark,
    models: String,
    url: String,
}

struct Offender {
    id: String,
    mark: Mark,
    descendants: String,
    downloads: String,
}

/// A parent link that waits for somebody to look.
struct ReviewRow {
    child: String,
    parent: String,
    relation: String,
    why: &'static str,
    verdict: Mark,
}

#[derive(Template)]
#[template(path = "compliance.html")]
struct CompliancePage {
    frame: Frame,
    namespace: String,
    date: String,
    catalogue: String,
    total: String,
    shares: Vec<Share>,
    rules: Vec<Rule>,
    offenders: Vec<Offender>,
    filter: String,
    all: String,
    findings: Vec<FindingView>,
    reviews: Vec<ReviewRow>,
    next: Option<String>,
    export: String,
    disclaimer: &'static str,
}

/// `GET /compliance`
pub async fn get_compliance(app: Data<App>, caller: Caller, query: Query<ComplianceQuery>) -> PageResult {
    let viewer = caller.viewer();
    let key = query.namespace.trim().to_lowercase();
    let namespace = (!key.is_empty()).then_some(key.as_str());
    let mut connection = app.db.acquire().await?;
    let positions = db::kept_positions(&app.tally, &mut connection, &viewer, namespace).await?;
    let rules = db::kept_rules(&app.tally, &mut connection, &viewer, namespace).await?;
    let offenders = db::kept_offenders(&app.tally, &mut connection, &viewer, namespace, 12).await?;
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let filter = db::Filter {
        namespace: some(&key),
        severity: some(&query.severity),
        rule: some(&query.rule),
        after: query.after.max(0),
        limit: PAGE,
        ..db::Filter::default()
    };
    let findings = db::list_findings(&mut connection, &viewer, &filter).await?;
    let reviews = reviews(&mut connection, &viewer, &key).await?;
    drop(connection);
    let link = |severity: &str, rule: &str, after: &str| {
        format!(
            "/compliance?{}#findings",
            query_string(&[("namespace", &key), ("severity", severity), ("rule", rule), ("after", after)])
        )
    };
    let is_full = i64::try_from(findings.len()).unwrap_or(0) == PAGE;
    let last = findings.last().map_or(0, |finding| finding.id).to_string();
    let total: i64 = positions.iter().map(|(_, count)| count).sum();
    let twin = format!(
        "/api/v1/audit?{}",
        query_string(&[("scope", &key), ("severity", &query.severity), ("rule", &query.rule)])
    );
    page(&CompliancePage {
        frame: Frame::new(&caller, "Compliance", "compliance", twin.clone()),
        date: format::instant(time::OffsetDateTime::now_utc()),
        catalogue: CATALOGUE.version.clone(),
        total: format::count(total),
        shares: shares(&positions, total, &key),
        rules: rules
            .iter()
            .map(|rule| Rule {
                url: link(&rule.severity, &rule.rule, ""),
                mark: Mark::position(&rule.severity),
                models: format::count(rule.models),
                rule: rule.rule.clone(),
            })
            .collect(),
        offenders: offenders
            .iter()
            .map(|model| Offender {
                mark: Mark::position(&model.position),
                descendants: format::count(i64::from(model.descendants)),
                downloads: format::count(model.downloads),
                id: model.model.clone(),
            })
            .collect(),
        filter: [query.severity.as_str(), query.rule.as_str()].join(" ").trim().to_owned(),
        all: link("", "", ""),
        findings: findings.into_iter().map(FindingView::new).collect(),
        reviews,
        next: is_full.then(|| link(&query.severity, &query.rule, &last)),
        export: twin,
        namespace: query.namespace.clone(),
        disclaimer: DISCLAIMER,
    })
}

/// Parent links that wait for people: contradicted and held, or disputed.
async fn reviews(db: &mut PgConnection, viewer: &Viewer, namespace: &str) -> Result<Vec<ReviewRow>, lineage::Error> {
    let mut rows: Vec<ReviewRow> = Vec::new();
    for claim in lineage::db::list_to_review(db, viewer, MOST_REVIEWS).await? {
        let is_in_scope = namespace.is_empty()
            || claim.child.split_once('/').is_some_and(|(of, _)| of.eq_ignore_ascii_case(namespace));
        // Several claims may state one link.
        let is_new = !rows.iter().any(|row| row.child == claim.child && row.parent == claim.parent);
        if is_in_scope && is_new {
            rows.push(ReviewRow {
                why: match claim.verdict.as_str() {
                    "contradicted" => "contradicted, and nobody has decided",
                    _ => "an owner disputes the verdict",
                },
                verdict: Mark::lineage(&claim.verdict),
                relation: format::relation(&claim.relation).to_owned(),
                child: claim.child,
                parent: claim.parent,
            });
        }
    }
    Ok(rows)
}

fn shares(positions: &[(String, i64)], total: i64, namespace: &str) -> Vec<Share> {
    let order = ["violation", "incomplete", "review", "notice", "clear", "unknown"];
    let known = order.into_iter().filter_map(|word| positions.iter().find(|(position, _)| position == word));
    let share = |(position, count): &(String, i64)| Share {
        position: position.clone(),
        mark: Mark::position(position),
        count: format::count(*count),
        permille: count * 1000 / total.max(1),
        url: format!("/models?{}", query_string(&[("position", position), ("namespace", namespace)])),
    };
    known.map(share).collect()
}
