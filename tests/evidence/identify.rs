//! What weights on a disk are, asked without uploading them.

use reqwest::Method;
use serde_json::Value;

use super::weights::Weights;
use crate::support::{TestApp, send};

#[tokio::test]
async fn a_folder_is_identified_by_its_fingerprint_alone() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let base = Weights::base();
    alice.publish("alice/base", &base.files("license: cc-by-nc-4.0")).await;
    alice.publish("alice/other", &base.unrelated(3).files("license: mit")).await;
    app.drain().await;
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in base.tuned(1).files("license: mit").iter().filter(|(name, _)| name != "README.md") {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let path = folder.path().to_str().unwrap();
    let answer: Value = serde_json::from_str(&app.run(&["identify", path, "--json"]).await.expect(0).stdout).unwrap();
    let first = &answer["relatives"][0];
    assert_eq!(
        (first["id"].as_str(), first["role"].as_str(), first["relation"].as_str(), first["license"].as_str()),
        (Some("alice/base"), Some("parent"), Some("finetune"), Some("cc-by-nc-4.0")),
        "{answer}"
    );
    let words = app.run(&["identify", path]).await.expect(0).stdout;
    assert!(words.contains("a fine-tune of `alice/base` (licensed cc-by-nc-4.0"), "{words}");
    // Nothing is kept of what was asked.
    let models = alice.get("/api/v1/models").await.expect(200).json();
    assert_eq!(models["items"].as_array().unwrap().len(), 2);
    std::fs::write(folder.path().join("model.safetensors"), base.unrelated(8).to_bytes()).unwrap();
    let words = app.run(&["identify", path]).await.expect(1).stdout;
    assert!(words.contains("Nothing here that you may read is related"), "{words}");
    let empty = tempfile::tempdir().unwrap();
    let output = app.run(&["identify", empty.path().to_str().unwrap()]).await.expect(2);
    assert!(output.stderr.contains("there are no weights"), "{}", output.stderr);
    app.finish().await;
}

#[tokio::test]
async fn a_forged_fingerprint_is_refused_with_the_reason() {
    let app = TestApp::spawn().await;
    let folder = tempfile::tempdir().unwrap();
    let (weights, print) = (folder.path().join("model.safetensors"), folder.path().join("print"));
    std::fs::write(&weights, Weights::base().to_bytes()).unwrap();
    let arguments = ["identify", weights.to_str().unwrap(), "--save", print.to_str().unwrap()];
    app.run(&arguments).await.expect(0);
    let print = std::fs::read(print).unwrap();
    let ask = async |body: Vec<u8>| send(app.anonymous().request(Method::POST, "/api/v1/identify").body(body)).await;
    ask(print.clone()).await.expect(200);
    ask(Vec::new()).await.refused(400, "bad-fingerprint", "no fingerprint");
    ask(b"what is this?".to_vec()).await.refused(400, "bad-fingerprint", "no fingerprint");
    ask(print[..print.len() / 2].to_vec()).await.refused(400, "bad-fingerprint", "");
    let mut longer = print.clone();
    longer.push(0);
    ask(longer).await.refused(400, "bad-fingerprint", "");
    let mut infinite = print.clone();
    let end = infinite.len();
    infinite[end - 64..].fill(0xff);
    ask(infinite).await.expect(400);
    ask(vec![b'x'; 17 << 20]).await.expect(413);
    // A header that claims a billion rows.
    let text = String::from_utf8_lossy(&print[..200]).into_owned();
    assert!(text.contains('{'), "{text}");
    for at in (0..print.len()).step_by(print.len() / 97) {
        let mut damaged = print.clone();
        damaged[at] ^= 0x55;
        let status = ask(damaged).await.status.as_u16();
        assert!([200, 400].contains(&status), "byte {at}: {status}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_crowd_that_asks_what_it_has_keeps_nobody_else_waiting() {
    let app = TestApp::spawn().await;
    let folder = tempfile::tempdir().unwrap();
    let (weights, print) = (folder.path().join("model.safetensors"), folder.path().join("print"));
    std::fs::write(&weights, Weights::base().to_bytes()).unwrap();
    let arguments = ["identify", weights.to_str().unwrap(), "--save", print.to_str().unwrap()];
    app.run(&arguments).await.expect(0);
    let print = std::fs::read(print).unwrap();
    let asks = (0..200).map(|_| send(app.anonymous().request(Method::POST, "/api/v1/identify").body(print.clone())));
    let (answers, ()) = futures::join!(futures::future::join_all(asks), async {
        for _ in 0..10 {
            app.anonymous().get("/").await.expect(200);
            app.anonymous().get("/readyz").await.expect(200);
        }
    });
    let mut answered = 0;
    for answer in answers {
        match answer.status.as_u16() {
            200 => answered += 1,
            _ => answer.refused(503, "busy", "too many fingerprints"),
        }
    }
    assert!(answered >= 2, "{answered} of 200 were answered");
    app.finish().await;
}
