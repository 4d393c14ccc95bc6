//! The smoke test on models of three sizes: CPU time of each level, tokens a second, peak memory.
//!
//! The larger two are shaped like real models and hold zeros in files with holes: what is measured is reading, widening
//! and multiplying. The baseline for the largest are the figures that the paper measured for weights widened block by
//! block: 14 CPU-seconds for 16 tokens, 30 for 128. Fewer are expected: for few tokens, weights are widened in the
//! nearest cache, a few rows at a time, instead of in memory.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use crate::support::{MIB, print_note, print_value, program};

/// The shape of a decoder of the Llama kind.
struct Shape {
    name: &'static str,
    hidden: u64,
    feed_forward: u64,
    layers: u64,
    heads: u64,
    kv_heads: u64,
    vocabulary: u64,
}

const MIDDLE: Shape = Shape {
    name: "1.1B in bf16",
    hidden: 2048,
    feed_forward: 5632,
    layers: 22,
    heads: 32,
    kv_heads: 4,
    vocabulary: 32_000,
};
const LARGE: Shape = Shape {
    name: "6.7B in bf16",
    hidden: 4096,
    feed_forward: 11_008,
    layers: 32,
    heads: 32,
    kv_heads: 32,
    vocabulary: 32_000,
};

/// CPU-seconds of the paper for the largest, by tokens.
const PAPER: [(usize, f64); 2] = [(16, 14.0), (128, 30.0)];

pub(crate) fn run() -> anyhow::Result<()> {
    let trained = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories260K");
    let report = smoke(&trained, &["--level", "4"])?;
    print_note("260K in f32, trained: all levels");
    for stage in ["headers", "tokenizer", "scan", "forward", "text", "sample"] {
        print_value(&format!("  CPU, {stage}"), cpu_seconds(&report, stage), "s");
    }
    print_value("  peak memory", peak(&report), "MiB");
    for shape in [MIDDLE, LARGE] {
        measure(&shape)?;
    }
    Ok(())
}

fn measure(shape: &Shape) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("herdbook-bench-").tempdir()?;
    write(folder.path(), shape)?;
    print_note(shape.name);
    let logits = folder.path().join("logits.out");
    for (tokens, paper) in PAPER {
        let ids: Vec<String> = (0..tokens).map(|id| id.to_string()).collect();
        let arguments = ["--level", "2", "--input-ids", &ids.join(","), "--logits", &logits.to_string_lossy()];
        let report = smoke(folder.path(), &arguments)?;
        if tokens == PAPER[0].0 {
            print_value("  CPU, values of all tensors", cpu_seconds(&report, "scan"), "s");
        }
        let cpu = cpu_seconds(&report, "forward");
        print_value(&format!("  CPU, {tokens} tokens"), cpu, "s");
        if shape.name == LARGE.name {
            print_value("    baseline: the paper's", paper, "s");
        }
        let wall = stage(&report, "forward").and_then(|stage| stage["ms"].as_f64()).unwrap_or(0.0) / 1000.0;
        #[expect(clippy::cast_precision_loss, reason = "at most 128")]
        print_value("  tokens a second", tokens as f64 / wall.max(1e-3), "");
        print_value("  peak memory", peak(&report), "MiB");
    }
    Ok(())
}

fn smoke(folder: &Path, arguments: &[&str]) -> anyhow::Result<Value> {
    let output = program().arg("smoke").arg(folder).arg("--json").args(arguments).output()?;
    let report: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("no report: {}", String::from_utf8_lossy(&output.stderr)))?;
    ensure!(report["cause"].is_null(), "the run did not end: {report}");
    Ok(report)
}

fn stage<'a>(report: &'a Value, name: &str) -> Option<&'a Value> {
    report["stages"].as_array()?.iter().find(|stage| stage["name"] == name)
}

fn cpu_seconds(report: &Value, name: &str) -> f64 {
    stage(report, name).and_then(|stage| stage["cpu_ms"].as_f64()).unwrap_or(0.0) / 1000.0
}

fn peak(report: &Value) -> f64 {
    report["metrics"]["peak_memory_bytes"].as_f64().unwrap_or(0.0) / MIB
}

/// Writes a folder with a model of zeros, whose weights take no space on the disk.
fn write(folder: &Path, shape: &Shape) -> anyhow::Result<()> {
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads, "vocab_size": shape.vocabulary, "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    });
    fs::write(folder.join("config.json"), config.to_string())?;
    let keys = shape.hidden / shape.heads * shape.kv_heads;
    let (hidden, wide, words) = (shape.hidden, shape.feed_forward, shape.vocabulary);
    let mut tensors: Vec<(String, Vec<u64>)> = vec![
        ("model.embed_tokens.weight".into(), vec![words, hidden]),
        ("model.norm.weight".into(), vec![hidden]),
        ("lm_head.weight".into(), vec![words, hidden]),
    ];
    for layer in 0..shape.layers {
        let parts = [
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.k_proj", vec![keys, hidden]),
            ("self_attn.v_proj", vec![keys, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("mlp.gate_proj", vec![wide, hidden]),
            ("mlp.up_proj", vec![wide, hidden]),
            ("mlp.down_proj", vec![hidden, wide]),
        ];
        tensors.extend(parts.map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape)));
    }
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let start = end;
        end += 2 * shape.iter().product::<u64>();
        header.insert(name, json!({"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}));
    }
    let header = Value::Object(header).to_string();
    let mut file = File::create(folder.join("model.safetensors"))?;
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.set_len(8 + header.len() as u64 + end)?;
    Ok(())
}
