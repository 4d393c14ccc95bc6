//! The license catalogue: what it says of a license, and licenses of one's own.

use serde_json::{Value, json};

use super::{family, has, license};
use crate::support::files;

fn own(key: &str) -> Value {
    let term = |value: Value| json!({ "value": value, "clause": "§1", "basis": "text" });
    json!({
        "key": key, "name": "Acme Internal License 1.0", "hf_ids": [], "license_name_aliases": ["acme-internal"],
        "spdx": null, "category": "ai-community", "text_read": "full",
        "terms": {
            "commercial_use": term(json!("no")), "redistribution": term(json!("allowed")),
            "derivatives": term(json!("allowed")), "relicense_derivative": term(json!("not_granted")),
            "license_copy": term(json!(true)), "adapters": term(json!("not defined")),
            "outputs": term(json!({ "mode": "silent" })),
        },
    })
}

#[tokio::test]
async fn a_license_says_in_plain_words_what_it_permits_asks_and_forbids() {
    let (app, _, bob) = family().await;
    let license = bob.get("/api/v1/licenses/cc-by-nc-4.0").await.expect(200).json();
    for part in ["permits", "asks", "forbids"] {
        let sentences = license["plain"][part].as_array().unwrap();
        assert!(!sentences.is_empty(), "{part}: {license}");
        assert!(sentences.iter().all(|s| s["sentence"].is_string() && s["term"].is_string()), "{part}");
        assert!(part == "permits" || sentences.iter().any(|s| s["clause"].is_string()), "{part}: {license}");
    }
    assert_eq!((&license["models"]["declared"], &license["models"]["inherited"]), (&json!(1), &json!(1)));
    assert_eq!(license["models"]["first_inherited"], json!(["bob/tune"]));
    app.finish().await;
}

#[tokio::test]
async fn an_administrator_adds_a_license_and_models_are_judged_by_it() {
    let (app, alice, bob) = family().await;
    let key = "LicenseRef-acme-internal";
    alice.publish("alice/acme", &files::card("license: other\nlicense_name: acme-internal")).await;
    bob.publish("bob/child", &files::card("license: mit\nbase_model: alice/acme")).await;
    app.drain().await;
    assert!(has(&license(&bob, "alice/acme").await, "OTHER_UNRESOLVED"));
    let place = format!("/api/v1/licenses/{key}");
    bob.put(&place, own(key)).await.expect(403);
    for (term, value, message) in [
        ("commercial_use", json!({ "value": "no", "basis": "text" }), "clause"),
        ("commercial_use", json!({ "clause": "§1", "basis": "text" }), "value"),
        ("commercial_use", json!({ "value": "no", "clause": "§1", "basis": "rumour" }), "basis"),
        ("no_such_term", json!({ "value": "no", "clause": "§1", "basis": "text" }), "no_such_term"),
    ] {
        let mut broken = own(key);
        broken["terms"][term] = value;
        app.admin.put(&place, broken).await.refused(400, "bad-license-entry", message);
    }
    assert_eq!(app.admin.get(&place).await.status.as_u16(), 404, "nothing half-stored");
    app.admin.put(&place, own(key)).await.expect(200);
    app.drain().await;
    assert!(!has(&license(&bob, "alice/acme").await, "OTHER_UNRESOLVED"));
    let child = license(&bob, "bob/child").await;
    assert!(child["expression"].as_str().unwrap().contains(key) || has(&child, "NC_DROPPED"), "{child}");
    app.admin.delete(&place).await.expect(204);
    app.drain().await;
    assert!(has(&license(&bob, "alice/acme").await, "OTHER_UNRESOLVED"));
    app.admin.delete(&place).await.expect(404);
    app.finish().await;
}
