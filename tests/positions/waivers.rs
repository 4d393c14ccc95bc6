//! Accepted findings: with reason, owner, expiry and exact scope; by those who may.

use serde_json::{Value, json};

use super::{family, finding, license};
use crate::support::{files, until};

fn request() -> Value {
    json!({
        "model": "bob/tune", "rule": "NC_DROPPED", "about": "cc-by-nc-4.0", "reason": "Alice agreed in writing.",
        "owner": "legal@example.org", "expires": "2029-01-31",
    })
}

#[tokio::test]
async fn an_accepted_finding_stays_and_no_longer_decides() {
    let (app, _, bob) = family().await;
    bob.post("/api/v1/waivers", request()).await.refused(403, "forbidden", "waiver-rights");
    let right = json!({ "user": "bob", "granted": true });
    bob.put("/api/v1/namespaces/bob/waiver-rights", right).await.expect(200);
    let waiver = bob.post("/api/v1/waivers", request()).await.expect(201).json();
    assert_eq!(waiver["expires"], "2029-01-31T23:59:59Z");
    let tune = license(&bob, "bob/tune").await;
    let waived = finding(&tune, "NC_DROPPED");
    assert_eq!((&waived["severity"], &waived["waiver"]["owner"]), (&json!("violation"), &json!("legal@example.org")));
    assert_ne!(tune["position"], "violation");
    let audit = bob.get("/api/v1/audit/counts?scope=bob").await.expect(200).json();
    assert_eq!(audit["findings"]["violation"], Value::Null, "{audit}");
    let listed = bob.get("/api/v1/waivers?namespace=bob").await.expect(200).json();
    assert_eq!((&listed["items"][0]["findings"], &listed["items"][0]["created_by"]), (&json!(1), &json!("bob")));
    let csv = bob.get("/api/v1/audit?scope=bob/tune&format=csv").await.expect(200).text();
    assert!(csv.contains("legal@example.org") && csv.contains("Alice agreed in writing."), "{csv}");

    bob.delete(&format!("/api/v1/waivers/{}", waiver["id"])).await.expect(204);
    assert_eq!(license(&bob, "bob/tune").await["position"], "violation");
    let events = bob.get("/api/v1/events?model=bob/tune").await.expect(200).json();
    let kinds: Vec<&str> = events["events"].as_array().unwrap().iter().filter_map(|e| e["kind"].as_str()).collect();
    assert!(kinds.contains(&"finding waived") && kinds.contains(&"waiver revoked"), "{kinds:?}");
    app.finish().await;
}

#[tokio::test]
async fn exports_list_what_the_page_was_narrowed_to() {
    let (app, _, bob) = family().await;
    app.admin.post("/api/v1/waivers", request()).await.expect(201);
    let csv = async |filter: &str| {
        let place = format!("/api/v1/audit?scope=bob&format=csv{filter}");
        let text = bob.get(&place).await.expect(200).text();
        text.lines().skip(1).map(|line| line.split(',').nth(3).unwrap().to_owned()).collect::<Vec<String>>()
    };
    let all = csv("").await;
    assert!(all.len() > 1 && all.contains(&"NC_DROPPED".to_owned()), "{all:?}");
    assert_eq!(csv("&waived=accepted").await, ["NC_DROPPED"]);
    let open = csv("&waived=open").await;
    assert_eq!((open.len(), open.contains(&"NC_DROPPED".to_owned())), (all.len() - 1, false));
    assert_eq!(csv("&rule=NC_DROPPED&waived=open").await, [""; 0]);
    assert_eq!(csv("&license=llama3.1").await, [""; 0]);
    let by_license = csv("&license=cc-by-nc-4.0").await;
    assert!(by_license.contains(&"NC_DROPPED".to_owned()), "{by_license:?}");
    bob.get("/api/v1/audit?waived=perhaps").await.refused(400, "unknown-state", "open or accepted");

    let found = bob.get("/api/v1/audit?scope=bob&waived=accepted").await.expect(200).json();
    assert_eq!(found["findings"].as_array().unwrap().len(), 1, "{found}");
    let counts = bob.get("/api/v1/audit/counts?scope=bob&waived=accepted").await.expect(200).json();
    assert_eq!(counts["findings"], json!({ "violation": 1 }));
    let models = |filter: &str| format!("/api/v1/audit?scope=bob&format=cyclonedx{filter}");
    let whole = bob.get(&models("&waived=accepted")).await.expect(200).json();
    assert_eq!(whole["components"].as_array().unwrap().len(), 1, "{whole}");
    let none = bob.get(&models("&license=llama3.1")).await.expect(200).json();
    assert_eq!(none["components"], json!([]));
    let page = bob.get("/compliance?namespace=bob&license=cc-by-nc-4.0&waived=accepted").await.expect(200).text();
    let export = "scope=bob&amp;license=cc-by-nc-4.0&amp;waived=accepted&amp;format=csv";
    assert!(page.contains(export) || page.contains(&export.replace("&amp;", "&#38;")), "{page}");
    app.finish().await;
}

