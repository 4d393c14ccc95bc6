//! A namespace's policy: intended use, accepted licenses; whom a change hits.

use serde_json::{Value, json};

use super::{family, finding, has, license};
use crate::support::{Caller, files};

async fn put(caller: &Caller, policy: Value, dry_run: bool) -> Value {
    let body = json!({ "namespace": "bob", "policy": policy, "dry_run": dry_run });
    caller.put("/api/v1/policy", body).await.expect(200).json()
}

#[tokio::test]
async fn a_change_says_first_whom_it_would_hit() {
    let (app, _, bob) = family().await;
    bob.publish("bob/own", &files::card("license: apache-2.0")).await;
    app.drain().await;
    let denied = json!({ "deny": ["apache-2.0"] });
    let impact = put(&bob, denied.clone(), true).await;
    assert_eq!((&impact["models"], &impact["changed"]), (&json!(2), &json!(1)), "{impact}");
    let hit = impact["examples"].as_array().unwrap().iter().find(|hit| hit["model"] == "bob/own").unwrap();
    assert_eq!((&hit["from"], &hit["to"]), (&json!("clear"), &json!("violation")));
    assert_eq!(hit["because"], json!(["POLICY_DENIED@apache-2.0"]));
    assert_eq!(license(&bob, "bob/own").await["position"], "clear", "a dry run changes nothing");

    put(&bob, denied, false).await;
    app.drain().await;
    let own = license(&bob, "bob/own").await;
    assert_eq!(own["position"], "violation");
    finding(&own, "POLICY_DENIED");
    let kept = bob.get("/api/v1/policy?namespace=bob").await.expect(200).json();
    assert_eq!((&kept["policy"]["deny"], &kept["changed_by"]), (&json!(["apache-2.0"]), &json!("bob")));
    put(&bob, json!({}), false).await;
    app.drain().await;
    assert_eq!(license(&bob, "bob/own").await["position"], "clear");
    app.finish().await;
}

#[tokio::test]
async fn an_intended_use_is_judged() {
    let (app, alice, bob) = family().await;
    bob.publish("bob/keeps", &files::card("license: cc-by-nc-4.0\nbase_model: alice/nc")).await;
    app.drain().await;
    assert!(!has(&license(&bob, "bob/keeps").await, "NC_USE"));
    put(&bob, json!({ "profile": { "commercial": true } }), false).await;
    app.drain().await;
    let keeps = license(&bob, "bob/keeps").await;
    assert_eq!(finding(&keeps, "NC_USE")["severity"], "violation");
    assert!(!has(&license(&alice, "alice/nc").await, "NC_USE"), "another namespace's use is its own");
    let history = keeps["history"].as_array().unwrap();
    assert_eq!((&history[0]["position"], &history[0]["reason"]), (&json!("violation"), &json!("NC_USE@cc-by-nc-4.0")));
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_policy_is_refused() {
    let (app, alice, bob) = family().await;
    let body = |policy: Value| json!({ "namespace": "bob", "policy": policy });
    let refuse = async |policy: Value, message: &str| {
        let answer = bob.put("/api/v1/policy", body(policy)).await;
        assert_eq!(answer.status.as_u16(), 400, "{}", answer.text());
        assert!(answer.text().contains(message), "`{message}`: {}", answer.text());
    };
    refuse(json!({ "deny": ["no-such-license"] }), "`no-such-license` is not a license of the catalogue").await;
    refuse(json!({ "deny": ["mit"], "allow": ["mit"] }), "both allowed and denied").await;
    refuse(json!({ "block_push": "always" }), "always").await;
    refuse(json!({ "profil": {} }), "profil").await;
    refuse(json!({ "profile": { "mau": -1 } }), "-1").await;
    alice.put("/api/v1/policy", body(json!({}))).await.refused(403, "forbidden", "does not administer");
    alice.get("/api/v1/policy?namespace=bob").await.expect(403);
    app.finish().await;
}
