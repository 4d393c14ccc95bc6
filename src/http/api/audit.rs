//! Audits: the findings of a model, a namespace or everything, in forms that other tools read; streamed.

use std::{
    collections::{BTreeMap, HashSet},
    str::FromStr as _,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Json, Query},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::{license::UseQuery, readable};
use crate::{
    app::App,
    auth::{Caller, Viewer},
    http::{
        error::{ApiError, ApiResult},
        extract::ModelPath,
        origin::base_url,
    },
    license::{
        self, DISCLAIMER, Judgement,
        current::load_catalogue,
        db::{self, Filter, ReportScope},
        export::{Exporter, Format, exporter},
        profile::Profile,
        question::{self, Question},
        report::{ReportInfo, ReportModel},
    },
};

/// Findings that are read from the database at once.
const BATCH: i64 = 2000;
/// Models that are read from the database at once.
const MODELS: i64 = 500;
/// The same for another use, where every batch brings its ancestors along.
const JUDGED_MODELS: i64 = 5000;
/// Bytes that are sent at once, about.
const PIECE: usize = 64 * 1024;

/// What to audit, and as what.
#[derive(Debug, Deserialize, IntoParams)]
pub struct AuditQuery {
    /// `NAMESPACE/NAME` for one model, `NAMESPACE` for the models of one; everything unless said.
    scope: Option<String>,
    /// Only findings of this severity; of models that have one, in formats that list models.
    severity: Option<String>,
    /// Only findings of this rule; of models that have one, in formats that list models.
    rule: Option<String>,
    /// Only findings about this license or because of it; of models that have one, in formats that list models.
    license: Option<String>,
    /// `open`: only findings that nobody accepted; `accepted`: only the others.
    waived: Option<String>,
    /// `json` (the default), `csv`, `cyclonedx`, `spdx` or `sarif`.
    format: Option<String>,
}

/// Returns the findings of a model, a namespace, or everything; for a use that is not on record when one is asked for.
#[utoipa::path(get, path = "/api/v1/audit", tag = "licenses", params(AuditQuery, UseQuery),
    responses((status = 200, body = Object), (status = 400), (status = 404)))]
pub async fn get_audit(
    app: Data<App>,
    caller: Caller,
    request: HttpRequest,
    query: Query<AuditQuery>,
    intended: Query<UseQuery>,
) -> ApiResult<HttpResponse> {
    let viewer = caller.viewer();
    let asked = query.format.as_deref().unwrap_or("json");
    let format = match asked {
        "json" => None,
        other => Some(Format::from_str(other).map_err(|_| {
            let message = format!("`{other}` is not a format, use json, csv, cyclonedx, spdx or sarif");
            ApiError::bad_request(message)
        })?),
    };
    let mut connection = app.db.acquire().await?;
    let (scope, name) = find_scope(&mut connection, &caller, &query).await?;
    let catalogue = load_catalogue(&mut connection).await?.version.clone();
    let profile = intended.is_asked().then(|| intended.over(&Profile::default()));
    let Some(format) = format else {
        let summary = summary(&app, &mut connection, &viewer, &scope, &catalogue, profile.as_ref()).await?;
        drop(connection);
        let body = stream(app, move |out| write_findings(out, viewer, scope, profile, summary));
        return Ok(HttpResponse::Ok().content_type("application/json").streaming(body));
    };
    let info = ReportInfo {
        scope: name.clone().unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        catalogue,
        endpoint: base_url(&app, &request),
        as_of: db::find_report_time(&mut connection, &viewer, &scope).await?,
    };
    drop(connection);
    let exporter = exporter(format, info);
    let stem = name.map_or_else(|| "everything".to_owned(), |name| name.replace('/', "-"));
    let file = format!("attachment; filename=\"{stem}-audit.{}\"", exporter.extension());
    let answer = HttpResponse::Ok()
        .content_type(exporter.content_type())
        .insert_header((header::CONTENT_DISPOSITION, file))
        .streaming(stream(app, move |out| write_report(out, viewer, scope, profile, (format, exporter))));
    Ok(answer)
}

/// Counts the findings of a scope by severity, without those that are accepted, and its models by position.
#[utoipa::path(get, path = "/api/v1/audit/counts", tag = "licenses", params(AuditQuery, UseQuery),
    responses((status = 200, body = Object), (status = 404)))]
