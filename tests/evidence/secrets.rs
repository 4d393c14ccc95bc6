//! A private relative is no candidate, no alternative and no count for those who may not read it.

use super::{parents, weights::Weights};
use crate::support::TestApp;

#[tokio::test]
async fn a_private_parent_is_found_for_its_owner_alone() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let base = Weights::base();
    let secret = base.tuned(1);
    alice.publish("alice/base", &base.files("license: mit")).await;
    // A family in which the base is known by its many children.
    for seed in 11..14 {
        alice.publish(&format!("alice/other-{seed}"), &base.tuned(seed).files("license: mit")).await;
    }
    alice.publish_private("alice/hidden-quokka", &secret.files("license: mit")).await;
    alice.publish("alice/open", &secret.tuned(2).files("license: mit")).await;
    bob.publish("bob/own", &secret.tuned(3).files("license: mit")).await;
    app.drain().await;
    let detected = |parent: &str| format!("{parent} finetune detected detected");
    assert_eq!(parents(&alice, "alice/hidden-quokka").await, [detected("alice/base")]);
    assert_eq!(parents(&alice, "alice/open").await, [detected("alice/hidden-quokka")]);
    for (who, model) in [(&bob, "alice/open"), (&bob, "bob/own"), (&app.anonymous(), "alice/open")] {
        // What both have in common, no public model can have handed down: that much their weights tell.
        assert_eq!(parents(who, model).await, Vec::<String>::new(), "{model}");
        let print = who.get(&format!("/api/v1/models/{model}/fingerprint")).await.expect(200).json();
        assert_eq!(print["judgment"]["kind"], "common-origin", "{print}");
        for place in [
            format!("/api/v1/models/{model}"),
            format!("/api/v1/models/{model}/fingerprint"),
            format!("/api/v1/models/{model}/lineage"),
        ] {
            let answer = who.get(&place).await.expect(200).text();
            assert!(!answer.contains("quokka"), "{place}: {answer}");
        }
    }
    let asked = |who: &crate::support::Caller| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.safetensors"), secret.to_bytes()).unwrap();
        let (app, who) = (&app, who.clone());
        async move { app.run_as(&who, &["identify", folder.path().to_str().unwrap(), "--json"]).await.expect(0).stdout }
    };
    assert!(!asked(&bob).await.contains("quokka"));
    assert!(asked(&alice).await.contains("alice/hidden-quokka"));
    app.finish().await;
}

#[tokio::test]
async fn verdicts_name_a_model_as_it_is_called_now() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    alice.publish("alice/base", &base.files("license: mit")).await;
    alice.publish("alice/child", &base.tuned(1).files("base_model: alice/base")).await;
    app.drain().await;
    let body = serde_json::json!({ "fromRepo": "alice/base", "toRepo": "alice/root", "type": "model" });
    alice.post("/api/repos/move", body).await.expect(200);
    let found = super::link(&alice, "alice/child", "alice/root").await;
    assert!(found["sentence"].as_str().unwrap().contains("`alice/root` is confirmed"), "{found}");
    app.finish().await;
}

#[tokio::test]
async fn a_model_that_becomes_private_is_forgotten_by_the_verdicts_of_others() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let base = Weights::base();
    let middle = base.tuned(1);
    alice.publish("alice/base", &base.files("license: mit")).await;
    for seed in 11..14 {
        alice.publish(&format!("alice/other-{seed}"), &base.tuned(seed).files("license: mit")).await;
    }
    alice.publish("alice/middle", &middle.files("license: mit")).await;
    bob.publish("bob/child", &middle.tuned(2).files("base_model: alice/base")).await;
    app.drain().await;
    let place = "/api/v1/models/bob/child/lineage/alice/base";
    assert!(bob.get(place).await.expect(200).text().contains("alice/middle"));
    alice.put("/api/v1/models/alice/middle", serde_json::json!({ "visibility": "private" })).await.expect(200);
    assert!(!bob.get(place).await.expect(200).text().contains("middle"));
    app.drain().await;
    assert_eq!(parents(&bob, "bob/child").await, ["alice/base finetune declared confirmed"]);
    app.finish().await;
}
