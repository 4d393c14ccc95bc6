//! Files in and out: REST, `herdbook push` and `herdbook pull`.

use crate::support::{TestApp, files};

#[tokio::test]
async fn a_published_model_comes_back_byte_for_byte() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let commit = alice.publish("alice/stories", &files::stories()).await;
    for (path, content) in files::stories() {
        let answer = alice.get(&format!("/alice/stories/resolve/main/{path}")).await.expect(200);
        assert_eq!(answer.body, content, "{path}");
        assert_eq!(answer.header("x-repo-commit"), commit);
    }
    app.drain().await;
    assert_eq!(alice.model("alice/stories").await["smoke_test"]["verdict"], "passed");
    app.finish().await;
}
