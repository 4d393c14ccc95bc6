//! Models that work, and models that nobody can call either way.

use herdbook::smoke::{self, Status};
use serde_json::{Value, json};

use super::folder::{Folder, check, write_tensors};

#[tokio::test]
async fn a_trained_model_passes_and_writes_what_the_reference_wrote() {
    let folder = Folder::stories();
    let report = folder.test().await;
    let reference: Value = serde_json::from_slice(&folder.read("reference.json")).unwrap();
    assert_eq!(report.verdict, Status::Passed, "{report:#?}");
    assert!(report.checks.iter().all(|check| check.status == Status::Passed), "{report:#?}");
    let written = report.sample.unwrap();
    let expected = reference["bos_greedy"]["text"].as_str().unwrap();
    assert!(written.len() > 80 && expected.starts_with(&written), "{written}");
    let ids = report.metrics["sample_ids"].as_array().unwrap();
    assert_eq!(ids.as_slice(), &reference["bos_greedy"]["output_ids"].as_array().unwrap()[1..33]);
    assert_eq!(report.metrics["parameters"], 260_032);
    assert_eq!(report.environment["landlock"], "fully enforced");
    let stages: Vec<&str> = report.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(stages, ["headers", "tokenizer", "scan", "forward", "text", "sample", "finish"]);
    let peak = report.metrics["peak_memory_bytes"].as_u64().unwrap();
    assert!(peak < 64 << 20, "the child took {peak} bytes");
}

#[tokio::test]
async fn a_model_without_a_tokenizer_is_run_on_any_tokens() {
    let folder = Folder::stories();
    folder.remove("tokenizer.json");
    let report = folder.test().await;
    assert_eq!(check(&report, "tokenizer.loads").status, Status::Skipped);
    assert_eq!(check(&report, "forward.finite").status, Status::Passed);
    assert_eq!((report.verdict, report.sample), (Status::Passed, None));
}

#[tokio::test]
async fn a_sharded_model_passes() {
    let folder = Folder::stories();
    let mut map = serde_json::Map::new();
    folder.change(|tensors| {
        let second = tensors.split_off("model.layers.3");
        for (file, part) in
            [("model-00001-of-00002.safetensors", &*tensors), ("model-00002-of-00002.safetensors", &second)]
        {
            map.extend(part.keys().map(|name| (name.clone(), Value::from(file))));
            write_tensors(&folder.path().join(file), part);
        }
    });
    folder.remove("model.safetensors");
    folder.write("model.safetensors.index.json", json!({ "weight_map": map }).to_string());
    let report = folder.test().await;
    assert_eq!(report.verdict, Status::Passed, "{report:#?}");
    assert_eq!(check(&report, "index.consistent").status, Status::Passed);

    folder.remove("model-00002-of-00002.safetensors");
    let report = folder.test().await;
    super::folder::assert_failed(&report, "index.consistent", "`model-00002-of-00002.safetensors`, which is missing");
}

#[tokio::test]
async fn an_unknown_architecture_is_skipped_with_the_reason_and_never_passed() {
    let folder = Folder::stories();
    folder.set("config.json", "architectures", json!(["RwkvForCausalLM"]));
    let report = folder.test().await;
    assert_eq!(report.verdict, Status::Skipped, "{report:#?}");
    assert_eq!(check(&report, "arch.known").detail, "the architecture `RwkvForCausalLM` is not supported yet");
    assert_eq!(check(&report, "values.finite").status, Status::Passed);
}

#[tokio::test]
async fn an_unknown_position_embedding_is_skipped_rather_than_guessed() {
    let folder = Folder::stories();
    folder.set("config.json", "rope_parameters", json!({"rope_type": "spiral", "rope_theta": 1e4}));
    let report = folder.test().await;
    assert_eq!(report.verdict, Status::Skipped, "{report:#?}");
    assert!(check(&report, "arch.known").detail.contains("`spiral`"));
}

#[tokio::test]
async fn pickles_are_not_loaded() {
    let folder = Folder::empty();
    folder.write("pytorch_model.bin", b"\x80\x04cos\nsystem\n");
    folder.write("config.json", "{}");
    let report = folder.test().await;
    assert_eq!(report.verdict, Status::Skipped);
    assert!(check(&report, "files.parse").detail.starts_with("pickle-based weights are not loaded"));
}

#[tokio::test]
async fn a_folder_without_weights_is_skipped() {
    let folder = Folder::empty();
    folder.write("README.md", "# Nothing yet");
    assert_eq!(folder.test().await.verdict, Status::Skipped);
}

#[tokio::test]
async fn an_adapter_is_checked_but_not_run_without_its_base() {
    let folder = Folder::empty();
    let tensor =
        |shape: [usize; 2]| super::folder::Tensor { shape: shape.to_vec(), values: vec![0.5; shape[0] * shape[1]] };
    let name = |part: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.{part}.weight");
    let tensors = [(name("lora_A"), tensor([4, 64])), (name("lora_B"), tensor([64, 4]))].into_iter().collect();
    write_tensors(&folder.path().join("adapter_model.safetensors"), &tensors);
    let config = json!({"peft_type": "LORA", "base_model_name_or_path": "acme/base", "r": 4, "lora_alpha": 8});
    folder.write("adapter_config.json", config.to_string());
    let report = folder.test().await;
    assert_eq!(report.verdict, Status::Skipped, "{report:#?}");
    assert!(check(&report, "arch.known").detail.contains("its base model `acme/base`"));

    let mut idle = tensors;
    idle.get_mut(&name("lora_B")).unwrap().values.fill(0.0);
    write_tensors(&folder.path().join("adapter_model.safetensors"), &idle);
    assert_eq!(check(&folder.test().await, "values.zero").status, Status::Warned);
}

#[tokio::test]
async fn a_model_larger_than_its_memory_is_run_block_by_block() {
    let folder = Folder::stories();
    let wide = 16_384;
    folder.set("config.json", "intermediate_size", wide);
    // Two tokens: what is measured is memory.
    folder.set("config.json", "max_position_embeddings", 2);
    folder.change(|tensors| {
        for (name, tensor) in tensors.iter_mut().filter(|(name, _)| name.contains(".mlp.")) {
            tensor.shape = if name.contains("down_proj") { vec![64, wide] } else { vec![wide, 64] };
            tensor.values = (0..64 * wide).map(|i| (i % 13) as f32 / 1e5 - 6e-5).collect();
        }
    });
    let mut input = smoke::Input { program: Some(super::folder::HERDBOOK.into()), ..smoke::Input::new(folder.path()) };
    // 63 MB of weights.
    (input.level, input.limits.memory) = (2, 48 << 20);
    let report = smoke::run(&input).await.unwrap();
    assert_eq!(check(&report, "forward.finite").status, Status::Passed, "{report:#?}");
    assert!(report.metrics["bytes_read"].as_u64().unwrap() > 2 * 60_000_000, "{report:#?}");
}
