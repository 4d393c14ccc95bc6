//! Which models of a scope may not be sold, and why: judged for commercial use, whatever the policy on record says.

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    Frame,
    compliance::{ComplianceQuery, own_namespaces},
    error::PageResult,
    format::{self, Mark},
    page, query_string,
    tabs::finding::FindingView,
    usage::{self, UseForm},
};
use crate::{
    app::App,
    auth::{Caller, Viewer},
    http::error::ApiError,
    license::{
        DISCLAIMER, Finding, Obligation, Severity,
        current::load_catalogue,
        db,
        profile::Profile,
        question::{self, Question},
    },
};

const PAGE: usize = 50;
/// Rules that speak of commerce: a violation of one means that the model may not be sold.
const COMMERCE: [&str; 6] =
    ["NC_USE", "NC_DROPPED", "OUTPUT_NC", "THRESHOLD_MAU", "THRESHOLD_REVENUE", "GEO_EU_MULTIMODAL"];
/// Rules that leave open whether commerce is allowed.
const OPEN: [&str; 7] = [
    "REGISTRATION_REVIEW",
    "DATASET_NC_REVIEW",
    "SERVICE_TERMS_REVIEW",
    "OUTPUT_REVIEW",
    "ANCESTOR_LICENSE_UNKNOWN",
    "TEXT_NOT_READ",
    "OTHER_UNRESOLVED",
];

/// Which answers are listed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Choice {
    answer: String,
    /// After this model, for paging.
    from: String,
}

/// Whether a model may be sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    No,
    Open,
    Unknown,
    Yes,
}

impl Answer {
    const ALL: [Self; 4] = [Self::No, Self::Open, Self::Unknown, Self::Yes];

    fn word(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Open => "open",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        }
    }

    fn mark(self) -> Mark {
        let (class, symbol, word) = match self {
            Self::No => ("violation", "✕", "may not be sold"),
            Self::Open => ("review", "▲", "a person must decide"),
            Self::Unknown => ("none", "○", "no license is known"),
            Self::Yes => ("clear", "●", "nothing forbids selling it"),
        };
        Mark { class, symbol, word: word.to_owned() }
    }
}

/// The answer for one model, with the finding that decides.
struct Judged {
    model: String,
    answer: Answer,
    because: Option<Finding>,
}

struct Part {
    class: &'static str,
    mark: Mark,
    count: String,
    permille: usize,
    url: String,
    is_here: bool,
}

/// A license that forbids it, with its clause.
struct Reason {
    license: Option<String>,
    section: String,
    title: String,
    models: String,
    url: String,
    is_here: bool,
}