pub async fn get_counts(
    app: Data<App>,
    caller: Caller,
    query: Query<AuditQuery>,
    intended: Query<UseQuery>,
) -> ApiResult<Json<Value>> {
    let viewer = caller.viewer();
    let mut connection = app.db.acquire().await?;
    let (scope, _) = find_scope(&mut connection, &caller, &query).await?;
    let mut counts = Counts::default();
    let profile = intended.is_asked().then(|| intended.over(&Profile::default()));
    if let Some(profile) = &profile {
        let models = match (&scope.model_id, &scope.namespace) {
            (Some(id), _) => Some(vec![*id]),
            (None, Some(namespace)) => Some(db::list_of_namespace(&mut connection, namespace).await?),
            (None, None) => None,
        };
        let question = Question { models, profile: Some(profile.clone()), ..Question::default() };
        counts = question::fold(&mut connection, &viewer, question, counts, Counts::add).await?;
    } else {
        counts.positions = db::count_positions_in(&mut connection, &viewer, &scope).await?.into_iter().collect();
        for (rule, severity, findings, models) in db::count_findings_in(&mut connection, &viewer, &scope).await? {
            *counts.findings.entry(severity.clone()).or_default() += findings;
            counts.rules.insert((severity, rule), models);
        }
    }
    let order = |severity: &str| std::cmp::Reverse(license::Severity::parse(severity));
    let mut rules: Vec<_> = counts.rules.into_iter().collect();
    rules.sort_by(|a, b| (order(&a.0.0), b.1, &a.0.1).cmp(&(order(&b.0.0), a.1, &b.0.1)));
    let rules: Vec<Value> = rules
        .into_iter()
        .map(|((severity, rule), models)| json!({ "rule": rule, "severity": severity, "models": models }))
        .collect();
    Ok(Json(json!({
        "positions": counts.positions, "findings": counts.findings, "rules": rules, "profile": profile,
        "disclaimer": DISCLAIMER,
    })))
}

/// What is counted of a scope.
#[derive(Default)]
struct Counts {
    positions: BTreeMap<String, i64>,
    findings: BTreeMap<String, i64>,
    /// Models by severity and rule.
    rules: BTreeMap<(String, String), i64>,
}

impl Counts {
    fn add(&mut self, judgement: Judgement) {
        let open = judgement.findings.iter().filter(|finding| finding.waiver.is_none());
        let mut rules = std::collections::BTreeSet::new();
        for finding in open {
            *self.findings.entry(finding.severity.as_str().to_owned()).or_default() += 1;
            rules.insert((finding.severity.as_str().to_owned(), finding.rule.clone()));
        }
        rules.into_iter().for_each(|rule| *self.rules.entry(rule).or_default() += 1);
        *self.positions.entry(judgement.position).or_default() += 1;
    }
}

/// The scope of a query, and how it is called.
async fn find_scope(
    connection: &mut PgConnection,
    caller: &Caller,
    query: &AuditQuery,
) -> ApiResult<(ReportScope, Option<String>)> {
    // A report that streams cannot be refused once it has begun.
    let texts = [&query.scope, &query.severity, &query.rule, &query.license];
    if texts.into_iter().flatten().any(|text| text.contains('\0')) {
        return Err(ApiError::bad_request("a filter holds the character NUL, which is in no name"));
    }
    let scope = query.scope.as_deref().filter(|scope| !scope.is_empty());
    let model = match scope.and_then(|scope| scope.split_once('/')) {
        Some((ns, name)) => {
            let path = ModelPath { ns: ns.to_owned(), name: name.to_owned() };
            Some(readable(connection, caller, &path).await?)
        }
        None => None,
    };
    let scope = ReportScope {
        model_id: model.as_ref().map(|model| model.id),
        namespace: scope.filter(|_| model.is_none()).map(str::to_lowercase),
        severity: query.severity.clone(),
        rule: query.rule.clone(),
        license: query.license.clone(),
        is_waived: match query.waived.as_deref() {
            None | Some("") => None,
            Some("open") => Some(false),
            Some("accepted") => Some(true),
            Some(other) => {
                let message = format!("`{other}` is no state of a finding: write open or accepted");
                return Err(ApiError::new(actix_web::http::StatusCode::BAD_REQUEST, "unknown-state", message));
            }
        },
    };
    if let Some(namespace) = &scope.namespace
        && db::count_positions_in(connection, &caller.viewer(), &scope).await?.is_empty()
    {
        let message = format!("there is no model in `{namespace}` that you may read");
        return Err(ApiError::not_found(message));
    }
    let name = model.map(|model| model.name.to_string()).or_else(|| scope.namespace.clone());
    Ok((scope, name))
}

