//! What loading a file would run is asked of every file, whatever it is called and wherever it came first.

use serde_json::{Value, json};

use crate::support::{Caller, TestApp, files};

/// A pickle that runs a command.
fn command() -> Vec<u8> {
    b"\x80\x04cos\nsystem\nX\x09\x00\x00\x00echo evil\x85R.".to_vec()
}

fn codes(model: &Value) -> Vec<&str> {
    model["flags"].as_array().unwrap().iter().filter_map(|flag| flag["code"].as_str()).collect()
}

async fn security(caller: &Caller, model: &str) -> Value {
    let model = caller.get(&format!("/api/models/{model}?securityStatus=true")).await.expect(200).json();
    model["securityRepoStatus"].clone()
}

#[tokio::test]
async fn bytes_that_came_under_another_name_first_are_flagged() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/first", &vec![files::file("a.safetensors", command())]).await;
    alice.publish("alice/second", &vec![files::file("pytorch_model.bin", command())]).await;
    let second = alice.model("alice/second").await;
    assert_eq!(codes(&second), ["pickle-dangerous"], "{second}");
    let detail = second["flags"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("pytorch_model.bin") && detail.contains("`os system`"), "{detail}");
    let first = alice.model("alice/first").await;
    assert!(codes(&first).contains(&"file-unreadable"), "{first}");
    app.drain().await;
    app.finish().await;
}

#[tokio::test]
async fn the_security_status_tells_what_was_found() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/sound", &files::stories()).await;
    alice.publish("alice/evil", &vec![files::file("pytorch_model.bin", command())]).await;
    assert_eq!(security(&alice, "alice/sound").await, json!({ "scansDone": true, "filesWithIssues": [] }));
    let issues = json!([{ "path": "pytorch_model.bin", "level": "unsafe" }]);
    assert_eq!(security(&alice, "alice/evil").await, json!({ "scansDone": true, "filesWithIssues": issues }));
    let tree = alice.get("/api/models/alice/evil/tree/main?expand=true").await.expect(200).json();
    let file = tree.as_array().unwrap().iter().find(|entry| entry["path"] == "pytorch_model.bin").unwrap();
    assert_eq!(file["securityFileStatus"]["status"], "unsafe");
    app.drain().await;
    app.finish().await;
}

#[tokio::test]
async fn quarantine_holds_what_would_run_code_until_it_is_released() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    alice.publish("alice/evil", &vec![files::file("pytorch_model.bin", command())]).await;
    app.drain().await;
    let file = "/alice/evil/resolve/main/pytorch_model.bin";
    bob.get(file).await.expect(200);
    let policy = json!({ "on_failure": "quarantine" });
    alice.put("/api/v1/namespaces/alice/smoke-policy", policy).await.expect(200);
    let refused = bob.get("/api/v1/models/alice/evil/files/pytorch_model.bin").await;
    refused.refused(403, "smoke-held", "`os system`");
    bob.get(file).await.expect(403);
    assert!(alice.get("/alice/evil").await.expect(200).text().contains("In quarantine"));
    let release = "/api/v1/models/alice/evil/smoke-tests/release";
    app.admin.post(release, json!({ "reason": "A sample for the lecture." })).await.expect(200);
    bob.get(file).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn files_of_a_branch_are_scanned_flagged_and_held() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    alice.publish("alice/m", &files::stories()).await;
    alice.post("/api/models/alice/m/branch/dev", json!({})).await.succeed();
    alice.put_file_on("alice/m", "dev", "pytorch_model.bin", command()).await.succeed();
    app.drain().await;
    let model = alice.model("alice/m").await;
    assert_eq!(codes(&model), ["pickle-dangerous"], "{model}");
    assert!(model["flags"][0]["detail"].as_str().unwrap().contains("on `dev`"), "{model}");
    assert_eq!(security(&alice, "alice/m").await, json!({ "scansDone": true, "filesWithIssues": [] }));
    let policy = json!({ "on_failure": "quarantine" });
    alice.put("/api/v1/namespaces/alice/smoke-policy", policy).await.expect(200);
    bob.get("/alice/m/resolve/main/config.json").await.expect(200);
    bob.get("/alice/m/resolve/dev/pytorch_model.bin").await.expect(403);

    // A commit to `main` keeps the flag, the end of the branch takes it away.
    alice.put_file("alice/m", "notes.txt", "Hello").await.succeed();
    assert_eq!(codes(&alice.model("alice/m").await), ["pickle-dangerous"]);
    alice.delete("/api/models/alice/m/branch/dev").await.succeed();
    assert!(codes(&alice.model("alice/m").await).is_empty());
    app.drain().await;
    app.finish().await;
}
