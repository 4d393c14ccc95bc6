//! Stored smoke tests.

use serde_json::Value;
use sqlx::{PgConnection, types::time::OffsetDateTime};

use super::{Check, Record, Relation, Report, Status, statistics::OfFile};
use crate::{auth::Viewer, db::without_nul, digest::Digest};

/// Largest record that is unpacked, in bytes.
const MAX_RECORD: usize = 4 << 20;

/// Version of the sums; others are not used.
const STATISTICS_VERSION: i32 = 1;

/// A smoke test as it was stored.
#[derive(Debug, Clone)]
pub struct StoredReport {
    /// Its id.
    pub id: i64,
    /// The revision that was tested.
    pub revision_id: i64,
    /// Its commit.
    pub commit: String,
    /// The conclusion.
    pub verdict: Status,
    /// The deepest level.
    pub level: i32,
    /// The checks in the order in which they were made.
    pub checks: Vec<Check>,
    /// Numbers.
    pub metrics: Value,
    /// The stages that ended, with their times.
    pub stages: Value,
    /// Engine and machine.
    pub environment: Value,
    /// What the model wrote.
    pub sample: Option<String>,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// How long it took.
    pub duration_ms: i64,
    /// Why it did not end; `None`: it did.
    pub cause: Option<String>,
    /// What it was tested on or compared with; `None` also where the viewer may not read that.
    pub base: Option<String>,
}

/// Stores a report on a revision and returns its id; the verdict on the tip of `main` is the model's.
pub async fn insert_report(
    db: &mut PgConnection,
    model_id: i64,
    revision_id: i64,
    report: &Report,
    base_id: Option<i64>,
) -> Result<i64, sqlx::Error> {
    let checks = serde_json::to_value(&report.checks).unwrap_or_default();
    let stages = serde_json::to_value(&report.stages).unwrap_or_default();
    // JSON in Postgres holds no NUL characters, and a model may well write one.
    let sample = report.sample.as_ref().map(|text| text.replace('\0', "\u{fffd}"));
    let duration = i64::try_from(report.duration_ms).unwrap_or(i64::MAX);
    let probe = report.record.as_ref().and_then(pack);
    sqlx::query!(
        "update models set smoke_verdict = $3 where id = $1 and head_revision_id = $2",
        model_id,
        revision_id,
        report.verdict.as_str(),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query_scalar!(
        r#"
        insert into smoke_tests (
            model_id, revision_id, verdict, level, checks, metrics, stages, environment, sample, started_at, duration_ms,
            cause, probe, base_id
        )
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() - make_interval(secs => $10::bigint / 1000.0), $10, $11, $12,
            $13)
        returning id
        "#,
        model_id,
        revision_id,
        report.verdict.as_str(),
        i32::from(report.level),
        without_nul(checks),
        without_nul(Value::Object(report.metrics.clone())),
        stages,
        without_nul(Value::Object(report.environment.clone())),
        sample,
        duration,
        report.cause,
        probe,
        base_id,
    )
    .fetch_one(db)
    .await
}

/// Packs a record: JSON, compressed.
fn pack(record: &Record) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(record).ok()?;
    zstd::bulk::compress(&text, 3).ok()
}

/// Unpacks a record; one that another version wrote and this one cannot read is none.
fn unpack(bytes: &[u8]) -> Option<Record> {
    let text = zstd::bulk::decompress(bytes, MAX_RECORD).ok()?;
    serde_json::from_slice::<Record>(&text).ok().filter(Record::is_usable)
}

/// What a model is tested on, or compared with.
#[derive(Debug, Clone)]
pub struct Base {
    /// The base.
    pub model_id: i64,
    /// Its tip.
    pub revision_id: i64,
    /// How the model relates to it.
    pub relation: Relation,
    /// What its latest test kept.
    pub record: Option<Record>,
}

