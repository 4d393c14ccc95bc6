//! The audit page: positions with their trend, rules, models by reach, findings, waivers, exports.

use actix_web::web::{Data, Query};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    page, query_string, selling,
    tabs::finding::FindingView,
    trend::{self, Trend},
    usage::UseForm,
    words,
};
use crate::{
    app::App,
    auth::{Caller, Viewer},
    license::{
        DISCLAIMER,
        current::load_catalogue,
        db::{self, WaiverRow},
    },
    lineage,
};

const PAGE: i64 = 50;
/// Parent links that are listed for review.
const MOST_REVIEWS: i64 = 100;
/// Rules that are named; the filter has all of them.
const MOST_RULES: usize = 10;
/// Days that the trend goes back.
const DAYS: i32 = 30;
/// Waivers that are listed.
const MOST_WAIVERS: usize = 200;
/// A waiver that ends within so many days is named first.
const SOON: i64 = 30;

/// Which part is audited.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ComplianceQuery {
    pub(super) namespace: String,
    severity: String,
    rule: String,
    pub(super) license: String,
    /// `open` or `accepted`; both unless said.
    waived: String,
    after: i64,
    /// `commercial`: which models may be sold.
    #[serde(rename = "use")]
    intended: String,
}

impl ComplianceQuery {
    /// The namespace in lower case; empty for everything.
    pub(super) fn key(&self) -> String {
        self.namespace.trim().to_lowercase()
    }

    fn pairs(&self) -> [(&'static str, &str); 5] {
        [
            ("namespace", self.namespace.trim()),
            ("severity", &self.severity),
            ("rule", &self.rule),
            ("license", &self.license),
            ("waived", &self.waived),
        ]
    }

    /// The URL of this page with some parameters set, or taken away when empty.
    fn with(&self, changes: &[(&str, &str)]) -> String {
        let mut pairs: Vec<(&str, &str)> =
            self.pairs().into_iter().filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name)).collect();
        pairs.extend(changes);
        format!("/compliance?{}", query_string(&pairs))
    }
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
    title: String,
    mark: Mark,
    models: String,
    url: String,
}

