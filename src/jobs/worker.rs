//! The loop that claims and runs jobs, in `serve` and in `herdbook worker` alike.

use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{
    Outcome,
    queue::{self, Claimed},
};
use crate::app::App;

/// How long an idle worker waits before it looks without having been woken: for jobs that become due, and for
/// leases that ran out.
const POLL: Duration = Duration::from_secs(5);

/// Runs jobs until `stop` turns true; the one under way is finished or given back.
pub async fn run(app: App, number: usize, mut stop: watch::Receiver<bool>) {
    let worker = format!("{}-{number}-{:08x}", std::process::id(), rand::random::<u32>());
    let mut listener = listen(&app).await;
    while !*stop.borrow() {
        let ran = tokio::select! {
            ran = step(&app, &worker) => ran,
            _ = stop.changed() => break,
        };
        if ran {
            continue;
        }
        let woken = async {
            match &mut listener {
                Some(listener) => drop(listener.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(POLL) => if listener.is_none() { listener = listen(&app).await },
            _ = stop.changed() => {}
        }
    }
    if let Ok(mut db) = app.db.acquire().await {
        queue::release(&mut db, &worker).await.unwrap_or_else(|error| warn!("jobs were not given back: {error}"));
    }
}

async fn listen(app: &App) -> Option<PgListener> {
    let mut listener = PgListener::connect_with(&app.db).await.ok()?;
    listener.listen("jobs").await.ok()?;
    Some(listener)
}

/// Runs every job that is due, and those that they enqueue; for tests and for `herdbook demo`.
pub async fn run_until_empty(app: &App) {
    while step(app, "until-empty").await {}
}

/// Claims and runs one job; false when none is due.
async fn step(app: &App, worker: &str) -> bool {
    let claimed = match app.db.acquire().await {
        Ok(mut db) => queue::claim(&mut db, worker).await,
        Err(error) => Err(error.into()),
    };
    match claimed {
        Ok(Some(job)) => {
            run_one(app, worker, &job).await;
            true
        }
        Ok(None) => false,
        Err(error) => {
            warn!("the job queue cannot be read: {error}");
            tokio::time::sleep(Duration::from_secs(1)).await;
            false
        }
    }
}

async fn run_one(app: &App, worker: &str, job: &Claimed) {
    let started = std::time::Instant::now();
    let outcome = tokio::select! {
        outcome = super::run(app, &job.kind, job.payload.clone()) => outcome,
        () = keep_lease(app, worker, job.id) => return,
    };
    let duration_ms = started.elapsed().as_millis();
    match &outcome {
        Outcome::Done => info!(job.id, job.kind, duration_ms, "finished job {} `{}`", job.id, job.kind),
        Outcome::Retry(reason) => {
            warn!(job.id, job.kind, duration_ms, "job {} `{}` comes again: {reason}", job.id, job.kind);
        }
        Outcome::Fail(reason) => {
            error!(job.id, job.kind, duration_ms, "job {} `{}` failed: {reason}", job.id, job.kind);
        }
    }
    let finished = match app.db.acquire().await {
        Ok(mut db) => queue::finish(&mut db, job, worker, &outcome).await,
        Err(error) => Err(error.into()),
    };
    // The lease runs out and another worker repeats the job: bodies may run twice.
    finished.unwrap_or_else(|error| warn!("the end of job {} was not recorded: {error}", job.id));
}

/// Extends the lease while the job runs; returns when another worker has it.
async fn keep_lease(app: &App, worker: &str, job_id: i64) {
    let period = Duration::from_secs(u64::from(queue::LEASE_SECONDS.unsigned_abs()) / 3);
    loop {
        tokio::time::sleep(period).await;
        let extended = match app.db.acquire().await {
            Ok(mut db) => queue::extend(&mut db, job_id, worker).await,
            Err(error) => Err(error.into()),
        };
        if matches!(extended, Ok(false)) {
            warn!(job.id = job_id, "job {job_id} was taken over by another worker");
            return;
        }
    }
}