#[derive(Template)]
#[template(path = "selling.html")]
struct SellingPage {
    frame: Frame,
    namespace: String,
    own: Vec<String>,
    date: String,
    catalogue: String,
    total: String,
    no: String,
    asked: String,
    usage: UseForm,
    parts: Vec<Part>,
    reasons: Vec<Reason>,
    license: String,
    every_license: String,
    heading: String,
    findings: Vec<FindingView>,
    plain: Vec<String>,
    next: Option<String>,
    report: String,
    exports: [(&'static str, String); 5],
    disclaimer: &'static str,
}

/// The page of the question.
pub(super) async fn show(
    app: &App,
    caller: &Caller,
    query: &ComplianceQuery,
    usage: UseForm,
    choice: &Choice,
) -> PageResult {
    let viewer = caller.viewer();
    let asked = usage.query()?.over(&Profile { commercial: true, ..Profile::default() });
    let profile = Profile { commercial: true, ..asked };
    let key = query.key();
    let mut connection = app.db.acquire().await?;
    let catalogue = load_catalogue(&mut connection).await?;
    let what = format!("selling {key} {profile:?}");
    let judge = async |db: &mut PgConnection| judge(db, &viewer, &key, &profile).await;
    let judged: Arc<Vec<Judged>> = app.tally.get(&mut connection, &viewer, &what, judge).await?;
    drop(connection);
    let shown = Answer::ALL.into_iter().find(|answer| answer.word() == choice.answer).unwrap_or(Answer::No);
    let count = |answer: Answer| judged.iter().filter(|one| one.answer == answer).count();
    let link = |changes: &[(&str, &str)]| {
        let mut pairs = vec![("namespace", query.namespace.trim()), ("use", "commercial")];
        pairs.extend(usage.pairs().into_iter().filter(|(name, _)| *name != "commercial"));
        pairs.extend(changes);
        format!("/compliance?{}", query_string(&pairs))
    };
    let part = |answer: Answer| Part {
        class: answer.mark().class,
        mark: answer.mark(),
        count: format::count(int(count(answer))),
        permille: count(answer) * 1000 / judged.len().max(1),
        url: format!("{}#models", link(&[("answer", answer.word())])),
        is_here: answer == shown,
    };
    let is_meant = |one: &&Judged| {
        let of_license = one.because.as_ref().is_some_and(|why| is_about(why, &query.license));
        one.answer == shown && (query.license.is_empty() || of_license) && one.model > choice.from
    };
    let mut listed: Vec<&Judged> = judged.iter().filter(is_meant).take(PAGE + 1).collect();
    let has_more = listed.len() > PAGE;
    listed.truncate(PAGE);
    let last = listed.last().map_or("", |one| one.model.as_str());
    let next = [("answer", shown.word()), ("license", &query.license), ("from", last)];
    let view = |one: &Judged| Some(FindingView::judged(one.model.clone(), one.because.clone()?, &catalogue));
    page(&SellingPage {
        frame: Frame::new(caller, "Which models may not be sold", "compliance", exports(&key, &usage)[0].1.clone()),
        own: own_namespaces(caller),
        date: format::instant(time::OffsetDateTime::now_utc()),
        catalogue: catalogue.version.clone(),
        total: format::plural(int(judged.len()), "model"),
        no: format::count(int(count(Answer::No))),
        asked: usage::describe(&profile),
        parts: Answer::ALL.map(part).into(),
        reasons: reasons(&judged, shown, &query.license, &|license| {
            format!("{}#models", link(&[("answer", shown.word()), ("license", license)]))
        }),
        every_license: format!("{}#models", link(&[("answer", shown.word())])),
        license: query.license.clone(),
        heading: match shown {
            Answer::No => "May not be sold",
            Answer::Open => "A person must decide",
            Answer::Unknown => "No license is known",
            Answer::Yes => "Nothing forbids selling these",
        }
        .to_owned(),
        findings: listed.iter().filter_map(|one| view(one)).collect(),
        plain: listed.iter().filter(|one| one.because.is_none()).map(|one| one.model.clone()).collect(),
        next: has_more.then(|| format!("{}#models", link(&next))),
        report: format!("/compliance?{}", query_string(&[("namespace", query.namespace.trim())])),
        exports: exports(&key, &usage),
        namespace: query.namespace.trim().to_owned(),
        usage,
        disclaimer: DISCLAIMER,
    })
}

/// Judges the models of a scope.
async fn judge(db: &mut PgConnection, viewer: &Viewer, key: &str, profile: &Profile) -> Result<Vec<Judged>, ApiError> {
    let models = match key {
        "" => None,
        key => Some(db::list_of_namespace(db, key).await?),
    };
    let question = Question { models, profile: Some(profile.clone()), ..Question::default() };
    let judgements = question::judge(db, viewer, question).await?;
    let answer = judgements.into_iter().map(|judgement| {
        let (answer, because) = decide(&judgement.position, judgement.findings, &judgement.obligations);
        Judged { model: judgement.id, answer, because }
    });
    Ok(answer.collect())
}

/// The answer, and the finding that decides it.
fn decide(position: &str, findings: Vec<Finding>, duties: &[Obligation]) -> (Answer, Option<Finding>) {
    let open: Vec<Finding> = findings.into_iter().filter(|finding| finding.waiver.is_none()).collect();
    let is = |finding: &&Finding, rules: &[&str]| rules.contains(&finding.rule.as_str());
    let forbids = open.iter().find(|finding| is(finding, &COMMERCE) && finding.severity == Severity::Violation);
    if let Some(finding) = forbids {
        return (Answer::No, Some(finding.clone()));
    }
    // No finding for its owners; everybody else is bound by the label.
    if let Some(duty) = duties.iter().find(|duty| duty.id == "non-commercial" && duty.via.len() < 2) {
        return (Answer::No, Some(own_label(duty)));
    }
    let asks = open.iter().find(|finding| is(finding, &COMMERCE) && finding.severity >= Severity::Review);
    if let Some(finding) = asks.or_else(|| open.iter().find(|finding| is(finding, &OPEN))) {
        return (Answer::Open, Some(finding.clone()));
    }
    if position == "unknown" { (Answer::Unknown, None) } else { (Answer::Yes, None) }
}

fn own_label(duty: &Obligation) -> Finding {
    Finding {
        rule: "NC_USE".to_owned(),
        severity: Severity::Violation,
        about: duty.license.clone(),
        message: "its own label allows no commercial use; only who holds the rights in it may sell it".to_owned(),
        license: Some(duty.license.clone()),
        section: Some(duty.section.clone()).filter(|section| !section.is_empty()),
        path: duty.via.clone(),
        remedy: String::new(),
        waiver: None,
    }
}

fn is_about(finding: &Finding, license: &str) -> bool {
    finding.license.as_deref().unwrap_or(&finding.about) == license
}

/// The licenses that decide, those of most models first.
fn reasons(judged: &[Judged], shown: Answer, here: &str, link: &dyn Fn(&str) -> String) -> Vec<Reason> {
    let mut counted: BTreeMap<(String, String), (i64, &Finding)> = BTreeMap::new();
    for finding in judged.iter().filter(|one| one.answer == shown).filter_map(|one| one.because.as_ref()) {
        // What is not about a license is counted by rule: a list of a thousand models explains nothing.
        let about = finding.license.clone().unwrap_or_default();
        counted.entry((about, finding.rule.clone())).or_insert((0, finding)).0 += 1;
    }
    let mut counted: Vec<_> = counted.into_iter().collect();
    counted.sort_by(|a, b| (b.1.0, &a.0).cmp(&(a.1.0, &b.0)));
    let reason = |((license, rule), (models, finding)): ((String, String), (i64, &Finding))| Reason {
        url: if license.is_empty() { String::new() } else { link(&license) },
        is_here: !here.is_empty() && license == here,
        license: Some(license).filter(|license| !license.is_empty()),
        section: finding.section.clone().unwrap_or_default(),
        title: super::words::rule_title(&rule),
        models: format::count(models),
    };
    counted.into_iter().map(reason).collect()
}

fn exports(key: &str, usage: &UseForm) -> [(&'static str, String); 5] {
    let formats = [("JSON", "json"), ("CSV", "csv"), ("CycloneDX", "cyclonedx"), ("SPDX", "spdx"), ("SARIF", "sarif")];
    formats.map(|(word, format)| {
        let mut pairs = vec![("scope", key), ("commercial", "true"), ("format", format)];
        pairs.extend(usage.pairs().into_iter().filter(|(name, _)| *name != "commercial"));
        (word, format!("/api/v1/audit?{}", query_string(&pairs)))
    })
}

fn int(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: &str, severity: Severity) -> Finding {
        let text = |text: &str| text.to_owned();
        let (path, remedy, waiver) = (Vec::new(), String::new(), None);
        let (about, message) = (text("k"), text("m"));
        Finding { rule: text(rule), severity, about, message, license: None, section: None, path, remedy, waiver }
    }

    #[test]
    fn a_violation_of_commerce_decides_and_others_do_not() {
        let (name, nc) = (finding("NAME_PREFIX", Severity::Violation), finding("NC_USE", Severity::Violation));
        assert_eq!(decide("violation", vec![name.clone()], &[]).0, Answer::Yes);
        assert_eq!(decide("violation", vec![name, nc], &[]).1.unwrap().rule, "NC_USE");
        assert_eq!(decide("review", vec![finding("NC_USE", Severity::Review)], &[]).0, Answer::Open);
        assert_eq!(decide("unknown", Vec::new(), &[]).0, Answer::Unknown);
        let [id, summary, license, section, satisfied] =
            ["non-commercial", "s", "cc-by-nc-4.0", "§2", "unchecked"].map(str::to_owned);
        let duty = Obligation { id, summary, license, section, via: vec!["a/x".to_owned()], satisfied };
        assert_eq!(decide("clear", Vec::new(), &[duty]).0, Answer::No);
    }
}
