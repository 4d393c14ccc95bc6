//! NUL, which Postgres keeps in no text: wherever a file or a request may hold it, an answer comes, and never a 500.

use serde_json::json;

use crate::support::{TestApp, files};

fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 8]].concat()
}

/// A GGUF file with one text in its metadata.
fn gguf(key: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend(1_u64.to_le_bytes());
    bytes.extend(text(key));
    bytes.extend(8_u32.to_le_bytes());
    bytes.extend(text(value));
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes
}

#[tokio::test]
async fn files_with_nul_are_published_and_judged() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let card = "---\nlicense: \"m\\0it\"\nlicense_name: \"a\\0b\"\nlicense_link: \"a\\0b\"\nbase_model: \"al\\0ice/base\"\n\
        tags: [\"a\\0b\"]\npipeline_tag: \"a\\0b\"\nlibrary_name: \"a\\0b\"\n\"k\\0ey\": \"v\\0alue\"\n---\n# A \0 model\nIt \0 speaks.\n";
    let named = r#"{"a\u0000b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"x\u0000":"y\u0000"}}"#;
    let files = vec![
        files::file("README.md", card),
        files::file("LICENSE", "MIT \0 License"),
        files::file(
            "config.json",
            r#"{"architectures":["Lla\u0000ma"],"model_type":"a\u0000b","torch_dtype":"a\u0000"}"#,
        ),
        files::file("adapter_config.json", r#"{"peft_type":"LO\u0000RA","base_model_name_or_path":"a\u0000/b","r":1}"#),
        files::file("mergekit_config.yml", "models:\n  - model: \"a\\0/b\"\nmerge_method: \"li\\0near\"\n"),
        files::file("tokenizer.json", "{\"a\\u0000\": \"\\u0000\"}"),
        files::file("model.safetensors", safetensors(named)),
        files::file("other.safetensors", safetensors("\0\0\0\0")),
        files::file("a.gguf", gguf("general.name", "a\0b")),
        files::file("b.gguf", gguf("general.architecture", "ll\0ama")),
        files::file("c.gguf", gguf("general.\0", "a")),
        files::file("pytorch_model.bin", b"\x80\x02c\0os\n\0system\nq\0.".to_vec()),
    ];
    alice.publish("alice/all", &files).await;
    for file in files {
        let model = format!("alice/only-{}", file.0.replace(['.', '_'], "-").to_lowercase());
        alice.publish(&model, &vec![file]).await;
    }
    app.drain().await;
    for place in
        ["/alice/all", "/alice/all/license", "/alice/all/smoke-test", "/alice/all/tensors", "/alice/all/pedigree"]
    {
        alice.get(place).await.expect(200);
    }
    let jobs = app.admin.get("/api/v1/jobs?limit=1").await.expect(200).json();
    assert_eq!(jobs["counts"]["failed"].as_i64().unwrap_or(0), 0, "{jobs}");
    app.finish().await;
}

#[tokio::test]
async fn requests_with_nul_are_answered() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/m", &files::card("license: mit")).await;
    for place in [
        "/models?q=a%00b",
        "/api/v1/models?q=a%00b&license=%00&namespace=%00",
        "/api/v1/models?tag=%00&cursor=00",
        "/api/models?search=%00&author=%00",
        "/compliance?namespace=%00&license=%00&rule=%00",
        "/api/v1/audit?scope=%00",
        "/api/v1/audit?license=%00&rule=%00&format=csv",
        "/api/v1/events?model=alice/m%00",
        "/alice/m/resolve/%00/README.md",
        "/alice/m/resolve/main/READ%00ME.md",
        "/alice/%00",
        "/licenses/%00",
    ] {
        let answer = app.anonymous().get(place).await;
        assert!(answer.status.as_u16() < 500, "{place}: {} {}", answer.status, answer.text());
    }
    let claim = json!({ "parent": "a\0/b", "note": "n\0ote", "relation": "finetune" });
    let waiver = json!({ "model": "alice/m", "rule": "a\0", "about": "b\0", "reason": "c\0", "owner": "d\0", "expires": "2029-01-01" });
    for (place, body) in [
        ("/api/v1/models/alice/m/claims", claim),
        ("/api/v1/waivers", waiver),
        (
            "/api/v1/license/what-if",
            json!({ "name": "a\0/b", "license": "\0", "parents": [{ "model": "\0", "relation": "\0" }] }),
        ),
    ] {
        let answer = app.admin.post(place, body).await;
        assert!(answer.status.as_u16() < 500, "{place}: {} {}", answer.status, answer.text());
    }
    let answer = alice.put_file("alice/m", "a.txt?message=a%00b", "text").await;
    assert!(answer.status.as_u16() < 500, "{}", answer.text());
    app.finish().await;
}
