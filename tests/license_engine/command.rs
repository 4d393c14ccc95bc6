//! `herdbook audit --graph`.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::vectors::VECTORS;

fn audit(graph: &[u8], arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("graph.json");
    std::fs::write(&file, graph).unwrap();
    let program = env!("CARGO_BIN_EXE_herdbook");
    Command::new(program).args(["audit", "--graph"]).arg(file).args(arguments).output().unwrap()
}

fn drift() -> Value {
    json!({
        "models": [
            { "id": "meta-llama/Llama-3.1-8B", "license": "llama3.1" },
            { "id": "a/Llama-x", "license": "apache-2.0" },
            { "id": "a/silent", "license": null },
        ],
        "edges": [
            { "child": "a/Llama-x", "parent": "meta-llama/Llama-3.1-8B", "relation": "finetune", "origin": "declared" },
            { "child": "a/silent", "parent": "a/nobody", "relation": "finetune", "origin": "declared" },
        ],
        "profile": { "visibility": "public" },
    })
}

#[test]
fn a_graph_file_is_judged_without_a_server() {
    let output = audit(drift().to_string().as_bytes(), &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<&Value> = report["models"].as_array().unwrap().iter().map(|model| &model["id"]).collect();
    assert_eq!(ids, ["meta-llama/Llama-3.1-8B", "a/Llama-x", "a/silent"]);
    let drifted = &report["models"][1];
    assert_eq!(
        (&drifted["position"], &drifted["expression"]),
        (&json!("violation"), &json!("Apache-2.0 AND LicenseRef-llama3.1"))
    );
    let finding = &drifted["findings"][0];
    assert_eq!(finding["rule"], "RELICENSED_WITHOUT_RIGHT");
    assert_eq!(finding["path"], json!(["a/Llama-x", "meta-llama/Llama-3.1-8B"]));
    assert_eq!(report["models"][2]["position"], "unknown");
    assert_eq!(report["models"][2]["findings"][0]["about"], "a/nobody");
}

#[test]
fn the_worked_cases_run_through_the_command() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for vector in vectors["vectors"].as_array().unwrap().iter().step_by(9) {
        let output = audit(vector["input"].to_string().as_bytes(), &["--json", "--fail-on", "review"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["models"].as_array().unwrap().len(), 1, "only the subject");
        assert_eq!(report["models"][0]["position"], vector["expect"]["position"], "{}", vector["id"]);
        let is_grave = ["violation", "incomplete", "review"].contains(&vector["expect"]["position"].as_str().unwrap());
        assert_eq!(output.status.code(), Some(i32::from(is_grave)), "{}", vector["id"]);
    }
}

#[test]
fn a_large_file_is_read_in_one_go() {
    let id = |number: usize| format!("n{}/m{number}", number % 97);
    let models: Vec<Value> = (0..20_000).map(|number| json!({ "id": id(number), "license": "mit" })).collect();
    let edges: Vec<Value> = (0..100_000)
        .map(|number| json!({ "child": id(number % 19_999 + 1), "parent": id(number / 19_999), "relation": "merge" }))
        .collect();
    let file = json!({ "models": models, "edges": edges, "subject": id(19_999) }).to_string();
    let output = audit(file.as_bytes(), &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["models"].as_array().unwrap().len(), 1);
}

#[test]
fn exit_codes_and_tables_are_for_pipelines_and_people() {
    let file = drift().to_string();
    assert_eq!(audit(file.as_bytes(), &["--fail-on", "never"]).status.code(), Some(0));
    let told = audit(file.as_bytes(), &[]);
    let text = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told.status.code(), Some(1));
    assert!(text.contains("path    a/Llama-x → meta-llama/Llama-3.1-8B"), "{text}");
    assert_eq!(text.matches("It is not legal advice").count(), 1, "{text}");
    let twice = [audit(file.as_bytes(), &["--json"]).stdout, audit(file.as_bytes(), &["--json"]).stdout];
    assert_eq!(twice[0], twice[1]);
}

#[test]
fn a_malformed_file_names_the_place_and_what_was_expected() {
    let edge = |edge: Value| json!({ "models": [{ "id": "a/x" }], "edges": [edge] }).to_string();
    for (file, told) in [
        ("{".to_owned(), "line 1, column 1: EOF"),
        ("[]".to_owned(), "line 1, column"),
        (r#"{"models": [{"license": "mit"}]}"#.to_owned(), "missing field `id`"),
        (
            r#"{"models": [{"id": "a/x", "license": 7}]}"#.to_owned(),
            "a license is a string, a list of strings, or null",
        ),
        (r#"{"models": [{"id": ""}]}"#.to_owned(), "models[0].id: expected the id of a model"),
        (r#"{"models": [{"id": "a/x"}, {"id": "A/x"}]}"#.to_owned(), "models[1].id: `A/x` is there twice"),
        (r#"{"models": [], "subject": "a/x"}"#.to_owned(), "subject: `a/x` is not the id"),
        (r#"{"models": [], "profile": {"mau": -1}}"#.to_owned(), "invalid value: integer `-1`"),
        (r#"{"models": [], "profile": {"visibility": "secret"}}"#.to_owned(), "unknown variant `secret`"),
        (edge(json!({ "child": "a/x" })), "missing field `parent`"),
        (
            edge(json!({ "child": "a/x", "parent": "o/m", "relation": "cousin" })),
            "edges[0].relation: `cousin` is not one of finetune",
        ),
        (edge(json!({ "child": "a/x", "parent": "o/m", "verdict": "maybe" })), "edges[0].verdict: `maybe`"),
        (edge(json!({ "child": "a/x", "parent": "o/m", "origin": "rumor" })), "edges[0].origin: `rumor`"),
    ] {
        let output = audit(file.as_bytes(), &["--json"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{file}: {stderr}");
        assert!(stderr.contains(told) && output.stdout.is_empty(), "{file}: {stderr}");
    }
    assert_eq!(audit(&[0xff, 0xfe, 0], &[]).status.code(), Some(2));
}
