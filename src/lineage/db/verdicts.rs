//! Rows of verdicts: what the weights say of a parent link. Append-only: what is in force has not been superseded.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::Error;
use crate::auth::Viewer;

/// A verdict to keep.
pub(crate) struct NewVerdict<'a> {
    pub(crate) child_id: i64,
    pub(crate) child_revision_id: Option<i64>,
    pub(crate) parent_id: i64,
    pub(crate) parent_revision_id: Option<i64>,
    pub(crate) relation: &'a str,
    pub(crate) verdict: &'a str,
    pub(crate) level: &'a str,
    pub(crate) confidence: f32,
    pub(crate) sentence: &'a str,
    pub(crate) nearer_id: Option<i64>,
    pub(crate) algorithm: i32,
    pub(crate) evidence: &'a serde_json::Value,
}

/// Keeps a verdict unless the same is in force, and shows it on the claims of its link; returns whether it changed.
pub(crate) async fn insert_verdict(db: &mut PgConnection, new: &NewVerdict<'_>) -> Result<bool, Error> {
    let same = sqlx::query_scalar!(
        r#"
        select exists (
            select from verdicts
            where child_id = $1 and parent_id = $2 and superseded_at is null
                and child_revision_id is not distinct from $3 and parent_revision_id is not distinct from $4
                and relation = $5 and verdict = $6 and sentence = $7 and algorithm = $8 and evidence = $9
        ) as "same!"
        "#,
        new.child_id,
        new.parent_id,
        new.child_revision_id,
        new.parent_revision_id,
        new.relation,
        new.verdict,
        new.sentence,
        new.algorithm,
        new.evidence,
    )
    .fetch_one(&mut *db)
    .await?;
    if !same {
        supersede_verdict(db, new.child_id, new.parent_id).await?;
        sqlx::query!(
            r#"
            insert into verdicts (child_id, child_revision_id, parent_id, parent_revision_id, relation, verdict, level,
                confidence, sentence, nearer_id, algorithm, evidence)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
            "#,
            new.child_id,
            new.child_revision_id,
            new.parent_id,
            new.parent_revision_id,
            new.relation,
            new.verdict,
            new.level,
            new.confidence,
            new.sentence,
            new.nearer_id,
            new.algorithm,
            new.evidence,
        )
        .execute(&mut *db)
        .await?;
    }
    let shown = sqlx::query!(
        r#"
        update claims set verdict = $3, confidence = $4
        where child_id = $1 and parent_id = $2 and withdrawn_at is null and (verdict, confidence) <> ($3, $4)
        "#,
        new.child_id,
        new.parent_id,
        new.verdict,
        new.confidence,
    )
    .execute(db)
    .await?;
    Ok(!same || shown.rows_affected() > 0)
}

