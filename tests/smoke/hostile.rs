//! Files made to hurt: each ends in a reason, none in a crash of more than the child.

use herdbook::smoke::Status;
use serde_json::{Value, json};

use super::folder::{Folder, assert_failed};

#[tokio::test]
async fn numbers_that_no_model_has_are_refused() {
    for (field, value, reason) in [
        ("vocab_size", json!(1_000_000_000_000_u64), "`vocab_size` is 1000000000000"),
        ("hidden_size", json!(1_000_000_000_000_u64), "`hidden_size` is 1000000000000"),
        ("num_hidden_layers", json!(1_000_000_000_000_u64), "`num_hidden_layers` is 1000000000000"),
        ("num_attention_heads", json!(0), "`num_attention_heads` is 0"),
        ("num_key_value_heads", json!(3), "8 attention heads cannot share 3"),
        ("vocab_size", json!(-4), "`vocab_size` is -4"),
        ("head_dim", json!("wide"), "`head_dim`"),
    ] {
        let folder = Folder::stories();
        folder.set("config.json", field, value);
        assert_failed(&folder.test().await, "files.parse", reason);
    }
}

#[tokio::test]
async fn a_million_experts_and_a_thousand_layers_end_in_a_reason() {
    let folder = Folder::stories();
    folder.set("config.json", "num_hidden_layers", 1024);
    folder.set("config.json", "num_local_experts", 1_000_000);
    assert_failed(&folder.test().await, "layers.count", "the files hold 5");
}

#[tokio::test]
async fn a_rope_base_of_zero_is_caught_by_its_effect() {
    let folder = Folder::stories();
    folder.set("config.json", "rope_theta", 0.0);
    assert_failed(&folder.test().await, "forward.finite", "layer 0 is the first");
}

#[tokio::test]
async fn a_tokenizer_that_explodes_is_refused() {
    let folder = Folder::stories();
    let bomb: Vec<Value> =
        (0..12).map(|_| json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"})).collect();
    folder.set("tokenizer.json", "normalizer", json!({"type": "Sequence", "normalizers": bomb}));
    assert_failed(&folder.test().await, "tokenizer.loads", "too much longer");
}

#[tokio::test]
async fn a_tokenizer_that_pads_to_a_tebibyte_is_not_obeyed() {
    let folder = Folder::stories();
    let padding = json!({
        "strategy": {"Fixed": 1_u64 << 40}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "x"
    });
    folder.set("tokenizer.json", "padding", padding);
    assert_eq!(folder.test().await.verdict, Status::Passed);
}

#[tokio::test]
async fn a_tokenizer_that_claims_a_table_of_gigabytes_is_refused() {
    let folder = Folder::stories();
    let normalizer = json!({"type": "Precompiled", "precompiled_charsmap": "////fw=="});
    folder.set("tokenizer.json", "normalizer", normalizer);
    assert_failed(&folder.test().await, "tokenizer.loads", "claims more bytes than it has");
}

#[tokio::test]
async fn a_tokenizer_that_makes_its_library_panic_is_at_fault_itself() {
    let folder = Folder::stories();
    let model = json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["", ""], ["a", "b"]]});
    folder.set("tokenizer.json", "model", model);
    assert_failed(&folder.test().await, "tokenizer.loads", "`tokenizer.json`");
}

#[tokio::test]
async fn a_config_that_is_no_json_and_a_tokenizer_that_is_none_are_failures() {
    let folder = Folder::stories();
    folder.write("config.json", b"{\"architectures\": [");
    assert_failed(&folder.test().await, "files.parse", "config.json is not valid");

    let folder = Folder::stories();
    folder.write("tokenizer.json", b"[]");
    assert_failed(&folder.test().await, "tokenizer.loads", "`tokenizer.json`");
}

#[tokio::test]
async fn links_out_of_the_folder_are_followed_for_weights_only() {
    let outside = Folder::stories();
    let folder = Folder::empty();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::os::unix::fs::symlink(outside.path().join(name), folder.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("README.md")).unwrap();
    assert_eq!(folder.test().await.verdict, Status::Passed);
}

#[tokio::test]
async fn positions_without_end_cost_nothing() {
    for longest in [1_u64 << 31, 1_000_000_000_000] {
        let folder = Folder::stories();
        folder.set("config.json", "max_position_embeddings", longest);
        assert_eq!(folder.test().await.verdict, Status::Passed, "{longest}");
    }
}

#[tokio::test]
async fn heads_that_cannot_be_shared_are_refused() {
    for (field, value) in [("num_key_value_heads", 0), ("num_key_value_heads", 64), ("num_attention_heads", 7)] {
        let folder = Folder::stories();
        folder.set("config.json", field, value);
        assert_eq!(folder.test().await.verdict, Status::Failed, "{field} {value}");
    }
}

/// A safetensors file with this header and so many bytes behind it.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(vec![0; data]);
    bytes
}

