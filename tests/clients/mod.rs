//! The clients that people have, unmodified: they are told where the server is and who they are, and nothing else.

use std::path::Path;

use crate::support::{TestApp, files, python::Client};

#[tokio::test]
async fn the_hub_client_does_all_it_can_do() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let Some(client) = Client::find("HERDBOOK_TEST_PYTHON", &alice) else { return };
    alice.publish("alice/stories", &files::stories()).await;
    client.run("hub.py", &["alice"]).await;
    app.finish().await;
}

#[tokio::test]
async fn the_command_line_of_the_hub_client_uploads_and_downloads() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let Some(client) = Client::find("HERDBOOK_TEST_PYTHON", &alice) else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories260K");
    let uploaded = client.hf(&["upload", "alice/stories", folder.to_str().unwrap()]).await.expect(0);
    assert!(uploaded.stdout.contains(&format!("{}/alice/stories", app.url())), "{uploaded:?}");
    client.hf(&["download", "alice/stories", "--local-dir", "got"]).await.expect(0);
    for (path, content) in files::stories() {
        assert_eq!(std::fs::read(client.home.path().join("got").join(&path)).unwrap(), content, "{path}");
    }
    let missing = client.hf(&["download", "alice/nothing"]).await;
    assert_ne!(missing.code, Some(0), "{missing:?}");
    app.drain().await;
    assert_eq!(alice.model("alice/stories").await["smoke_test"]["verdict"], "passed");
    app.finish().await;
}

#[tokio::test]
async fn large_files_go_up_in_parts_over_lfs() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let Some(client) = Client::find("HERDBOOK_TEST_PYTHON", &alice) else { return };
    client.run_with("transfer.py", &["alice/large", "70"], &[("HF_HUB_DISABLE_XET", "1")]).await;
    app.finish().await;
}

#[tokio::test]
async fn a_client_from_before_xet_uploads_and_downloads() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let Some(client) = Client::find("HERDBOOK_TEST_PYTHON_OLD", &alice) else { return };
    client.run("transfer.py", &["alice/old", "12"]).await;
    app.finish().await;
}

#[tokio::test]
async fn a_client_without_a_token_reads_what_is_public_and_nothing_else() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let Some(client) = Client::find("HERDBOOK_TEST_PYTHON", &app.anonymous()) else { return };
    alice.publish("alice/open", &files::card("license: mit")).await;
    alice.publish_private("alice/closed", &files::card("license: mit")).await;
    client.hf(&["download", "alice/open", "README.md"]).await.expect(0);
    let refused = client.hf(&["download", "alice/closed", "README.md"]).await;
    let missing = client.hf(&["download", "alice/absent", "README.md"]).await;
    assert_eq!(refused.code, missing.code);
    assert_eq!(refused.stderr.replace("closed", "absent"), missing.stderr);
    assert!(missing.stderr.contains("not found"), "{missing:?}");
    app.finish().await;
}

#[tokio::test]
async fn transformers_reads_a_pushed_model_back_and_writes_what_the_reference_wrote() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let Some(client) = Client::find("HERDBOOK_TEST_PYTHON_TORCH", &alice) else { return };
    alice.publish("alice/stories", &files::stories()).await;
    let written = client.run("write.py", &["alice/stories", "64"]).await.stdout;
    let stories = files::stories();
    let (_, reference) = stories.iter().find(|(path, _)| path == "reference.json").unwrap();
    let reference: serde_json::Value = serde_json::from_slice(reference).unwrap();
    let expected = reference["bos_greedy"]["text"].as_str().unwrap();
    let written = written.trim();
    assert!(written.len() > 150 && expected.starts_with(written), "{written}");
    app.finish().await;
}
