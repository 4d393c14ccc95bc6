//! Who comes from whom: what files and people state, the graph of it, and the cycles that are refused.

use serde_json::{Value, json};

use crate::support::{Caller, TestApp, files};

/// The claims about a model's parents as (parent, relation, origin, source).
async fn parents(caller: &Caller, model: &str) -> Vec<(String, String, String, String)> {
    let model = caller.model(model).await;
    let text = |claim: &Value, field: &str| claim[field].as_str().unwrap().to_owned();
    let claims = model["lineage"]["parents"].as_array().unwrap();
    claims.iter().map(|c| (text(c, "parent"), text(c, "relation"), text(c, "origin"), text(c, "source"))).collect()
}

fn claim(parent: &str, relation: &str, origin: &str, source: &str) -> (String, String, String, String) {
    (parent.to_owned(), relation.to_owned(), origin.to_owned(), source.to_owned())
}

async fn derive(caller: &Caller, model: &str, base: &str) {
    caller.publish(model, &files::card(&format!("license: mit\nbase_model: {base}"))).await;
}

/// A GGUF file without tensors that names its base.
fn gguf(base_url: &str) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(3_u64.to_le_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    for (key, value) in [("general.architecture", "llama"), ("general.base_model.0.repo_url", base_url)] {
        text(&mut bytes, key);
        bytes.extend(8_u32.to_le_bytes());
        text(&mut bytes, value);
    }
    text(&mut bytes, "general.base_model.count");
    bytes.extend(4_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes
}

#[tokio::test]
async fn parents_are_read_from_cards() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (model, card, expected) in [
        ("alice/text", "base_model: Acme/Base-7B", vec![claim("Acme/Base-7B", "finetune", "declared", "card")]),
        (
            "alice/list",
            "base_model:\n- acme/one\n- acme/two",
            vec![claim("acme/one", "merge", "declared", "card"), claim("acme/two", "merge", "declared", "card")],
        ),
        (
            "alice/said",
            "base_model: acme/one\nbase_model_relation: quantized",
            vec![claim("acme/one", "quantized", "declared", "card")],
        ),
        (
            "alice/address",
            "base_model: https://huggingface.co/acme/one",
            vec![claim("acme/one", "finetune", "declared", "card")],
        ),
        ("alice/other-case", "base_model: ACME/ONE", vec![claim("acme/one", "finetune", "declared", "card")]),
        ("alice/none", "license: mit", vec![]),
        ("alice/path", "base_model: ./checkpoints/last", vec![]),
    ] {
        alice.publish(model, &files::card(card)).await;
        assert_eq!(parents(&alice, model).await, expected, "{model}");
    }
    let flags = alice.model("alice/path").await["flags"].to_string();
    assert!(flags.contains("lineage-unusable") && flags.contains("./checkpoints/last"), "{flags}");
    let created = alice.model("acme/base-7b").await;
    assert_eq!((&created["id"], &created["kind"]), (&json!("Acme/Base-7B"), &json!("catalogued")));
    app.finish().await;
}

#[tokio::test]
async fn parents_are_inferred_from_what_tools_write() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let adapter = json!({ "peft_type": "LORA", "base_model_name_or_path": "acme/base", "r": 8, "lora_alpha": 16 });
    alice.publish("alice/lora", &vec![files::file("adapter_config.json", adapter.to_string())]).await;
    assert_eq!(parents(&alice, "alice/lora").await, [claim("acme/base", "adapter", "inferred", "adapter_config")]);

    let weights = gguf("https://huggingface.co/acme/base");
    alice.publish("alice/gguf", &vec![files::file("model-q8_0.gguf", weights)]).await;
    assert_eq!(parents(&alice, "alice/gguf").await, [claim("acme/base", "quantized", "inferred", "gguf")]);

    let recipe = "merge_method: slerp\nbase_model: acme/base\nslices:\n- sources:\n  - model: acme/left\n    \
        layer_range: [0, 2]\n  - model: acme/right+acme/lora\n    layer_range: [0, 2]\n";
    alice.publish("alice/merge", &vec![files::file("mergekit_config.yml", recipe)]).await;
    let merged = ["acme/base", "acme/left", "acme/lora", "acme/right"];
    assert_eq!(parents(&alice, "alice/merge").await, merged.map(|id| claim(id, "merge", "inferred", "mergekit")));
    app.finish().await;
}

