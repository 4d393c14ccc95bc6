//! One parent link: its verdict in a sentence, what it rests on, who states it, and what people say of it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Form, Path},
};
use askama::Template;
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    Frame,
    error::{PageError, PageResult},
    format::{self, Mark},
    measured::{Alternative, Figure, Measured, MergeView, Scale},
    model::find,
    page,
    strip::{self, Strip},
};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Kind, Model},
    http::{api::evidence::LinkPath, error::ApiError, extract::ModelPath},
    jobs::publish::enqueue_after_lineage,
    lineage::{
        db::{Decision, LinkClaim},
        link::{self, Action, Link, Past},
    },
};

struct ClaimRow {
    relation: String,
    origin: String,
    source: String,
    note: String,
    by: String,
    since: String,
    withdrawn: Option<String>,
}

struct DecisionRow {
    mark: Mark,
    by: String,
    at: String,
    reason: String,
}

struct PastRow {
    mark: Mark,
    from: String,
    until: String,
    algorithm: i32,
}

#[derive(Template)]
#[template(path = "evidence.html")]
struct EvidencePage {
    frame: Frame,
    place: String,
    child: String,
    parent: String,
    stated: String,
    mark: Mark,
    level: &'static str,
    sentence: String,
    waiting: Option<String>,
    nearer: Option<String>,
    standing: Option<DecisionRow>,
    facts: Vec<(&'static str, String)>,
    scope: String,
    scale: Option<Scale>,
    figures: Vec<Figure>,
    strip: Option<Strip>,
    rows: Vec<(&'static str, String)>,
    tensors: Vec<(&'static str, String)>,
    merge: Option<MergeView>,
    full: Option<Vec<(&'static str, String)>>,
    full_problem: Option<String>,
    alternatives: Vec<Alternative>,
    direction: Vec<&'static str>,
    claims: Vec<ClaimRow>,
    decisions: Vec<DecisionRow>,
    actions: Vec<(&'static str, &'static str)>,
    history: Vec<PastRow>,
    limits: Vec<&'static str>,
    reproduce: Vec<(&'static str, String)>,
}

/// `GET /{ns}/{name}/lineage/{parent_ns}/{parent_name}`
pub async fn get_evidence(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<LinkPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let (child, parent) = models(&mut db, &caller, &request, &path).await?;
    let found = link::find_link(&mut db, &child, &parent, &caller.viewer()).await?;
    let link = found.ok_or_else(|| {
        let message = format!(
            "nobody states that `{}` was made from `{}`, and the weights do not show it",
            child.name, parent.name
        );
        ApiError::not_found(message)
    })?;
    let open_jobs = crate::jobs::queue::count_open(&mut db, child.id).await?;
    page(&show(&caller, &child, &parent, link, open_jobs))
}

/// Returns both models; a name in another case leads to the page's own address.
async fn models(
    db: &mut PgConnection,
    caller: &Caller,
    request: &HttpRequest,
    path: &LinkPath,
) -> Result<(Model, Model), PageError> {
    let child = find(db, caller, request, &path.child()).await?;
    let name = ModelPath { ns: path.parent_ns.clone(), name: path.parent_name.clone() }.parse()?;
    let parent = catalog::get_model(db, &name, &caller.viewer()).await?;
    if parent.name != name {
        return Err(PageError::moved(address(&child, &parent)));
    }
    Ok((child, parent))
}

fn address(child: &Model, parent: &Model) -> String {
    format!("/{}/lineage/{}", child.name, parent.name)
}

fn show(caller: &Caller, child: &Model, parent: &Model, link: Link, open_jobs: i64) -> EvidencePage {
    let measured = Measured::read(&link.measured);
    let is_related = ["confirmed", "confirmed_family", "detected"].contains(&link.verdict.as_str());
    let title = format!("Evidence: {} from {}", link.child, link.parent);
    let twin = format!("/api/v1/models/{}/lineage/{}", link.child, link.parent);
    let (full, full_problem) = match measured.full() {
        Some(Ok(counts)) => (Some(counts), None),
        Some(Err(problem)) => (None, Some(problem)),
        None => (None, None),
    };
    EvidencePage {
        frame: Frame::new(caller, title, "browse", twin),
        place: address(child, parent),
        mark: Mark::lineage(&link.verdict),
        level: level_words(&link),
        stated: stated(&link),
        sentence: format::message(&link.sentence),
        waiting: (link.verdict == "pending").then(|| waiting(child, parent, open_jobs)),
        standing: link.standing.as_ref().and(link.decisions.first()).map(decision_row),
        facts: facts(&link),
        scope: measured.scope(),
        scale: measured.scale(),
        figures: measured.figures(is_related),
        strip: strip::draw(&measured.strip),
        rows: measured.rows(is_related),
        tensors: measured.tensors(is_related),
        merge: measured.merge(),
        full,
        full_problem,
        alternatives: measured.alternatives(),
        direction: if is_related { measured.direction() } else { Vec::new() },
        claims: link.claims.iter().map(claim_row).collect(),
        decisions: link.decisions.iter().map(decision_row).collect(),
        actions: actions(caller, child, parent),
        history: link.history.iter().map(past_row).collect(),
        limits: link.limits,
        reproduce: reproduce(&link.reproduce),
        nearer: link.nearer,
        child: link.child,
        parent: link.parent,
    }
}

/// How sure the verdict is, and by what.
fn level_words(link: &Link) -> &'static str {
    match (link.level.as_str(), link.verdict.as_str()) {
        ("certain", "contradicted") => "certain: all weights were compared, and they match another model",
        ("probable", "contradicted") => "probable: all weights were compared, no other parent is known",
        ("certain", _) => "certain: exact values show it",
        ("probable", _) => "probable: distances and directions show it",
        _ => "",
    }
}

/// What is claimed, in words.
fn stated(link: &Link) -> String {
    let relation = format::with_article(format::relation(&link.relation));
    let is_stated = |claim: &LinkClaim| claim.withdrawn_at.is_none() && claim.origin != "detected";
    if link.claims.iter().any(is_stated) {
        return format!("The model on the left is stated to be {relation} of the one on the right.");
    }
    if link.claims.iter().all(|claim| claim.withdrawn_at.is_some()) {
        return "Nobody states this link any more.".to_owned();
    }
    format!("Nobody stated it: the weights show that the model on the left is {relation} of the one on the right.")
}

/// What is being done for a verdict that is not there yet.
fn waiting(child: &Model, parent: &Model, open_jobs: i64) -> String {
    let absent = [child, parent].into_iter().find(|model| model.kind == Kind::Catalogued);
    match absent {
        Some(model) => {
            format!("The files of `{}` are not in this registry. Once they are pushed, both are compared.", model.name)
        }
        None if open_jobs > 0 => format!(
            "{} of this model under way; the verdict appears here when they are done. Load the page again in a moment.",
            if open_jobs == 1 { "1 job is".to_owned() } else { format!("{} jobs are", format::count(open_jobs)) }
        ),
        None => "The comparison waits for another model's fingerprint, and follows by itself.".to_owned(),
    }
}

fn facts(link: &Link) -> Vec<(&'static str, String)> {
    let revision = |commit: &Option<String>| {
        commit.as_ref().map_or_else(|| "none".to_owned(), |commit| commit.chars().take(12).collect())
    };
    let mut facts = Vec::new();
    if let Some(at) = link.computed_at {
        facts.push(("Judged", format::instant(at)));
        facts.push(("Revision", revision(&link.child_revision)));
        facts.push(("Parent's revision", revision(&link.parent_revision)));
    }
    if link.confidence > 0.0 {
        facts.push(("Confidence", format!("{:.2}", link.confidence)));
    }
    facts
}

fn claim_row(claim: &LinkClaim) -> ClaimRow {
    ClaimRow {
        relation: format::relation(&claim.relation).to_owned(),
        origin: claim.origin.clone(),
        source: format::source(&claim.source).to_owned(),
        note: claim.evidence["note"].as_str().unwrap_or_default().to_owned(),
        by: claim.created_by.clone(),
        since: format::instant(claim.created_at),
        withdrawn: claim.withdrawn_at.map(format::instant),
    }
}

fn decision_row(decision: &Decision) -> DecisionRow {
    DecisionRow {
        mark: Mark::decision(&decision.action),
        by: decision.decided_by.clone(),
        at: format::instant(decision.created_at),
        reason: decision.reason.clone(),
    }
}

fn past_row(past: &Past) -> PastRow {
    PastRow {
        mark: Mark::lineage(&past.verdict),
        from: format::instant(past.computed_at),
        until: past.superseded_at.map(format::instant).unwrap_or_default(),
        algorithm: past.algorithm,
    }
}

fn reproduce(value: &serde_json::Value) -> Vec<(&'static str, String)> {
    let text = |field: &str| match &value[field] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    vec![
        ("Decision procedure", format!("version {}", text("algorithm"))),
        ("Fingerprint", format!("version {}", text("fingerprint_version"))),
        ("Sampled places", text("sampling")),
    ]
}

/// What the caller may say of the verdict.
fn actions(caller: &Caller, child: &Model, parent: &Model) -> Vec<(&'static str, &'static str)> {
    let mut actions = Vec::new();
    if caller.may_administer(child.name.namespace()) || caller.may_administer(parent.name.namespace()) {
        actions.push(("dispute", "Dispute: an owner does not agree"));
    }
    if caller.is_admin() {
        actions.push(("confirm", "Confirm: looked at, the measurement is right"));
        actions.push(("overrule", "Overrule: set the verdict aside"));
        actions.push(("reopen", "Reopen: take back what was decided"));
    }
    actions
}

/// What somebody says of the verdict.
#[derive(Debug, Deserialize)]
pub struct DecisionForm {
    #[serde(default)]
    csrf: String,
    action: Action,
    #[serde(default)]
    reason: String,
}

/// `POST /{ns}/{name}/lineage/{parent_ns}/{parent_name}`
pub async fn post_decision(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<LinkPath>,
    form: Form<DecisionForm>,
) -> PageResult {
    caller.check_form(&form.csrf)?;
    caller.require_user()?;
    let mut tx = app.db.begin().await?;
    let (child, parent) = models(&mut tx, &caller, &request, &path).await?;
    link::decide(&mut tx, &caller, &child, &parent, form.action, &form.reason).await?;
    enqueue_after_lineage(&mut tx, child.id).await?;
    tx.commit().await?;
    let place = format!("{}#decisions", address(&child, &parent));
    Ok(HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish())
}
