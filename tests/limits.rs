//! What requests may cost: each limit, asked for from outside.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{TestApp, send};

/// Every route that takes a body, as `routes.rs` lists them, with a letter for each part that varies.
fn routes_with_bodies() -> Vec<(Method, String)> {
    let lines = include_str!("../src/http/routes.rs").split(".route(");
    let mut routes = Vec::new();
    for line in lines {
        let method = if line.contains(" post().to(") {
            Method::POST
        } else if line.contains(" put().to(") {
            Method::PUT
        } else {
            continue;
        };
        let pattern = line.split('"').nth(1).unwrap();
        let mut path = String::new();
        for (at, part) in pattern.split(['{', '}']).enumerate() {
            path.push_str(if at % 2 == 0 { part } else { "1" });
        }
        routes.push((method, path));
    }
    routes
}

#[tokio::test]
async fn no_route_unpacks_a_body() {
    let app = TestApp::spawn().await;
    let routes = routes_with_bodies();
    assert!(routes.len() > 40, "{routes:?}");
    for (method, path) in routes {
        for encoding in ["br", "gzip", "zstd", "deflate", "identity, br"] {
            let request = app.admin.request(method.clone(), &path).header("Content-Encoding", encoding);
            let answer = send(request.body("x")).await.expect(415);
            assert_eq!(answer.header("content-type"), "application/problem+json", "{method} {path}");
            assert_eq!(answer.json()["code"], "packed-body");
            assert!(answer.json()["detail"].as_str().unwrap().contains("without `Content-Encoding`"));
        }
    }
    let plain = app.admin.request(Method::POST, "/api/validate-yaml").header("Content-Encoding", "identity");
    assert_ne!(send(plain.body("{}")).await.status, 415);
    app.finish().await;
}

#[tokio::test]
async fn a_batch_of_uploads_announces_no_more_than_can_be_stored() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/a", json!({})).await.expect(201);
    let batch = "/alice/a.git/info/lfs/objects/batch";
    let ask = |objects: Value| json!({ "operation": "upload", "transfers": ["multipart"], "objects": objects });
    let large = json!({ "oid": "ab".repeat(32), "size": 4_611_686_018_427_387_904_u64 });
    let small = json!({ "oid": "cd".repeat(32), "size": 5 });
    let answer = alice.post(batch, ask(json!([large, &small]))).await.expect(200).json();
    assert_eq!(answer["objects"][0]["error"]["code"], 422);
    assert_eq!(answer["objects"][0]["error"]["message"], "a file has at most 671088640000 bytes: split it");
    assert!(answer["objects"][0]["actions"].is_null());
    assert!(answer["objects"][1]["actions"]["upload"]["href"].is_string());
    let largest = json!({ "oid": "ab".repeat(32), "size": 671_088_640_000_u64 });
    let answer = alice.post(batch, ask(json!([&largest]))).await.expect(200).json();
    let links = answer["objects"][0]["actions"]["upload"]["header"].as_object().unwrap().len();
    assert_eq!(links, 10_000 + 1);
    let answer = alice.post(batch, ask(Value::Array(vec![largest; 11]))).await.expect(422).json();
    assert_eq!(answer["error"], "the objects of a batch have at most 100000 parts: send some in another one");
    let many = ask(Value::Array(vec![small; 1001]));
    let answer = alice.post(batch, many).await.expect(422).json();
    assert_eq!(answer["error"], "a batch names at most 1000 objects: send the others in another one");
    app.finish().await;
}

#[tokio::test]
async fn a_plain_upload_announces_no_more_than_can_be_stored() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/a", json!({})).await.expect(201);
    let request = alice.request(Method::PUT, "/api/v1/models/alice/a/files/x.bin");
    let answer = send(request.header("Content-Range", "bytes 0-0/671088640001").body("x")).await;
    answer.refused(413, "too-large", "a file has at most 671088640000 bytes: split it");
    app.finish().await;
}

#[tokio::test]
async fn exports_that_nobody_reads_keep_no_one_else_waiting() {
    let app = TestApp::spawn().await;
    let line = |number: usize| {
        let tags: Vec<String> = (0..20).map(|tag| format!("a-tag-of-some-length-{number}-{tag}")).collect();
        let parent = if number == 0 { json!([]) } else { json!(["herd/model-0"]) };
        json!({ "id": format!("herd/model-{number}"), "license": "llama2", "tags": tags, "base_models": parent })
            .to_string()
    };
    let lines: Vec<String> = (0..4000).map(line).collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("herd.jsonl");
    std::fs::write(&file, lines.join("\n") + "\n").unwrap();
    app.run(&["import", file.to_str().unwrap()]).await.expect(0);
    app.drain().await;
    let host = app.url().strip_prefix("http://").unwrap().to_owned();
    let mut readers = Vec::new();
    for format in ["cyclonedx", "sarif", "spdx"].into_iter().cycle().take(30) {
        let mut reader = TcpStream::connect(&host).await.unwrap();
        let ask = format!("GET /api/v1/audit?format={format} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        reader.write_all(ask.as_bytes()).await.unwrap();
        // The head has come: the export has begun.
        reader.readable().await.unwrap();
        readers.push(reader);
    }
    let mut db = app.database().await;
    for _ in 0..5 {
        app.anonymous().get("/models").await.expect(200);
        let held: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        assert_eq!(held, 0, "connections wait for readers in a transaction");
    }
    let whole = app.anonymous().get("/api/v1/audit?format=cyclonedx").await.expect(200);
    assert!(
        whole.body.len() > 4 << 20,
        "{} bytes fit into what the network holds: this shows nothing",
        whole.body.len()
    );
    drop(readers);
    app.finish().await;
}
