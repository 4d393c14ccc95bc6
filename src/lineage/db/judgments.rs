//! Rows of judgments: what the weights say of a model as a whole. Append-only: what is in force has not been superseded.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::Error;
use crate::auth::Viewer;

/// A judgment to keep.
pub(crate) struct NewJudgment<'a> {
    pub(crate) model_id: i64,
    pub(crate) revision_id: i64,
    pub(crate) audience: Option<&'a str>,
    pub(crate) algorithm: i32,
    pub(crate) kind: &'a str,
    pub(crate) related: &'a [i64],
    pub(crate) shared_start: &'a [i64],
    pub(crate) detail: &'a serde_json::Value,
}

/// Keeps a judgment unless the same is in force; returns whether something changed.
pub(crate) async fn insert_judgment(db: &mut PgConnection, new: &NewJudgment<'_>) -> Result<bool, Error> {
    let same = sqlx::query_scalar!(
        r#"
        select exists (
            select from judgments
            where model_id = $1 and coalesce(audience, '') = coalesce($2, '') and superseded_at is null
                and revision_id = $3 and algorithm = $4 and kind = $5 and related = $6 and shared_start = $7
                and detail = $8
        ) as "same!"
        "#,
        new.model_id,
        new.audience,
        new.revision_id,
        new.algorithm,
        new.kind,
        new.related,
        new.shared_start,
        new.detail,
    )
    .fetch_one(&mut *db)
    .await?;
    if same {
        return Ok(false);
    }
    sqlx::query!(
        r#"
        update judgments set superseded_at = now()
        where model_id = $1 and coalesce(audience, '') = coalesce($2, '') and superseded_at is null
        "#,
        new.model_id,
        new.audience,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        insert into judgments (model_id, revision_id, audience, algorithm, kind, related, shared_start, detail)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        new.model_id,
        new.revision_id,
        new.audience,
        new.algorithm,
        new.kind,
        new.related,
        new.shared_start,
        new.detail,
    )
    .execute(db)
    .await?;
    Ok(true)
}

/// What the weights say of a model as a whole.
#[derive(Debug, Clone)]
pub struct JudgmentRow {
    /// The model.
    pub model_id: i64,
    /// The revision judged.
    pub revision_id: i64,
    /// Whose private models were candidates too.
    pub audience: Option<String>,
    /// `base`, `finetune`, `merge`, …, `common-origin`.
    pub kind: String,
    /// Related revisions, nearest first.
    pub related: Vec<i64>,
    /// Revisions that only share the random start.
    pub shared_start: Vec<i64>,
    /// Words and numbers.
    pub detail: serde_json::Value,
    /// When.
    pub computed_at: OffsetDateTime,
}

/// Returns the judgment in force of a model: with private candidates for those who may read them.
pub async fn find_judgment(
    db: &mut PgConnection,
    model_id: i64,
    viewer: &Viewer,
) -> Result<Option<JudgmentRow>, Error> {
    let row = sqlx::query_as!(
        JudgmentRow,
        r#"
        select model_id, revision_id, audience, kind, related, shared_start, detail, computed_at
        from judgments
        where model_id = $1 and superseded_at is null and (audience is null or $2 or audience = any($3))
        order by audience nulls last limit 1
        "#,
        model_id,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Returns the judgments in force of these models for an audience.
pub(crate) async fn list_judgments(
    db: &mut PgConnection,
    model_ids: &[i64],
    audience: Option<&str>,
) -> Result<Vec<JudgmentRow>, Error> {
    let rows = sqlx::query_as!(
        JudgmentRow,
        r#"
        select model_id, revision_id, audience, kind, related, shared_start, detail, computed_at
        from judgments
        where model_id = any($1) and superseded_at is null and coalesce(audience, '') = coalesce($2, '')
        "#,
        model_ids,
        audience,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// What lists say of a model's license.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The label that it declares.
    pub license: Option<String>,
    /// Its position.
    pub position: String,
}

/// Returns license and position of models by id.
pub(crate) async fn list_standings(
    db: &mut PgConnection,
    ids: &[i64],
) -> Result<std::collections::HashMap<i64, Standing>, Error> {
    let rows = sqlx::query!("select id, license, position from models where id = any($1)", ids).fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (row.id, Standing { license: row.license, position: row.position })).collect())
}
