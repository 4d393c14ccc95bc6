//! What a namespace does with revisions that do not pass.

use serde_json::{Value, json};

use crate::support::{TestApp, files};

#[tokio::test]
async fn a_revision_that_fails_is_served_only_after_a_reasoned_release() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let place = "/api/v1/namespaces/bob/smoke-policy";
    assert_eq!(bob.get(place).await.expect(200).json()["on_failure"], "warn");
    bob.publish("bob/sound", &files::stories()).await;
    bob.publish("bob/broken", &files::impostor(7)).await;
    app.drain().await;
    let file = "/bob/broken/resolve/main/config.json";
    alice.get(file).await.expect(200);

    alice.put(place, json!({ "on_failure": "quarantine" })).await.expect(403);
    bob.put(place, json!({ "on_failure": "burn" })).await.refused(400, "unknown-policy", "off, warn, quarantine");
    bob.put(place, json!({ "on_failure": "quarantine" })).await.expect(200);
    alice.get("/bob/sound/resolve/main/config.json").await.expect(200);
    let refused = alice.get(file).await.expect(403);
    assert!(refused.header("x-error-message").contains("failed the smoke test"), "{}", refused.text());
    let rest = alice.get("/api/v1/models/bob/broken/files/config.json").await;
    rest.refused(403, "smoke-held", "/bob/broken/smoke-test");
    bob.get(file).await.expect(200);

    let release = "/api/v1/models/bob/broken/smoke-tests/release";
    bob.post(release, json!({ "reason": "It is meant to be random." })).await.expect(403);
    app.admin.post(release, json!({ "reason": " " })).await.refused(400, "no-reason", "say why");
    app.admin.post(release, json!({ "reason": "It is meant to be random." })).await.expect(200);
    app.admin.post(release, json!({ "reason": "Again." })).await.refused(409, "not-held", "not held back");
    alice.get(file).await.expect(200);
    let events = bob.get("/api/v1/events?model=bob/broken").await.expect(200).json();
    let kinds: Vec<&Value> = events["events"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert!(kinds.contains(&&json!("released from quarantine")), "{events}");

    // A new revision is held again, until it has been tested.
    bob.publish("bob/broken", &files::impostor(8)).await;
    alice.get(file).await.expect(403);
    app.drain().await;
    alice.get(file).await.expect(403);
    bob.put(place, json!({ "on_failure": "off" })).await.expect(200);
    alice.get(file).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn files_that_are_held_back_are_not_given_by_their_digest() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let broken = files::impostor(9);
    bob.publish("bob/broken", &broken).await;
    app.drain().await;
    alice.put("/api/v1/models/alice/own", json!({})).await.expect(201);
    let (path, content) = broken.iter().find(|(path, _)| path.ends_with(".safetensors")).unwrap();
    let digest = herdbook::digest::Digest::of(content).to_hex();
    let known = async || {
        let upload = alice.post("/api/v1/models/alice/own/uploads", json!({})).await.expect(201).json();
        let place = format!("/api/v1/models/alice/own/uploads/{}/known", upload["upload"].as_str().unwrap());
        let offer = json!({ "files": [{ "path": path, "size": content.len(), "digest": digest }] });
        alice.post(&place, offer).await.expect(200).json()["known"].clone()
    };
    assert_eq!(known().await, json!([path]), "what is served may be taken");
    bob.put("/api/v1/namespaces/bob/smoke-policy", json!({ "on_failure": "quarantine" })).await.expect(200);
    assert_eq!(known().await, json!([]));
    app.finish().await;
}
