//! Uploads with nothing but plain HTTP: interrupted, resumed, refused.

use herdbook::digest::Digest;
use reqwest::Method;
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{Answer, Caller, TestApp, file_url, files, send, until};

const SIZE: usize = 3_000_000;

/// Announces a whole file, sends half of it, and hangs up.
async fn send_half(caller: &Caller, path: &str, content: &[u8]) {
    let host = caller.url.strip_prefix("http://").unwrap();
    let token = caller.token.as_ref().unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    let mut connection = TcpStream::connect(host).await.unwrap();
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&content[..content.len() / 2]).await.unwrap();
    connection.shutdown().await.unwrap();
}

async fn put_range(caller: &Caller, path: &str, content: &[u8], first: usize, last: usize) -> Answer {
    let range = format!("bytes {first}-{}/{}", last - 1, content.len());
    let request = caller.request(Method::PUT, path).header("Content-Range", range);
    send(request.body(content[first..last].to_vec())).await
}

/// How many bytes the server says to hold.
async fn offset(caller: &Caller, path: &str) -> Option<usize> {
    let answer = caller.head(path).await;
    (answer.status == 200).then(|| answer.header("upload-offset").parse().unwrap())
}

#[tokio::test]
async fn an_upload_that_broke_off_goes_on_where_it_stopped() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/m", json!({})).await.expect(201);
    let (path, content) = (file_url("alice/m", "w.bin"), files::noise(SIZE, 3));
    assert_eq!(offset(&alice, &path).await, None);
    send_half(&alice, &path, &content).await;
    until("the server knows of the half", async || offset(&alice, &path).await == Some(SIZE / 2)).await;
    alice.get(&path).await.refused(404, "file-not-found", "w.bin");

    let wrong = put_range(&alice, &path, &content, SIZE / 2 + 1, SIZE).await;
    assert_eq!(wrong.header("upload-offset"), (SIZE / 2).to_string());
    wrong.refused(409, "wrong-offset", "continue from there");

    let done = put_range(&alice, &path, &content, SIZE / 2, SIZE).await.expect(200).json();
    assert_eq!((&done["size"], &done["digest"]), (&json!(SIZE), &json!(Digest::of(&content))));
    assert!(alice.get(&path).await.expect(200).body == content);
    assert_eq!(offset(&alice, &path).await, None, "nothing is held any more");
    app.finish().await;
}

#[tokio::test]
async fn a_file_may_come_in_many_pieces_and_survives_a_killed_server() {
    let mut app = TestApp::spawn().await;
    let mut alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/m", json!({})).await.expect(201);
    let (path, content) = (file_url("alice/m", "w.bin"), files::noise(SIZE, 4));
    for first in [0, 1_000_000] {
        let answer = put_range(&alice, &path, &content, first, first + 1_000_000).await.expect(202);
        assert_eq!(answer.header("upload-offset"), (first + 1_000_000).to_string());
    }
    app.kill_and_restart().await;
    alice.url = app.url().to_owned();
    assert_eq!(offset(&alice, &path).await, Some(2_000_000));
    put_range(&alice, &path, &content, 2_000_000, SIZE).await.expect(200);
    assert!(alice.get(&path).await.expect(200).body == content);
    app.finish().await;
}

#[tokio::test]
async fn a_first_piece_begins_anew() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/m", json!({})).await.expect(201);
    let path = file_url("alice/m", "w.bin");
    put_range(&alice, &path, &files::noise(SIZE, 5), 0, 1_000_000).await.expect(202);
    alice.put_file("alice/m", "w.bin", "short").await.expect(200);
    assert_eq!(alice.get(&path).await.expect(200).text(), "short");
    assert_eq!(offset(&alice, &path).await, None);
    app.finish().await;
}

#[tokio::test]
async fn content_that_is_not_what_was_announced_is_not_kept() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/m", json!({})).await.expect(201);
    let path = file_url("alice/m", "w.bin");
    let announced = Digest::of(b"something else").to_hex();
    let request = || alice.request(Method::PUT, &path).header("X-Content-SHA256", announced.clone());
    send(request().body("this")).await.refused(422, "digest-mismatch", "nothing was kept");
    alice.get(&path).await.refused(404, "file-not-found", "w.bin");

    let content = files::noise(2000, 6);
    put_range(&alice, &path, &content, 0, 1000).await.expect(202);
    let last = request().header("Content-Range", "bytes 1000-1999/2000").body(content[1000..].to_vec());
    send(last).await.refused(422, "digest-mismatch", "nothing was kept");
    assert_eq!(offset(&alice, &path).await, None);

    let malformed = alice.request(Method::PUT, &path).header("X-Content-SHA256", "abc").body("x");
    send(malformed).await.refused(400, "bad-request", "64 hexadecimal digits");
    for range in ["bytes 0-9/5", "bytes 5-2/10", "items 0-1/2", "bytes 0-0/2, 1-1/2", "bytes 0-18446744073709551615/2"]
    {
        let answer = send(alice.request(Method::PUT, &path).header("Content-Range", range).body("x")).await;
        answer.refused(400, "bad-request", "Content-Range");
    }
    let report = app.fsck().await;
    assert_eq!(report["unreferenced"], 0);
    app.finish().await;
}

#[tokio::test]
async fn nobody_takes_content_that_they_cannot_read() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let secret = files::noise(5000, 7);
    alice.publish_private("alice/closed", &vec![files::file("w.bin", secret.clone())]).await;
    bob.put("/api/v1/models/bob/m", json!({})).await.expect(201);
    let upload = bob.post("/api/v1/models/bob/m/uploads", json!({})).await.expect(201).json();
    let upload = upload["upload"].as_str().unwrap();
    let offer = json!({ "files": [{ "path": "w.bin", "size": 5000, "digest": Digest::of(&secret).to_hex() }] });
    let known = format!("/api/v1/models/bob/m/uploads/{upload}/known");
    assert_eq!(bob.post(&known, offer).await.expect(200).json(), json!({ "known": [] }));
    let line = json!({ "key": "lfsFile", "value": { "path": "w.bin", "algo": "sha256",
        "oid": Digest::of(&secret).to_hex(), "size": 5000 } });
    let commit = format!("{}\n{line}\n", json!({ "key": "header", "value": { "summary": "take it" } }));
    let request = bob.request(Method::POST, "/api/models/bob/m/commit/main").body(commit);
    let answer = send(request).await.expect(400);
    assert!(answer.text().contains("w.bin"), "{}", answer.text());
    app.finish().await;
}
