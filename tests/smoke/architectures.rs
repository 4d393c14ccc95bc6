//! The decoder against logits that transformers computed, for the architectures of the larger sample set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use herdbook::smoke::{self, Input};
use safetensors::SafeTensors;
use serde_json::Value;

use super::folder::{Folder, HERDBOOK, fixture};

/// The samples that are run, each in both forms of `config.json`.
const SUPPORTED: &[&str] = &[
    "cohere",
    "gemma",
    "gemma2",
    "gemma3",
    "granite",
    "llama_f16",
    "llama_f32",
    "llama_gelu",
    "llama_headdim",
    "llama_rope_llama3",
    "llama_sharded",
    "llama_tied_bf16",
    "mistral",
    "mistral_sw8",
    "mixtral",
    "olmo2",
    "phi3",
    "phi3_longrope",
    "qwen2",
    "qwen2_sw8",
    "qwen3",
    "qwen3_moe",
    "stablelm",
    "starcoder2",
];

#[tokio::test]
async fn a_trained_model_gives_the_reference_logits() {
    let reference: Value = serde_json::from_slice(&fs::read(fixture().join("reference.json")).unwrap()).unwrap();
    let prompt = &reference["prompt"];
    let ids: Vec<u32> = serde_json::from_value(prompt["input_ids"].clone()).unwrap();
    let expected: Vec<f32> = serde_json::from_value(prompt["last_logits"].clone()).unwrap();
    let logits = logits(&fixture(), ids).await;
    assert!(distance(logits.last().unwrap(), &expected) < 1e-4);
}

#[tokio::test]
async fn every_supported_architecture_gives_the_logits_of_transformers() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/weights/architectures");
    if !samples.is_dir() {
        return;
    }
    for name in SUPPORTED {
        for config in ["config.json", "config.v4.json"] {
            let sample = samples.join(name);
            let folder = copy(&sample, config);
            let bytes = fs::read(sample.join("ref.safetensors")).unwrap();
            let reference = SafeTensors::deserialize(&bytes).unwrap();
            let ids = reference.tensor("input_ids").unwrap();
            let ids = ids.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32);
            let logits: Vec<f32> = logits(folder.path(), ids.collect()).await.concat();
            let expected = reference.tensor("logits").unwrap();
            let expected: Vec<f32> =
                expected.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            let distance = distance(&logits, &expected);
            assert!(distance < 1e-4, "{name} with {config} is off by {distance}");
        }
    }
}

fn copy(sample: &Path, config: &str) -> Folder {
    let folder = Folder::empty();
    folder.write("config.json", fs::read(sample.join(config)).unwrap());
    for entry in sample.read_dir().unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("model") {
            folder.write(&name, fs::read(sample.join(&name)).unwrap());
        }
    }
    folder
}

async fn logits(dir: &Path, ids: Vec<u32>) -> Vec<Vec<f32>> {
    let input = Input { program: Some(PathBuf::from(HERDBOOK)), input_ids: Some(ids), ..Input::new(dir) };
    let (report, logits) = smoke::run_with_logits(&input).await.unwrap();
    assert!(!logits.is_empty(), "{report:#?}");
    logits
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
