//! Who may name which content, and what the parsers found in it.

use sqlx::PgConnection;

use super::super::Error;
use crate::{auth::Viewer, digest::Digest};

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

/// Tells whether the viewer may read a model that holds the blob.
pub async fn may_read_blob(db: &mut PgConnection, viewer: &Viewer, digest: &Digest) -> Result<bool, Error> {
    let may = sqlx::query_scalar!(
        r#"
        select exists (
            select from files f
            join revisions r on r.id = f.revision_id
            join models m on m.id = r.model_id
            where f.digest = $1 and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        ) as "may!"
        "#,
        digest.as_bytes(),
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_one(db)
    .await?;
    Ok(may)
}

/// Returns what the parsers found in a blob, when it was looked into.
pub async fn find_inspection(db: &mut PgConnection, digest: &Digest) -> Result<Option<serde_json::Value>, Error> {
    let summary = sqlx::query_scalar!("select summary from inspections where digest = $1", digest.as_bytes())
        .fetch_optional(db)
        .await?;
    Ok(summary)
}

pub(crate) async fn insert_inspection(
    db: &mut PgConnection,
    digest: &Digest,
    summary: &serde_json::Value,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into inspections (digest, summary) values ($1, $2) on conflict (digest) do nothing",
        digest.as_bytes(),
        summary,
    )
    .execute(db)
    .await?;
    Ok(())
}
