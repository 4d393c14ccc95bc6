//! What the weights say of claims, and without any.

use serde_json::json;

use super::{link, parents, weights::Weights};
use crate::support::TestApp;

#[tokio::test]
async fn undeclared_parents_are_found_whatever_came_first() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    let (first, second) = (base.tuned(1), base.tuned(2));
    let merge = first.merged(&second, 0.4);
    for (model, weights) in [("alice/merge", &merge), ("alice/second", &second), ("alice/base", &base)] {
        alice.publish(model, &weights.files("license: mit")).await;
        app.drain().await;
    }
    alice.publish("alice/first", &first.files("license: mit")).await;
    alice.publish("alice/third", &base.tuned(7).files("license: mit")).await;
    alice.publish("alice/grandchild", &first.tuned(3).files("license: mit")).await;
    app.drain().await;
    assert_eq!(parents(&alice, "alice/base").await, Vec::<String>::new());
    assert_eq!(parents(&alice, "alice/first").await, ["alice/base finetune detected detected"]);
    assert_eq!(parents(&alice, "alice/second").await, ["alice/base finetune detected detected"]);
    assert_eq!(parents(&alice, "alice/grandchild").await, ["alice/first finetune detected detected"]);
    assert_eq!(
        parents(&alice, "alice/merge").await,
        ["alice/first merge detected detected", "alice/second merge detected detected"]
    );
    assert_eq!(alice.model("alice/first").await["lineage"]["status"], "detected");
    let found = link(&alice, "alice/merge", "alice/first").await;
    let parts = found["measured"]["merge"]["parts"].as_array().unwrap();
    let weight = |model: &str| {
        parts.iter().find(|part| part["member"] == model).and_then(|part| part["weight"].as_f64()).unwrap()
    };
    assert!((weight("alice/first") - 0.4).abs() < 0.01 && (weight("alice/second") - 0.6).abs() < 0.01, "{parts:?}");
    let graph = alice.get("/api/v1/models/alice/base/lineage?direction=descendants").await.expect(200).json();
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 6, "{graph}");
    app.finish().await;
}

#[tokio::test]
async fn claims_are_confirmed_or_corrected() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    let child = base.tuned(1);
    alice.publish("alice/base", &base.files("license: mit")).await;
    alice.publish("alice/sister", &base.tuned(9).files("license: mit")).await;
    alice.publish("alice/child", &child.files("base_model: alice/base")).await;
    alice.publish("alice/grandchild", &child.tuned(2).files("base_model: alice/base")).await;
    app.drain().await;
    assert_eq!(parents(&alice, "alice/child").await, ["alice/base finetune declared confirmed"]);
    assert_eq!(
        parents(&alice, "alice/grandchild").await,
        ["alice/base finetune declared confirmed_family", "alice/child finetune detected detected"]
    );
    let found = link(&alice, "alice/child", "alice/base").await;
    assert!(found["measured"]["similarity"]["value"].as_f64().unwrap() > 0.9, "{found}");
    assert!(found["measured"]["coverage"].as_f64().unwrap() > 0.9, "{found}");
    assert_eq!(
        found["measured"]["strip"].as_array().unwrap().len(),
        36,
        "seven roles of five layers, and the embedding"
    );
    assert!(found["sentence"].as_str().unwrap().contains("is confirmed"), "{found}");
    let other = link(&alice, "alice/grandchild", "alice/base").await;
    assert_eq!(other["nearer"], "alice/child");
    app.finish().await;
}

#[tokio::test]
async fn a_false_base_is_contradicted_once_all_weights_were_compared() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    alice.publish("alice/base", &base.files("license: mit")).await;
    alice.publish("alice/impostor", &base.unrelated(5).files("base_model: alice/base")).await;
    app.drain().await;
    assert_eq!(parents(&alice, "alice/impostor").await, ["alice/base finetune declared contradicted"]);
    let found = link(&alice, "alice/impostor", "alice/base").await;
    let full = &found["measured"]["full"];
    assert!(full["cosine"].as_f64().unwrap().abs() < 0.05, "{full}");
    assert!(full["values"].as_u64().unwrap() > 200_000, "{full}");
    let sentence = found["sentence"].as_str().unwrap();
    assert!(sentence.contains("unrelated models score") && sentence.contains("similarity"), "{sentence}");
    let listed = alice.get("/api/v1/models?lineage=contradicted").await.expect(200).json();
    assert_eq!(listed["items"][0]["id"], "alice/impostor");
    app.finish().await;
}

