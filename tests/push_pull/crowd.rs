//! Many clients at once: nobody is turned away, and nothing that one sent is lost to another.

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::{TestApp, file_url, files};

#[tokio::test]
async fn uploads_to_one_model_queue_up_and_all_arrive() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.put("/api/v1/models/alice/m", json!({})).await.expect(201);
    let mut uploads = JoinSet::new();
    for number in 0..24_u8 {
        let alice = alice.clone();
        uploads.spawn(async move {
            alice.put_file("alice/m", &format!("{number}.bin"), vec![number; 50_000]).await.expect(200);
        });
    }
    uploads.join_all().await;
    let listed = alice.model("alice/m").await["files"].as_array().unwrap().len();
    assert_eq!(listed, 25, "each commit builds on the one before, and .gitattributes is there from the start");
    let commits = alice.get("/api/models/alice/m/commits/main?limit=100").await.expect(200).json();
    assert_eq!(commits.as_array().unwrap().len(), 25);
    for number in 0..24_u8 {
        let answer = alice.get(&file_url("alice/m", &format!("{number}.bin"))).await.expect(200);
        assert!(answer.body == vec![number; 50_000], "{number}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_same_new_content_from_many_is_stored_once() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let content: Vec<_> = (0..6).map(|n| files::file(&format!("{n}.bin"), files::noise(30_000, n))).collect();
    let before = app.fsck().await["bytes"].as_u64().unwrap();
    let mut pushes = JoinSet::new();
    for number in 0..8 {
        let (alice, mut content) = (alice.clone(), content.clone());
        content.rotate_left(number % 6);
        pushes.spawn(async move { alice.publish(&format!("alice/m{number}"), &content).await });
    }
    pushes.join_all().await;
    for number in 0..8 {
        for (path, content) in &content {
            let url = file_url(&format!("alice/m{number}"), path);
            assert!(alice.get(&url).await.expect(200).body == *content, "{url}");
        }
    }
    let stored = app.fsck().await["bytes"].as_u64().unwrap() - before;
    assert!((180_000..190_000).contains(&stored), "{stored} bytes for 180,000 and a .gitattributes");
    app.finish().await;
}

#[tokio::test]
async fn one_of_two_commits_on_the_same_parent_is_refused() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let parent = alice.publish("alice/m", &files::card("license: mit")).await;
    let mut commits = JoinSet::new();
    for number in 0..2 {
        let (alice, parent) = (alice.clone(), parent.clone());
        commits.spawn(async move {
            let header = json!({ "key": "header", "value": { "summary": "mine", "parentCommit": parent } });
            let content = json!({ "path": format!("{number}.txt"), "content": "eA==", "encoding": "base64" });
            let body = format!("{header}\n{}\n", json!({ "key": "file", "value": content }));
            let request = alice.request(Method::POST, "/api/models/alice/m/commit/main").body(body);
            crate::support::send(request).await.status.as_u16()
        });
    }
    let mut statuses = commits.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    app.finish().await;
}