#[tokio::test]
async fn a_new_revision_replaces_what_the_last_one_stated() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    derive(&alice, "alice/m", "acme/one").await;
    let declared = json!({ "parent": "acme/people-say", "relation": "distill", "note": "from the paper" });
    alice.post("/api/v1/models/alice/m/claims", declared).await.expect(200);
    derive(&alice, "alice/m", "acme/two").await;
    let expected =
        [claim("acme/people-say", "distill", "declared", "api"), claim("acme/two", "finetune", "declared", "card")];
    assert_eq!(parents(&alice, "alice/m").await, expected);

    let withdraw = |parent: &str| json!({ "parent": parent, "withdraw": true });
    alice.post("/api/v1/models/alice/m/claims", withdraw("ACME/people-say")).await.expect(200);
    assert_eq!(parents(&alice, "alice/m").await, [claim("acme/two", "finetune", "declared", "card")]);
    let again = alice.post("/api/v1/models/alice/m/claims", withdraw("acme/people-say")).await;
    again.refused(404, "claim-not-found", "acme/people-say");
    let nonsense = json!({ "parent": "acme/one", "relation": "cousin" });
    alice.post("/api/v1/models/alice/m/claims", nonsense).await.refused(400, "unknown-relation", "`cousin`");
    app.finish().await;
}

#[tokio::test]
async fn a_claim_pins_the_revision_that_the_parent_had() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let first = alice.publish("alice/base", &files::card("license: mit")).await;
    derive(&alice, "alice/child", "alice/base").await;
    alice.publish("alice/base", &vec![files::file("new.txt", "new")]).await;
    let pinned = |model: &Value| model["lineage"]["parents"][0]["parent_revision"].clone();
    assert_eq!(pinned(&alice.model("alice/child").await), json!(first));
    let older = json!({ "parent": "alice/base", "revision": "main" });
    alice.publish("alice/other", &files::card("license: mit")).await;
    alice.post("/api/v1/models/alice/other/claims", older).await.expect(200);
    let tip = alice.model("alice/base").await["revision"].clone();
    assert_eq!(pinned(&alice.model("alice/other").await), tip);
    app.finish().await;
}

#[tokio::test]
async fn a_cycle_is_refused_with_its_members() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/a", &files::card("license: mit")).await;
    derive(&alice, "alice/b", "alice/a").await;
    derive(&alice, "alice/c", "alice/b").await;
    let members = "alice/a → alice/c → alice/b → alice/a";
    let claim = json!({ "parent": "alice/c" });
    alice.post("/api/v1/models/alice/a/claims", claim).await.refused(409, "lineage-cycle", members);
    let before = alice.model("alice/a").await["revision"].clone();
    let pushed = alice.put_file("alice/a", "README.md", "---\nbase_model: alice/c\n---\n").await;
    pushed.refused(409, "lineage-cycle", members);
    assert_eq!(alice.model("alice/a").await["revision"], before, "nothing was committed");
    let itself = json!({ "parent": "Alice/A" });
    alice.post("/api/v1/models/alice/a/claims", itself).await.refused(400, "lineage-self", "its own parent");

    let adapter = json!({ "peft_type": "LORA", "base_model_name_or_path": "alice/c" });
    alice.put_file("alice/a", "adapter_config.json", adapter.to_string()).await.expect(200);
    let model = alice.model("alice/a").await;
    assert_eq!(model["lineage"]["parents"], json!([]));
    assert!(model["flags"].to_string().contains("lineage-cycle"), "{}", model["flags"]);
    app.finish().await;
}

/// grandparent ← left, right ← child (of both) ← leaf; and somebody unrelated.
async fn family(alice: &Caller) {
    alice.publish("alice/grandparent", &files::card("license: mit")).await;
    derive(alice, "alice/left", "alice/grandparent").await;
    derive(alice, "alice/right", "alice/grandparent").await;
    derive(alice, "alice/child", "\n- alice/left\n- alice/right").await;
    derive(alice, "alice/leaf", "alice/child").await;
    alice.publish("alice/unrelated", &files::card("license: mit")).await;
}