/// Returns the base of a model whose files are here: an adapter's first, then what the weights confirm, then what is
/// stated. Whoever reads the report may read the base.
pub async fn find_base(db: &mut PgConnection, model_id: i64) -> Result<Option<Base>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        select p.id, p.head_revision_id as "head!", c.relation, (
                select s.probe from smoke_tests s where s.revision_id = p.head_revision_id and s.probe is not null
                order by s.id desc limit 1) as probe
        from claims c join models ch on ch.id = c.child_id join models p on p.id = c.parent_id
        where c.child_id = $1 and c.withdrawn_at is null and c.verdict <> 'contradicted'
            and p.kind = 'hosted' and p.head_revision_id is not null
            and (p.visibility = 'public' or (ch.visibility = 'private' and ch.namespace_key = p.namespace_key))
        order by (c.relation = 'adapter') desc, (c.verdict = 'confirmed') desc, (c.origin = 'declared') desc, c.id
        limit 1
        "#,
        model_id,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Base {
        model_id: row.id,
        revision_id: row.head,
        relation: match row.relation.as_str() {
            "finetune" => Relation::Finetune,
            "adapter" => Relation::Adapter,
            "merge" => Relation::Merge,
            "quantized" => Relation::Quantized,
            "copy" => Relation::Copy,
            _ => Relation::Other,
        },
        record: row.probe.as_deref().and_then(unpack),
    }))
}

/// Returns models that could not be run, or read no text, when this base was not here or not tested, with their tips:
/// adapters, differences, files without a tokenizer.
pub async fn list_waiting_for_base(db: &mut PgConnection, base_id: i64) -> Result<Vec<(i64, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select distinct ch.id, ch.head_revision_id as "head!"
        from claims c join models ch on ch.id = c.child_id join models p on p.id = c.parent_id
        where c.parent_id = $1 and c.withdrawn_at is null and c.verdict <> 'contradicted'
            and ch.kind = 'hosted' and ch.head_revision_id is not null and ch.smoke_verdict in ('skipped', 'passed', 'warned')
            and not exists (
                select from smoke_tests s where s.revision_id = ch.head_revision_id
                    and (s.probe is not null or (s.base_id = p.id and s.id > (
                        select min(b.id) from smoke_tests b where b.revision_id = p.head_revision_id))))
        "#,
        base_id,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.head)).collect())
}

/// Returns a model's smoke tests, the latest first.
pub async fn list_reports(
    db: &mut PgConnection,
    viewer: &Viewer,
    model_id: i64,
    limit: i64,
) -> Result<Vec<StoredReport>, sqlx::Error> {
    select_reports(db, viewer, model_id, None, limit).await
}

/// Returns one of a model's smoke tests.
pub async fn find_report(
    db: &mut PgConnection,
    viewer: &Viewer,
    model_id: i64,
    id: i64,
) -> Result<Option<StoredReport>, sqlx::Error> {
    Ok(select_reports(db, viewer, model_id, Some(id), 1).await?.into_iter().next())
}

async fn select_reports(
    db: &mut PgConnection,
    viewer: &Viewer,
    model_id: i64,
    id: Option<i64>,
    limit: i64,
) -> Result<Vec<StoredReport>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        select s.id, s.revision_id, r.commit, s.verdict, s.level, s.checks, s.metrics, s.stages, s.environment, s.sample,
            s.started_at, s.duration_ms, s.cause, b.namespace || '/' || b.name as base
        from smoke_tests s
        join revisions r on r.id = s.revision_id
        left join models b on b.id = s.base_id and ($4 or b.visibility = 'public' or b.namespace_key = any($5))
        where s.model_id = $1 and ($2::bigint is null or s.id = $2)
        order by s.id desc
        limit $3
        "#,
        model_id,
        id,
        limit,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    let stored = rows.into_iter().map(|row| StoredReport {
        id: row.id,
        revision_id: row.revision_id,
        commit: row.commit,
        verdict: status(&row.verdict),
        level: row.level,
        checks: serde_json::from_value(row.checks).unwrap_or_default(),
        metrics: row.metrics,
        stages: row.stages,
        environment: row.environment,
        sample: row.sample,
        started_at: row.started_at,
        duration_ms: row.duration_ms,
        cause: row.cause,
        base: row.base,
    });
    Ok(stored.collect())
}

/// Returns what a run kept for comparisons; `None`: nothing that this version reads.
pub async fn find_record(db: &mut PgConnection, id: i64) -> Result<Option<Record>, sqlx::Error> {
    let probe = sqlx::query_scalar!("select probe from smoke_tests where id = $1", id).fetch_optional(db).await?;
    Ok(probe.flatten().as_deref().and_then(unpack))
}

/// A test that has been asked for and has not ended.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The commit of its revision.
    pub commit: String,
    /// Whether it has begun.
    pub is_running: bool,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
}

