//! Derivatives beside their base: adapters wait for it, others are compared with what its test kept.

use serde_json::{Value, json};

use crate::support::{Caller, Files, TestApp, files};

/// A small low-rank adapter on the queries of the trained model of the fixtures.
fn adapter() -> Files {
    let config = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"],
        "base_model_name_or_path": "alice/base", "bias": "none", "fan_in_fan_out": false, "use_rslora": false,
        "use_dora": false, "inference_mode": true,
    });
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for layer in 0..5 {
        for (part, shape) in [("lora_A", [2, 64]), ("lora_B", [64, 2])] {
            let name = format!("base_model.model.model.layers.{layer}.self_attn.q_proj.{part}.weight");
            let begin = data.len();
            let noise = files::noise(4 * 128, 10 * layer + part.len() as u64);
            for bytes in noise.chunks_exact(4) {
                let value = i32::from_le_bytes(bytes.try_into().unwrap()) as f32 / i32::MAX as f32 * 0.2;
                data.extend_from_slice(&value.to_le_bytes());
            }
            let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()] });
            header.insert(name, entry);
        }
    }
    let header = Value::Object(header).to_string();
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend_from_slice(header.as_bytes());
    weights.extend_from_slice(&data);
    let mut files = files::card("base_model: alice/base");
    files.push(files::file("adapter_config.json", config.to_string()));
    files.push(files::file("adapter_model.safetensors", weights));
    files
}

pub(super) async fn latest(caller: &Caller, model: &str) -> Value {
    let answer = caller.get(&format!("/api/v1/models/{model}/smoke-tests")).await.expect(200).json();
    answer["items"][0].clone()
}

fn check<'a>(run: &'a Value, id: &str) -> &'a Value {
    let checks = run["checks"].as_array().unwrap();
    checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {run}"))
}

#[tokio::test]
async fn an_adapter_is_tested_when_its_base_arrives() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    bob.publish("bob/adapter", &adapter()).await;
    app.drain().await;
    assert_eq!(latest(&bob, "bob/adapter").await["verdict"], "skipped");
    alice.publish("alice/base", &files::stories()).await;
    app.drain().await;
    let run = latest(&bob, "bob/adapter").await;
    assert_eq!(check(&run, "adapter.fits")["status"], "passed", "{run}");
    assert!(["passed", "warned"].contains(&run["verdict"].as_str().unwrap()), "{run}");
    assert!(run["metrics"]["kl_base"].as_f64().is_some_and(|kl| kl > 1e-6), "the base was run beside it: {run}");
    app.finish().await;
}

#[tokio::test]
async fn a_derivative_is_compared_with_what_the_test_of_its_base_kept() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    alice.publish("alice/base", &files::stories()).await;
    app.drain().await;
    let mut tuned = files::tuned(3);
    tuned.extend(files::card("base_model: alice/base"));
    bob.publish("bob/tuned", &tuned).await;
    app.drain().await;
    let run = latest(&bob, "bob/tuned").await;
    let drift = check(&run, "drift.kl");
    assert_ne!(drift["status"], "skipped", "{drift}");
    assert!(run["metrics"]["kl_base"].as_f64().is_some_and(|kl| kl > 0.0 && kl < 1.0), "{run}");
    let base = latest(&alice, "alice/base").await;
    assert!(base["checks"].as_array().unwrap().iter().all(|check| check["id"] != "drift.kl"), "{base}");
    app.finish().await;
}

#[tokio::test]
async fn a_model_without_a_tokenizer_is_read_with_its_bases_also_when_that_comes_later() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut silent = files::tuned(3);
    silent.retain(|(path, _)| path != "tokenizer.json");
    silent.extend(files::card("base_model: alice/base"));
    bob.publish("bob/silent", &silent).await;
    app.drain().await;
    let alone = latest(&bob, "bob/silent").await;
    assert_eq!(check(&alone, "tokenizer.loads")["status"], "skipped", "{alone}");
    assert_eq!(check(&alone, "ppl.absolute")["status"], "skipped");
    alice.publish("alice/base", &files::stories()).await;
    app.drain().await;
    let run = latest(&bob, "bob/silent").await;
    let loads = check(&run, "tokenizer.loads");
    assert!(loads["detail"].as_str().unwrap().ends_with("read with the base's"), "{loads}");
    assert_eq!((&loads["status"], &check(&run, "ppl.absolute")["status"]), (&json!("passed"), &json!("passed")));
    assert!(run["metrics"]["kl_base"].as_f64().is_some_and(|kl| kl > 0.0 && kl < 1.0), "{run}");
    let tests = |answer: Value| answer["items"].as_array().unwrap().len();
    let place = "/api/v1/models/bob/silent/smoke-tests";
    let before = tests(bob.get(place).await.expect(200).json());
    alice.post("/api/v1/models/alice/base/smoke-tests", json!({})).await.expect(202);
    app.drain().await;
    assert_eq!(tests(bob.get(place).await.expect(200).json()), before, "it no longer waits");
    app.finish().await;
}

#[tokio::test]
async fn a_difference_is_tested_on_its_base_and_no_claim_of_it_is_contradicted() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let says = "This \"delta model\" cannot be used directly: add it to the original LLaMA weights.";
    let card = |text: &str| files::file("README.md", format!("---\nbase_model: alice/base\n---\n# Koala\n{text}\n"));
    let with_card = |mut files: Files, text: &str| {
        files.push(card(text));
        files
    };
    bob.publish("bob/delta", &with_card(files::difference(3), says)).await;
    app.drain().await;
    assert_eq!(latest(&bob, "bob/delta").await["verdict"], "skipped");
    alice.publish("alice/base", &files::stories()).await;
    app.drain().await;
    let run = latest(&bob, "bob/delta").await;
    assert_eq!(check(&run, "adapter.fits")["status"], "passed", "{run}");
    assert_eq!(check(&run, "ppl.absolute")["status"], "passed", "{run}");
    bob.publish("bob/silent", &with_card(files::difference(4), "No word of what it is.")).await;
    app.drain().await;
    let verdict = async |model: &str| bob.model(model).await["lineage"]["parents"][0]["verdict"].clone();
    assert_eq!(verdict("bob/delta").await, "unverifiable");
    assert_eq!(verdict("bob/silent").await, "contradicted");
    let model = bob.model("bob/delta").await;
    assert!(model["flags"].to_string().contains("weight-difference"), "{model}");
    app.finish().await;
}
