//! What exports read: models of a scope with everything that a report says of them, batch by batch.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    super::{
        Error, Finding, Severity,
        finding::position_with,
        report::{ReportFile, ReportModel, ReportParent},
    },
    findings::waived,
};
use crate::auth::Viewer;

/// Files of one model that a report lists; the rest is in the registry.
const MOST_FILES: i64 = 2000;

/// What a report covers.
#[derive(Debug, Clone, Default)]
pub struct ReportScope {
    /// One model.
    pub model_id: Option<i64>,
    /// The models of a namespace, lower case.
    pub namespace: Option<String>,
    /// Only models with a finding of this severity.
    pub severity: Option<String>,
    /// Only models with a finding of this rule.
    pub rule: Option<String>,
    /// Only models with a finding about this license, or because of it.
    pub license: Option<String>,
    /// Only models with a finding that is accepted, or with one that is not.
    pub is_waived: Option<bool>,
}

impl ReportScope {
    /// Whether only some findings count.
    pub fn is_filtered(&self) -> bool {
        self.severity.is_some() || self.rule.is_some() || self.license.is_some() || self.is_waived.is_some()
    }

    /// Whether a report lists a finding; of a model with one, formats that list models list all.
    pub fn lists(&self, finding: &Finding) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.severity, finding.severity.as_str())
            && is(&self.rule, &finding.rule)
            && (is(&self.license, &finding.about) || is(&self.license, finding.license.as_deref().unwrap_or_default()))
            && self.is_waived.is_none_or(|is_waived| is_waived == finding.waiver.is_some())
    }
}

/// A batch of a report.
#[derive(Debug, Default)]
pub struct ReportBatch {
    /// The models, by name.
    pub models: Vec<ReportModel>,
    /// Their rows.
    pub rows: Vec<i64>,
    /// Where the next batch begins; `None`: this is the last one.
    pub next: Option<String>,
}

/// When something that a report on this scope says last changed; the year 1970 when there is nothing.
pub async fn find_report_time(
    db: &mut PgConnection,
    viewer: &Viewer,
    scope: &ReportScope,
) -> Result<OffsetDateTime, Error> {
    let at = sqlx::query_scalar!(
        r#"
        select greatest(max(p.computed_at), max(m.updated_at)) from models m join positions p on p.model_id = m.id
        where ($1::bigint is null or m.id = $1) and ($2::text is null or m.namespace_key = $2)
            and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
        "#,
        scope.model_id,
        scope.namespace,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_one(db)
    .await?;
    Ok(at.unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

/// Number of models of a scope by position.
pub async fn count_positions_in(
    db: &mut PgConnection,
    viewer: &Viewer,
    scope: &ReportScope,
) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select m.position, count(*) as "count!" from models m
        where ($1::bigint is null or m.id = $1) and ($2::text is null or m.namespace_key = $2)
            and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
        group by m.position order by m.position
        "#,
        scope.model_id,
        scope.namespace,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.position, row.count)).collect())
}

/// Number of findings and of models of a scope, by rule and severity; those that are accepted only where asked for.
pub async fn count_findings_in(
    db: &mut PgConnection,
    viewer: &Viewer,
    scope: &ReportScope,
) -> Result<Vec<(String, String, i64, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select f.rule, f.severity, count(*) as "findings!", count(distinct f.model_id) as "models!"
        from findings f join models m on m.id = f.model_id
        left join waivers w on w.id = f.waiver_id and w.revoked_at is null and w.expires_at > now()
        where ($1::bigint is null or m.id = $1) and ($2::text is null or m.namespace_key = $2)
            and (w.id is not null) = coalesce($8, false) and ($7::text is null or f.license = $7 or f.about = $7)
            and ($5::text is null or f.severity = $5) and ($6::text is null or f.rule = $6)
            and (m.visibility = 'public' or $3 or m.namespace_key = any($4))
            and not f.path_ids && array(
                select id from models where visibility = 'private' and not $3 and not namespace_key = any($4))
        group by f.rule, f.severity order by f.rule, f.severity
        "#,
        scope.model_id,
        scope.namespace,
        viewer.everything,
        &viewer.namespaces,
        scope.severity,
        scope.rule,
        scope.license,
        scope.is_waived,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.rule, row.severity, row.findings, row.models)).collect())
}