/// Returns the tests of a model that have not ended, the latest first.
pub async fn list_waiting(db: &mut PgConnection, model_id: i64) -> Result<Vec<Waiting>, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"
        select r.commit, j.state = 'running' as "is_running!", j.created_at
        from jobs j join revisions r on r.id = (j.payload ->> 'revision_id')::bigint
        where j.model_id = $1 and j.kind = 'smoke_test' and j.state in ('pending', 'running')
        order by j.id desc
        "#,
        model_id
    )
    .fetch_all(db)
    .await
}

/// Returns the latest smoke test of a revision.
pub async fn find_verdict(db: &mut PgConnection, revision_id: i64) -> Result<Option<Status>, sqlx::Error> {
    let verdict = sqlx::query_scalar!(
        r#"select verdict from smoke_tests where revision_id = $1 order by id desc limit 1"#,
        revision_id
    )
    .fetch_optional(db)
    .await?;
    Ok(verdict.as_deref().map(status))
}

/// A constraint lets nothing else in than the five words.
fn status(word: &str) -> Status {
    serde_json::from_value(Value::from(word)).unwrap_or(Status::Error)
}

/// Returns what a namespace (lower case) does with revisions that do not pass.
pub(super) async fn find_policy(db: &mut PgConnection, namespace_key: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar!("select on_failure from smoke_policies where namespace = $1", namespace_key)
        .fetch_optional(db)
        .await
}

pub(super) async fn upsert_policy(
    db: &mut PgConnection,
    namespace_key: &str,
    on_failure: &str,
    by: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        insert into smoke_policies (namespace, on_failure, changed_by) values ($1, $2, $3)
        on conflict (namespace) do update set
            on_failure = excluded.on_failure, changed_by = excluded.changed_by, changed_at = now()
        "#,
        namespace_key,
        on_failure,
        by,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether an administrator lets a revision be served.
pub(super) async fn is_released(db: &mut PgConnection, revision_id: i64) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"select exists (select from smoke_releases where revision_id = $1) as "is!""#, revision_id)
        .fetch_one(db)
        .await
}

pub(super) async fn insert_release(
    db: &mut PgConnection,
    revision_id: i64,
    reason: &str,
    by: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        insert into smoke_releases (revision_id, reason, released_by) values ($1, $2, $3)
        on conflict (revision_id) do update set
            reason = excluded.reason, released_by = excluded.released_by, created_at = now()
        "#,
        revision_id,
        reason,
        by,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the verdict and the checks of the latest run over a revision.
pub(super) async fn find_checks(
    db: &mut PgConnection,
    revision_id: i64,
) -> Result<Option<(Status, Vec<Check>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select verdict, checks from smoke_tests where revision_id = $1 order by id desc limit 1",
        revision_id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| (status(&row.verdict), serde_json::from_value(row.checks).unwrap_or_default())))
}

/// Why a revision is served although it did not pass.
#[derive(Debug, Clone)]
pub struct Release {
    /// The reason.
    pub reason: String,
    /// Who.
    pub released_by: String,
    /// When.
    pub created_at: OffsetDateTime,
}

/// Returns the release of a revision.
pub async fn find_release(db: &mut PgConnection, revision_id: i64) -> Result<Option<Release>, sqlx::Error> {
    sqlx::query_as!(
        Release,
        "select reason, released_by, created_at from smoke_releases where revision_id = $1",
        revision_id
    )
    .fetch_optional(db)
    .await
}

/// Keeps what was summed of a weight file's tensors.
pub(super) async fn insert_statistics(
    db: &mut PgConnection,
    digest: &Digest,
    sums: &OfFile,
) -> Result<(), sqlx::Error> {
    let sums = serde_json::to_value(sums).unwrap_or_default();
    sqlx::query!(
        "insert into weight_statistics (digest, version, sums) values ($1, $2, $3) on conflict do nothing",
        digest.as_bytes(),
        STATISTICS_VERSION,
        sums,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns what was summed of a weight file's tensors while it was uploaded.
pub async fn find_statistics(db: &mut PgConnection, digest: &Digest) -> Result<Option<OfFile>, sqlx::Error> {
    let sums = sqlx::query_scalar!(
        "select sums from weight_statistics where digest = $1 and version = $2",
        digest.as_bytes(),
        STATISTICS_VERSION,
    )
    .fetch_optional(db)
    .await?;
    Ok(sums.and_then(|sums| serde_json::from_value(sums).ok()))
}
