//! What findings block: a push before it is published, a download until they are settled.

use reqwest::Method;
use serde_json::{Value, json};

use super::{family, license};
use crate::support::{Caller, files, send};

async fn policy(caller: &Caller, policy: Value) {
    let body = json!({ "namespace": "bob", "policy": policy });
    caller.put("/api/v1/policy", body).await.expect(200);
}

#[tokio::test]
async fn a_push_that_the_policy_refuses_publishes_nothing_and_says_why() {
    let (app, _, bob) = family().await;
    policy(&bob, json!({ "block_push": "violation" })).await;
    let before = bob.model("bob/tune").await["revision"].clone();
    let card = "---\nlicense: apache-2.0\nbase_model: alice/nc\n---\n# Again\n";
    let put = async |card: &'static str| {
        let place = "/api/v1/models/bob/tune/files/README.md?message=Again";
        send(bob.request(Method::PUT, place).body(card)).await
    };
    let refused = put(card).await;
    let text = refused.text();
    refused.refused(403, "license-policy", "NC_DROPPED");
    assert!(text.contains("cc-by-nc-4.0 §") && text.contains("to mend it"), "{text}");
    assert_eq!(bob.model("bob/tune").await["revision"], before, "nothing was published");
    assert_eq!(license(&bob, "bob/tune").await["declared"], "mit");

    // Another model's push that is in order passes, and so does this one's once it is.
    bob.publish("bob/fine", &files::card("license: mit")).await;
    let mended = "---\nlicense: cc-by-nc-4.0\nbase_model: alice/nc\n---\n# Mended\n";
    put(mended).await.succeed();
    app.drain().await;
    assert_ne!(license(&bob, "bob/tune").await["position"], "violation");
    app.finish().await;
}

#[tokio::test]
async fn a_model_is_served_again_when_its_finding_is_settled() {
    let (app, alice, bob) = family().await;
    let file = "/bob/tune/resolve/main/README.md";
    alice.get(file).await.expect(200);
    policy(&bob, json!({ "block_download": "violation" })).await;
    let held = alice.get(file).await.expect(403);
    assert!(held.header("x-error-message").contains("NC_DROPPED"), "{}", held.header("x-error-message"));
    let rest = alice.get("/api/v1/models/bob/tune/files/README.md").await;
    rest.refused(403, "license-held", "allows commercial use");
    bob.get(file).await.expect(200);
    let waiver = json!({
        "model": "bob/tune", "rule": "NC_DROPPED", "about": "cc-by-nc-4.0", "reason": "Alice agreed in writing.",
        "expires": "2029-01-31",
    });
    app.admin.post("/api/v1/waivers", waiver).await.expect(201);
    alice.get(file).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn the_pages_lead_from_a_refusal_to_its_reason() {
    let (app, _, bob) = family().await;
    policy(&bob, json!({ "block_download": "violation" })).await;
    let refused = app.anonymous().get("/api/v1/models/bob/tune/files/README.md").await.expect(403).text();
    assert!(refused.contains("/bob/tune/license"), "{refused}");
    let page = app.anonymous().get("/bob/tune/license").await.expect(200).text();
    assert!(page.contains("NC_DROPPED"), "the page names the finding");
    app.finish().await;
}