#[tokio::test]
async fn weight_files_that_lie_are_refused_with_the_lie() {
    let tensor = |name: &str, shape: &str, offsets: &str| {
        format!(r#""{name}":{{"dtype":"F32","shape":{shape},"data_offsets":{offsets}}}"#)
    };
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (header, data, reason) in [
        (format!("{{{}}}", tensor("a", "[2]", "[0,8]")), 4, "truncated or its header lies"),
        (format!("{{{}}}", tensor("a", "[2]", "[0,4]")), 4, "dtype and shape need 8"),
        (format!("{{{},{}}}", tensor("a", "[2]", "[0,8]"), tensor("b", "[2]", "[4,12]")), 12, "overlap"),
        (format!("{{{},{}}}", tensor("a", "[1]", "[0,4]"), tensor("b", "[1]", "[8,12]")), 12, "belong to no tensor"),
        (format!("{{{}}}", tensor("a", "[1]", "[0,4]")), 9, "belong to no tensor"),
        (format!("{{{}}}", tensor("a", "[4294967296,4294967296]", "[0,8]")), 8, "overflows"),
        (format!("{{{}}}", tensor("a", "[-1]", "[0,8]")), 8, "not valid"),
        (format!("{{\"a\":{deep}}}"), 0, "not valid"),
    ] {
        let folder = Folder::stories();
        folder.write("model.safetensors", safetensors(&header, data));
        assert_failed(&folder.test().await, "files.parse", reason);
    }
    let folder = Folder::stories();
    folder.write("model.safetensors", [0xff; 64]);
    assert_failed(&folder.test().await, "files.parse", "header claims");
}

/// A GGUF file with one tensor and this alignment.
fn gguf(alignment: u32, dimensions: [u64; 2]) -> Vec<u8> {
    let mut bytes = b"GGUF".to_vec();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    text(&mut bytes, "general.alignment");
    bytes.extend(4_u32.to_le_bytes());
    bytes.extend(alignment.to_le_bytes());
    text(&mut bytes, "token_embd.weight");
    bytes.extend(2_u32.to_le_bytes());
    dimensions.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.resize(4096, 1);
    bytes
}

#[tokio::test]
async fn gguf_files_that_lie_are_refused_and_strange_ones_are_not_run() {
    for (file, reason) in [
        (gguf(0, [4, 4]), "alignment 0"),
        (gguf(32, [1 << 40, 1 << 40]), "overflows"),
        (gguf(32, [1 << 20, 1 << 20]), "truncated"),
        (b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7f\0\0\0\0\0\0\0\0".to_vec(), "entries"),
    ] {
        let folder = Folder::empty();
        folder.write("model.gguf", file);
        assert_failed(&folder.test().await, "files.parse", reason);
    }
    let folder = Folder::empty();
    folder.write("model.gguf", gguf(32, [4, 4]));
    let report = folder.test().await;
    assert_eq!(report.verdict, Status::Skipped, "{report:#?}");
}

#[tokio::test]
async fn a_tokenizer_that_searches_forever_is_stopped() {
    let folder = Folder::stories();
    let split = json!({"type": "Split", "pattern": {"Regex": "(a|a|aa)*(b|c)+$(x+x+)+y"}, "behavior": "Isolated", "invert": false});
    folder.set("tokenizer.json", "pre_tokenizer", split);
    let report = folder.test().await;
    assert!(report.cause.is_none() && report.duration_ms < 60_000, "{report:#?}");
}

#[tokio::test]
async fn a_tokenizer_with_a_template_of_megabytes_is_not_obeyed() {
    let folder = Folder::stories();
    let piece = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
    let template = json!({
        "type": "TemplateProcessing", "single": vec![piece; 100_000], "pair": [],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
    });
    folder.set("tokenizer.json", "post_processor", template);
    assert_eq!(folder.test().await.verdict, Status::Passed);
}

#[tokio::test]
async fn a_chat_template_is_rendered_within_limits() {
    for (template, status) in [
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", Status::Passed),
        ("{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}x", Status::Warned),
        ("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", Status::Warned),
        ("{% for %}", Status::Failed),
        ("{# nothing #}", Status::Failed),
    ] {
        let folder = Folder::stories();
        folder.set("tokenizer_config.json", "chat_template", template);
        let report = folder.test().await;
        assert_eq!(super::folder::check(&report, "template.renders").status, status, "{template}: {report:#?}");
    }
}

#[tokio::test]
async fn weights_packed_by_other_libraries_are_recognized_and_skipped() {
    for (name, method) in [
        ("model.layers.0.self_attn.q_proj.qweight", "GPTQ or AWQ"),
        ("model.layers.0.self_attn.q_proj.weight.absmax", "bitsandbytes"),
        ("model.layers.0.self_attn.q_proj.weight_scale_inv", "FP8 with scales"),
    ] {
        let folder = Folder::stories();
        folder.change(|tensors| {
            tensors.insert(name.to_owned(), super::folder::Tensor { shape: vec![2, 2], values: vec![1.0; 4] });
        });
        let report = folder.test().await;
        assert_eq!(report.verdict, Status::Skipped, "{name}: {report:#?}");
        assert!(super::folder::check(&report, "arch.known").detail.contains(method), "{report:#?}");
    }
}
