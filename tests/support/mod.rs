//! A running server for a test, with its own database and data folder, and ways to talk to it.

pub(crate) mod files;
pub(crate) mod http;
pub(crate) mod postgres;
pub(crate) mod program;
pub(crate) mod python;

use std::{path::Path, time::Duration};

use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

pub(crate) use http::{Answer, Caller, Files, file_url, send};
pub(crate) use program::{Output, Server, Worker};

/// How a server is set up.
#[derive(Default, Clone)]
pub(crate) struct Setup {
    /// The address of the store; in the data folder unless said.
    pub(crate) store: Option<String>,
    /// More environment variables.
    pub(crate) environment: Vec<(String, String)>,
}

/// A server that is the test's own.
pub(crate) struct TestApp {
    /// The administrator, with the token of the first start.
    pub(crate) admin: Caller,
    database_url: String,
    environment: Vec<(String, String)>,
    data: TempDir,
    server: Server,
}

impl TestApp {
    /// Starts a server on a fresh database and an empty folder.
    pub(crate) async fn spawn() -> Self {
        Self::with(Setup::default()).await
    }

    /// Starts a server that is set up in this way.
    pub(crate) async fn with(setup: Setup) -> Self {
        let data = tempfile::tempdir().unwrap();
        let database_url = postgres::create_database().await;
        let mut environment = setup.environment;
        environment.push(("HERDBOOK_DATA_DIR".into(), data.path().to_str().unwrap().into()));
        environment.push(("HERDBOOK_DATABASE_URL".into(), database_url.clone()));
        environment.extend(setup.store.map(|store| ("HERDBOOK_STORE".into(), store)));
        let server = Server::start(&environment).await;
        let token = std::fs::read_to_string(data.path().join("admin-token")).unwrap().trim().to_owned();
        let admin = Caller { token: Some(token), url: server.url.clone(), http: client() };
        Self { admin, database_url, environment, data, server }
    }

    /// The server's address.
    pub(crate) fn url(&self) -> &str {
        &self.server.url
    }

    /// The data folder.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Somebody without a token.
    pub(crate) fn anonymous(&self) -> Caller {
        Caller { token: None, ..self.admin.clone() }
    }

    /// Creates a user with a token that may write.
    pub(crate) async fn user(&self, name: &str) -> Caller {
        self.run(&["user", "add", name]).await.expect(0);
        self.token(name, "write").await
    }

    /// Creates a token of a user.
    pub(crate) async fn token(&self, user: &str, scope: &str) -> Caller {
        let output = self.run(&["token", "create", "--user", user, "--scope", scope]).await.expect(0);
        Caller { token: Some(output.stdout.trim().to_owned()), ..self.admin.clone() }
    }

    /// Runs a command of the program as the administrator.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        self.run_as(&self.admin, arguments).await
    }

    /// Runs a command of the program as somebody.
    pub(crate) async fn run_as(&self, caller: &Caller, arguments: &[&str]) -> Output {
        let mut environment = self.environment.clone();
        environment.push(("HERDBOOK_ENDPOINT".into(), self.server.url.clone()));
        environment.extend(caller.token.clone().map(|token| ("HERDBOOK_TOKEN".into(), token)));
        program::run(&environment, arguments).await
    }

    /// Runs a command of the program that reads standard input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        program::run_with_input(&self.environment, arguments, input).await
    }

    /// Starts a worker beside the server.
    pub(crate) fn worker(&self) -> Worker {
        Worker::start(&self.environment)
    }

    /// Waits until no job is waiting or running.
    pub(crate) async fn drain(&self) {
        until("the queue is empty", async || {
            let counts = &self.admin.get("/api/v1/jobs").await.expect(200).json()["counts"];
            let open = |state: &str| counts[state].as_i64().unwrap_or(0);
            open("pending") + open("running") == 0
        })
        .await;
    }

    /// Cuts the server off and starts it anew on the same data. Callers of before have the old address.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.server.kill().await;
        // What it had begun is due in a minute; nobody waits for that here.
        self.sql("update jobs set lease_until = now() where state = 'running'").await;
        self.server = Server::start(&self.environment).await;
        self.admin.url.clone_from(&self.server.url);
    }

    /// A connection to the database.
    pub(crate) async fn database(&self) -> PgConnection {
        PgConnection::connect(&self.database_url).await.unwrap()
    }

    /// Changes rows behind the server's back; returns how many.
    pub(crate) async fn sql(&self, statement: &'static str) -> u64 {
        sqlx::query(statement).execute(&mut self.database().await).await.unwrap().rows_affected()
    }

    /// Ends a test: the queue runs empty without a failed job, the store is sound, the server stops when asked to.
    pub(crate) async fn finish(self) {
        self.drain().await;
        let failed = self.admin.get("/api/v1/jobs?state=failed").await.expect(200).json();
        assert_eq!(failed["jobs"], Value::Array(Vec::new()));
        self.fsck().await;
        self.server.stop().await;
    }

    /// Asks the server to stop, and asserts that it does so in good order.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }

    /// Asserts that every stored byte is what it was.
    pub(crate) async fn fsck(&self) -> Value {
        let output = self.run(&["fsck", "--json"]).await.expect(0);
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(report["damaged"], Value::Array(Vec::new()), "{report}");
        report
    }
}

/// An HTTP client as tests want it.
pub(crate) fn client() -> reqwest::Client {
    // Redirects are answers to assert on.
    let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    builder.timeout(Duration::from_mins(2)).build().unwrap()
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let limit = std::time::Instant::now() + Duration::from_mins(2);
    while !condition().await {
        assert!(std::time::Instant::now() < limit, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}
