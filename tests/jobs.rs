//! The queue: one worker for each job, another when it dies, and an end to trying.

use std::collections::BTreeSet;

use herdbook::jobs::queue;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, Row as _};

use crate::support::{Setup, TestApp, files, postgres, until};

async fn failed(app: &TestApp) -> Vec<Value> {
    app.admin.get("/api/v1/jobs?state=failed").await.expect(200).json()["jobs"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_job_that_cannot_succeed_is_tried_again_and_ends_failed() {
    let app = TestApp::spawn().await;
    app.sql("insert into jobs (kind, payload) values ('smoke_test', '{\"model_id\": 0, \"revision_id\": 0}')").await;
    until("the job has failed", async || {
        // What waits for its next attempt is due now: nobody watches the pauses grow.
        app.sql("update jobs set run_at = now() where state = 'pending'").await;
        app.sql("select pg_notify('jobs', '')").await;
        !failed(&app).await.is_empty()
    })
    .await;
    let job = &failed(&app).await[0];
    assert_eq!((&job["kind"], &job["attempts"]), (&json!("smoke_test"), &json!(5)), "{job}");
    assert!(job["error"].as_str().is_some_and(|reason| !reason.is_empty()), "{job}");
    app.stop().await;
}

#[tokio::test]
async fn a_job_that_makes_no_sense_is_not_tried_again() {
    let app = TestApp::spawn().await;
    app.sql("insert into jobs (kind, payload) values ('dance', '{}'), ('smoke_test', '{\"model_id\": \"x\"}')").await;
    until("both have failed", async || failed(&app).await.len() == 2).await;
    for (job, reason) in failed(&app).await.iter().zip(["cannot be read", "`dance` are not known"]) {
        assert_eq!(job["attempts"], 1, "{job}");
        assert!(job["error"].as_str().unwrap().contains(reason), "{job}");
    }
    app.stop().await;
}

#[tokio::test]
async fn two_workers_never_take_the_same_job() {
    let url = postgres::create_database().await;
    let mut db = PgConnection::connect(&url).await.unwrap();
    let fill = "insert into jobs (kind, payload) select 'smoke_test', '{}' from generate_series(1, 60)";
    sqlx::query(fill).execute(&mut db).await.unwrap();
    let mut workers = tokio::task::JoinSet::new();
    for number in 0..6 {
        let url = url.clone();
        workers.spawn(async move {
            let mut db = PgConnection::connect(&url).await.unwrap();
            let mut mine = Vec::new();
            while let Some(job) = queue::claim(&mut db, &format!("worker {number}")).await.unwrap() {
                mine.push(job.id);
            }
            mine
        });
    }
    let claimed: Vec<i64> = workers.join_all().await.concat();
    assert_eq!(claimed.len(), 60);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len(), 60);
}

#[tokio::test]
async fn a_dead_workers_job_goes_to_another_and_the_dead_one_cannot_end_it() {
    let url = postgres::create_database().await;
    let mut db = PgConnection::connect(&url).await.unwrap();
    sqlx::query("insert into jobs (kind, payload) values ('smoke_test', '{}')").execute(&mut db).await.unwrap();
    let first = queue::claim(&mut db, "first").await.unwrap().unwrap();
    assert!(queue::claim(&mut db, "second").await.unwrap().is_none(), "the lease holds");
    assert!(queue::extend(&mut db, first.id, "first").await.unwrap());
    sqlx::query("update jobs set lease_until = now() - interval '1 second'").execute(&mut db).await.unwrap();
    let second = queue::claim(&mut db, "second").await.unwrap().unwrap();
    assert_eq!((second.id, second.attempts), (first.id, 2));
    assert!(!queue::extend(&mut db, first.id, "first").await.unwrap());
    let state = async |db: &mut PgConnection| -> String {
        sqlx::query("select state from jobs").fetch_one(db).await.unwrap().get(0)
    };
    queue::finish(&mut db, &first, "first", &herdbook::jobs::Outcome::Done).await.unwrap();
    assert_eq!(state(&mut db).await, "running");
    queue::finish(&mut db, &second, "second", &herdbook::jobs::Outcome::Done).await.unwrap();
    assert_eq!(state(&mut db).await, "done");
}

#[tokio::test]
async fn workers_run_what_a_server_leaves_to_them() {
    let environment = vec![("HERDBOOK_JOBS".to_owned(), "0".to_owned())];
    let app = TestApp::with(Setup { environment, ..Setup::default() }).await;
    let alice = app.user("alice").await;
    for number in 0..6 {
        alice.publish(&format!("alice/m{number}"), &files::stories()).await;
    }
    let pending = alice.get("/api/v1/jobs?state=pending").await.expect(200).json();
    assert!(pending["jobs"].as_array().unwrap().len() >= 18, "{pending}");
    assert_eq!(alice.model("alice/m0").await["smoke_test"]["verdict"], "pending");
    let workers = [app.worker(), app.worker()];
    app.drain().await;
    for number in 0..6 {
        let tests = alice.get(&format!("/api/v1/models/alice/m{number}/smoke-tests")).await.expect(200).json();
        assert_eq!((&tests["verdict"], tests["items"].as_array().unwrap().len()), (&json!("passed"), 1), "{tests}");
    }
    for worker in workers {
        worker.stop().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_smoke_test_is_run_again_on_demand() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/m", &files::stories()).await;
    app.drain().await;
    alice.post("/api/v1/models/alice/m/smoke-tests", json!({})).await.expect(202);
    app.drain().await;
    let tests = alice.get("/api/v1/models/alice/m/smoke-tests").await.expect(200).json();
    assert_eq!(tests["items"].as_array().unwrap().len(), 2);
    assert!(tests["items"][0]["sample"].as_str().unwrap().starts_with("Once upon a time"), "{tests}");
    app.finish().await;
}
