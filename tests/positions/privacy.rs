//! Positions tell nobody of models that they may not read.

use serde_json::json;

use super::{family, finding, has, license};
use crate::support::files;

#[tokio::test]
async fn a_private_ancestor_shapes_the_position_of_those_only_who_may_read_it() {
    let (app, alice, bob) = family().await;
    bob.publish_private("bob/secret", &files::card("license: llama3.1")).await;
    bob.publish("bob/open", &files::card("license: mit\nbase_model: bob/secret")).await;
    app.drain().await;
    let seen = license(&bob, "bob/open").await;
    finding(&seen, "RELICENSED_WITHOUT_RIGHT");
    assert_eq!(seen["position"], "violation");
    for stranger in [&alice, &app.anonymous()] {
        let seen = license(stranger, "bob/open").await;
        assert!(!has(&seen, "RELICENSED_WITHOUT_RIGHT") && !seen.to_string().contains("secret"), "{seen}");
        assert_ne!(seen["position"], "violation", "the position must not tell of it");
        assert!(!seen["expression"].to_string().contains("llama"), "{seen}");
        let listed = stranger.get("/api/v1/models?position=violation").await.expect(200).text();
        assert!(!listed.contains("bob/open"));
        for format in ["json", "csv", "cyclonedx", "spdx", "sarif"] {
            let report =
                stranger.get(&format!("/api/v1/audit?scope=bob/open&format={format}")).await.expect(200).text();
            assert!(!report.contains("secret") && !report.contains("RELICENSED_WITHOUT_RIGHT"), "{format}: {report}");
        }
        let asked = stranger.get("/api/v1/models/bob/open/license?commercial=true").await.expect(200).text();
        assert!(!asked.contains("secret") && !asked.contains("llama"), "{asked}");
        let plan = json!({ "name": "x/y", "parents": [{ "model": "bob/open", "relation": "finetune" }] });
        let planned = stranger.post("/api/v1/license/what-if", plan).await.expect(200).text();
        assert!(!planned.contains("secret") && !planned.contains("llama"), "{planned}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_a_namespace_sells_and_accepts_is_no_answer_to_a_strangers_plan() {
    let (app, alice, bob) = family().await;
    let policy = json!({ "profile": { "commercial": true }, "deny": ["apache-2.0"] });
    bob.put("/api/v1/policy", json!({ "namespace": "bob", "policy": policy })).await.expect(200);
    alice.publish("alice/free", &files::card("license: apache-2.0")).await;
    app.drain().await;
    let plan = json!({
        "name": "bob/next", "license": "apache-2.0", "parents": [{ "model": "alice/free", "relation": "finetune" }],
    });
    let own = bob.post("/api/v1/license/what-if", plan.clone()).await.expect(200).json();
    assert!(has(&own, "POLICY_DENIED"), "{own}");
    let strangers = alice.post("/api/v1/license/what-if", plan).await.expect(200).json();
    assert!(!has(&strangers, "POLICY_DENIED"), "{strangers}");
    app.finish().await;
}
