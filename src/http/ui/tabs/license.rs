//! A model's license position: the verdict, the path that decides, findings, duties, evidence, history.

use actix_web::{
    HttpRequest,
    web::{Data, Path, Query},
};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::super::{
    Frame,
    error::{PageError, PageResult},
    format::{self, Mark},
    license_path::{self, Step, Term},
    model::{Head, Loaded, load},
    page, query_string,
    usage::{self, UseForm},
    words,
};
use super::finding::{DutyGroup, FindingView, group, progress};
use crate::{
    app::App,
    auth::{Caller, Viewer},
    catalog::{Kind, Model},
    http::{
        api::license::{ask_profile, judge_for},
        extract::ModelPath,
        kit,
    },
    license::{
        DISCLAIMER, Obligation,
        catalogue::Catalogue,
        current::load_catalogue,
        db::{self, Position},
        finding::position_with,
        manage,
    },
    lineage::{self, Direction, Graph, db::Walk},
};

/// Changes of the position that are shown.
const MOST_CHANGES: i64 = 20;
/// Ancestors that are looked at for a drawing.
const MOST_ANCESTORS: i64 = 600;
/// Generations that are looked at for a drawing.
const DEEPEST: i32 = 40;

/// What of the position is asked.
#[derive(Debug, Deserialize)]
pub struct LicenseQuery {
    /// Number of the finding whose path is drawn.
    #[serde(default)]
    finding: String,
    /// How many files were just added to the model.
    #[serde(default)]
    added: String,
}

/// A recognized license file.
struct TextFile {
    path: String,
    license: Option<String>,
}

/// What the label was read from.
struct Evidence {
    declared: Option<String>,
    /// The license that the label names, when it is known.
    known: Option<String>,
    name: Option<String>,
    link: Option<String>,
    texts: Vec<TextFile>,
    /// The license of the licensor whose own repository this is.
    publisher: Option<String>,
    expression: Option<String>,
    judged: String,
}

/// A change of the position.
struct Change {
    at: String,
    previous: Option<Mark>,
    position: Mark,
    reason: String,
}

/// A file of the attribution kit.
struct KitRow {
    path: String,
    why: String,
}

