//! What the audit found, as lists and counts.

use sqlx::PgConnection;

use super::super::{Error, Finding, Severity, gate::Block, waiver::Waived};
use crate::auth::Viewer;

/// A stored position.
#[derive(Debug, Clone)]
pub struct Position {
    /// The label as declared.
    pub declared: Option<String>,
    /// What holds for the whole.
    pub expression: Option<String>,
    /// The position.
    pub position: String,
    /// What license files were recognized as.
    pub detected: serde_json::Value,
    /// What is asked.
    pub obligations: serde_json::Value,
    /// When it was judged.
    pub computed_at: time::OffsetDateTime,
}

/// Returns the stored position of a model, without obligations that come through a model that the viewer may not read.
pub async fn find_position(db: &mut PgConnection, viewer: &Viewer, model_id: i64) -> Result<Option<Position>, Error> {
    let position = sqlx::query_as!(
        Position,
        r#"
        select declared, expression, position, detected, computed_at, (
            select coalesce(jsonb_agg(o.obligation order by o.number), '[]')
            from jsonb_array_elements(obligations) with ordinality as o (obligation, number)
            where $2 or not exists (
                select from jsonb_array_elements_text(o.obligation -> 'via') as via join models m on m.key = lower(via)
                where m.visibility = 'private' and not m.namespace_key = any($3))
            ) as "obligations!"
        from positions where model_id = $1
        "#,
        model_id,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_optional(db)
    .await?;
    Ok(position)
}

/// Which findings are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of one model.
    pub model_id: Option<i64>,
    /// Of models in a namespace, lower case.
    pub namespace: Option<String>,
    /// Of this severity.
    pub severity: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// About this license, or because of it.
    pub license: Option<String>,
    /// Accepted ones only, or only those that are not; `None`: both.
    pub is_waived: Option<bool>,
    /// After this row, for paging.
    pub after: i64,
    /// At most this many.
    pub limit: i64,
}

/// A finding with the model it is about.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct FindingRow {
    /// Row id, for paging.
    #[serde(skip)]
    pub id: i64,
    /// The model.
    pub model: String,
    /// Its position.
    pub position: String,
    /// Its descendants: how far the finding reaches.
    pub descendants: i32,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Returns whether the license policy of a model's namespace keeps its files back.
pub async fn is_license_held(db: &mut PgConnection, model_id: i64) -> Result<bool, Error> {
    let row = sqlx::query!(
        r#"
        select m.position, p.block_download from models m join license_policies p on p.namespace = m.namespace_key
        where m.id = $1 and m.kind = 'hosted'
        "#,
        model_id,
    )
    .fetch_optional(db)
    .await?;
    let held = row.and_then(|row| Some(Block::parse(&row.block_download)?.is_met_by(Severity::parse(&row.position)?)));
    Ok(held.unwrap_or(false))
}

/// Returns findings that the viewer may read. One whose path leads through a model that they may not read is left out.
pub async fn list_findings(db: &mut PgConnection, viewer: &Viewer, filter: &Filter) -> Result<Vec<FindingRow>, Error> {
    let rows = sqlx::query!(
        r#"
        select f.id, m.namespace || '/' || m.name as "model!", m.position, m.descendants, f.rule, f.severity, f.about,
            f.message, f.license, f.section, f.path, f.remedy, w.id as "waiver_id?", w.reason as "reason?",
            w.owner as "owner?", w.expires_at as "expires_at?"
        from findings f join models m on m.id = f.model_id
        left join waivers w on w.id = f.waiver_id and w.revoked_at is null and w.expires_at > now()
        where f.id > $1
            and ($2::bigint is null or f.model_id = $2)
            and ($3::text is null or m.namespace_key = $3)
            and ($4::text is null or f.severity = $4)
            and ($5::text is null or f.rule = $5)
            and ($9::text is null or f.license = $9 or f.about = $9)
            and ($10::boolean is null or (w.id is not null) = $10)
            and (m.visibility = 'public' or $6 or m.namespace_key = any($7))
            and ($6 or not exists (
                select from models p
                where p.id = any(f.path_ids) and p.visibility = 'private' and not p.namespace_key = any($7)))
        order by f.id
        limit $8
        "#,
        filter.after,
        filter.model_id,
        filter.namespace,
        filter.severity,
        filter.rule,
        viewer.everything,
        &viewer.namespaces,
        filter.limit,
        filter.license,
        filter.is_waived,
    )
    .fetch_all(db)
    .await?;
    let row = rows.into_iter().map(|row| FindingRow {
        id: row.id,
        model: row.model,
        position: row.position,
        descendants: row.descendants,
        finding: Finding {
            severity: Severity::parse(&row.severity).unwrap_or(Severity::Notice),
            waiver: waived(row.waiver_id, row.reason, row.owner, row.expires_at),
            rule: row.rule,
            about: row.about,
            message: row.message,
            license: row.license,
            section: row.section,
            path: row.path,
            remedy: row.remedy,
        },
    });
    Ok(row.collect())
}

