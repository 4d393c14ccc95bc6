//! `herdbook smoke`.

use std::process::{Command, Output};

use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::folder::{Folder, HERDBOOK, fixture};

fn smoke(folder: &std::path::Path, arguments: &[&str]) -> Output {
    Command::new(HERDBOOK).arg("smoke").arg(folder).args(arguments).output().unwrap()
}

#[test]
fn a_sound_model_prints_a_checklist_and_exits_with_0() {
    let output = smoke(&fixture(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("✓ values.finite          all values of 47 tensors are finite\n"), "{text}");
    assert!(text.contains("It writes: Once upon a time, there was a little girl named Lily."), "{text}");
    assert!(text.contains("✓ passed in "), "{text}");
}

#[test]
fn exit_codes_tell_failed_skipped_and_unusable_apart() {
    let folder = Folder::stories();
    folder.set("config.json", "num_hidden_layers", 4);
    assert_eq!(smoke(folder.path(), &[]).status.code(), Some(1));
    folder.set("config.json", "architectures", json!(["MysteryForCausalLM"]));
    assert_eq!(smoke(folder.path(), &[]).status.code(), Some(3));
    assert_eq!(smoke("/nonexistent".as_ref(), &[]).status.code(), Some(2));
    assert_eq!(smoke(folder.path(), &["--level", "9"]).status.code(), Some(2));
}

#[test]
fn json_holds_the_whole_report() {
    let report: Value = serde_json::from_slice(&smoke(&fixture(), &["--json"]).stdout).unwrap();
    assert_eq!(report["verdict"], "passed");
    assert_eq!(
        report["checks"][0],
        json!({
            "id": "files.parse", "level": 0, "status": "passed", "detail": "47 tensors in files that parse"
        })
    );
    assert_eq!(report["metrics"]["architecture"], "LlamaForCausalLM");
}

#[test]
fn lower_levels_do_less() {
    let report: Value = serde_json::from_slice(&smoke(&fixture(), &["--json", "--level", "0"]).stdout).unwrap();
    assert_eq!((&report["verdict"], &report["sample"]), (&json!("passed"), &json!(null)));
    assert!(!report.to_string().contains("values.finite"));
}

#[test]
fn logits_of_given_tokens_are_written_as_safetensors() {
    let folder = Folder::stories();
    let path = folder.path().join("logits.out");
    let reference: Value = serde_json::from_slice(&folder.read("reference.json")).unwrap();
    let prompt = reference["bos_greedy"]["output_ids"].as_array().unwrap()[..8].iter();
    let prompt: Vec<String> = prompt.map(Value::to_string).collect();
    let output = smoke(folder.path(), &["--input-ids", &prompt.join(","), "--logits", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let logits = file.tensor("logits").unwrap();
    assert_eq!(logits.shape(), [8, 512]);
    let rows: Vec<f32> = logits.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    for (position, row) in rows.chunks_exact(512).enumerate() {
        let best = (0..512).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        assert_eq!(best, reference["bos_greedy"]["output_ids"][position + 1].as_u64().unwrap() as usize);
    }
}