#[tokio::test]
async fn nobody_is_accused_for_what_cannot_be_known() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    alice.publish("alice/base", &base.files("license: mit")).await;
    let student = base.unrelated(6).files("base_model: alice/base\nbase_model_relation: distill");
    alice.publish("alice/student", &student).await;
    let planted = base.unrelated(7).with_rows_of(&base, 100).files("base_model: alice/base");
    alice.publish("alice/planted", &planted).await;
    alice.publish("alice/orphan", &base.tuned(4).files("base_model: nobody/absent")).await;
    app.drain().await;
    assert_eq!(parents(&alice, "alice/student").await, ["alice/base distill declared unverifiable"]);
    assert_eq!(parents(&alice, "alice/planted").await, ["alice/base finetune declared unverifiable"]);
    assert_eq!(
        parents(&alice, "alice/orphan").await,
        ["nobody/absent finetune declared unverifiable", "alice/base finetune detected detected"]
    );
    let words = link(&alice, "alice/planted", "alice/base").await["sentence"].as_str().unwrap().to_owned();
    assert!(words.contains("embedding rows are equal"), "{words}");
    app.finish().await;
}

#[tokio::test]
async fn a_verdict_changes_when_the_missing_parent_arrives_and_when_it_leaves() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    alice.publish("alice/child", &base.tuned(1).files("base_model: alice/base")).await;
    app.drain().await;
    assert_eq!(parents(&alice, "alice/child").await, ["alice/base finetune declared unverifiable"]);
    alice.publish("alice/base", &base.files("license: mit")).await;
    app.drain().await;
    assert_eq!(parents(&alice, "alice/child").await, ["alice/base finetune declared confirmed"]);
    let history = link(&alice, "alice/child", "alice/base").await["history"].clone();
    assert_eq!(history[0]["verdict"], "unverifiable", "{history}");
    alice.delete("/api/v1/models/alice/base").await.expect(204);
    app.drain().await;
    assert_eq!(parents(&alice, "alice/child").await, ["alice/base finetune declared unverifiable"]);
    app.finish().await;
}

#[tokio::test]
async fn fingerprints_are_made_again_on_demand() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    alice.publish("alice/base", &base.files("license: mit")).await;
    alice.publish("alice/child", &base.tuned(1).files("license: mit")).await;
    app.drain().await;
    app.sql("update fingerprints set version = 0").await;
    let output = app.run(&["reindex"]).await.expect(0);
    assert!(output.stdout.contains("fingerprinted 2 models, 0 failed"), "{}", output.stdout);
    app.drain().await;
    let print = alice.get("/api/v1/models/alice/child/fingerprint").await.expect(200).json();
    assert_eq!((&print["kind"], &print["judgment"]["kind"]), (&json!("model"), &json!("finetune")), "{print}");
    assert!(app.run(&["reindex"]).await.expect(0).stdout.contains("fingerprinted 0 models"));
    app.finish().await;
}

#[tokio::test]
async fn what_people_declare_tells_the_direction_where_the_weights_do_not() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    let middle = base.tuned(1);
    // Of a chain of three, the weights show only who stands in the middle.
    alice.publish("alice/leaf", &middle.tuned(2).files("base_model: alice/middle")).await;
    alice.publish("alice/middle", &middle.files("base_model: alice/base")).await;
    alice.publish("alice/base", &base.files("license: mit")).await;
    app.drain().await;
    assert_eq!(parents(&alice, "alice/base").await, Vec::<String>::new());
    assert_eq!(parents(&alice, "alice/middle").await, ["alice/base finetune declared confirmed"]);
    assert_eq!(parents(&alice, "alice/leaf").await, ["alice/middle finetune declared confirmed"]);
    app.finish().await;
}
