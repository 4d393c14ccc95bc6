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

/// Keeps a batch of judgements; `rows` finds models by name.
pub(crate) async fn store(db: &mut PgConnection, batch: &[Kept], rows: &HashMap<&str, i64>) -> Result<(), Error> {
    store_positions(db, batch).await?;
    store_findings(db, batch, rows).await?;
    store_changes(db, batch).await
}

async fn store_positions(db: &mut PgConnection, batch: &[Kept]) -> Result<(), Error> {
    let ids: Vec<i64> = batch.iter().map(|kept| kept.model_id).collect();
    let positions: Vec<String> = batch.iter().map(|kept| kept.judgement.position.clone()).collect();
    let declared: Vec<Option<String>> = batch.iter().map(|kept| kept.judgement.declared.clone()).collect();
    let expressions: Vec<Option<String>> = batch.iter().map(|kept| kept.judgement.expression.clone()).collect();
    let obligations: Vec<serde_json::Value> =
        batch.iter().map(|kept| serde_json::to_value(&kept.judgement.obligations).unwrap_or_default()).collect();
    let detected: Vec<serde_json::Value> = batch.iter().map(|kept| kept.detected.clone()).collect();
    let digests: Vec<Vec<u8>> = batch.iter().map(|kept| kept.digest.clone()).collect();
    sqlx::query!(
        r#"
        insert into positions (model_id, position, declared, expression, obligations, detected, input_digest)
        select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::jsonb[], $6::jsonb[], $7::bytea[])
        on conflict (model_id) do update set
            position = excluded.position, declared = excluded.declared, expression = excluded.expression,
            obligations = excluded.obligations, detected = excluded.detected, input_digest = excluded.input_digest,
            computed_at = now()
        "#,
        &ids,
        &positions,
        &declared as &[Option<String>],
        &expressions as &[Option<String>],
        &obligations,
        &detected,
        &digests,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        update models m set position = judged.position
        from unnest($1::bigint[], $2::text[]) as judged (id, position)
        where m.id = judged.id and m.position <> judged.position
        "#,
        &ids,
        &positions,
    )
    .execute(db)
    .await?;
    Ok(())
}

async fn store_findings(db: &mut PgConnection, batch: &[Kept], rows: &HashMap<&str, i64>) -> Result<(), Error> {
    let ids: Vec<i64> = batch.iter().map(|kept| kept.model_id).collect();
    sqlx::query!("delete from findings where model_id = any($1)", &ids).execute(&mut *db).await?;
    let all: Vec<(i64, &Finding)> =
        batch.iter().flat_map(|kept| kept.judgement.findings.iter().map(|f| (kept.model_id, f))).collect();
    let column = |of: fn(&Finding) -> String| all.iter().map(|(_, f)| of(f)).collect::<Vec<String>>();
    let optional = |of: fn(&Finding) -> Option<String>| all.iter().map(|(_, f)| of(f)).collect::<Vec<_>>();
    let models: Vec<i64> = all.iter().map(|(id, _)| *id).collect();
    // Arrays of arrays must be rectangular in SQL: paths travel as JSON.
    let paths: Vec<serde_json::Value> = all.iter().map(|(_, f)| serde_json::json!(f.path)).collect();
    let path_ids: Vec<serde_json::Value> = all
        .iter()
        .map(|(_, f)| f.path.iter().filter_map(|name| rows.get(name.as_str())).collect::<Vec<_>>())
        .map(|ids| serde_json::json!(ids))
        .collect();
    let waivers: Vec<Option<i64>> = all.iter().map(|(_, f)| f.waiver.as_ref().map(|waiver| waiver.id)).collect();
    sqlx::query!(
        r#"
        insert into findings (model_id, rule, severity, about, message, license, section, remedy, path, path_ids,
            waiver_id)
        select l.model_id, l.rule, l.severity, l.about, l.message, l.license, l.section, l.remedy,
            array(select jsonb_array_elements_text(l.path)),
            array(select jsonb_array_elements_text(l.path_ids)::bigint), l.waiver_id
        from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::jsonb[], $10::jsonb[], $11::bigint[])
            as l (model_id, rule, severity, about, message, license, section, remedy, path, path_ids, waiver_id)
        "#,
        &models,
        &column(|f| f.rule.clone()),
        &column(|f| f.severity.as_str().to_owned()),
        &column(|f| f.about.clone()),
        &column(|f| f.message.clone()),
        &optional(|f| f.license.clone()) as &[Option<String>],
        &optional(|f| f.section.clone()) as &[Option<String>],
        &column(|f| f.remedy.clone()),
        &paths,
        &path_ids,
        &waivers as &[Option<i64>],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Writes down which positions changed, and what decided.
async fn store_changes(db: &mut PgConnection, batch: &[Kept]) -> Result<(), Error> {
    let changed: Vec<&Kept> =
        batch.iter().filter(|kept| kept.previous.as_ref() != Some(&kept.judgement.position)).collect();
    let ids: Vec<i64> = changed.iter().map(|kept| kept.model_id).collect();
    let previous: Vec<Option<String>> = changed.iter().map(|kept| kept.previous.clone()).collect();
    let positions: Vec<String> = changed.iter().map(|kept| kept.judgement.position.clone()).collect();
    let reasons: Vec<String> = changed.iter().map(|kept| kept.reason()).collect();
    sqlx::query!(
        r#"
        insert into position_changes (model_id, previous, position, reason)
        select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
        "#,
        &ids,
        &previous as &[Option<String>],
        &positions,
        &reasons,
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
