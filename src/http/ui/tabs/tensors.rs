//! The tensors in the weight files.

use actix_web::{
    HttpRequest,
    web::{Data, Path},
};
use askama::Template;

use super::super::{
    Frame,
    error::PageResult,
    format::{self},
    model::{Head, Loaded, load},
    page,
};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, inspect},
    formats::{self, FileKind},
    http::extract::ModelPath,
};

/// Tensors that a page lists.
const MAX_TENSORS: usize = 2000;

struct TensorRow {
    name: String,
    dtype: String,
    shape: String,
    size: String,
}

struct TensorFile {
    path: String,
    summary: Vec<(String, String)>,
    problem: Option<String>,
    tensors: Vec<TensorRow>,
    hidden: String,
}

#[derive(Template)]
#[template(path = "model/tensors.html")]
struct TensorsPage {
    frame: Frame,
    head: Head,
    files: Vec<TensorFile>,
}

/// `GET /{ns}/{name}/tensors`
pub async fn get_tensors(app: Data<App>, request: HttpRequest, caller: Caller, path: Path<ModelPath>) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { revision, head, frame, .. } = load(&mut db, &app, &caller, &request, &path, "Tensors").await?;
    let files = match &revision {
        Some(revision) => catalog::list_files(&mut db, revision.id).await?,
        None => Vec::new(),
    };
    let mut shown = Vec::new();
    let mut left = MAX_TENSORS;
    for file in files {
        let kind = formats::kind(file.path.as_str());
        if !matches!(kind, FileKind::Safetensors | FileKind::Gguf | FileKind::Pickle) || shown.len() >= 100 {
            continue;
        }
        let summary = inspect::known(&mut db, &file).await?.unwrap_or_default();
        let mut view = TensorFile {
            path: file.path.to_string(),
            summary: summary_rows(&summary),
            problem: summary["error"].as_str().map(str::to_owned),
            tensors: Vec::new(),
            hidden: String::new(),
        };
        if kind != FileKind::Pickle && left > 0 {
            match inspect::tensors(&app.store, kind, &file.digest, file.size.cast_unsigned()).await? {
                Ok(tensors) => {
                    let more = tensors.len().saturating_sub(left);
                    view.hidden = if more > 0 {
                        format!("{} more are not listed", format::count(i64::try_from(more).unwrap_or(0)))
                    } else {
                        String::new()
                    };
                    view.tensors = tensors.iter().take(left).map(tensor_row).collect();
                    left -= view.tensors.len();
                }
                Err(problem) => view.problem = Some(problem),
            }
        }
        shown.push(view);
    }
    page(&TensorsPage { frame, head, files: shown })
}

fn summary_rows(summary: &serde_json::Value) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let shown =
        summary.as_object().into_iter().flatten().filter(|(name, _)| !["error", "metadata"].contains(&name.as_str()));
    shown.map(|(name, value)| (name.replace('_', " "), text(value).chars().take(400).collect())).collect()
}

fn tensor_row(tensor: &formats::TensorEntry) -> TensorRow {
    let shape: Vec<String> = tensor.shape.iter().map(ToString::to_string).collect();
    TensorRow {
        name: tensor.name.clone(),
        dtype: tensor.dtype.to_owned(),
        shape: shape.join(" × "),
        size: format::bytes(i64::try_from(tensor.end - tensor.start).unwrap_or(i64::MAX)),
    }
}