#[tokio::test]
async fn an_expired_waiver_returns_its_finding() {
    let (app, _, bob) = family().await;
    app.admin.post("/api/v1/waivers", request()).await.expect(201);
    assert_ne!(license(&bob, "bob/tune").await["position"], "violation");
    app.sql("update waivers set expires_at = now() - interval '1 second'").await;
    let shown = license(&bob, "bob/tune").await;
    assert_eq!(finding(&shown, "NC_DROPPED")["waiver"], Value::Null, "what has ended is not shown as accepted");
    app.sql("update jobs set run_at = now() where kind = 'end_waiver'").await;
    until("the position is judged again", async || license(&bob, "bob/tune").await["position"] == "violation").await;
    app.finish().await;
}

#[tokio::test]
async fn a_waiver_ends_when_the_path_changes() {
    let (app, alice, bob) = family().await;
    app.admin.post("/api/v1/waivers", request()).await.expect(201);
    alice.publish("alice/between", &files::card("license: cc-by-nc-4.0\nbase_model: alice/nc")).await;
    bob.publish("bob/tune", &files::card("license: mit\nbase_model: alice/between")).await;
    app.drain().await;
    assert_eq!(license(&bob, "bob/tune").await["position"], "violation", "it was granted for another path");
    let mut any = request();
    any["any_path"] = json!(true);
    app.admin.post("/api/v1/waivers", any).await.expect(201);
    assert_ne!(license(&bob, "bob/tune").await["position"], "violation");
    app.finish().await;
}

#[tokio::test]
async fn a_waiver_for_a_namespace_covers_all_its_models() {
    let (app, _, bob) = family().await;
    bob.publish("bob/second", &files::card("license: mit\nbase_model: alice/nc")).await;
    app.drain().await;
    let mut wide = request();
    wide.as_object_mut().unwrap().remove("model");
    wide["namespace"] = json!("bob");
    app.admin.post("/api/v1/waivers", wide).await.expect(201);
    for model in ["bob/tune", "bob/second"] {
        assert_ne!(license(&bob, model).await["position"], "violation", "{model}");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_incomplete_waiver_is_refused_and_nothing_is_stored() {
    let (app, alice, bob) = family().await;
    for (field, value, message) in [
        ("expires", Value::Null, "expires"),
        ("expires", json!(""), "say until when"),
        ("expires", json!("2001-01-01"), "is past"),
        ("expires", json!("2099-01-01"), "five years at most"),
        ("reason", json!("  "), "say why"),
        ("rule", json!("NO_SUCH_RULE"), "no rule"),
        ("about", json!(""), "about"),
    ] {
        let mut body = request();
        body[field] = value;
        let answer = app.admin.post("/api/v1/waivers", body).await;
        assert_eq!(answer.status.as_u16(), 400, "{field}: {}", answer.text());
        assert!(answer.text().contains(message), "{field}: {}", answer.text());
    }
    let mut missing = request();
    missing.as_object_mut().unwrap().remove("expires");
    app.admin.post("/api/v1/waivers", missing).await.refused(400, "bad-request", "say until when");
    let mut other = request();
    other["about"] = json!("mit");
    app.admin.post("/api/v1/waivers", other).await.refused(404, "not-found", "has no finding");
    alice.post("/api/v1/waivers", request()).await.expect(403);
    assert_eq!(bob.get("/api/v1/waivers").await.expect(200).json()["items"], json!([]));
    app.finish().await;
}
