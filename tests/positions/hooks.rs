//! Webhooks: told of changed positions, signed, and never inside the operator's network unless allowed.

use herdbook::hooks;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{Setup, TestApp, files};

/// Takes one request and answers it; returns its head and body.
async fn take(listener: &TcpListener) -> (String, Vec<u8>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            stream
                .write_all(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            return (head.to_owned(), body.as_bytes().to_vec());
        }
    }
}

#[tokio::test]
async fn a_hook_is_told_of_a_changed_position_with_a_signature() {
    let environment = vec![("HERDBOOK_WEBHOOK_PRIVATE".to_owned(), "true".to_owned())];
    let app = TestApp::with(Setup { environment, ..Setup::default() }).await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let place = "/api/v1/namespaces/bob/webhooks";
    alice.post(place, json!({ "url": url })).await.expect(403);
    let hook = bob.post(place, json!({ "url": url })).await.expect(201).json();
    bob.publish("bob/mine", &files::card("license: mit")).await;
    let (head, body) = take(&listener).await;
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&told["event"], &told["model"]), (&json!("position.changed"), &json!("bob/mine")), "{told}");
    assert_eq!(told["position"], "clear");
    let signature = hooks::sign(hook["secret"].as_str().unwrap(), &body);
    assert!(head.to_lowercase().contains(&format!("x-herdbook-signature: {signature}")), "{head}");
    app.drain().await;
    let listed = bob.get(place).await.expect(200);
    assert!(!listed.text().contains(hook["secret"].as_str().unwrap()), "a secret is shown once");
    assert_eq!(listed.json()["items"][0]["last_status"], "delivered");
    bob.delete(&format!("{place}/{}", hook["id"])).await.expect(204);
    bob.delete(&format!("{place}/{}", hook["id"])).await.expect(404);
    app.finish().await;
}

#[tokio::test]
async fn addresses_inside_are_refused() {
    let app = TestApp::spawn().await;
    let bob = app.user("bob").await;
    for (url, message) in [
        ("http://127.0.0.1:9000/", "own network"),
        ("https://example.org:22/", "use port 80, 443, or one of 1024 and above"),
        ("http://[::1]/", "own network"),
        ("http://169.254.169.254/latest", "own network"),
        ("http://localhost/", "own network"),
        ("ftp://example.org/", "begins with https"),
        ("http://user:word@example.org/", "leave user and password out"),
        ("nonsense", "url"),
    ] {
        let answer = bob.post("/api/v1/namespaces/bob/webhooks", json!({ "url": url })).await;
        answer.refused(400, "bad-webhook", message);
    }
    app.finish().await;
}
