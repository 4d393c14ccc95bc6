//! A model's license position: as it is kept, for another use, for a model that does not exist yet; and what to ship.

use std::str::FromStr as _;

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json, Path, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::format_description::well_known::Rfc3339;
use utoipa::{IntoParams, ToSchema};

use super::readable;
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Model},
    http::{
        error::{ApiError, ApiResult},
        extract::ModelPath,
    },
    license::{
        DISCLAIMER, Judgement, db,
        finding::position_with,
        graph::Link,
        profile::{Distribution, Profile},
        question::{self, Question},
        what_if::{Answer, Plan},
    },
    lineage::Relation,
    name::ModelName,
};

/// Changes of the position that an answer lists.
const MOST_CHANGES: i64 = 50;

/// An intended use; what is not said is as the namespace's policy says.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
pub struct UseQuery {
    /// Used to earn money.
    pub commercial: Option<bool>,
    /// Used by someone in the European Union.
    pub eu: Option<bool>,
    /// Received as part of a product by its end user.
    pub end_user: Option<bool>,
    /// Monthly active users.
    pub mau: Option<u64>,
    /// Revenue in a year, in US dollars.
    pub annual_revenue_usd: Option<u64>,
    /// `public`, `private` or `hosted`.
    #[serde(rename = "as")]
    pub distribution: Option<Distribution>,
}

impl UseQuery {
    /// Whether any use is named.
    pub fn is_asked(&self) -> bool {
        self.commercial.is_some()
            || self.eu.is_some()
            || self.end_user.is_some()
            || self.mau.is_some()
            || self.annual_revenue_usd.is_some()
            || self.distribution.is_some()
    }

    /// The use, on top of another one.
    pub fn over(&self, base: &Profile) -> Profile {
        Profile {
            visibility: self.distribution.or(base.visibility),
            commercial: self.commercial.unwrap_or(base.commercial),
            eu: self.eu.unwrap_or(base.eu),
            end_user: self.end_user.unwrap_or(base.end_user),
            mau: self.mau.unwrap_or(base.mau),
            annual_revenue_usd: self.annual_revenue_usd.unwrap_or(base.annual_revenue_usd),
        }
    }
}

/// Returns a model's license position with its obligations and findings; for a use that is not the namespace's when one
/// is asked for.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/license", tag = "licenses",
    params(("ns" = String, Path), ("name" = String, Path), UseQuery),
    responses((status = 200, body = Object), (status = 404)))]
pub async fn get_license(
    app: Data<App>,
    caller: Caller,
    path: Path<ModelPath>,
    query: Query<UseQuery>,
) -> ApiResult<Json<Value>> {
    let mut connection = app.db.acquire().await?;
    let model = readable(&mut connection, &caller, &path).await?;
    let viewer = caller.viewer();
    let kept = db::find_position(&mut connection, &viewer, model.id).await?;
    let mut answer = json!({ "model": model.name.to_string(), "declared": model.license });
    let detected = kept.as_ref().map_or_else(|| json!([]), |position| position.detected.clone());
    answer["detected"] = detected;
    if query.is_asked() {
        let profile = ask_profile(&mut connection, &caller, &model, &query).await?;
        let judgement = judge_for(&mut connection, &caller, &model, profile.clone()).await?;
        answer["profile"] = json!(profile);
        answer["expression"] = json!(judgement.expression);
        answer["position"] = json!(judgement.position);
        answer["obligations"] = json!(judgement.obligations);
        answer["findings"] = json!(judgement.findings);
    } else {
        let findings = db::list_model_findings(&mut connection, &viewer, model.id).await?;
        let position = position_with(&model.position, &findings);
        answer["expression"] = json!(kept.as_ref().and_then(|position| position.expression.clone()));
        answer["position"] = json!(position);
        answer["obligations"] = kept.as_ref().map_or_else(|| json!([]), |position| position.obligations.clone());
        answer["findings"] = json!(findings);
        answer["computed_at"] = json!(kept.as_ref().and_then(|position| position.computed_at.format(&Rfc3339).ok()));
        answer["is_being_judged"] = json!(db::is_being_judged(&mut connection, model.id).await?);
        answer["history"] = json!(db::list_position_changes(&mut connection, model.id, MOST_CHANGES).await?);
    }
    answer["disclaimer"] = json!(DISCLAIMER);
    Ok(Json(answer))
}

/// The use that is asked for, on top of that of the model's namespace where the caller may know it.
pub(crate) async fn ask_profile(
    db: &mut PgConnection,
    caller: &Caller,
    model: &Model,
    query: &UseQuery,
) -> ApiResult<Profile> {
    let mut base = Profile::default();
    if caller.may_administer(model.name.namespace()) {
        base = crate::license::manage::find_policy(db, model.name.namespace()).await?.0.profile;
    }
    Ok(query.over(&base))
}

