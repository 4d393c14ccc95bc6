//! Adapters and differences: tested on their base, refused where an option is not known.

use std::collections::BTreeMap;

use herdbook::smoke::{self, Input, Report, Status};
use serde_json::{Value, json};

use super::folder::{Folder, HERDBOOK, Tensor, assert_failed, check, fixture, write_tensors};

const RANK: usize = 4;

fn tensor(shape: [usize; 2], seed: usize) -> Tensor {
    let values = (0..shape[0] * shape[1]).map(|i| ((i * 31 + seed * 17) % 23) as f32 / 230.0 - 0.05).collect();
    Tensor { shape: shape.to_vec(), values }
}

fn module(layer: usize) -> String {
    format!("model.layers.{layer}.self_attn.q_proj")
}

/// A low-rank adapter of all query projections, in the layout of PEFT.
pub(super) fn peft(options: Value) -> Folder {
    let folder = Folder::empty();
    let mut tensors = BTreeMap::new();
    for layer in 0..5 {
        let name = |part: &str| format!("base_model.model.{}.{part}.weight", module(layer));
        tensors.insert(name("lora_A"), tensor([RANK, 64], layer));
        tensors.insert(name("lora_B"), tensor([64, RANK], layer + 7));
    }
    write_tensors(&folder.path().join("adapter_model.safetensors"), &tensors);
    let mut config = json!({
        "peft_type": "LORA", "base_model_name_or_path": "acme/base", "r": RANK, "lora_alpha": 8,
        "target_modules": ["q_proj"]
    });
    let Value::Object(options) = options else { panic!("options are fields") };
    config.as_object_mut().unwrap().extend(options);
    folder.write("adapter_config.json", config.to_string());
    folder
}

/// The same adapter merged into its base, by the definition.
fn merged(scale: f32) -> Folder {
    let folder = Folder::stories();
    folder.change(|tensors| {
        for layer in 0..5 {
            let (a, b) = (tensor([RANK, 64], layer), tensor([64, RANK], layer + 7));
            let base = tensors.get_mut(&format!("{}.weight", module(layer))).unwrap();
            for row in 0..64 {
                for col in 0..64 {
                    let product: f32 = (0..RANK).map(|k| b.values[row * RANK + k] * a.values[k * 64 + col]).sum();
                    base.values[row * 64 + col] += scale * product;
                }
            }
        }
    });
    folder
}

async fn on_base(folder: &Folder) -> Report {
    let input = Input { program: Some(HERDBOOK.into()), ..Input::new(folder.path()).with_base(fixture()) };
    smoke::run(&input).await.unwrap()
}

async fn logits(input: Input) -> Vec<f32> {
    let input = Input { program: Some(HERDBOOK.into()), input_ids: Some((1..20).collect()), ..input };
    let (report, logits) = smoke::run_with_logits(&input).await.unwrap();
    assert!(!logits.is_empty(), "{report:#?}");
    logits.concat()
}

#[track_caller]
fn assert_near(a: &[f32], b: &[f32]) {
    let distance = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(a.len() == b.len() && distance < 1e-4, "{distance}");
}

#[tokio::test]
async fn an_adapter_on_its_base_is_the_merged_model() {
    let adapter = peft(json!({}));
    let report = on_base(&adapter).await;
    assert_eq!(check(&report, "adapter.fits").status, Status::Passed, "{report:#?}");
    assert!(report.sample.is_some() && report.metrics["relation"] == "adapter", "{report:#?}");
    let expected = logits(Input::new(merged(2.0).path())).await;
    assert_near(&logits(Input::new(adapter.path()).with_base(fixture())).await, &expected);
    let rank_stabilized = peft(json!({"use_rslora": true}));
    let expected = logits(Input::new(merged(4.0).path())).await;
    assert_near(&logits(Input::new(rank_stabilized.path()).with_base(fixture())).await, &expected);
}

#[tokio::test]
async fn patterns_change_the_scale_of_the_modules_that_they_name() {
    let pattern = peft(json!({"alpha_pattern": {"q_proj": 4}}));
    let expected = logits(Input::new(merged(1.0).path())).await;
    assert_near(&logits(Input::new(pattern.path()).with_base(fixture())).await, &expected);
}

#[tokio::test]
async fn the_layout_of_mlx_is_the_other_way_round() {
    let folder = Folder::empty();
    let mut tensors = BTreeMap::new();
    let turned = |tensor: Tensor| {
        let (rows, cols) = (tensor.shape[0], tensor.shape[1]);
        let values = (0..rows * cols).map(|i| tensor.values[(i % rows) * cols + i / rows]).collect();
        Tensor { shape: vec![cols, rows], values }
    };
    for layer in 0..5 {
        tensors.insert(format!("{}.lora_a", module(layer)), turned(tensor([RANK, 64], layer)));
        tensors.insert(format!("{}.lora_b", module(layer)), turned(tensor([64, RANK], layer + 7)));
    }
    write_tensors(&folder.path().join("adapters.safetensors"), &tensors);
    let config =
        json!({"model": "acme/base", "fine_tune_type": "lora", "lora_parameters": {"rank": RANK, "scale": 2.0}});
    folder.write("adapter_config.json", config.to_string());
    let expected = logits(Input::new(merged(2.0).path())).await;
    assert_near(&logits(Input::new(folder.path()).with_base(fixture())).await, &expected);
}

