//! What people say of a verdict, and what a namespace does with a contradicted model.

use serde_json::{Value, json};

use super::{link, weights::Weights};
use crate::support::{Caller, TestApp};

/// `alice/base`, and `bob/impostor`, which names it and has nothing of it.
async fn impostor() -> (TestApp, Caller, Caller) {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let base = Weights::base();
    alice.publish("alice/base", &base.files("license: mit")).await;
    bob.publish("bob/impostor", &base.unrelated(5).files("base_model: alice/base")).await;
    app.drain().await;
    (app, alice, bob)
}

#[tokio::test]
async fn owners_dispute_and_administrators_decide() {
    let (app, _, bob) = impostor().await;
    let place = "/api/v1/models/bob/impostor/lineage/alice/base/decisions";
    let say = |action: &str| json!({ "action": action, "reason": "Retrained from scratch on its outputs." });
    app.user("carol").await.post(place, say("dispute")).await.refused(403, "forbidden", "only owners");
    bob.post(place, json!({ "action": "dispute", "reason": " " })).await.refused(400, "no-reason", "say why");
    bob.post(place, say("dispute")).await.expect(200);
    bob.post(place, say("overrule")).await.expect(403);
    assert_eq!(link(&bob, "bob/impostor", "alice/base").await["standing"], "dispute");
    app.admin.post(place, say("overrule")).await.expect(200);
    let found = link(&bob, "bob/impostor", "alice/base").await;
    assert_eq!((&found["standing"], &found["verdict"]), (&json!("overrule"), &json!("contradicted")));
    assert_eq!(found["decisions"].as_array().unwrap().len(), 2);
    assert_ne!(bob.model("bob/impostor").await["lineage"]["status"], "contradicted");
    app.admin.post(place, say("reopen")).await.expect(200);
    assert_eq!(bob.model("bob/impostor").await["lineage"]["status"], "contradicted");
    let events = bob.get("/api/v1/events?model=bob/impostor").await.expect(200).json();
    let kinds: Vec<&Value> = events["events"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert!(kinds.contains(&&json!("verdict decided")), "{events}");
    app.finish().await;
}

#[tokio::test]
async fn a_contradicted_model_is_held_back_where_the_policy_says_so() {
    let (app, alice, bob) = impostor().await;
    let policy = "/api/v1/namespaces/bob/lineage-policy";
    alice.put(policy, json!({ "on_contradiction": "quarantine" })).await.expect(403);
    bob.put(policy, json!({ "on_contradiction": "burn" })).await.refused(
        400,
        "unknown-policy",
        "note, review, quarantine",
    );
    let file = "/bob/impostor/resolve/main/config.json";
    alice.get(file).await.expect(200);
    bob.put(policy, json!({ "on_contradiction": "quarantine" })).await.expect(200);
    let refused = alice.get(file).await.expect(403);
    assert!(refused.header("x-error-message").contains("quarantine"), "{}", refused.text());
    let rest = alice.get("/api/v1/models/bob/impostor/files/config.json").await;
    rest.refused(403, "quarantined", "contradict");
    bob.get(file).await.expect(200);
    let decide = async |action: &str| {
        let body = json!({ "action": action, "reason": "Looked at." });
        app.admin.post("/api/v1/models/bob/impostor/lineage/alice/base/decisions", body).await.expect(200);
    };
    let waits = "nobody has decided";
    assert!(app.admin.get("/compliance").await.expect(200).text().contains(waits));
    decide("confirm").await;
    assert!(!app.admin.get("/compliance").await.expect(200).text().contains(waits));
    alice.get(file).await.expect(403);
    decide("overrule").await;
    alice.get(file).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn who_withdraws_a_false_claim_is_served_again() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let base = Weights::base();
    alice.publish("alice/base", &base.files("license: mit")).await;
    bob.put("/api/v1/namespaces/bob/lineage-policy", json!({ "on_contradiction": "quarantine" })).await.expect(200);
    bob.publish("bob/other", &base.unrelated(5).files("license: mit")).await;
    let claims = "/api/v1/models/bob/other/claims";
    bob.post(claims, json!({ "parent": "alice/base" })).await.expect(200);
    app.drain().await;
    let file = "/bob/other/resolve/main/config.json";
    alice.get(file).await.expect(403);
    // What a new revision says of something else changes nothing.
    bob.put_file("bob/other", "NOTES.md?message=Notes", "nothing").await.expect(200);
    app.drain().await;
    alice.get(file).await.expect(403);
    bob.post(claims, json!({ "parent": "alice/base", "withdraw": true })).await.expect(200);
    app.drain().await;
    alice.get(file).await.expect(200);
    app.finish().await;
}