/// Judges a model for a use.
pub(crate) async fn judge_for(
    db: &mut PgConnection,
    caller: &Caller,
    model: &Model,
    profile: Profile,
) -> ApiResult<Judgement> {
    let question = Question { models: Some(vec![model.id]), profile: Some(profile), ..Question::default() };
    let judged = question::judge(db, &caller.viewer(), question).await?;
    judged.into_iter().next().ok_or_else(|| ApiError::not_found("this model is not there any more"))
}

/// A parent of a model that does not exist yet.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedParent {
    /// The parent.
    pub model: String,
    /// How the child will be made of it: `finetune`, `adapter`, `merge`, `quantized`, …
    pub relation: String,
}

/// A model that does not exist yet.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlannedBody {
    /// Its intended name.
    pub name: String,
    /// Its intended license, as a card would say it.
    #[serde(default)]
    pub license: Option<String>,
    /// What it will be made of.
    pub parents: Vec<PlannedParent>,
    /// The intended use; that of the namespace when absent.
    #[serde(default)]
    pub profile: Option<Profile>,
}

/// Parents that a plan may name.
const MOST_PARENTS: usize = 50;

/// Says what the license position of a model would be, before it is trained.
#[utoipa::path(post, path = "/api/v1/license/what-if", tag = "licenses", request_body = PlannedBody,
    responses((status = 200, body = Object), (status = 400), (status = 404)))]
pub async fn post_what_if(app: Data<App>, caller: Caller, body: Json<PlannedBody>) -> ApiResult<Json<Value>> {
    let mut connection = app.db.acquire().await?;
    let said = judge_plan(&mut connection, &caller, &body).await?;
    let mut answer = json!(said.judgement);
    answer["advice"] = json!(said.advice);
    answer["disclaimer"] = json!(DISCLAIMER);
    Ok(Json(answer))
}

/// Judges a plan.
pub(crate) async fn judge_plan(db: &mut PgConnection, caller: &Caller, body: &PlannedBody) -> ApiResult<Answer> {
    let name = ModelName::from_str(&body.name).map_err(|error| ApiError::bad_request(format!("`name`: {error}")))?;
    if body.parents.len() > MOST_PARENTS {
        return Err(ApiError::bad_request(format!("`parents`: at most {MOST_PARENTS}")));
    }
    let (mut parents, mut rows) = (Vec::new(), Vec::new());
    for parent in &body.parents {
        let relation: Relation = parent.relation.parse()?;
        let of = ModelName::from_str(&parent.model)
            .map_err(|error| ApiError::bad_request(format!("`parents`: `{}`: {error}", parent.model)))?;
        let found = catalog::get_model(db, &of, &caller.viewer()).await?;
        rows.push(found.id);
        parents.push((found.name.to_string(), Link::Made(relation)));
    }
    let plan = Plan { name: name.to_string(), license: body.license.clone(), parents };
    Ok(question::judge_plan(db, &caller.viewer(), plan, &rows, body.profile.clone()).await?)
}

/// Returns what to ship with the model so that its carried licenses are met: notices, texts, phrases, as a zip archive.
#[utoipa::path(get, path = "/api/v1/models/{ns}/{name}/license/kit", tag = "licenses",
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 200, content_type = "application/zip"), (status = 404)))]
pub async fn get_kit(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<HttpResponse> {
    let mut connection = app.db.acquire().await?;
    let model = readable(&mut connection, &caller, &path).await?;
    let files = crate::http::kit::collect(&mut connection, &caller, &model).await?;
    let archive = crate::license::kit::archive(&files);
    let name = format!("{}-{}-attribution.zip", model.name.namespace(), model.name.name());
    Ok(HttpResponse::Ok()
        .content_type("application/zip")
        .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")))
        .body(archive))
}

/// Commits what is missing of the kit to the model itself: nothing that its owners wrote is changed.
#[utoipa::path(post, path = "/api/v1/models/{ns}/{name}/license/kit", tag = "licenses",
    params(("ns" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = Object), (status = 403), (status = 404)))]
pub async fn post_kit(app: Data<App>, caller: Caller, path: Path<ModelPath>) -> ApiResult<Json<Value>> {
    let committed = crate::http::kit::commit(&app, &caller, &path).await?;
    Ok(Json(json!({ "commit": committed.commit, "files": committed.files, "by_hand": committed.by_hand })))
}
