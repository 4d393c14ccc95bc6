//! The decoder against logits that transformers computed, for the architectures of the larger sample set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use herdbook::smoke::{self, Input};
use safetensors::SafeTensors;
use serde_json::Value;

use super::folder::{Folder, HERDBOOK, fixture};

#[tokio::test]
async fn a_trained_model_gives_the_reference_logits() {
    let reference: Value = serde_json::from_slice(&fs::read(fixture().join("reference.json")).unwrap()).unwrap();
    let prompt = &reference["prompt"];
    let ids: Vec<u32> = serde_json::from_value(prompt["input_ids"].clone()).unwrap();
    let expected: Vec<f32> = serde_json::from_value(prompt["last_logits"].clone()).unwrap();
    let logits = logits(Input::new(fixture()), ids).await;
    assert!(distance(logits.last().unwrap(), &expected) < 1e-4);
}

/// The samples of the larger set, where it is there.
fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/weights/architectures");
    let entries = folder.read_dir().into_iter().flatten().flatten().map(|entry| entry.path());
    let mut samples: Vec<PathBuf> = entries.filter(|path| path.join("ref.safetensors").is_file()).collect();
    samples.sort();
    samples
}

/// A reference: the tokens that were read, and the logits that another implementation gave for them.
struct Reference {
    ids: Vec<u32>,
    logits: Vec<f32>,
    /// In the weights' own precision.
    native: Option<Vec<f32>>,
}

fn reference(sample: &Path) -> Reference {
    let bytes = fs::read(sample.join("ref.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let ids = file.tensor("input_ids").unwrap();
    let ids = ids.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect();
    let floats = |name: &str| {
        let tensor = file.tensor(name).ok()?;
        (tensor.dtype() == safetensors::Dtype::F32)
            .then(|| tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect())
    };
    Reference { ids, logits: floats("logits").unwrap(), native: floats("logits_native") }
}

#[tokio::test]
async fn every_architecture_gives_the_logits_of_transformers() {
    for sample in samples().iter().filter(|sample| sample.join("config.json").is_file()) {
        for config in ["config.json", "config.v4.json"] {
            let folder = copy(sample, config);
            let Reference { ids, logits: expected, native } = reference(sample);
            let logits = logits(Input::new(folder.path()), ids).await.concat();
            // An encoder and decoder: the reference holds the decoder's first positions.
            let distance = distance(&logits[..expected.len()], &expected);
            assert!(distance < 1e-4, "{} with {config} is off by {distance}", sample.display());
            if let Some(native) = native {
                // What rounding in sixteen bits alone does: to the reference that computed in thirty-two.
                let rounding = self::distance(&expected, &native);
                let distance = self::distance(&logits, &native);
                assert!(distance < rounding + 1e-4, "{} is off the native logits by {distance}", sample.display());
            }
        }
    }
}

#[tokio::test]
async fn every_adapter_gives_the_logits_of_its_library() {
    for sample in samples().iter().filter(|sample| sample.join("adapter_config.json").is_file()) {
        let base: Value = serde_json::from_slice(&fs::read(sample.join("base.json")).unwrap()).unwrap();
        let base = sample.parent().unwrap().join(base["base"].as_str().unwrap());
        let Reference { ids, logits: expected, .. } = reference(sample);
        let logits = logits(Input::new(sample).with_base(base), ids).await.concat();
        let distance = distance(&logits, &expected);
        assert!(distance < 1e-4, "{} is off by {distance}", sample.display());
    }
}

#[tokio::test]
async fn gguf_files_give_the_logits_of_what_they_were_made_from() {
    for sample in samples() {
        let files = sample.read_dir().unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|path| path.extension().is_some_and(|extension| extension == "gguf")) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            // The file of this one says nothing of the window, and the reference has one.
            if sample.ends_with("mistral_sw8") {
                continue;
            }
            // What is lost by the encoding itself, measured with the decoded weights.
            let allowed = match name.as_str() {
                "gguf-f32.gguf" => 1e-4,
                "gguf-f16.gguf" => 1e-2,
                "gguf-bf16.gguf" => 0.1,
                "gguf-q8_0.gguf" => 0.2,
                "gguf-q5_1.gguf" => 1.2,
                _ => 2.4,
            };
            let folder = Folder::empty();
            folder.write(&name, fs::read(&file).unwrap());
            let Reference { ids, logits: expected, .. } = reference(&sample);
            let logits = logits(Input::new(folder.path()), ids).await.concat();
            let distance = distance(&logits, &expected);
            assert!(distance < allowed, "{} is off by {distance}", file.display());
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

async fn logits(input: Input, ids: Vec<u32>) -> Vec<Vec<f32>> {
    let input = Input { program: Some(PathBuf::from(HERDBOOK)), input_ids: Some(ids), ..input };
    let (report, logits) = smoke::run_with_logits(&input).await.unwrap();
    assert!(!logits.is_empty(), "{report:#?}");
    logits
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
