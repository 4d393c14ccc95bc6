//! Positions and findings as they are kept.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::super::{Error, Finding, Judgement};

/// What is kept of a model's last judgement.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Digest of what it was judged from.
    pub(crate) digest: Vec<u8>,
    /// The position.
    pub(crate) position: String,
}

/// What is to be kept of a model.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The model.
    pub(crate) model_id: i64,
    /// Digest of what it was judged from.
    pub(crate) digest: Vec<u8>,
    /// What the engine said; findings that are accepted name their waiver.
    pub(crate) judgement: Judgement,
    /// How many of its findings come from models that all its readers may read; they come first.
    pub(crate) seen_by_all: usize,
    /// What its license files were recognized as.
    pub(crate) detected: serde_json::Value,
    /// The position that it had; `None`: it was never judged.
    pub(crate) previous: Option<String>,
}

/// Waits until no other transaction judges: two that read different states must not overwrite each other.
pub(crate) async fn lock_judging(db: &mut PgConnection) -> Result<(), Error> {
    sqlx::query!("select pg_advisory_xact_lock(hashtext('license positions'))").fetch_one(db).await?;
    Ok(())
}

/// Returns what is kept of models, by row.
pub(crate) async fn list_known(db: &mut PgConnection, models: &[i64]) -> Result<HashMap<i64, Known>, Error> {
    let rows = sqlx::query!("select model_id, input_digest, position from positions where model_id = any($1)", models)
        .fetch_all(db)
        .await?;
    let known = rows.into_iter().map(|r| (r.model_id, Known { digest: r.input_digest, position: r.position }));
    Ok(known.collect())
}

/// Judgements as columns, which one statement takes: made on another thread while the batch before is stored.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    models: Vec<i64>,
    digests: Vec<Vec<u8>>,
    positions: Vec<String>,
    declared: Vec<Option<String>>,
    expressions: Vec<Option<String>>,
    obligations: Vec<String>,
    detected: Vec<String>,
    findings: Findings,
    /// Which positions changed.
    changed: Vec<i64>,
    previous: Vec<Option<String>>,
    new: Vec<String>,
    reasons: Vec<String>,
}

#[derive(Debug, Default)]
struct Findings {
    models: Vec<i64>,
    rules: Vec<String>,
    severities: Vec<String>,
    about: Vec<String>,
    messages: Vec<String>,
    licenses: Vec<Option<String>>,
    sections: Vec<Option<String>>,
    remedies: Vec<String>,
    /// Names of models, a line each: arrays of arrays must be rectangular in SQL.
    paths: Vec<String>,
    /// Their rows, with commas.
    path_ids: Vec<String>,
    waivers: Vec<Option<i64>>,
}

impl Batch {
    /// Puts judgements into columns; `rows` finds models by name.
    pub(crate) fn new(kept: &[Kept], rows: &HashMap<&str, i64>) -> Self {
        let mut batch = Self::default();
        for kept in kept {
            let judgement = &kept.judgement;
            batch.models.push(kept.model_id);
            batch.digests.push(kept.digest.clone());
            batch.positions.push(judgement.position.clone());
            batch.declared.push(judgement.declared.clone());
            batch.expressions.push(judgement.expression.clone());
            batch.obligations.push(json(&judgement.obligations));
            batch.detected.push(kept.detected.to_string());
            if kept.previous.as_ref() != Some(&judgement.position) {
                batch.changed.push(kept.model_id);
                batch.previous.push(kept.previous.clone());
                batch.new.push(judgement.position.clone());
                batch.reasons.push(kept.reason());
            }
            for finding in &judgement.findings {
                batch.findings.push(kept.model_id, finding, rows);
            }
        }
        batch
    }
}

impl Findings {
    fn push(&mut self, model: i64, finding: &Finding, rows: &HashMap<&str, i64>) {
        let ids = finding.path.iter().filter_map(|name| rows.get(name.as_str()));
        self.path_ids.push(ids.map(i64::to_string).collect::<Vec<_>>().join(","));
        self.models.push(model);
        self.rules.push(finding.rule.clone());
        self.severities.push(finding.severity.as_str().to_owned());
        self.about.push(finding.about.clone());
        self.messages.push(finding.message.clone());
        self.licenses.push(finding.license.clone());
        self.sections.push(finding.section.clone());
        self.remedies.push(finding.remedy.clone());
        self.paths.push(finding.path.join("\n"));
        self.waivers.push(finding.waiver.as_ref().map(|waiver| waiver.id));
    }
}

/// As text that Postgres reads.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// Keeps a batch of judgements.
pub(crate) async fn store(db: &mut PgConnection, batch: &Batch) -> Result<(), Error> {
    store_positions(db, batch).await?;
    store_findings(db, batch).await?;
    store_changes(db, batch).await
}

async fn store_positions(db: &mut PgConnection, batch: &Batch) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into positions (model_id, position, declared, expression, obligations, detected, input_digest)
        select model_id, position, declared, expression, obligations::jsonb, detected::jsonb, input_digest
        from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[])
            as l (model_id, position, declared, expression, obligations, detected, input_digest)
        on conflict (model_id) do update set
            position = excluded.position, declared = excluded.declared, expression = excluded.expression,
            obligations = excluded.obligations, detected = excluded.detected, input_digest = excluded.input_digest,
            computed_at = now()
        "#,
        &batch.models,
        &batch.positions,
        &batch.declared as &[Option<String>],
        &batch.expressions as &[Option<String>],
        &batch.obligations,
        &batch.detected,
        &batch.digests,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        update models m set position = judged.position
        from unnest($1::bigint[], $2::text[]) as judged (id, position)
        where m.id = judged.id and m.position <> judged.position
        "#,
        &batch.models,
        &batch.positions,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn store_findings(db: &mut PgConnection, batch: &Batch) -> Result<(), Error> {
    sqlx::query!("delete from findings where model_id = any($1)", &batch.models).execute(&mut *db).await?;
    let all = &batch.findings;
    sqlx::query!(
        r#"
        insert into findings (model_id, rule, severity, about, message, license, section, remedy, path, path_ids,
            waiver_id)
        select l.model_id, l.rule, l.severity, l.about, l.message, l.license, l.section, l.remedy,
            string_to_array(l.path, E'\n'), string_to_array(l.path_ids, ',')::bigint[], l.waiver_id
        from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::bigint[])
            as l (model_id, rule, severity, about, message, license, section, remedy, path, path_ids, waiver_id)
        "#,
        &all.models,
        &all.rules,
        &all.severities,
        &all.about,
        &all.messages,
        &all.licenses as &[Option<String>],
        &all.sections as &[Option<String>],
        &all.remedies,
        &all.paths,
        &all.path_ids,
        &all.waivers as &[Option<i64>],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Writes down which positions changed, and what decided.
async fn store_changes(db: &mut PgConnection, batch: &Batch) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into position_changes (model_id, previous, position, reason)
        select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
        "#,
        &batch.changed,
        &batch.previous as &[Option<String>],
        &batch.new,
        &batch.reasons,
    )
    .execute(db)
    .await?;
    Ok(())
}

impl Kept {
    /// The gravest finding that is not accepted, as `RULE@about`; empty when there is none. Only what all
    /// readers of the model may know counts.
    pub(crate) fn reason(&self) -> String {
        let open = self.judgement.findings.iter().take(self.seen_by_all).filter(|finding| finding.waiver.is_none());
        open.max_by_key(|finding| finding.severity).map(|f| format!("{}@{}", f.rule, f.about)).unwrap_or_default()
    }
}
