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
