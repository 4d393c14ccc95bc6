//! Names of models and paths of files: what is taken, and what is refused with a reason.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Caller, TestApp, files};

/// Sends a request whose path no client library would send, and returns the answer.
async fn raw(caller: &Caller, method: &str, path: &str, body: &str) -> String {
    let host = caller.url.strip_prefix("http://").unwrap();
    let token = caller.token.as_ref().unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
        Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut connection = TcpStream::connect(host).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn paths_that_leave_a_model_are_refused() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/m", json!({})).await.expect(201);
    let long = format!("{}/x", "a".repeat(256));
    let very_long = vec!["a".repeat(200); 6].join("/");
    for path in [
        "../x",
        "a/../../x",
        "..",
        "./x",
        "a//x",
        "a/",
        "%2e%2e/x",
        "a/%2e%2e/x",
        "..%2fx",
        "a%5cb",
        "a%00b",
        "a%0ab",
        ".git/config",
        "%2Fetc/passwd",
        &long,
        &very_long,
    ] {
        for method in ["PUT", "GET", "HEAD"] {
            let answer = raw(&alice, method, &format!("/api/v1/models/alice/m/files/{path}"), "x").await;
            assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
            assert!(method != "PUT" || answer.contains("is not a valid path"), "{path}: {answer}");
        }
    }
    let line = json!({ "key": "file", "value": { "path": "../x", "content": "eA==", "encoding": "base64" } });
    let commit = format!("{}\n{line}\n", json!({ "key": "header", "value": { "summary": "out" } }));
    let answer = raw(&alice, "POST", "/api/models/alice/m/commit/main", &commit).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("is not a valid path"), "{answer}");
    let model = alice.model("alice/m").await;
    assert_eq!(model["files"].as_array().unwrap().len(), 1, "only .gitattributes: {}", model["files"]);
    app.finish().await;
}

#[tokio::test]
async fn names_that_are_no_names_are_refused() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let long = "m".repeat(97);
    for name in ["-m", "m-", "m--m", "m..m", ".m", "m.", "a b", "mö", "m%2Fn", &long] {
        let answer = alice.put(&format!("/api/v1/models/alice/{name}"), json!({})).await;
        answer.refused(400, "bad-name", "is not a valid name");
        let hub = alice.post("/api/repos/create", json!({ "name": name, "organization": "alice" })).await;
        assert!([400, 403].contains(&hub.status.as_u16()), "{name}: {} {}", hub.status, hub.text());
    }
    alice.put(&format!("/api/v1/models/alice/{}", "m".repeat(96)), json!({})).await.expect(201);
    alice.put("/api/v1/models/bob/m", json!({})).await.refused(
        403,
        "forbidden",
        "may not write to the namespace `bob`",
    );
    alice.put("/api/v1/models/alice/_m.9-x", json!({})).await.expect(201);
    app.finish().await;
}

#[tokio::test]
async fn names_keep_their_case_and_are_compared_without_it() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/MyModel", &files::card("license: mit")).await;
    alice.put("/api/v1/models/ALICE/mymodel", json!({})).await.expect(200);
    assert_eq!(alice.model("alice/mymodel").await["id"], "alice/MyModel");
    let moved = alice.get("/api/models/alice/mymodel?x=1").await.expect(307);
    assert_eq!(moved.header("location"), "/api/models/alice/MyModel?x=1");
    app.finish().await;
}

#[tokio::test]
async fn any_decent_path_is_kept_as_it_is() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let paths = ["größe/模型 1.bin", "a+b&c=d?e#f%20.txt", "emoji 🦙.md", "...", "x", "deep/er/and/deeper/still", "-"];
    let content: Vec<_> = paths.iter().map(|path| files::file(path, format!("in {path}"))).collect();
    alice.publish("alice/m", &content).await;
    let model = alice.model("alice/m").await;
    let mut listed: Vec<&str> =
        model["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    listed.retain(|path| *path != ".gitattributes");
    let mut expected = paths.to_vec();
    expected.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, expected);
    for (path, content) in &content {
        let url = crate::support::file_url("alice/m", path);
        assert_eq!(alice.get(&url).await.expect(200).body, *content, "{path}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_path_cannot_be_a_file_and_a_folder() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/m", &vec![files::file("a", "file")]).await;
    alice.put_file("alice/m", "a/b", "below").await.refused(400, "path-conflict", "a");
    app.finish().await;
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/m", &vec![files::file("empty", "")]).await;
    let answer = alice.get("/api/v1/models/alice/m/files/empty").await.expect(200);
    assert_eq!((answer.body.len(), answer.header("content-length")), (0, "0"));
    app.finish().await;
}

#[tokio::test]
async fn a_commit_id_always_means_that_commit() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let first = alice.publish("alice/m", &files::card("license: mit")).await;
    let second = alice.publish("alice/m", &files::card("license: apache-2.0")).await;
    let base = "/api/models/alice/m";
    alice.post(&format!("{base}/branch/{first}"), json!({ "startingPoint": "main" })).await.expect(400);
    alice.post(&format!("{base}/tag/main"), json!({ "tag": first.to_uppercase() })).await.expect(400);
    alice.post(&format!("{base}/super-squash/{first}"), json!({})).await.expect(400);
    alice.post(&format!("{base}/branch/other"), json!({ "startingPoint": "main" })).await.expect(200);
    // One that an older version let in.
    app.sql(
        "insert into refs (model_id, kind, name, revision_id)
        select f.model_id, 'branch', r.commit, f.revision_id from refs f
        join revisions r on r.model_id = f.model_id and r.id <> f.revision_id where f.name = 'main'",
    )
    .await;
    let answer = alice.get(&format!("/alice/m/resolve/{first}/README.md")).await.expect(200);
    assert_eq!(answer.header("x-repo-commit"), first);
    assert_ne!(first, second);
    app.finish().await;
}
