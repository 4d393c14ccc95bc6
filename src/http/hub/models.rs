//! Model information and listings.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Json, Path},
};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use super::{RevisionPath, find, find_revision, instant, value, values};
use crate::{
    app::App,
    auth::Caller,
    catalog::{
        self, File, Model, Revision, Visibility, attributes,
        search::{self, Summary},
    },
    http::{
        error::{ApiError, HubResult},
        extract::ModelPath,
        origin::base_url,
    },
    name::ModelName,
};

/// What `expand` may name.
const EXPANDABLE: &[&str] = &[
    "author",
    "baseModels",
    "cardData",
    "childrenModelCount",
    "config",
    "createdAt",
    "disabled",
    "downloads",
    "downloadsAllTime",
    "evalResults",
    "gated",
    "gguf",
    "inference",
    "inferenceProviderMapping",
    "lastModified",
    "library_name",
    "likes",
    "mask_token",
    "model-index",
    "pipeline_tag",
    "private",
    "resourceGroup",
    "safetensors",
    "sha",
    "siblings",
    "spaces",
    "tags",
    "transformersInfo",
    "trendingScore",
    "usedStorage",
    "widgetData",
    "xetEnabled",
];

/// `GET /api/models/{ns}/{name}`
pub async fn get_model(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
) -> HubResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = find(&mut db, &caller, &request, &path).await?;
    let head = match model.head_revision_id {
        Some(id) => catalog::find_revision_by_id(&mut db, id).await?,
        None => None,
    };
    info(&mut db, &request, &model, head.as_ref()).await
}

/// `GET /api/models/{ns}/{name}/revision/{rev}`
pub async fn get_revision(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<RevisionPath>,
) -> HubResult<Json<Value>> {
    let mut db = app.db.acquire().await?;
    let model = find(&mut db, &caller, &request, &path.model()).await?;
    let revision = find_revision(&mut db, &model, &path.rev).await?;
    info(&mut db, &request, &model, Some(&revision)).await
}

async fn info(
    db: &mut PgConnection,
    request: &HttpRequest,
    model: &Model,
    revision: Option<&Revision>,
) -> HubResult<Json<Value>> {
    let with_blobs = super::is_true(request, "blobs");
    let expand = expanded(request)?;
    let files = match revision {
        Some(revision) => catalog::list_files(db, revision.id).await?,
        None => Vec::new(),
    };
    let siblings: Vec<Value> = files.iter().map(|file| sibling(file, with_blobs)).collect();
    let mut body = json!({
        "_id": id(&model.name),
        "id": model.name,
        "modelId": model.name,
        "author": model.name.namespace(),
        "sha": revision.map(|revision| revision.commit.as_str()),
        "lastModified": instant(revision.map_or(model.updated_at, |revision| revision.created_at)),
        "createdAt": instant(model.created_at),
        "private": model.visibility == Visibility::Private,
        "gated": false,
        "disabled": false,
        "downloads": model.downloads,
        "likes": model.likes,
        "tags": tags(model),
        "siblings": siblings,
        "cardData": model.card,
        "library_name": model.library,
        "pipeline_tag": model.pipeline_tag,
        "usedStorage": model.bytes,
    });
    if let Some(architecture) = &model.architecture {
        body["config"] = json!({ "architectures": [architecture] });
    }
    if let (Some(count), Some(dtype), Some("safetensors")) = (model.parameters, &model.dtype, model.format.as_deref()) {
        body["safetensors"] = json!({ "parameters": { dtype: count }, "total": count });
    }
    if super::is_true(request, "securityStatus") {
        let reports = catalog::scans::find(db, &files).await?;
        let issues: Vec<Value> = files
            .iter()
            .zip(&reports)
            .filter_map(|(file, report)| match super::security_level(report.as_ref()) {
                "safe" | "unscanned" => None,
                level => Some(json!({ "path": file.path.as_str(), "level": level })),
            })
            .collect();
        let is_done = reports.iter().all(Option::is_some);
        body["securityRepoStatus"] = json!({ "scansDone": is_done, "filesWithIssues": issues });
    }
    Ok(Json(only(body, expand.as_deref())))
}

fn sibling(file: &File, with_blobs: bool) -> Value {
    let mut sibling = json!({ "rfilename": file.path.as_str() });
    if with_blobs {
        sibling["size"] = json!(file.size);
        sibling["blobId"] = json!(hex::encode(file.git_id));
        if file.is_lfs {
            let pointer = attributes::pointer(&file.digest, file.size.cast_unsigned()).len();
            sibling["lfs"] = json!({ "sha256": file.digest.to_hex(), "size": file.size, "pointerSize": pointer });
        }
    }
    sibling
}