/// Ends the verdict of a link.
pub(crate) async fn supersede_verdict(db: &mut PgConnection, child_id: i64, parent_id: i64) -> Result<(), Error> {
    sqlx::query!(
        "update verdicts set superseded_at = now() where child_id = $1 and parent_id = $2 and superseded_at is null",
        child_id,
        parent_id,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the result of comparing all weights of two revisions, when it was done.
pub(crate) async fn find_comparison(
    db: &mut PgConnection,
    child_revision: i64,
    parent_revision: i64,
) -> Result<Option<serde_json::Value>, Error> {
    let result = sqlx::query_scalar!(
        "select result from weight_comparisons where child_revision_id = $1 and parent_revision_id = $2",
        child_revision,
        parent_revision,
    )
    .fetch_optional(db)
    .await?;
    Ok(result)
}

/// Keeps the result of comparing all weights of two revisions.
pub(crate) async fn insert_comparison(
    db: &mut PgConnection,
    child_revision: i64,
    parent_revision: i64,
    result: &serde_json::Value,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into weight_comparisons (child_revision_id, parent_revision_id, result) values ($1, $2, $3)
        on conflict (child_revision_id, parent_revision_id) do update set result = excluded.result, created_at = now()
        "#,
        child_revision,
        parent_revision,
        result,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A verdict as it is shown, the one in force or an earlier one.
#[derive(Debug, Clone)]
pub struct VerdictRow {
    /// Row id.
    pub id: i64,
    /// The child's revision judged.
    pub child_revision: Option<String>,
    /// The parent's revision compared.
    pub parent_revision: Option<String>,
    /// How the child was made.
    pub relation: String,
    /// What was concluded.
    pub verdict: String,
    /// `certain`, `probable` or `none`.
    pub level: String,
    /// 0 to 1.
    pub confidence: f32,
    /// In words.
    pub sentence: String,
    /// The model of a parent that fits better.
    pub nearer_id: Option<i64>,
    /// Version of the decision procedure.
    pub algorithm: i32,
    /// What was measured.
    pub evidence: serde_json::Value,
    /// When.
    pub computed_at: OffsetDateTime,
    /// Until when it was in force.
    pub superseded_at: Option<OffsetDateTime>,
}

/// Returns the verdicts of a link, the latest first.
pub async fn list_verdicts(
    db: &mut PgConnection,
    child_id: i64,
    parent_id: i64,
    limit: i64,
) -> Result<Vec<VerdictRow>, Error> {
    let rows = sqlx::query_as!(
        VerdictRow,
        r#"
        select v.id, cr.commit as "child_revision?", pr.commit as "parent_revision?", v.relation, v.verdict, v.level,
            v.confidence, v.sentence, v.nearer_id, v.algorithm, v.evidence, v.computed_at, v.superseded_at
        from verdicts v
        left join revisions cr on cr.id = v.child_revision_id
        left join revisions pr on pr.id = v.parent_revision_id
        where v.child_id = $1 and v.parent_id = $2
        order by (v.superseded_at is not null), v.id desc
        limit $3
        "#,
        child_id,
        parent_id,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Returns every claim of a link, withdrawn ones too, the latest first.
pub async fn list_link_claims(db: &mut PgConnection, child_id: i64, parent_id: i64) -> Result<Vec<LinkClaim>, Error> {
    let rows = sqlx::query_as!(
        LinkClaim,
        r#"
        select relation, origin, source, created_by, created_at, withdrawn_at, evidence, in_cycle
        from claims where child_id = $1 and parent_id = $2
        order by (withdrawn_at is not null), id desc limit 50
        "#,
        child_id,
        parent_id,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// A claim of one link.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct LinkClaim {
    /// How the child was made, as stated.
    pub relation: String,
    /// `declared`, `inferred` or `detected`.
    pub origin: String,
    /// Where it is stated.
    pub source: String,
    /// Who stated it.
    pub created_by: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Until when; null: in force.
    #[serde(with = "time::serde::rfc3339::option")]
    pub withdrawn_at: Option<OffsetDateTime>,
    /// What the statement rests on.
    pub evidence: serde_json::Value,
    /// Part of a cycle.
    pub in_cycle: bool,
}

/// Returns names of models by id, of those that the viewer may read.
pub async fn list_names(
    db: &mut PgConnection,
    ids: &[i64],
    viewer: &Viewer,
) -> Result<std::collections::HashMap<i64, String>, Error> {
    let rows = sqlx::query!(
        r#"
        select id, namespace || '/' || name as "name!" from models
        where id = any($1) and (visibility = 'public' or $2 or namespace_key = any($3))
        "#,
        ids,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.name)).collect())
}

/// Puts other words where verdicts name a model: its new name, or none once it is private, except in its own.
pub async fn rename_in_verdicts(
    db: &mut PgConnection,
    old: &str,
    new: &str,
    except_child: Option<i64>,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update verdicts set sentence = replace(sentence, '`' || $1 || '`', $2)
        where position('`' || $1 || '`' in sentence) > 0 and child_id is distinct from $3
        "#,
        old,
        new,
        except_child,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns names of the models of revisions, in their order, of those that the viewer may read.
pub async fn list_names_of_revisions(
    db: &mut PgConnection,
    revisions: &[i64],
    viewer: &Viewer,
) -> Result<Vec<String>, Error> {
    let names = sqlx::query_scalar!(
        r#"
        select m.namespace || '/' || m.name as "name!"
        from unnest($1::bigint[]) with ordinality as listed (id, place)
        join revisions r on r.id = listed.id
        join models m on m.id = r.model_id
        where m.visibility = 'public' or $2 or m.namespace_key = any($3)
        order by listed.place
        "#,
        revisions,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(names)
}
