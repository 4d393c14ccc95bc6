//! `herdbook serve` with the Postgres that it brings along: start, stop, crash, and what it says when it cannot start.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};
use reqwest::Method;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    Caller, Output, TestApp, client, files,
    program::{self, Server},
    send, until,
};

/// A data folder with a cluster of its own.
struct Home {
    folder: TempDir,
}

impl Home {
    /// One that the user whom Postgres runs as can enter.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn environment(&self) -> Vec<(String, String)> {
        vec![("HERDBOOK_DATA_DIR".to_owned(), self.path().to_str().unwrap().to_owned())]
    }

    async fn serve(&self) -> (Server, Caller) {
        let server = Server::start(&self.environment()).await;
        let token = fs::read_to_string(self.path().join("admin-token")).unwrap().trim().to_owned();
        let caller = Caller { token: Some(token), url: server.url.clone(), http: client() };
        (server, caller)
    }

    async fn refuse(&self, arguments: &[&str]) -> Output {
        match Server::try_start(&self.environment(), arguments).await {
            Ok(_) => panic!("it started"),
            Err(output) => output.expect(2),
        }
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.path().join("postgres/cluster/postmaster.pid")).ok()?;
        Some(Pid::from_raw(text.lines().next()?.trim().parse().ok()?))
    }
}

impl Drop for Home {
    /// A test that fails leaves no cluster behind.
    fn drop(&mut self) {
        if let Some(pid) = self.postmaster() {
            kill(pid, Signal::SIGQUIT).ok();
        }
    }
}

