//! The attribution kit of a model: collected from its position, and committed to it by its owners.

use sqlx::PgConnection;

use super::{
    api::{readable, writable},
    error::{ApiError, ApiResult},
    extract::ModelPath,
};
use crate::{
    app::App,
    auth::Caller,
    catalog::{self, Change, Commit, Model, facts},
    jobs::publish::publish_and_enqueue,
    license::{
        current::load_catalogue,
        db::{self, ReportScope},
        kit::{self, Kit, KitFile, merge_into, reads},
    },
    storage,
};

/// Bytes of a file that the kit adds to.
const MAX_TEXT: u64 = 1 << 20;

/// Returns the kit of a model as files.
pub(crate) async fn collect(db: &mut PgConnection, caller: &Caller, model: &Model) -> ApiResult<Vec<KitFile>> {
    Ok(find(db, caller, model).await?.files())
}

async fn find(db: &mut PgConnection, caller: &Caller, model: &Model) -> ApiResult<Kit> {
    let scope = ReportScope { model_id: Some(model.id), ..ReportScope::default() };
    let batch = db::list_report_models(db, &caller.viewer(), &scope, "", 1).await?;
    let missing = || ApiError::not_found("this model is not there any more");
    let report = batch.models.into_iter().next().ok_or_else(missing)?;
    let catalogue = load_catalogue(db).await?;
    Ok(kit::kit(&report, &catalogue))
}

/// What a commit of the kit wrote.
pub(crate) struct Committed {
    /// The commit that is the tip now.
    pub(crate) commit: String,
    /// Paths of the files that were added or extended.
    pub(crate) files: Vec<String>,
    /// What a person must do.
    pub(crate) by_hand: Vec<String>,
}

/// Commits what is missing of the kit to the model itself. What its owners wrote stays, word for word.
pub(crate) async fn commit(app: &App, caller: &Caller, path: &ModelPath) -> ApiResult<Committed> {
    let mut tx = app.db.begin().await?;
    readable(&mut tx, caller, path).await?;
    let model = writable(&mut tx, caller, path).await?;
    let tip = catalog::get_revision(&mut tx, &model, "main").await?;
    let kit = find(&mut tx, caller, &model).await?;
    let mut existing = Vec::new();
    for file in catalog::list_files(&mut tx, tip.id).await?.iter().filter(|file| reads(file.path.as_str())) {
        if file.size.cast_unsigned() > MAX_TEXT {
            let message =
                format!("`{}` is larger than 1 MiB: take the kit as a download and add to it by hand", file.path);
            return Err(ApiError::bad_request(message));
        }
        let text = if file.size == 0 { String::new() } else { facts::read_text(&app.store, file, MAX_TEXT).await? };
        existing.push((file.path.to_string(), text));
    }
    let merge = merge_into(&kit, &existing);
    let mut changes = Vec::new();
    for file in &merge.files {
        let stored = app.store.put_bytes(file.text.clone().into_bytes().into()).await?;
        storage::record(&mut tx, &app.store, &stored).await?;
        changes.push(Change::Add { path: file.path.parse()?, stored });
    }
    let files = merge.files.iter().map(|file| file.path.clone()).collect();
    if changes.is_empty() {
        return Ok(Committed { commit: tip.commit.to_string(), files, by_hand: merge.by_hand });
    }
    let description: Vec<String> = merge.files.iter().map(|file| format!("{}: {}", file.path, file.why)).collect();
    let commit = Commit {
        branch: "main",
        expected_parent: Some(tip.commit),
        message: "Add what carried licenses ask for",
        description: &description.join("\n"),
        author: caller.name(),
        changes,
    };
    let published = publish_and_enqueue(app, &mut tx, caller, &model, commit).await?;
    tx.commit().await?;
    Ok(Committed { commit: published.revision.commit.to_string(), files, by_hand: merge.by_hand })
}