pub(super) fn waived(
    id: Option<i64>,
    reason: Option<String>,
    owner: Option<String>,
    expires: Option<time::OffsetDateTime>,
) -> Option<Waived> {
    Some(Waived { id: id?, reason: reason?, owner: owner?, expires: expires? })
}

/// Returns the findings of one model, the gravest first.
pub async fn list_model_findings(db: &mut PgConnection, viewer: &Viewer, model_id: i64) -> Result<Vec<Finding>, Error> {
    let filter = Filter { model_id: Some(model_id), limit: 500, ..Filter::default() };
    let rows = list_findings(db, viewer, &filter).await?;
    let mut findings: Vec<Finding> = rows.into_iter().map(|row| row.finding).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

/// Number of models by position, in a namespace or everywhere.
pub async fn count_positions(
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace: Option<&str>,
) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select m.position, count(*) as "count!" from models m
        where ($1::text is null or m.namespace_key = $1) and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        group by m.position
        "#,
        namespace,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.position, row.count)).collect())
}

/// Number of models by rule.
#[derive(Debug, Clone, serde::Serialize)]
pub struct RuleCount {
    /// Stable id of the rule.
    pub rule: String,
    /// How grave.
    pub severity: String,
    /// Models with such a finding.
    pub models: i64,
}

/// Number of models by rule and severity of what is not accepted, in a namespace or everywhere.
pub async fn count_rules(
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace: Option<&str>,
) -> Result<Vec<RuleCount>, Error> {
    let rows = sqlx::query_as!(
        RuleCount,
        r#"
        select f.rule, f.severity, count(distinct f.model_id) as "models!"
        from findings f join models m on m.id = f.model_id
        where ($1::text is null or m.namespace_key = $1) and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
            and f.waiver_id is null and not f.path_ids && array(
                select id from models where visibility = 'private' and not $2 and not namespace_key = any($3))
        group by f.rule, f.severity
        order by 3 desc, 1
        "#,
        namespace,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Models whose position is bad, those first that most depends on.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Offender {
    /// The model.
    pub model: String,
    /// Its position.
    pub position: String,
    /// Its descendants.
    pub descendants: i32,
    /// Its downloads.
    pub downloads: i64,
    /// Its gravest finding.
    pub message: Option<String>,
}

/// Returns the models in violation that reach furthest.
pub async fn list_offenders(
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace: Option<&str>,
    limit: i64,
) -> Result<Vec<Offender>, Error> {
    let rows = sqlx::query_as!(
        Offender,
        r#"
        select m.namespace || '/' || m.name as "model!", m.position, m.descendants, m.downloads,
            (select f.message from findings f
                where f.model_id = m.id and f.severity = m.position and f.waiver_id is null and ($2 or not exists (
                    select from models p
                    where p.id = any(f.path_ids) and p.visibility = 'private' and not p.namespace_key = any($3)))
                order by f.id limit 1) as message
        from models m
        where m.position = 'violation' and ($1::text is null or m.namespace_key = $1)
            and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        order by m.descendants desc, m.downloads desc, m.id
        limit $4
        "#,
        namespace,
        viewer.everything,
        &viewer.namespaces,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}