#[tokio::test]
async fn a_server_brings_its_own_postgres_and_takes_it_down_again() {
    let home = Home::new();
    let (server, admin) = home.serve().await;
    assert_eq!(admin.get("/healthz").await.expect(200).text(), "ok\n");
    assert_eq!(admin.get("/readyz").await.expect(200).text(), "ready\n");
    let metrics = admin.get("/metrics").await.expect(200).text();
    assert!(metrics.lines().any(|line| line.starts_with("herdbook_blobs ")), "{metrics}");
    let mode = fs::metadata(home.path().join("admin-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(admin.get("/api/v1/whoami").await.expect(200).json()["is_admin"], true);
    admin.publish("admin/m", &files::card("license: mit")).await;
    let mode = fs::metadata(home.path().join("store/blobs")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "other accounts of the machine read no blobs");
    assert!(home.postmaster().is_some());
    let log = server.stop().await;
    assert!(log.contains("shutting down"), "{log}");
    assert_eq!(home.postmaster(), None, "the cluster is stopped in good order");

    let (server, again) = home.serve().await;
    assert_eq!(again.token, admin.token);
    assert_eq!(again.model("admin/m").await["license"]["declared"], "mit");
    server.stop().await;
}

#[tokio::test]
async fn a_cluster_that_a_killed_server_left_is_recovered() {
    let home = Home::new();
    let (mut server, admin) = home.serve().await;
    admin.publish("admin/m", &files::card("license: mit")).await;
    let leftover = home.postmaster().unwrap();
    server.kill().await;
    assert!(kill(leftover, None).is_ok(), "the cluster outlives the server");

    let (server, admin) = home.serve().await;
    assert_ne!(home.postmaster().unwrap(), leftover);
    admin.model("admin/m").await;
    let log = server.stop().await;
    assert!(log.contains("recovering the Postgres cluster"), "{log}");
    assert_eq!(home.postmaster(), None);
    let command_line = fs::read(format!("/proc/{leftover}/cmdline")).unwrap_or_default();
    assert!(command_line.is_empty(), "the old cluster still runs");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_costs_no_request() {
    let home = Home::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    for log in [full.into(), closed.into()] {
        let server = Server::start_without_log(&home.environment(), log).await;
        for place in ["/healthz", "/readyz", "/models", "/nowhere"] {
            let status = client().get(format!("{}{place}", server.url)).send().await.unwrap().status();
            assert_eq!(status.as_u16(), if place == "/nowhere" { 404 } else { 200 }, "{place}");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_data_folder_has_one_server_and_any_number_of_commands() {
    let home = Home::new();
    let (server, admin) = home.serve().await;
    let refused = home.refuse(&[]).await;
    assert!(refused.stderr.contains("another herdbook already runs on the data folder"), "{}", refused.stderr);
    assert_eq!(refused.stdout, "");
    admin.get("/readyz").await.expect(200);
    let users = program::run(&home.environment(), &["user", "list", "--json"]).await.expect(0).json();
    assert_eq!(users[0]["name"], "admin");
    server.stop().await;
    program::run(&home.environment(), &["user", "add", "ada"]).await.expect(0);
    assert_eq!(home.postmaster(), None, "a command takes its cluster down again");
}

#[tokio::test]
async fn what_keeps_a_server_from_starting_is_said_once_and_clearly() {
    let home = Home::new();
    let nowhere = home.refuse(&["--postgres-bin", "/nonexistent"]).await;
    assert!(nowhere.stderr.contains("no Postgres server was found"), "{}", nowhere.stderr);
    for remedy in ["apt-get install postgresql", "brew install postgresql", "--database-url"] {
        assert_eq!(nowhere.stderr.matches(remedy).count(), 1, "{remedy}: {}", nowhere.stderr);
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for (arguments, message) in [
        (["--listen", taken.as_str()], "is another program there?"),
        (["--listen", "nonsense"], "expected HOST:PORT"),
        (["--database-url", "postgres://nobody@127.0.0.1:9/none"], "Connection refused"),
        (["--store", "ftp://somewhere/else"], "is not known, use file, s3, gs or az"),
    ] {
        let refused = home.refuse(&arguments).await;
        assert!(refused.stderr.contains(message), "{arguments:?}: {}", refused.stderr);
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(home.postmaster(), None);
}

#[tokio::test]
async fn a_folder_that_postgres_cannot_enter_is_named() {
    if !Uid::effective().is_root() {
        eprintln!("left out: only root runs Postgres as somebody else");
        return;
    }
    let home = Home::new();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let refused = home.refuse(&[]).await;
    let folder = home.path().display().to_string();
    assert!(refused.stderr.contains("cannot reach") && refused.stderr.contains(&folder), "{}", refused.stderr);
}

#[tokio::test]
async fn an_upload_that_is_under_way_is_finished_before_the_server_stops() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/m", serde_json::json!({})).await.expect(201);
    let content = files::noise(10 << 20, 1);
    let host = app.url().strip_prefix("http://").unwrap().to_owned();
    let mut upload = TcpStream::connect(&host).await.unwrap();
    let token = alice.token.as_ref().unwrap();
    let head = format!(
        "PUT /api/v1/models/alice/m/files/w.bin HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
        Connection: close\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    upload.write_all(head.as_bytes()).await.unwrap();
    let (most, rest) = content.split_at(9 << 20);
    upload.write_all(most).await.unwrap();
    let incoming = app.data_dir().join("store/tmp");
    until("the server has begun to write", async || incoming.exists()).await;
    let stopping = tokio::spawn(app.stop());
    until("the server takes no more requests", async || TcpStream::connect(&host).await.is_err()).await;
    upload.write_all(rest).await.unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stopping.await.unwrap();
}

#[tokio::test]
async fn the_end_of_an_answer_does_not_wait_for_the_client() {
    let app = TestApp::spawn().await;
    let mut times = Vec::new();
    for _ in 0..40 {
        let started = Instant::now();
        send(app.admin.request(Method::GET, "/models").header("Accept-Encoding", "gzip")).await.expect(200);
        times.push(started.elapsed());
    }
    times.sort();
    // A held back end costs a delayed acknowledgement, 40 ms, nearly every time. A busy machine leaves some answers be.
    assert!(times[5] < Duration::from_millis(38), "{times:?}");
    app.finish().await;
}