#[derive(Template)]
#[template(path = "model/license.html")]
struct LicensePage {
    frame: Frame,
    head: Head,
    mark: Mark,
    lead: String,
    is_being_judged: bool,
    /// The use that is asked about, in words.
    asked: Option<String>,
    usage: UseForm,
    added: Option<String>,
    findings: Vec<FindingView>,
    /// Which finding is drawn.
    shown: usize,
    /// The use that is asked about, for links to the same page.
    keep: String,
    drawing: String,
    steps: Vec<Step>,
    duties: Vec<DutyGroup>,
    progress: String,
    evidence: Evidence,
    kit: Vec<KitRow>,
    may: May,
    owner: String,
    today: String,
    history: Vec<Change>,
    exports: [(&'static str, String); 5],
    disclaimer: &'static str,
}

/// What the visitor may do here.
struct May {
    /// Push.
    write: bool,
    /// Accept findings.
    waive: bool,
    /// Change the policy.
    administer: bool,
}

/// What is said of the model: as it is kept, or for the use that is asked about.
struct Said {
    position: String,
    expression: Option<String>,
    findings: Vec<FindingView>,
    duties: Vec<Obligation>,
    asked: Option<String>,
}

/// `GET /{ns}/{name}/license`
pub async fn get_license(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    query: Query<LicenseQuery>,
    usage: Query<UseForm>,
) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, head, mut frame, .. } = load(&mut db, &app, &caller, &request, &path, "License").await?;
    let viewer = caller.viewer();
    let usage = usage.into_inner();
    frame.twin = format!("/api/v1/models/{}/license?{}", model.name, query_string(&usage.pairs()));
    frame.twin = frame.twin.trim_end_matches('?').to_owned();
    let catalogue = load_catalogue(&mut db).await?;
    let kept = db::find_position(&mut db, &viewer, model.id).await?;
    let said = say(&mut db, &caller, &catalogue, &model, kept.as_ref(), &usage).await?;
    let shown = query.finding.parse::<usize>().unwrap_or(1).clamp(1, said.findings.len().max(1)) - 1;
    let steps = match said.findings.get(shown) {
        Some(finding) => license_path::steps(&finding.path, &ancestors(&mut db, &model, &viewer, finding).await?),
        None => Vec::new(),
    };
    let drawing = said.findings.get(shown).filter(|_| steps.len() > 1);
    let drawing = drawing.map(|finding| license_path::draw(&steps, term(finding, &catalogue).as_ref()));
    let kit = match said.duties.is_empty() {
        true => Vec::new(),
        false => kit::collect(&mut db, &caller, &model).await?,
    };
    let history = db::list_position_changes(&mut db, model.id, MOST_CHANGES).await?;
    page(&LicensePage {
        mark: Mark::position(&said.position),
        lead: lead(&said.position, &said.findings),
        is_being_judged: said.asked.is_none() && db::is_being_judged(&mut db, model.id).await?,
        added: Some(query.added.clone()).filter(|added| added.parse::<u16>().is_ok()),
        shown,
        keep: format!("{}&", query_string(&usage.pairs())).trim_start_matches('&').to_owned(),
        drawing: drawing.unwrap_or_default(),
        steps,
        progress: progress(&said.duties),
        evidence: evidence(&model, kept.as_ref(), &catalogue, said.expression),
        kit: kit.into_iter().map(|file| KitRow { path: file.path, why: words::capitalized(&file.why) }).collect(),
        may: May {
            write: model.kind == Kind::Hosted && caller.may_write(model.name.namespace()),
            waive: said.asked.is_none() && manage::may_waive(&mut db, &caller, model.name.namespace()).await?,
            administer: caller.may_administer(model.name.namespace()),
        },
        owner: caller.name().to_owned(),
        today: format::day(time::OffsetDateTime::now_utc()),
        history: history.into_iter().map(change).collect(),
        exports: exports(&model, &usage),
        duties: group(said.duties),
        findings: said.findings,
        asked: said.asked,
        disclaimer: DISCLAIMER,
        usage,
        frame,
        head,
    })
}

async fn say(
    db: &mut PgConnection,
    caller: &Caller,
    catalogue: &Catalogue,
    model: &Model,
    kept: Option<&Position>,
    usage: &UseForm,
) -> Result<Said, PageError> {
    let query = usage.query()?;
    if query.is_asked() {
        let profile = ask_profile(db, caller, model, &query).await?;
        let asked = Some(usage::describe(&profile));
        let judgement = judge_for(db, caller, model, profile).await?;
        let view = |finding| FindingView::judged(judgement.id.clone(), finding, catalogue);
        let findings = judgement.findings.into_iter().map(view).collect();
        let (position, expression, duties) = (judgement.position, judgement.expression, judgement.obligations);
        return Ok(Said { position, expression, findings, duties, asked });
    }
    let found = db::list_model_findings(db, &caller.viewer(), model.id).await?;
    let position = position_with(&model.position, &found);
    // What is accepted comes last.
    let (open, accepted): (Vec<_>, Vec<_>) = found.into_iter().partition(|finding| finding.waiver.is_none());
    let view = |finding| FindingView::judged(model.name.to_string(), finding, catalogue);
    let findings = open.into_iter().chain(accepted).map(view).collect();
    let duties = kept.map(|position| position.obligations.clone()).unwrap_or_default();
    let duties = serde_json::from_value(duties).unwrap_or_default();
    Ok(Said { position, expression: kept.and_then(|kept| kept.expression.clone()), findings, duties, asked: None })
}