fn ids(graph: &Value) -> Vec<(String, i64)> {
    let nodes = graph["nodes"].as_array().unwrap();
    nodes.iter().map(|node| (node["id"].as_str().unwrap().to_owned(), node["depth"].as_i64().unwrap())).collect()
}

#[tokio::test]
async fn the_graph_is_walked_both_ways() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    family(&alice).await;
    app.drain().await;
    let walk = async |query: &str| alice.get(&format!("/api/v1/models/alice/{query}")).await.expect(200).json();
    let up = walk("leaf/lineage?direction=ancestors").await;
    let mut above = ids(&up);
    above.retain(|(_, depth)| *depth != 0);
    above.sort_by_key(|(id, depth)| (-depth, id.clone()));
    let expected = [("alice/child", -1), ("alice/left", -2), ("alice/right", -2), ("alice/grandparent", -3)];
    assert_eq!(above, expected.map(|(id, depth)| (id.to_owned(), depth)));
    assert_eq!(up["edges"].as_array().unwrap().len(), 5);

    let down = walk("grandparent/lineage?direction=descendants").await;
    assert_eq!(ids(&down).iter().filter(|(_, depth)| *depth > 0).count(), 4);
    let near = walk("grandparent/lineage?direction=descendants&depth=1").await;
    assert_eq!(ids(&near).iter().filter(|(_, depth)| *depth > 0).count(), 2);
    let merges = walk("child/lineage?direction=ancestors&relation=merge").await;
    assert_eq!(ids(&merges).iter().filter(|(_, depth)| *depth < 0).count(), 2);
    let both = walk("child/lineage").await;
    assert_eq!(ids(&both).iter().filter(|(_, depth)| *depth != 0).count(), 4);

    let grandparent = alice.model("alice/grandparent").await;
    assert_eq!((&grandparent["descendants"], &grandparent["children"]), (&json!(4), &json!({ "finetune": 2 })));
    let found = alice.get("/api/v1/models?base=alice/grandparent").await.expect(200).json();
    assert_eq!(found["total"], 4);
    app.finish().await;
}

#[tokio::test]
async fn paths_and_common_ancestors_are_found() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    family(&alice).await;
    let ask = async |query: &str| alice.get(&format!("/api/v1/lineage/{query}")).await.expect(200).json();
    let mut paths = ask("path?from=alice/leaf&to=alice/grandparent").await["paths"].as_array().unwrap().clone();
    paths.sort_by_key(Value::to_string);
    let through = |middle: &str| json!(["alice/leaf", "alice/child", middle, "alice/grandparent"]);
    assert_eq!(paths, [through("alice/left"), through("alice/right")]);
    assert_eq!(ask("path?from=alice/left&to=alice/right").await["paths"], json!([]));

    let common = ask("common-ancestor?a=alice/left&b=alice/right").await;
    assert_eq!(common["ancestors"], json!([{ "id": "alice/grandparent", "depth_a": 1, "depth_b": 1 }]));
    let own = ask("common-ancestor?a=alice/leaf&b=alice/child").await;
    assert_eq!(own["ancestors"], json!([{ "id": "alice/child", "depth_a": 1, "depth_b": 0 }]));
    assert_eq!(ask("common-ancestor?a=alice/leaf&b=alice/unrelated").await["ancestors"], json!([]));

    let told = app.run_as(&alice, &["lineage", "alice/leaf", "--direction", "ancestors"]).await.expect(0);
    assert!(told.stdout.contains("alice/grandparent") && told.stdout.contains("(shown above)"), "{}", told.stdout);
    let missing = app.run_as(&alice, &["lineage", "alice/nobody"]).await.expect(2);
    assert!(missing.stderr.contains("model `alice/nobody` does not exist"), "{}", missing.stderr);
    app.finish().await;
}

#[tokio::test]
async fn a_parent_that_is_deleted_stays_known_by_name() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/base", &files::card("license: mit")).await;
    derive(&alice, "alice/child", "alice/base").await;
    alice.delete("/api/v1/models/alice/base").await.expect(204);
    assert_eq!(alice.model("alice/base").await["kind"], "catalogued");
    assert_eq!(parents(&alice, "alice/child").await, [claim("alice/base", "finetune", "declared", "card")]);
    alice.get("/api/models/alice/base").await.expect(404);
    app.finish().await;
}