fn tags(model: &Model) -> Vec<String> {
    let mut tags = model.tags.clone();
    tags.extend(model.library.clone());
    tags.extend(model.format.clone());
    tags.extend(model.pipeline_tag.clone());
    tags.extend(model.license_id.as_ref().map(|license| format!("license:{license}")));
    let mut seen = std::collections::HashSet::new();
    tags.retain(|tag| seen.insert(tag.clone()));
    tags
}

/// A stable id of 24 hexadecimal digits, as clients expect one.
fn id(name: &ModelName) -> String {
    crate::digest::Digest::of(name.key().as_bytes()).to_hex()[..24].to_owned()
}

fn expanded(request: &HttpRequest) -> HubResult<Option<Vec<String>>> {
    let mut names = values(request, "expand");
    names.extend(values(request, "expand[]"));
    if let Some(unknown) = names.iter().find(|name| !EXPANDABLE.contains(&name.as_str())) {
        let message = format!("`{unknown}` cannot be expanded, use any of: {}", EXPANDABLE.join(", "));
        return Err(ApiError::bad_request(message).into());
    }
    Ok((!names.is_empty()).then_some(names))
}

fn only(body: Value, expand: Option<&[String]>) -> Value {
    let (Some(expand), Value::Object(fields)) = (expand, &body) else { return body };
    let is_wanted = |name: &str| ["_id", "id"].contains(&name) || expand.iter().any(|wanted| wanted == name);
    let kept: Map<String, Value> =
        fields.iter().filter(|(name, _)| is_wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    Value::Object(kept)
}

/// `GET /api/models`
pub async fn list_models(app: Data<App>, request: HttpRequest, caller: Caller) -> HubResult<HttpResponse> {
    let expand = expanded(&request)?;
    let query = query(&request);
    let mut db = app.db.acquire().await?;
    let page = search::search(&mut db, &query, &caller.viewer()).await?;
    let items: Vec<Value> = page.items.iter().map(|item| only(row(item), expand.as_deref())).collect();
    let mut response = HttpResponse::Ok();
    if let Some(next) = page.next {
        let pairs = url::form_urlencoded::parse(request.query_string().as_bytes()).filter(|(name, _)| name != "cursor");
        let rest: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .append_pair("cursor", &next)
            .finish();
        let link = format!("<{}/api/models?{rest}>; rel=\"next\"", base_url(&app, &request));
        response.insert_header((header::LINK, link));
    }
    Ok(response.json(items))
}

fn query(request: &HttpRequest) -> search::Query {
    let mut query = search::Query {
        search: value(request, "search").unwrap_or_default(),
        namespace: value(request, "author"),
        kind: Some("hosted".to_owned()),
        sort: match value(request, "sort").as_deref() {
            Some("downloads") => Some("downloads".to_owned()),
            Some("lastModified" | "createdAt" | "last_modified" | "created_at") => Some("recent".to_owned()),
            _ => None,
        },
        limit: value(request, "limit").and_then(|limit| limit.parse().ok()).or(Some(100)),
        cursor: value(request, "cursor"),
        ..search::Query::default()
    };
    let mut tags = Vec::new();
    for filter in values(request, "filter").iter().flat_map(|filter| filter.split(',')) {
        match filter.split_once(':') {
            Some(("license", license)) => query.license = Some(license.to_owned()),
            Some(("base_model", base)) => query.base = Some(base.rsplit(':').next().unwrap_or(base).to_owned()),
            _ => tags.push(filter.to_owned()),
        }
    }
    tags.extend(values(request, "pipeline_tag"));
    query.tag = (!tags.is_empty()).then(|| tags.join(","));
    query
}

fn row(item: &Summary) -> Value {
    let id = item.id.parse().map(|name| id(&name)).unwrap_or_default();
    json!({
        "_id": id,
        "id": item.id,
        "modelId": item.id,
        "author": item.id.split('/').next(),
        "sha": item.revision,
        "lastModified": instant(item.updated_at),
        "createdAt": instant(item.created_at),
        "private": item.visibility == "private",
        "gated": false,
        "disabled": false,
        "downloads": item.downloads,
        "likes": item.likes,
        "tags": item.tags,
        "library_name": item.library,
        "pipeline_tag": item.pipeline_tag,
        "usedStorage": item.bytes,
    })
}
