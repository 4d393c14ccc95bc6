//! The queue's rows: enqueue, claim with a lease, extend, finish.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Job, Outcome};

/// Seconds for which a claim holds unless it is extended.
pub const LEASE_SECONDS: i32 = 60;

/// What can go wrong with the queue.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A job that cannot be written as JSON.
    #[error("the job cannot be queued: {0}")]
    Arguments(#[from] serde_json::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Puts a job into the queue, in the caller's transaction. An equal one that is pending stays the only one.
pub async fn enqueue<J: Job>(db: &mut PgConnection, job: &J) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into jobs (kind, payload, dedupe, model_id) values ($1, $2, $3, $4)
        on conflict (kind, dedupe) where state = 'pending' do nothing
        "#,
        J::KIND,
        serde_json::to_value(job)?,
        job.dedupe(),
        job.model_id(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Puts a job into the queue that is due at a time.
pub async fn enqueue_at<J: Job>(db: &mut PgConnection, job: &J, at: OffsetDateTime) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into jobs (kind, payload, dedupe, model_id, run_at) values ($1, $2, $3, $4, $5)
        on conflict (kind, dedupe) where state = 'pending' do nothing
        "#,
        J::KIND,
        serde_json::to_value(job)?,
        job.dedupe(),
        job.model_id(),
        at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A job that this worker has the right to run.
#[derive(Debug)]
pub struct Claimed {
    /// Row id.
    pub id: i64,
    /// Which job.
    pub kind: String,
    /// Its arguments.
    pub payload: serde_json::Value,
    /// How often it was tried, this time included.
    pub attempts: i32,
}

/// Claims the next job that is due, or one whose worker died.
pub async fn claim(db: &mut PgConnection, worker: &str) -> Result<Option<Claimed>, Error> {
    let claimed = sqlx::query_as!(
        Claimed,
        r#"
        update jobs set
            state = 'running', worker = $1, attempts = attempts + 1, started_at = now(),
            lease_until = now() + make_interval(secs => $2)
        where id = (
            select id from jobs
            where (state = 'pending' and run_at <= now()) or (state = 'running' and lease_until < now())
            order by run_at, id
            for update skip locked
            limit 1
        )
        returning id, kind, payload, attempts
        "#,
        worker,
        f64::from(LEASE_SECONDS),
    )
    .fetch_optional(db)
    .await?;
    Ok(claimed)
}

/// Extends the lease of a running job; false when another worker has it by now.
pub async fn extend(db: &mut PgConnection, job_id: i64, worker: &str) -> Result<bool, Error> {
    let extended = sqlx::query!(
        r#"
        update jobs set lease_until = now() + make_interval(secs => $3)
        where id = $1 and worker = $2 and state = 'running'
        "#,
        job_id,
        worker,
        f64::from(LEASE_SECONDS),
    )
    .execute(db)
    .await?;
    Ok(extended.rows_affected() == 1)
}

/// Records how a run ended: done, failed for good, or due again after a growing pause.
pub async fn finish(db: &mut PgConnection, job: &Claimed, worker: &str, outcome: &Outcome) -> Result<(), Error> {
    let (state, error) = match outcome {
        Outcome::Done => ("done", None),
        Outcome::Fail(reason) => ("failed", Some(reason.as_str())),
        Outcome::Retry(reason) => ("pending", Some(reason.as_str())),
    };
    sqlx::query!(
        r#"
        update jobs set
            state = case when $3 = 'pending' and attempts >= max_attempts then 'failed' else $3 end,
            error = $4, worker = null, lease_until = null,
            run_at = case when $3 = 'pending' then now() + make_interval(secs => 2.0 ^ attempts) else run_at end,
            dedupe = case when $3 = 'pending' then null else dedupe end,
            finished_at = case when $3 = 'pending' and attempts < max_attempts then null else now() end
        where id = $1 and worker = $2 and state = 'running'
        "#,
        job.id,
        worker,
        state,
        error,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Gives back the jobs of a worker that is shutting down.
pub async fn release(db: &mut PgConnection, worker: &str) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update jobs set state = 'pending', worker = null, lease_until = null, attempts = attempts - 1, dedupe = null
        where worker = $1 and state = 'running'
        "#,
        worker,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the waiting jobs of a kind with their row ids.
pub async fn list_waiting<J: Job>(db: &mut PgConnection) -> Result<Vec<(i64, J)>, Error> {
    let rows = sqlx::query!("select id, payload from jobs where kind = $1 and state = 'pending'", J::KIND)
        .fetch_all(db)
        .await?;
    // What cannot be read fails when its turn comes.
    Ok(rows.into_iter().filter_map(|row| Some((row.id, serde_json::from_value(row.payload).ok()?))).collect())
}

/// Marks waiting jobs done whose work another job did along with its own.
pub async fn finish_along(db: &mut PgConnection, ids: &[i64]) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update jobs set state = 'done', finished_at = now(), started_at = coalesce(started_at, now())
        where id in (select id from jobs where id = any($1) and state = 'pending' for update skip locked)
        "#,
        ids,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes finished jobs older than a week; failed ones stay a month.
pub async fn forget_old(db: &mut PgConnection) -> Result<u64, Error> {
    let gone = sqlx::query!(
        r#"
        delete from jobs
        where (state = 'done' and finished_at < now() - interval '7 days')
            or (state = 'failed' and finished_at < now() - interval '30 days')
        "#
    )
    .execute(db)
    .await?;
    Ok(gone.rows_affected())
}

/// Jobs by state; `scheduled` are those that are due at a later time, such as the end of a waiver.
pub async fn counts(db: &mut PgConnection) -> Result<Vec<(String, i64)>, Error> {
    let rows = sqlx::query!(
        r#"
        select case when state = 'pending' and attempts = 0 and run_at > now() then 'scheduled' else state end as "state!",
            count(*) as "count!"
        from jobs group by 1
        "#
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.state, row.count)).collect())
}

/// A job as people see it.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct JobRow {
    /// Row id.
    pub id: i64,
    /// Which job.
    pub kind: String,
    /// `pending`, `running`, `done` or `failed`.
    pub state: String,
    /// The model it is about.
    pub model: Option<String>,
    /// How often it was tried.
    pub attempts: i32,
    /// The last error.
    pub error: Option<String>,
    /// How long its last run took, in milliseconds; null: it has not ended.
    pub took_ms: Option<f64>,
    /// When it was queued.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// Returns the newest jobs in the given states that are about models the viewer may read.
pub async fn list(
    db: &mut PgConnection,
    states: &[String],
    viewer: &crate::auth::Viewer,
    limit: i64,
) -> Result<Vec<JobRow>, Error> {
    let rows = sqlx::query_as!(
        JobRow,
        r#"
        select j.id, j.kind, j.state, m.namespace || '/' || m.name as model, j.attempts, j.error, j.created_at,
            (extract(epoch from j.finished_at - j.started_at) * 1000)::double precision as took_ms, j.finished_at
        from jobs j left join models m on m.id = j.model_id
        where j.state = any($1)
            and ($2 or (m.id is not null and (m.visibility = 'public' or m.namespace_key = any($3))))
        order by j.id desc limit $4
        "#,
        states,
        viewer.everything,
        &viewer.namespaces,
        limit,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// How many jobs of a model are waiting or running.
pub async fn count_open(db: &mut PgConnection, model_id: i64) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from jobs where model_id = $1 and state in ('pending', 'running')"#,
        model_id,
    )
    .fetch_one(db)
    .await?;
    Ok(count)
}