/// The ancestors on the path of a finding, as far as the caller may read them.
async fn ancestors(
    db: &mut PgConnection,
    model: &Model,
    viewer: &Viewer,
    finding: &FindingView,
) -> Result<Graph, lineage::Error> {
    let depth = i32::try_from(finding.path.len()).unwrap_or(DEEPEST).min(DEEPEST);
    let (direction, limit) = (Direction::Ancestors, MOST_ANCESTORS);
    let walk = Walk { direction, depth, relation: None, limit, with_evidence: false };
    lineage::db::walk(db, model, &walk, viewer).await
}

/// What decides a finding: the words of its license.
fn term(finding: &FindingView, catalogue: &Catalogue) -> Option<Term> {
    let license = catalogue.find_by_key(finding.license.as_deref()?)?;
    let said = words::deciding(license, &finding.rule);
    let clause = finding.section.clone().or_else(|| said.as_ref().map(|said| said.clause.clone())).unwrap_or_default();
    let verb = said.as_ref().map_or("", |said| said.verb);
    let words = said.map_or_else(|| finding.title.clone(), |said| format!("{verb}: {}", said.sentence));
    Some(Term { clause: format!("{}, {clause}", license.key), words, mark: finding.mark.clone() })
}

/// The verdict in a sentence, as HTML: what the position means, and the gravest finding.
fn lead(position: &str, findings: &[FindingView]) -> String {
    let meaning = match position {
        "clear" => "Nothing was found that speaks against using it under its license.",
        "notice" => "It can be used; there is something worth knowing.",
        "incomplete" => "Something that a license asks for is missing.",
        "review" => "A person must decide something before it is used.",
        "violation" => "A license forbids what is here.",
        _ => "Nothing is known: no license is declared here or by an ancestor.",
    };
    match findings.iter().find(|finding| finding.waiver.is_none()) {
        Some(worst) => format!("<b>{meaning}</b> {}", worst.message),
        None => format!("<b>{meaning}</b>"),
    }
}

fn evidence(model: &Model, kept: Option<&Position>, catalogue: &Catalogue, expression: Option<String>) -> Evidence {
    let key_of = |index: usize| catalogue.licenses.get(index).map(|license| license.key.clone());
    let texts = kept.and_then(|kept| kept.detected.as_array().cloned()).unwrap_or_default();
    let text = |text: &serde_json::Value| TextFile {
        path: text["path"].as_str().unwrap_or_default().to_owned(),
        license: text["license"].as_str().map(str::to_owned),
    };
    Evidence {
        known: model.license_id.as_deref().and_then(|label| catalogue.find(label)).and_then(key_of),
        declared: model.license.clone(),
        name: model.license_name.clone(),
        link: model.license_link.clone(),
        texts: texts.iter().map(text).collect(),
        publisher: catalogue.published_by_licensor(&model.name.to_string()).and_then(key_of),
        judged: kept.map(|kept| format::age(kept.computed_at)).unwrap_or_default(),
        expression,
    }
}

fn change(change: db::PositionChange) -> Change {
    let reason = change.reason.split_once('@').map(|(rule, about)| format!("{} ({about})", words::rule_title(rule)));
    Change {
        at: format::instant(change.at),
        previous: change.previous.as_deref().map(Mark::position),
        position: Mark::position(&change.position),
        reason: reason.unwrap_or(change.reason),
    }
}

fn exports(model: &Model, usage: &UseForm) -> [(&'static str, String); 5] {
    let name = model.name.to_string();
    let formats = [("JSON", "json"), ("CSV", "csv"), ("CycloneDX", "cyclonedx"), ("SPDX", "spdx"), ("SARIF", "sarif")];
    formats.map(|(word, format)| {
        let mut pairs = vec![("scope", name.as_str()), ("format", format)];
        pairs.extend(usage.pairs());
        (word, format!("/api/v1/audit?{}", query_string(&pairs)))
    })
}