/// Returns the next models of a report after a key (`namespace/name` in lower case), by key.
pub async fn list_report_models(
    db: &mut PgConnection,
    viewer: &Viewer,
    scope: &ReportScope,
    after: &str,
    limit: i64,
) -> Result<ReportBatch, Error> {
    let rows = sqlx::query!(
        r#"
        select m.id, m.key as "key!", m.namespace || '/' || m.name as "name!", m.kind, m.description, m.architecture,
            m.parameters, m.pipeline_tag, m.license, m.position, m.head_revision_id, r.commit as "commit?", p.expression,
            (
                select coalesce(jsonb_agg(o.obligation order by o.number), '[]')
                from jsonb_array_elements(p.obligations) with ordinality as o (obligation, number)
                where $4 or not exists (
                    select from jsonb_array_elements_text(o.obligation -> 'via') as via
                    join models v on v.key = lower(via)
                    where v.visibility = 'private' and not v.namespace_key = any($5))
            ) as "obligations!"
        from models m left join revisions r on r.id = m.head_revision_id left join positions p on p.model_id = m.id
        where m.key > $1 and ($2::bigint is null or m.id = $2) and ($3::text is null or m.namespace_key = $3)
            and (m.visibility = 'public' or $4 or m.namespace_key = any($5))
            and (($7::text is null and $8::text is null and $9::text is null and $10::boolean is null) or exists (
                select from findings f
                left join waivers w on w.id = f.waiver_id and w.revoked_at is null and w.expires_at > now()
                where f.model_id = m.id and ($7::text is null or f.severity = $7) and ($8::text is null or f.rule = $8)
                    and ($9::text is null or f.license = $9 or f.about = $9)
                    and ($10::boolean is null or (w.id is not null) = $10)))
        order by m.key
        limit $6
        "#,
        after,
        scope.model_id,
        scope.namespace,
        viewer.everything,
        &viewer.namespaces,
        limit,
        scope.severity,
        scope.rule,
        scope.license,
        scope.is_waived,
    )
    .fetch_all(&mut *db)
    .await?;
    let is_full = i64::try_from(rows.len()).unwrap_or(0) == limit;
    let next = rows.last().filter(|_| is_full).map(|row| row.key.clone());
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let heads: Vec<i64> =
        rows.iter().filter(|row| row.kind == "hosted").filter_map(|row| row.head_revision_id).collect();
    let mut files = list_files(db, &heads).await?;
    let mut parents = list_parents(db, viewer, &ids).await?;
    let mut findings = list_findings_of(db, viewer, &ids).await?;
    let model = rows.into_iter().map(|row| {
        let findings = findings.remove(&row.id).unwrap_or_default();
        ReportModel {
            id: row.name,
            is_hosted: row.kind == "hosted",
            commit: row.commit,
            description: row.description,
            architecture: row.architecture,
            parameters: row.parameters,
            pipeline_tag: row.pipeline_tag,
            declared: row.license,
            expression: row.expression,
            position: position_with(&row.position, &findings),
            files: row.head_revision_id.and_then(|head| files.remove(&head)).unwrap_or_default(),
            parents: parents.remove(&row.id).unwrap_or_default(),
            obligations: serde_json::from_value(row.obligations).unwrap_or_default(),
            findings,
        }
    });
    Ok(ReportBatch { models: model.collect(), rows: ids, next })
}

async fn list_files(db: &mut PgConnection, heads: &[i64]) -> Result<HashMap<i64, Vec<ReportFile>>, Error> {
    let rows = sqlx::query!(
        r#"
        select f.revision_id as "revision_id!", f.path as "path!", f.size as "size!", f.digest as "digest!"
        from unnest($1::bigint[]) as head (id) cross join lateral (
            select revision_id, path, size, encode(digest, 'hex') as digest from files
            where revision_id = head.id order by path limit $2) f
        order by f.revision_id, f.path
        "#,
        heads,
        MOST_FILES,
    )
    .fetch_all(db)
    .await?;
    let mut files: HashMap<i64, Vec<ReportFile>> = HashMap::new();
    for row in rows {
        let file = ReportFile { path: row.path, size: u64::try_from(row.size).unwrap_or(0), sha256: row.digest };
        files.entry(row.revision_id).or_default().push(file);
    }
    Ok(files)
}

async fn list_parents(
    db: &mut PgConnection,
    viewer: &Viewer,
    models: &[i64],
) -> Result<HashMap<i64, Vec<ReportParent>>, Error> {
    let rows = sqlx::query!(
        r#"
        select distinct on (c.child_id, p.key) c.child_id, p.namespace || '/' || p.name as "parent!", c.parent_revision,
            c.relation, c.origin, c.verdict
        from claims c join models p on p.id = c.parent_id
        where c.withdrawn_at is null and c.child_id = any($1)
            and (p.visibility = 'public' or $2 or p.namespace_key = any($3))
        order by c.child_id, p.key, (c.relation = 'unknown'), c.origin, c.id
        "#,
        models,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    let mut parents: HashMap<i64, Vec<ReportParent>> = HashMap::new();
    for row in rows {
        parents.entry(row.child_id).or_default().push(ReportParent {
            id: row.parent,
            revision: row.parent_revision,
            relation: row.relation,
            origin: row.origin,
            verdict: row.verdict,
        });
    }
    Ok(parents)
}

async fn list_findings_of(
    db: &mut PgConnection,
    viewer: &Viewer,
    models: &[i64],
) -> Result<HashMap<i64, Vec<Finding>>, Error> {
    let rows = sqlx::query!(
        r#"
        select f.model_id, f.rule, f.severity, f.about, f.message, f.license, f.section, f.path, f.remedy,
            w.id as "waiver_id?", w.reason as "reason?", w.owner as "owner?", w.expires_at as "expires_at?"
        from findings f left join waivers w on w.id = f.waiver_id and w.revoked_at is null and w.expires_at > now()
        where f.model_id = any($1) and ($2 or not exists (
            select from models p
            where p.id = any(f.path_ids) and p.visibility = 'private' and not p.namespace_key = any($3)))
        order by f.model_id, array_position(array['violation', 'incomplete', 'review', 'notice'], f.severity), f.id
        "#,
        models,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    let mut findings: HashMap<i64, Vec<Finding>> = HashMap::new();
    for row in rows {
        findings.entry(row.model_id).or_default().push(Finding {
            severity: Severity::parse(&row.severity).unwrap_or(Severity::Notice),
            waiver: waived(row.waiver_id, row.reason, row.owner, row.expires_at),
            rule: row.rule,
            about: row.about,
            message: row.message,
            license: row.license,
            section: row.section,
            path: row.path,
            remedy: row.remedy,
        });
    }
    Ok(findings)
}
