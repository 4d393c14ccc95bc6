//! Files that lie: the push is taken, the model shows, and what is wrong is said.

use serde_json::Value;

use crate::support::{Caller, Files, TestApp, files};

/// The detail of a failed check.
async fn failed_check(alice: &Caller, model: &str, id: &str) -> String {
    let tests = alice.get(&format!("/api/v1/models/{model}/smoke-tests")).await.expect(200).json();
    assert_eq!(tests["verdict"], "failed", "{tests}");
    let checks = tests["items"][0]["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {tests}"));
    assert_eq!(check["status"], "failed", "{check}");
    check["detail"].as_str().unwrap().to_owned()
}

fn change(files: &mut Files, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
    change(&mut files.iter_mut().find(|(name, _)| name == path).unwrap().1);
}

#[tokio::test]
async fn truncated_weights_fail_a_check() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut model = files::stories();
    change(&mut model, "model.safetensors", |bytes| bytes.truncate(bytes.len() / 2));
    alice.publish("alice/half", &model).await;
    app.drain().await;
    assert!(failed_check(&alice, "alice/half", "files.parse").await.contains("the file is truncated"));
    assert!(alice.get("/alice/half").await.expect(200).text().contains("alice/half"));
    alice.get("/alice/half/tensors").await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_vocabulary_of_a_trillion_fails_a_check() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut model = files::stories();
    change(&mut model, "config.json", |bytes| {
        let mut config: Value = serde_json::from_slice(bytes).unwrap();
        config["vocab_size"] = 1_000_000_000_000_u64.into();
        *bytes = config.to_string().into_bytes();
    });
    alice.publish("alice/huge", &model).await;
    app.drain().await;
    let tests = alice.get("/api/v1/models/alice/huge/smoke-tests").await.expect(200).json();
    assert_eq!(tests["verdict"], "failed", "{tests}");
    assert!(tests["items"][0]["checks"].to_string().contains("1000000000000"), "{tests}");
    alice.get("/alice/huge").await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_header_that_announces_more_than_there_is_fails_a_check() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let config = files::stories().into_iter().find(|(path, _)| path == "config.json").unwrap();
    let mut endless = u64::MAX.to_le_bytes().to_vec();
    endless.extend_from_slice(b"{}");
    for (model, weights) in [
        ("alice/endless", endless),
        ("alice/hollow", files::safetensors(&[1 << 20, 1 << 20], b"")),
        ("alice/empty", Vec::new()),
    ] {
        alice.publish(model, &vec![config.clone(), files::file("model.safetensors", weights)]).await;
        app.drain().await;
        failed_check(&alice, model, "files.parse").await;
        alice.get(&format!("/{model}/tensors")).await.expect(200);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_card_that_cannot_be_read_is_flagged_and_the_model_shows() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let card = vec![files::file("README.md", "---\nlicense: [mit\n---\n# Broken\n\nStill worth reading.\n")];
    alice.publish("alice/m", &card).await;
    let model = alice.model("alice/m").await;
    let flags = model["flags"].to_string();
    assert!(flags.contains("README.md") || flags.contains("card"), "{flags}");
    assert_eq!(model["license"]["declared"], Value::Null);
    let page = alice.get("/alice/m").await.expect(200).text();
    assert!(page.contains("Still worth reading."), "{page}");
    app.drain().await;
    assert_eq!(alice.model("alice/m").await["license"]["position"], "unknown");
    app.finish().await;
}

#[tokio::test]
async fn pickles_are_flagged_and_never_loaded() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let pickle = b"\x80\x04cos\nsystem\nX\x09\x00\x00\x00echo evil\x85R.".to_vec();
    alice.publish("alice/m", &vec![files::file("pytorch_model.bin", pickle)]).await;
    app.drain().await;
    let model = alice.model("alice/m").await;
    assert_eq!(model["flags"][0]["code"], "pickle-dangerous", "{}", model["flags"]);
    assert!(model["flags"][0]["detail"].to_string().contains("pytorch_model.bin"), "{}", model["flags"]);
    assert_eq!(model["smoke_test"]["verdict"], "skipped");
    app.finish().await;
}