#[tokio::test]
async fn an_adapter_for_another_base_fails_with_both_shapes() {
    let adapter = peft(json!({}));
    let base = Folder::stories();
    base.change(|tensors| tensors.get_mut(&format!("{}.weight", module(3))).unwrap().shape = vec![32, 128]);
    let input = Input { program: Some(HERDBOOK.into()), ..Input::new(adapter.path()).with_base(base.path()) };
    let report = smoke::run(&input).await.unwrap();
    assert_failed(&report, "adapter.fits", "of the base has shape [32, 128], the adapter is made for [64, 64]");
    let other_rank = peft(json!({"r": 8}));
    assert_failed(&on_base(&other_rank).await, "adapter.fits", "have the ranks 4 and 4, the config says 8");
    let absent = peft(json!({"target_modules": ["q_proj", "k_proj"]}));
    assert_failed(&on_base(&absent).await, "adapter.fits", "adapts `k_proj`, the file has no tensors for it");
}

#[tokio::test]
async fn options_that_are_not_known_are_skipped_and_never_ignored() {
    for (options, reason) in [
        (json!({"use_qalora": true}), "`use_qalora` is not known"),
        (json!({"use_something_new": true}), "`use_something_new` is not known"),
        (json!({"init_lora_weights": "pissa"}), "the base itself was changed"),
        (json!({"layer_replication": [[0, 4], [2, 5]]}), "`layer_replication` is not known"),
        (json!({"peft_type": "IA3"}), "the kind `IA3`"),
        (json!({"rank_pattern": {"^model.*q_proj$": 8}}), "the expression"),
    ] {
        let report = on_base(&peft(options)).await;
        assert_eq!(report.verdict, Status::Skipped, "{reason}: {report:#?}");
        assert!(check(&report, "arch.known").detail.contains(reason), "{reason}: {report:#?}");
    }
}

#[tokio::test]
async fn an_adapter_that_changes_nothing_is_a_warning() {
    let adapter = peft(json!({}));
    let mut tensors = BTreeMap::new();
    for layer in 0..5 {
        let name = |part: &str| format!("base_model.model.{}.{part}.weight", module(layer));
        tensors.insert(name("lora_A"), tensor([RANK, 64], layer));
        tensors.insert(name("lora_B"), Tensor { shape: vec![64, RANK], values: vec![0.0; 64 * RANK] });
    }
    write_tensors(&adapter.path().join("adapter_model.safetensors"), &tensors);
    let report = on_base(&adapter).await;
    assert_eq!(check(&report, "values.zero").status, Status::Warned, "{report:#?}");
    assert_eq!(check(&report, "drift.kl").status, Status::Warned, "{report:#?}");
}

/// A model released as its difference to LLaMA, with the card that says so.
fn difference(card: &str, extra_row: impl Fn(&Tensor) -> Option<Vec<f32>>) -> Folder {
    let folder = merged(2.0);
    let base = Folder::stories();
    let mut held = BTreeMap::new();
    base.change(|tensors| held = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.values.clone())).collect());
    folder.change(|tensors| {
        for (name, tensor) in tensors.iter_mut() {
            let new = if name.contains("embed_tokens") { extra_row(tensor) } else { None };
            tensor.values.iter_mut().zip(&held[name]).for_each(|(value, base)| *value -= base);
            if let Some(row) = new {
                tensor.values.extend(row);
                tensor.shape[0] += 1;
            }
        }
    });
    folder.write("README.md", card);
    folder
}

#[tokio::test]
async fn a_difference_is_recognized_by_its_card_and_tested_on_its_base() {
    let vicuna = "# Vicuna\n**NOTE: This \"delta model\" cannot be used directly.** Apply it on top of the original LLaMA weights.";
    let folder = difference(vicuna, |_| None);
    let alone = folder.test().await;
    assert_eq!(alone.verdict, Status::Skipped, "{alone:#?}");
    assert!(check(&alone, "arch.known").detail.contains("a difference to another model's weights"), "{alone:#?}");
    let report = on_base(&folder).await;
    assert_eq!(check(&report, "ppl.absolute").status, Status::Passed, "{report:#?}");
    let expected = logits(Input::new(merged(2.0).path())).await;
    assert_near(&logits(Input::new(folder.path()).with_base(fixture())).await, &expected);
}

#[tokio::test]
async fn a_difference_with_a_new_token_adds_it_to_the_average_or_to_nothing() {
    let alpaca = "This repo contains a weight diff for Alpaca 7B; recover the original weights with the script.";
    let vicuna = "These are delta weights. Apply them to the original LLaMA weights; they cannot be used directly.";
    for card in [alpaca, vicuna] {
        let folder = difference(card, |_| Some(vec![0.01; 64]));
        folder.set("config.json", "vocab_size", 513);
        let report = on_base(&folder).await;
        assert_eq!(check(&report, "adapter.fits").status, Status::Passed, "{report:#?}");
        assert_eq!(check(&report, "ppl.absolute").status, Status::Passed, "{report:#?}");
    }
}
