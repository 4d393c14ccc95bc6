//! Who may name which content, and what the parsers found in it.

use std::collections::HashMap;

use serde_json::json;
use sqlx::PgConnection;

use super::super::Error;
use crate::{
    auth::Viewer,
    db::without_nul,
    digest::Digest,
    formats::scan::{self, ReadAs, Report},
};

/// Remembers that a user sent a blob for a model, so that a commit of theirs may name it.
pub async fn grant_blob(db: &mut PgConnection, user_id: i64, model_id: i64, digest: &Digest) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into upload_grants (user_id, digest, model_id) values ($1, $2, $3)
        on conflict (user_id, digest, model_id) do update set created_at = now()
        "#,
        user_id,
        digest.as_bytes(),
        model_id,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Tells whether a commit of this user to this model may name the blob: the model holds it, or the user sent it.
pub async fn may_use_blob(db: &mut PgConnection, user_id: i64, model_id: i64, digest: &Digest) -> Result<bool, Error> {
    let may = sqlx::query_scalar!(
        r#"
        select exists (
            select from upload_grants where user_id = $1 and model_id = $2 and digest = $3
        ) or exists (
            select from files f join revisions r on r.id = f.revision_id where f.digest = $3 and r.model_id = $2
        ) as "may!"
        "#,
        user_id,
        model_id,
        digest.as_bytes(),
    )
    .fetch_one(db)
    .await?;
    Ok(may)
}

/// Returns some of the models, with a revision, that hold the blob and that the viewer may see.
///
/// Whether their files are served is another question: models and revisions can be held back.
pub async fn list_holders(
    db: &mut PgConnection,
    viewer: &Viewer,
    digest: &Digest,
    limit: i64,
) -> Result<Vec<(i64, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select distinct r.model_id, r.id as revision_id
        from files f
        join revisions r on r.id = f.revision_id
        join models m on m.id = r.model_id
        where f.digest = $1 and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        limit $4
        "#,
        digest.as_bytes(),
        viewer.everything,
        &viewer.namespaces,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.model_id, row.revision_id)).collect())
}

/// Returns what the parser of a kind found in a blob, when it was looked into.
pub async fn find_inspection(
    db: &mut PgConnection,
    digest: &Digest,
    kind: &str,
) -> Result<Option<serde_json::Value>, Error> {
    let summary = sqlx::query_scalar!(
        "select summary from inspections where digest = $1 and kind = $2",
        digest.as_bytes(),
        kind,
    )
    .fetch_optional(db)
    .await?;
    Ok(summary)
}

pub(crate) async fn insert_inspection(
    db: &mut PgConnection,
    digest: &Digest,
    kind: &str,
    summary: &serde_json::Value,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into inspections (digest, kind, summary) values ($1, $2, $3) on conflict (digest, kind) do nothing",
        digest.as_bytes(),
        kind,
        summary,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// What scans found, by content and by how it is read.
pub type Scans = HashMap<(Digest, ReadAs), Report>;

/// Returns what scans found in contents; answers of another version of the scanner are none.
pub async fn find_scans(db: &mut PgConnection, digests: &[Vec<u8>]) -> Result<Scans, Error> {
    let rows = sqlx::query!(
        "select digest, read_as, report from scans where digest = any($1) and version = $2",
        digests,
        scan::VERSION,
    )
    .fetch_all(db)
    .await?;
    let mut found = Scans::new();
    for row in rows {
        let read_as = serde_json::from_value(row.read_as.into());
        let report = serde_json::from_value(row.report);
        // What cannot be read back is no answer, and is made anew.
        if let (Ok(digest), Ok(read_as), Ok(report)) = (Digest::try_from(row.digest), read_as, report) {
            found.insert((digest, read_as), report);
        }
    }
    Ok(found)
}

pub(crate) async fn upsert_scan(
    db: &mut PgConnection,
    digest: &Digest,
    read_as: ReadAs,
    report: &Report,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into scans (digest, read_as, version, report) values ($1, $2, $3, $4)
        on conflict (digest, read_as) do update
            set version = excluded.version, report = excluded.report, created_at = now()
        "#,
        digest.as_bytes(),
        word(read_as),
        scan::VERSION,
        without_nul(json!(report)),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The word the database stores, as serde writes it.
fn word(read_as: ReadAs) -> &'static str {
    match read_as {
        ReadAs::Pickle => "pickle",
        ReadAs::Source => "source",
        ReadAs::Config => "config",
        ReadAs::Template => "template",
        ReadAs::Onnx => "onnx",
        ReadAs::Any => "any",
    }
}
