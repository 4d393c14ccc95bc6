//! What would this be: the license position of a model before it is trained, from a form whose answer has a URL.

use actix_web::{
    HttpRequest,
    web::{Data, Query},
};
use askama::Template;
use sqlx::PgConnection;

use super::{
    Frame,
    error::PageResult,
    format::{self, Mark},
    page,
    tabs::finding::{DutyGroup, FindingView, group},
    usage::{self, UseForm},
};
use crate::{
    app::App,
    auth::Caller,
    http::{
        api::license::{PlannedBody, PlannedParent, judge_plan},
        error::ApiError,
        origin::base_url,
    },
    license::{DISCLAIMER, catalogue::Catalogue, current::load_catalogue, manage, profile::Profile, what_if},
    lineage::Relation,
};

/// Empty rows that the form offers beside the filled ones.
const SPARE: usize = 2;
/// Rows that a URL may fill.
const MOST: usize = 20;

/// A parent as the form has it.
struct ParentRow {
    number: usize,
    model: String,
    relation: String,
}

struct Answer {
    mark: Mark,
    meaning: &'static str,
    expression: Option<String>,
    /// Beginnings that a license asks of the name, each with its license.
    prefixes: Vec<(String, String)>,
    use_words: String,
    findings: Vec<FindingView>,
    duties: Vec<DutyGroup>,
    /// What would be clear, or as near to it as one can come.
    advice: Advice,
    command: String,
}

struct Advice {
    mark: Mark,
    name: String,
    license: Option<String>,
    ships: Vec<what_if::Ship>,
    remains: Vec<FindingView>,
}

#[derive(Template)]
#[template(path = "what-if.html")]
struct WhatIfPage {
    frame: Frame,
    parents: Vec<ParentRow>,
    relations: Vec<(&'static str, &'static str)>,
    name: String,
    license: String,
    usage: UseForm,
    answer: Option<Answer>,
    problem: Option<String>,
    disclaimer: &'static str,
}

/// `GET /what-if`
pub async fn get_what_if(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    query: Query<Vec<(String, String)>>,
    usage: Query<UseForm>,
) -> PageResult {
    let usage = usage.into_inner();
    let all =
        |name: &str| query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.trim().to_owned()).collect();
    let first = |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.trim()).to_owned();
    let (models, relations): (Vec<String>, Vec<String>) = (all("parent"), all("relation"));
    let relation =
        |at: usize| relations.get(at).filter(|word| !word.is_empty()).map_or("finetune", |word| word).to_owned();
    let filled: Vec<PlannedParent> = models
        .into_iter()
        .enumerate()
        .filter(|(_, model)| !model.is_empty())
        .take(MOST)
        .map(|(at, model)| PlannedParent { model, relation: relation(at) })
        .collect();
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let (name, license) = (first("name"), first("license"));
    let mut body =
        PlannedBody { name: name.clone(), license: some(license.clone()), parents: filled.clone(), profile: None };
    let (mut answer, mut problem) = (None, None);
    if query.iter().any(|(key, _)| key == "name") && !filled.is_empty() {
        if body.name.is_empty() {
            "you/your-model".clone_into(&mut body.name);
        }
        let mut connection = app.db.acquire().await?;
        let catalogue = load_catalogue(&mut connection).await?;
        match judge(&mut connection, &caller, &mut body, &usage).await {
            Ok((said, profile)) => {
                let command = command(&base_url(&app, &request), &body);
                answer = Some(build(said, &profile, &catalogue, command));
            }
            // What is wrong with the fields is said beside them.
            Err(error) if error.status.is_client_error() => problem = Some(format::message(&error.message)),
            Err(error) => return Err(error.into()),
        }
    }
    page(&WhatIfPage {
        frame: Frame::new(&caller, "What would it be?", "compliance", ""),
        parents: rows(filled),
        relations: Relation::ALL.map(|relation| (relation.as_str(), format::relation(relation.as_str()))).into(),
        name,
        license,
        usage,
        answer,
        problem,
        disclaimer: DISCLAIMER,
    })
}

async fn judge(
    db: &mut PgConnection,
    caller: &Caller,
    body: &mut PlannedBody,
    usage: &UseForm,
) -> Result<(what_if::Answer, Profile), ApiError> {
    let namespace = body.name.split('/').next().unwrap_or_default().to_owned();
    let mut base = Profile::default();
    if caller.may_administer(&namespace) {
        base = manage::find_policy(db, &namespace).await?.0.profile;
    }
    let profile = usage.query()?.over(&base);
    body.profile = Some(profile.clone());
    Ok((judge_plan(db, caller, body).await?, profile))
}

fn rows(filled: Vec<PlannedParent>) -> Vec<ParentRow> {
    let mut rows: Vec<ParentRow> = Vec::new();
    for parent in filled {
        rows.push(ParentRow { number: rows.len() + 1, model: parent.model, relation: parent.relation });
    }
    for _ in 0..SPARE {
        rows.push(ParentRow { number: rows.len() + 1, model: String::new(), relation: "finetune".to_owned() });
    }
    rows
}

fn build(said: what_if::Answer, profile: &Profile, catalogue: &Catalogue, command: String) -> Answer {
    let what_if::Answer { judgement, advice } = said;
    let mut prefixes: Vec<(String, String)> = Vec::new();
    for duty in &judgement.obligations {
        let license = catalogue.find_by_key(&duty.license);
        if let Some(prefix) = license.and_then(|license| license.value("name_prefix").as_str())
            && !prefixes.iter().any(|(_, of)| *of == duty.license)
        {
            prefixes.push((prefix.replace(' ', "-"), duty.license.clone()));
        }
    }
    let id = judgement.id.clone();
    Answer {
        mark: Mark::position(&judgement.position),
        meaning: match judgement.position.as_str() {
            "clear" => "Nothing would speak against it.",
            "notice" => "It could be used; there would be something worth knowing.",
            "incomplete" => "Something that a license asks for would be missing.",
            "review" => "A person would have to decide something first.",
            "violation" => "A license would forbid it as planned.",
            _ => "Nothing would be known: neither it nor an ancestor has a license.",
        },
        expression: judgement.expression,
        prefixes,
        use_words: usage::describe(profile),
        findings: judgement.findings.into_iter().map(|f| FindingView::judged(id.clone(), f, catalogue)).collect(),
        duties: group(judgement.obligations),
        advice: Advice {
            mark: Mark::position(&advice.position),
            name: advice.name,
            license: advice.license,
            ships: advice.ships,
            remains: advice.remains.into_iter().map(|f| FindingView::judged(id.clone(), f, catalogue)).collect(),
        },
        command,
    }
}

/// The same question to the API.
fn command(base: &str, body: &PlannedBody) -> String {
    let parents: Vec<serde_json::Value> = body
        .parents
        .iter()
        .map(|parent| serde_json::json!({ "model": parent.model, "relation": parent.relation }))
        .collect();
    let mut asked = serde_json::json!({ "name": body.name, "parents": parents, "profile": body.profile });
    if let Some(license) = &body.license {
        asked["license"] = serde_json::json!(license);
    }
    let quoted = asked.to_string().replace('\'', "'\\''");
    format!("curl -X POST {base}/api/v1/license/what-if -H 'Content-Type: application/json' \\\n  -d '{quoted}'")
}