async fn summary(
    app: &App,
    connection: &mut PgConnection,
    viewer: &Viewer,
    scope: &ReportScope,
    catalogue: &str,
    profile: Option<&Profile>,
) -> ApiResult<Value> {
    let mut summary = json!({ "disclaimer": DISCLAIMER, "catalogue": catalogue });
    if let Some(profile) = profile {
        summary["profile"] = json!(profile);
    } else if scope.model_id.is_none() {
        let namespace = scope.namespace.as_deref();
        let positions = db::kept_positions(&app.tally, connection, viewer, namespace).await?;
        let positions: serde_json::Map<String, Value> =
            positions.iter().map(|(position, count)| (position.clone(), json!(count))).collect();
        summary["positions"] = Value::Object(positions);
        summary["rules"] = json!(*db::kept_rules(&app.tally, connection, viewer, namespace).await?);
    }
    Ok(summary)
}

/// Where a report is written to: pieces that the client reads as they come.
struct Out {
    app: Data<App>,
    pieces: mpsc::Sender<Result<Bytes, ApiError>>,
    text: String,
}

/// The client went away.
struct Gone;

enum Stopped {
    Gone,
    Failed(ApiError),
}

impl From<Gone> for Stopped {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl<E: Into<ApiError>> From<E> for Stopped
where
    E: std::error::Error,
{
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Out {
    async fn write(&mut self, text: &str) -> Result<(), Gone> {
        self.text.push_str(text);
        if self.text.len() >= PIECE { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        let text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return Ok(());
        }
        self.pieces.send(Ok(Bytes::from(text))).await.map_err(|_| Gone)
    }
}

/// Runs a writer beside the answer; a failure breaks the answer off, so that no half report looks whole.
fn stream<F>(app: Data<App>, write: impl FnOnce(Out) -> F) -> ReceiverStream<Result<Bytes, ApiError>>
where
    F: Future<Output = (Out, Result<(), Stopped>)> + 'static,
{
    let (pieces, body) = mpsc::channel(4);
    let work = write(Out { app, pieces, text: String::new() });
    actix_web::rt::spawn(async move {
        let (mut out, written) = work.await;
        match written {
            Ok(()) => drop(out.flush().await),
            Err(Stopped::Gone) => {}
            Err(Stopped::Failed(error)) => drop(out.pieces.send(Err(error)).await),
        }
    });
    ReceiverStream::new(body)
}

/// Writes the JSON form: a summary and all findings, one after the other.
async fn write_findings(
    mut out: Out,
    viewer: Viewer,
    scope: ReportScope,
    profile: Option<Profile>,
    summary: Value,
) -> (Out, Result<(), Stopped>) {
    let mut head = summary.to_string();
    head.pop();
    head.push_str(",\"findings\":[");
    let written = async {
        out.write(&head).await?;
        match profile {
            None => write_kept(&mut out, &viewer, &scope).await?,
            Some(profile) => write_asked(&mut out, &viewer, &scope, &profile).await?,
        }
        Ok(())
    };
    let written = written.await;
    (out, written)
}

async fn write_kept(out: &mut Out, viewer: &Viewer, scope: &ReportScope) -> Result<(), Stopped> {
    let mut filter = Filter {
        model_id: scope.model_id,
        namespace: scope.namespace.clone(),
        severity: scope.severity.clone(),
        rule: scope.rule.clone(),
        license: scope.license.clone(),
        is_waived: scope.is_waived,
        limit: BATCH,
        ..Filter::default()
    };
    let mut comma = "";
    loop {
        let mut connection = out.app.db.acquire().await?;
        let batch = db::list_findings(&mut connection, viewer, &filter).await?;
        drop(connection);
        for finding in &batch {
            filter.after = finding.id;
            out.write(comma).await?;
            comma = ",";
            out.write(&serde_json::to_string(finding).unwrap_or_default()).await?;
        }
        if i64::try_from(batch.len()).unwrap_or(0) < filter.limit {
            out.write("]}").await?;
            return Ok(());
        }
    }
}

/// As kept findings, for another use; the counts follow, as they are known at the end.
async fn write_asked(out: &mut Out, viewer: &Viewer, scope: &ReportScope, profile: &Profile) -> Result<(), Stopped> {
    let mut positions = BTreeMap::<String, usize>::new();
    let mut comma = "";
    let mut after = String::new();
    loop {
        let (models, next) = read(out, viewer, scope, Some(profile), &after).await?;
        for model in &models {
            *positions.entry(model.position.clone()).or_default() += 1;
            for finding in model.findings.iter().filter(|finding| scope.lists(finding)) {
                let mut row = json!(finding);
                row["model"] = json!(model.id);
                row["position"] = json!(model.position);
                out.write(comma).await?;
                comma = ",";
                out.write(&row.to_string()).await?;
            }
        }
        let Some(next) = next else { break };
        after = next;
    }
    out.write(&format!("],\"positions\":{}}}", json!(positions))).await?;
    Ok(())
}

/// Writes a report in a form of another tool.
///
/// It is a cursor over the models' names: no connection is held while the client reads, so that slow readers cost
/// nobody else anything. What changes meanwhile appears in its older or its newer state; models that come into view
/// after the first pass are left out, so that later passes name nothing that the first did not describe.
async fn write_report(
    mut out: Out,
    viewer: Viewer,
    scope: ReportScope,
    profile: Option<Profile>,
    (format, mut exporter): (Format, Box<dyn Exporter>),
) -> (Out, Result<(), Stopped>) {
    let written = async {
        let mut described = HashSet::new();
        for pass in 0..exporter.passes() {
            out.write(&exporter.begin(pass)).await?;
            let mut after = String::new();
            loop {
                let (mut models, next) = read(&out, &viewer, &scope, profile.as_ref(), &after).await?;
                match pass {
                    0 => described.extend(models.iter().map(|model| model.id.clone())),
                    _ => models.retain(|model| described.contains(&model.id)),
                }
                for model in &mut models {
                    if format.lists_findings() {
                        model.findings.retain(|finding| scope.lists(finding));
                    }
                    out.write(&exporter.model(pass, model)).await?;
                }
                let Some(next) = next else { break };
                after = next;
            }
            out.write(&exporter.end(pass)).await?;
        }
        Ok(())
    };
    let written = written.await;
    (out, written)
}

async fn read(
    out: &Out,
    viewer: &Viewer,
    scope: &ReportScope,
    profile: Option<&Profile>,
    after: &str,
) -> Result<(Vec<ReportModel>, Option<String>), Stopped> {
    let mut connection = out.app.db.acquire().await?;
    Ok(read_in(&mut connection, viewer, scope, profile, after).await?)
}

/// The next models of a report; judged for a use when one is asked for.
async fn read_in(
    connection: &mut PgConnection,
    viewer: &Viewer,
    scope: &ReportScope,
    profile: Option<&Profile>,
    after: &str,
) -> ApiResult<(Vec<ReportModel>, Option<String>)> {
    let limit = if profile.is_some() { JUDGED_MODELS } else { MODELS };
    // What is found for another use is not what is kept.
    let unfiltered = ReportScope { model_id: scope.model_id, namespace: scope.namespace.clone(), ..Default::default() };
    let listed = if profile.is_some() { &unfiltered } else { scope };
    let batch = db::list_report_models(connection, viewer, listed, after, limit).await?;
    let mut models = batch.models;
    if let Some(profile) = profile {
        let question = Question { models: Some(batch.rows), profile: Some(profile.clone()), ..Question::default() };
        let judged = question::judge(connection, viewer, question).await?;
        let mut by_name: std::collections::HashMap<String, license::Judgement> =
            judged.into_iter().map(|judgement| (judgement.id.clone(), judgement)).collect();
        for model in &mut models {
            let Some(judgement) = by_name.remove(&model.id) else { continue };
            model.position = judgement.position;
            model.expression = judgement.expression;
            model.obligations = judgement.obligations;
            model.findings = judgement.findings;
        }
        models.retain(|model| !scope.is_filtered() || model.findings.iter().any(|finding| scope.lists(finding)));
    }
    Ok((models, batch.next))
}
