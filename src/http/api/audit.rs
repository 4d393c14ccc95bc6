//! License positions, findings and the catalogue of licenses.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json, Path, Query},
};
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;

use super::readable;
use crate::{
    app::App,
    auth::Caller,
    auth::Viewer,
    http::{
        error::{ApiError, ApiResult},
        extract::ModelPath,
    },
    license::{
        DISCLAIMER,
        catalogue::CATALOGUE,
        db::{self, Filter},
        export,
    },
};

/// Findings that are read from the database at once.
const BATCH: i64 = 2000;

/// Returns a model's license position with its obligations and findings.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/license", tag = "licenses",
    params(("ns" = String, Path), ("name" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn get_license(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = readable(&mut db, &caller, &path).await?;
    let position = db::find_position(&mut db, &caller.viewer(), model.id).await?;
    let findings = db::list_model_findings(&mut db, &caller.viewer(), model.id).await?;
    let rfc3339 = |at: time::OffsetDateTime| at.format(&time::format_description::well_known::Rfc3339).ok();
    Ok(Json(json!({
        "model": model.name.to_string(),
        "declared": model.license,
        "expression": position.as_ref().and_then(|p| p.expression.clone()),
        "position": model.position,
        "obligations": position.as_ref().map_or_else(|| json!([]), |p| p.obligations.clone()),
        "findings": findings,
        "computed_at": position.and_then(|p| rfc3339(p.computed_at)),
        "disclaimer": DISCLAIMER,
    })))
}

/// What to audit, and as what.
#[derive(Debug, Deserialize, IntoParams)]
pub struct AuditQuery {
    /// `NAMESPACE/NAME` for one model, `NAMESPACE` for the models of one; everything unless said.
    scope: Option<String>,
    /// Only findings of this severity.
    severity: Option<String>,
    /// Only findings of this rule.
    rule: Option<String>,
    /// `json` (the default) or `csv`.
    format: Option<String>,
}

/// Returns the findings of a model, a namespace, or everything, with a summary; streamed.
#[utoipa::path(get, path = "/api/v1/audit", tag = "licenses", params(AuditQuery),
    responses((status = 200, body = Object), (status = 404)))]
pub async fn get_audit(app: Data<App>, caller: Caller, query: Query<AuditQuery>) -> ApiResult<HttpResponse> {
    let query = query.into_inner();
    let viewer = caller.viewer();
    let mut connection = app.db.acquire().await?;
    let scope = query.scope.as_deref().filter(|scope| !scope.is_empty());
    let model_id = match scope.and_then(|scope| scope.split_once('/')) {
        Some((ns, name)) => {
            let path = ModelPath { ns: ns.to_owned(), name: name.to_owned() };
            Some(readable(&mut connection, &caller, &path).await?.id)
        }
        None => None,
    };
    let namespace = scope.filter(|_| model_id.is_none()).map(str::to_lowercase);
    let filter = Filter {
        model_id,
        namespace: namespace.clone(),
        severity: query.severity.clone(),
        rule: query.rule.clone(),
        limit: BATCH,
        ..Filter::default()
    };
    match query.format.as_deref().unwrap_or("json") {
        "csv" => {
            let head = Bytes::from_static(export::CSV_HEADER.as_bytes());
            let rows = rows(app, viewer, filter, Form::Csv, head);
            Ok(HttpResponse::Ok()
                .content_type("text/csv; charset=utf-8")
                .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""))
                .streaming(rows))
        }
        "json" => {
            let mut summary = json!({ "disclaimer": DISCLAIMER, "catalogue": CATALOGUE.version });
            if model_id.is_none() {
                let positions = db::kept_positions(&app.tally, &mut connection, &viewer, namespace.as_deref()).await?;
                let positions: serde_json::Map<String, Value> =
                    positions.iter().map(|(position, count)| (position.clone(), json!(count))).collect();
                summary["positions"] = Value::Object(positions);
                summary["rules"] =
                    json!(*db::kept_rules(&app.tally, &mut connection, &viewer, namespace.as_deref()).await?);
            }
            let mut head = summary.to_string();
            head.pop();
            head.push_str(",\"findings\":[");
            let rows = rows(app, viewer, filter, Form::Json, Bytes::from(head));
            Ok(HttpResponse::Ok().content_type("application/json").streaming(rows))
        }
        other => Err(ApiError::bad_request(format!("`{other}` is not a format, use json or csv"))),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Csv,
    Json,
}

struct Rows {
    app: Data<App>,
    viewer: Viewer,
    filter: Filter,
    form: Form,
    head: Option<Bytes>,
    is_first: bool,
    is_done: bool,
}

/// Streams findings in batches, so that a report on everything needs no memory for everything.
fn rows(
    app: Data<App>,
    viewer: Viewer,
    filter: Filter,
    form: Form,
    head: Bytes,
) -> impl stream::Stream<Item = Result<Bytes, ApiError>> {
    let state = Rows { app, viewer, filter, form, head: Some(head), is_first: true, is_done: false };
    stream::try_unfold(state, |mut state| async move {
        if let Some(head) = state.head.take() {
            return Ok(Some((head, state)));
        }
        if state.is_done {
            return Ok(None);
        }
        let mut connection = state.app.db.acquire().await?;
        let batch = db::list_findings(&mut connection, &state.viewer, &state.filter).await?;
        drop(connection);
        state.is_done = i64::try_from(batch.len()).unwrap_or(0) < state.filter.limit;
        let mut text = String::new();
        for finding in &batch {
            state.filter.after = finding.id;
            if state.form == Form::Csv {
                text.push_str(&export::csv_line(finding));
                continue;
            }
            if !state.is_first {
                text.push(',');
            }
            state.is_first = false;
            text.push_str(&serde_json::to_string(finding).unwrap_or_default());
        }
        if state.is_done && state.form == Form::Json {
            text.push_str("]}");
        }
        Ok(Some((Bytes::from(text), state)))
    })
}

/// Lists the licenses whose terms are known.
#[utoipa::path(get, path = "/api/v1/licenses", tag = "licenses", responses((status = 200, body = Object)))]
pub async fn list_licenses() -> Json<Value> {
    Json(json!({ "version": CATALOGUE.version, "licenses": CATALOGUE.licenses }))
}

/// Returns one license: its terms, each with the clause it rests on.
#[utoipa::path(get, path = "/api/v1/licenses/{key}", tag = "licenses", params(("key" = String, Path)),
    responses((status = 200, body = Object), (status = 404)))]
pub async fn get_license_terms(key: Path<String>) -> ApiResult<Json<Value>> {
    let found = CATALOGUE.find_by_key(&key);
    let license = found.ok_or_else(|| ApiError::not_found("there is no license with this key in the catalogue"))?;
    Ok(Json(json!(license)))
}
