//! License positions: what is declared, what is inherited along the lineage, what the audit says and with which exit code.

use serde_json::{Value, json};

use crate::support::{Caller, TestApp, files};

/// A family whose members say less than they inherited.
async fn herd(app: &TestApp) -> Caller {
    let alice = app.user("alice").await;
    let bob = app.user("bob").await;
    alice.publish("alice/nc", &files::card("license: cc-by-nc-4.0")).await;
    alice.publish("alice/free", &files::card("license: apache-2.0")).await;
    bob.publish("bob/tune", &files::card("license: mit\nbase_model: alice/nc")).await;
    bob.publish("bob/leaf", &files::card("license: cc-by-nc-4.0\nbase_model: bob/tune")).await;
    bob.publish("bob/fine", &files::card("license: apache-2.0\nbase_model: alice/free")).await;
    bob.publish("bob/silent", &files::card("base_model: alice/free")).await;
    bob.publish("bob/unknown", &files::card("language: en")).await;
    app.drain().await;
    bob
}

async fn license(caller: &Caller, model: &str) -> Value {
    caller.get(&format!("/api/v1/models/{model}/license")).await.expect(200).json()
}

fn finding<'a>(license: &'a Value, rule: &str) -> &'a Value {
    let findings = license["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["rule"] == rule).unwrap_or_else(|| panic!("no {rule} in {license}"))
}

#[tokio::test]
async fn what_an_ancestor_forbids_is_found_with_clause_and_path() {
    let app = TestApp::spawn().await;
    let bob = herd(&app).await;
    let tune = license(&bob, "bob/tune").await;
    assert_eq!((&tune["declared"], &tune["position"]), (&json!("mit"), &json!("violation")));
    let dropped = finding(&tune, "NC_DROPPED");
    assert_eq!(dropped["severity"], "violation");
    assert_eq!(dropped["path"], json!(["bob/tune", "alice/nc"]));
    assert_eq!(dropped["license"], "cc-by-nc-4.0");
    assert!(dropped["section"].as_str().is_some_and(|section| section.contains('§')), "{dropped}");
    assert!(dropped["message"].as_str().unwrap().contains("`mit` allows commercial use"), "{dropped}");
    assert!(dropped["remedy"].as_str().unwrap().contains("cc-by-nc-4.0"), "{dropped}");
    let duty = tune["obligations"].as_array().unwrap().iter().find(|duty| duty["license"] == "cc-by-nc-4.0").unwrap();
    assert_eq!(duty["via"], json!(["bob/tune", "alice/nc"]));
    assert!(tune["disclaimer"].as_str().unwrap().contains("not legal advice"));

    assert!(license(&bob, "bob/leaf").await["findings"].as_array().unwrap().iter().all(|f| f["rule"] != "NC_DROPPED"));
    assert_eq!(license(&bob, "bob/fine").await["declared"], "apache-2.0");
    assert_eq!(finding(&license(&bob, "bob/silent").await, "LICENSE_UNDECLARED")["severity"], "review");
    assert_eq!(license(&bob, "bob/unknown").await["position"], "unknown", "no license is not a pass");
    app.finish().await;
}

#[tokio::test]
async fn a_change_above_is_judged_below() {
    let app = TestApp::spawn().await;
    let bob = herd(&app).await;
    let alice = app.token("alice", "write").await;
    alice.publish("alice/nc", &files::card("license: mit")).await;
    app.drain().await;
    let position = license(&bob, "bob/tune").await["position"].clone();
    assert_ne!(position, "violation");
    alice.publish("alice/free", &files::card("license: cc-by-nc-4.0")).await;
    app.drain().await;
    finding(&license(&bob, "bob/fine").await, "NC_DROPPED");
    app.finish().await;
}

#[tokio::test]
async fn a_private_model_has_its_duties_asleep() {
    let app = TestApp::spawn().await;
    let bob = herd(&app).await;
    bob.put("/api/v1/models/bob/tune", json!({ "visibility": "private" })).await.expect(200);
    app.drain().await;
    let dormant = license(&bob, "bob/tune").await;
    let notice = finding(&dormant, "PRIVATE_DORMANT");
    assert!(notice["message"].as_str().unwrap().contains("would wake if this private model were published"));
    assert_eq!(dormant["position"], "notice");
    bob.put("/api/v1/models/bob/tune", json!({ "visibility": "public" })).await.expect(200);
    app.drain().await;
    assert_eq!(license(&bob, "bob/tune").await["position"], "violation");
    app.finish().await;
}

#[tokio::test]
async fn labels_are_read_as_people_write_them() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (model, card, declared, position) in [
        ("alice/british", "licence: apache-2.0", json!("apache-2.0"), "clear"),
        ("alice/shouting", "license: Apache-2.0", json!("Apache-2.0"), "clear"),
        ("alice/odd", "license: my-own-terms", json!("my-own-terms"), "review"),
    ] {
        alice.publish(model, &files::card(card)).await;
        app.drain().await;
        let license = license(&alice, model).await;
        assert_eq!((&license["declared"], &license["position"]), (&declared, &json!(position)), "{model}: {license}");
    }
    assert!(license(&alice, "alice/odd").await["expression"].as_str().unwrap().starts_with("LicenseRef-"));
    app.finish().await;
}

#[tokio::test]
async fn the_audit_of_everything_counts_and_lists() {
    let app = TestApp::spawn().await;
    let bob = herd(&app).await;
    let report = bob.get("/api/v1/audit").await.expect(200).json();
    assert_eq!(report["positions"]["violation"], 1, "{report}");
    assert_eq!(report["positions"]["unknown"], 1, "{report}");
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["model"] == "bob/tune" && finding["rule"] == "NC_DROPPED"));
    let only = bob.get("/api/v1/audit?severity=violation&scope=BOB").await.expect(200).json();
    assert!(only["findings"].as_array().unwrap().iter().all(|finding| finding["severity"] == "violation"));
    assert_eq!(bob.get("/api/v1/audit?scope=alice").await.expect(200).json()["findings"], json!([]));
    let csv = bob.get("/api/v1/audit?format=csv").await.expect(200);
    assert!(csv.header("content-type").starts_with("text/csv"));
    assert_eq!(csv.text().lines().count(), findings.len() + 1);
    bob.get("/api/v1/audit?format=pdf").await.refused(400, "bad-request", "`pdf` is not a format");
    bob.get("/api/v1/audit?scope=bob/nobody").await.refused(404, "model-not-found", "bob/nobody");
    app.finish().await;
}

#[tokio::test]
async fn the_audit_command_answers_with_its_exit_code() {
    let app = TestApp::spawn().await;
    let bob = herd(&app).await;
    for (arguments, code) in [
        (vec!["bob/tune"], 1),
        (vec!["bob/tune", "--fail-on", "never"], 0),
        (vec!["bob/fine"], 0),
        (vec!["bob/silent"], 0),
        (vec!["bob/silent", "--fail-on", "review"], 1),
        (vec!["bob", "--format", "csv"], 1),
        (vec!["alice", "--fail-on", "review"], 0),
        (vec!["--all", "--json"], 1),
        (vec!["bob/nobody"], 2),
        (vec![], 2),
    ] {
        let output = app.run_as(&bob, &[vec!["audit"], arguments.clone()].concat()).await;
        assert_eq!(output.code, Some(code), "{arguments:?}: {output:?}");
    }
    let told = app.run_as(&bob, &["audit", "bob/tune"]).await.stdout;
    assert!(told.contains("path    bob/tune → alice/nc") && told.contains("clause  cc-by-nc-4.0 §"), "{told}");
    app.finish().await;
}
