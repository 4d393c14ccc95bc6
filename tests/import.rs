//! `herdbook import`: facts about models elsewhere, odd ones kept and flagged, the same ones taken once.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::support::{TestApp, files};

/// Lines as upstream has them, with what is odd about some.
fn lines() -> Vec<Value> {
    vec![
        json!({ "id": "meta-llama/Llama-2-7b-hf", "license": "llama2", "downloads": 900, "params": 6.7e9 }),
        json!({ "id": "acme/tune", "license": "apache-2.0", "base_models": ["meta-llama/llama-2-7b-hf"],
            "relation": "finetune", "lineage_confidence": "high", "tags": ["chat"], "created_at": "2023-08-01T10:00:00Z" }),
        json!({ "id": "acme/tune", "license": "mit", "downloads": 5 }),
        json!({ "id": "acme/shouting", "license": "MIT", "base_models": ["nobody/never-seen"], "relation": "cousin" }),
        json!({ "id": "acme/a", "base_models": ["acme/b"], "relation": "finetune" }),
        json!({ "id": "acme/b", "base_models": ["acme/c"], "relation": "finetune" }),
        json!({ "id": "acme/c", "base_models": ["acme/a"], "relation": "finetune" }),
        json!({ "id": "acme/two", "base_models": ["acme/x", "acme/y"], "relation": "quantized" }),
        json!({ "id": "acme/self", "base_models": ["ACME/self", "C:\\models\\llama"] }),
        json!({ "id": "alice/hosted", "license": "gpl-3.0" }),
        json!({ "id": "no name" }),
    ]
}

/// Imports a file; the exit code is 1 when lines could not be kept.
async fn import(app: &TestApp, text: &[u8], name: &str, code: i32) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, text).unwrap();
    app.run(&["import", file.to_str().unwrap(), "--json"]).await.expect(code).json()
}

fn text() -> Vec<u8> {
    let mut text = lines().iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    text.push_str("\n\n{broken\n");
    text.into_bytes()
}

#[tokio::test]
async fn searches_after_an_import_are_planned_by_what_came_in() {
    let app = TestApp::spawn().await;
    import(&app, &text(), "catalog.jsonl", 1).await;
    let mut db = app.database().await;
    for table in ["models", "claims", "findings", "positions"] {
        let known: f32 = sqlx::query_scalar("select reltuples from pg_class where relname = $1")
            .bind(table)
            .fetch_one(&mut db)
            .await
            .unwrap();
        assert!(known >= 0.0, "Postgres has not looked at `{table}`");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_odd_is_kept_and_flagged() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/hosted", &files::card("license: mit")).await;
    let summary = import(&app, &text(), "catalog.jsonl", 1).await;
    assert_eq!((&summary["lines"], &summary["created"], &summary["hosted"]), (&json!(13), &json!(8), &json!(1)));
    assert_eq!(summary["parents_created"], 3, "{summary}");
    assert_eq!(summary["cyclic_claims"], 3, "{summary}");
    assert_eq!(summary["refused_count"], 2, "{summary}");
    let refused = summary["refused"].to_string();
    assert!(refused.contains("line 11: ") && refused.contains("line 13: "), "{refused}");
    for (model, code) in [
        ("acme/tune", "license-disagreement"),
        ("acme/shouting", "license-case"),
        ("acme/shouting", "relation-unknown"),
        ("acme/two", "relation-contradiction"),
        ("acme/self", "lineage-self"),
        ("acme/self", "lineage-unusable"),
    ] {
        let flags = alice.model(model).await["flags"].to_string();
        assert!(flags.contains(code), "{model}: {flags}");
        assert!(summary["flags"][code].as_u64().is_some_and(|count| count > 0), "{code}: {summary}");
    }
    let tune = alice.model("acme/tune").await;
    assert_eq!((&tune["kind"], &tune["license"]["declared"]), (&json!("catalogued"), &json!("apache-2.0")));
    assert_eq!(tune["lineage"]["parents"][0]["parent"], "meta-llama/Llama-2-7b-hf");
    assert_eq!(tune["license"]["position"], "violation", "judged after the import: {tune}");
    assert_eq!(alice.model("alice/hosted").await["license"]["declared"], "mit", "hosted models keep their own facts");
    assert_eq!(alice.model("meta-llama/Llama-2-7b-hf").await["descendants"], 1);
    app.finish().await;
}

#[tokio::test]
async fn cycles_are_kept_and_do_not_trap_a_walk() {
    let app = TestApp::spawn().await;
    import(&app, &text(), "catalog.jsonl", 1).await;
    let reader = app.anonymous();
    let graph = reader.get("/api/v1/models/acme/a/lineage").await.expect(200).json();
    assert_eq!(graph["edges"].as_array().unwrap().len(), 3);
    assert!(graph["edges"].as_array().unwrap().iter().all(|edge| edge["in_cycle"] == true), "{graph}");
    for place in ["/acme/a/pedigree", "/acme/a/tree", "/acme/a/license", "/api/v1/lineage/path?from=acme/a&to=acme/a"] {
        reader.get(place).await.expect(200);
    }
    let license = reader.get("/api/v1/models/acme/a/license").await.expect(200).json();
    assert!(license["findings"].to_string().contains("\"CYCLE\""), "{license}");
    app.finish().await;
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let app = TestApp::spawn().await;
    import(&app, &text(), "catalog.jsonl", 1).await;
    let picture = async || {
        let reader = app.anonymous();
        let mut seen = Vec::new();
        for place in
            ["models?limit=100", "audit", "models/acme/a", "models/acme/tune", "models/acme/tune/lineage", "stats"]
        {
            seen.push(reader.get(&format!("/api/v1/{place}")).await.expect(200).json());
        }
        seen
    };
    let before = picture().await;
    let compressed = zstd::encode_all(&text()[..], 3).unwrap();
    let summary = import(&app, &compressed, "catalog.jsonl.zst", 1).await;
    for field in ["created", "updated", "parents_created", "claims"] {
        assert_eq!(summary[field], 0, "{field}: {summary}");
    }
    assert_eq!(summary["cyclic_claims"], 3);
    assert_eq!(picture().await, before);
    app.finish().await;
}

#[tokio::test]
async fn only_administrators_import_and_mistakes_are_said() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("catalog.jsonl");
    fs::write(&file, text()).unwrap();
    let refused = app.run_as(&alice, &["import", file.to_str().unwrap()]).await.expect(2);
    assert!(refused.stderr.contains("scope `admin` of an administrator"), "{}", refused.stderr);
    let missing = app.run(&["import", "/nonexistent.jsonl"]).await.expect(2);
    assert!(missing.stderr.contains("/nonexistent.jsonl"), "{}", missing.stderr);
    app.finish().await;
}

#[tokio::test]
async fn five_thousand_real_models_are_imported() {
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/catalog.jsonl.zst");
    if !catalog.is_file() {
        eprintln!("left out: the larger sample set is not here");
        return;
    }
    let text = zstd::decode_all(fs::File::open(catalog).unwrap()).unwrap();
    let some: Vec<u8> = text.split_inclusive(|byte| *byte == b'\n').take(5000).flatten().copied().collect();
    let app = TestApp::spawn().await;
    let first = import(&app, &some, "catalog.jsonl", 0).await;
    assert_eq!((&first["lines"], &first["refused_count"]), (&json!(5000), &json!(0)), "{first}");
    let again = import(&app, &some, "catalog.jsonl", 0).await;
    assert_eq!((&again["created"], &again["updated"], &again["claims"]), (&json!(0), &json!(0), &json!(0)));
    app.finish().await;
}