struct Offender {
    id: String,
    why: String,
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

/// A filter that can be taken away.
struct Chip {
    label: String,
    url: String,
}

/// A waiver in force.
struct WaiverLine {
    id: i64,
    scope: String,
    model: Option<String>,
    title: String,
    about: String,
    reason: String,
    owner: String,
    until: String,
    is_soon: bool,
    findings: i64,
    may_revoke: bool,
}

/// A row of the table of findings: with a box to mark it, for those who may accept it.
struct Line {
    finding: FindingView,
    pick: Option<String>,
}

#[derive(Template)]
#[template(path = "compliance.html")]
struct CompliancePage {
    frame: Frame,
    namespace: String,
    own: Vec<String>,
    date: String,
    catalogue: String,
    total: String,
    shares: Vec<Share>,
    trend: Trend,
    rules: Vec<Rule>,
    offenders: Vec<Offender>,
    chips: Vec<Chip>,
    severity: String,
    rule: String,
    license: String,
    waived: String,
    all_rules: Vec<(&'static str, String)>,
    lines: Vec<Line>,
    may_waive: bool,
    owner: String,
    today: String,
    back: String,
    reviews: Vec<ReviewRow>,
    waivers: Vec<WaiverLine>,
    ending: usize,
    next: Option<String>,
    selling: String,
    policy: Option<String>,
    exports: [(&'static str, String); 5],
    disclaimer: &'static str,
}

/// `GET /compliance`
pub async fn get_compliance(
    app: Data<App>,
    caller: Caller,
    query: Query<ComplianceQuery>,
    usage: Query<UseForm>,
    choice: Query<selling::Choice>,
) -> PageResult {
    if query.intended == "commercial" {
        return selling::show(&app, &caller, &query, usage.into_inner(), &choice).await;
    }
    let viewer = caller.viewer();
    let key = query.key();
    let namespace = (!key.is_empty()).then_some(key.as_str());
    let mut connection = app.db.acquire().await?;
    let catalogue = load_catalogue(&mut connection).await?;
    let positions = db::kept_positions(&app.tally, &mut connection, &viewer, namespace).await?;
    let points = db::kept_trend(&app.tally, &mut connection, &viewer, namespace, DAYS).await?;
    let rules = db::kept_rules(&app.tally, &mut connection, &viewer, namespace).await?;
    let offenders = db::kept_offenders(&app.tally, &mut connection, &viewer, namespace, 10).await?;
    let findings = db::list_findings(&mut connection, &viewer, &filter(&query)).await?;
    let reviews = reviews(&mut connection, &viewer, &key).await?;
    let waivable = waivable(&mut connection, &caller).await?;
    let waivers = db::list_waivers(&mut connection, &viewer, namespace, true).await?;
    drop(connection);
    let may_waive = |name: &str| waivable.as_ref().is_none_or(|list| list.contains(&name.to_lowercase()));
    let is_full = i64::try_from(findings.len()).unwrap_or(0) == PAGE;
    let last = findings.last().map_or(0, |finding| finding.id).to_string();
    let total: i64 = positions.iter().map(|(_, count)| count).sum();
    let line = |finding| {
        let finding = FindingView::new(finding, &catalogue);
        let namespace = finding.model.split('/').next().unwrap_or_default();
        let pick = (finding.waiver.is_none() && may_waive(namespace))
            .then(|| format!("{} {} {}", finding.model, finding.rule, finding.about));
        Line { finding, pick }
    };
    let lines: Vec<Line> = findings.into_iter().map(line).collect();
    let mut waivers: Vec<WaiverLine> =
        waivers.into_iter().take(MOST_WAIVERS).map(|row| waiver(row, &may_waive)).collect();
    waivers.sort_by_key(|waiver| !waiver.is_soon);
    let title =
        if namespace.is_some() { format!("Compliance: {}", query.namespace.trim()) } else { "Compliance".into() };
    let exports = exports(&query);
    page(&CompliancePage {
        frame: Frame::new(&caller, title, "compliance", exports[0].1.clone()),
        own: own_namespaces(&caller),
        date: format::instant(time::OffsetDateTime::now_utc()),
        catalogue: catalogue.version.clone(),
        total: format::count(total),
        shares: shares(&positions, total, &key),
        trend: trend::build(&points),
        rules: rules.iter().take(MOST_RULES).map(|rule| rule_row(rule, &query)).collect(),
        offenders: offenders.iter().map(offender).collect(),
        chips: chips(&query),
        severity: query.severity.clone(),
        rule: query.rule.clone(),
        license: query.license.clone(),
        waived: query.waived.clone(),
        all_rules: words::rules(),
        may_waive: lines.iter().any(|line| line.pick.is_some()),
        lines,
        owner: caller.name().to_owned(),
        today: format::day(time::OffsetDateTime::now_utc()),
        back: query.with(&[]),
        reviews,
        ending: waivers.iter().filter(|waiver| waiver.is_soon).count(),
        waivers,
        next: is_full.then(|| format!("{}#findings", query.with(&[("after", &last)]))),
        selling: format!(
            "/compliance?{}",
            query_string(&[("namespace", query.namespace.trim()), ("use", "commercial")])
        ),
        policy: caller
            .may_write(query.namespace.trim())
            .then(|| format!("/policy?{}", query_string(&[("namespace", query.namespace.trim())])))
            .filter(|_| !key.is_empty()),
        exports,
        namespace: query.namespace.trim().to_owned(),
        disclaimer: DISCLAIMER,
    })
}

fn filter(query: &ComplianceQuery) -> db::Filter {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    db::Filter {
        namespace: some(&query.key()),
        severity: some(&query.severity),
        rule: some(&query.rule),
        license: some(&query.license),
        is_waived: match query.waived.as_str() {
            "open" => Some(false),
            "accepted" => Some(true),
            _ => None,
        },
        after: query.after.max(0),
        limit: PAGE,
        ..db::Filter::default()
    }
}

/// The namespaces that somebody belongs to.
pub(super) fn own_namespaces(caller: &Caller) -> Vec<String> {
    let own = caller.user.iter().map(|user| user.name.clone());
    own.chain(caller.organizations.iter().map(|of| of.name.clone())).collect()
}

/// Where the caller may accept findings, in lower case; `None`: everywhere.
async fn waivable(db: &mut PgConnection, caller: &Caller) -> Result<Option<Vec<String>>, crate::license::Error> {
    if caller.is_admin() {
        return Ok(None);
    }
    match caller.user.as_ref().filter(|_| caller.scope >= crate::auth::Scope::Write) {
        Some(user) => db::list_waivable(db, user.id).await.map(Some),
        None => Ok(Some(Vec::new())),
    }
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

fn waiver(row: WaiverRow, may_waive: &dyn Fn(&str) -> bool) -> WaiverLine {
    let left = row.expires_at - time::OffsetDateTime::now_utc();
    WaiverLine {
        id: row.id,
        scope: row.model.clone().unwrap_or_else(|| format!("all models of {}", row.namespace)),
        model: row.model,
        title: words::rule_title(&row.rule),
        about: row.about,
        reason: row.reason,
        owner: row.owner,
        until: format::day(row.expires_at),
        is_soon: left.whole_days() < SOON,
        findings: row.findings,
        may_revoke: may_waive(&row.namespace),
    }
}

fn rule_row(rule: &db::RuleCount, query: &ComplianceQuery) -> Rule {
    Rule {
        url: format!("{}#findings", query.with(&[("severity", &rule.severity), ("rule", &rule.rule)])),
        mark: Mark::position(&rule.severity),
        models: format::count(rule.models),
        title: words::rule_title(&rule.rule),
        rule: rule.rule.clone(),
    }
}

fn offender(model: &db::Offender) -> Offender {
    Offender {
        why: words::sentence(model.message.as_deref().unwrap_or_default()),
        descendants: format::count(i64::from(model.descendants)),
        downloads: format::count(model.downloads),
        id: model.model.clone(),
    }
}

fn chips(query: &ComplianceQuery) -> Vec<Chip> {
    let shown = query.pairs().into_iter().filter(|(_, value)| !value.is_empty());
    let chip = |(name, value): (&str, &str)| Chip {
        label: format!("{}: {value}", if name == "waived" { "state" } else { name }),
        url: format!("{}#findings", query.with(&[(name, "")])),
    };
    shown.map(chip).collect()
}

fn exports(query: &ComplianceQuery) -> [(&'static str, String); 5] {
    let formats = [("JSON", "json"), ("CSV", "csv"), ("CycloneDX", "cyclonedx"), ("SPDX", "spdx"), ("SARIF", "sarif")];
    let key = query.key();
    formats.map(|(word, format)| {
        let pairs = [
            ("scope", &*key),
            ("severity", &query.severity),
            ("rule", &query.rule),
            ("license", &query.license),
            ("waived", &query.waived),
            ("format", format),
        ];
        (word, format!("/api/v1/audit?{}", query_string(&pairs)))
    })
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
