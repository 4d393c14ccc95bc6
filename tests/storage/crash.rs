//! A server that is cut off in the middle of its work loses nothing that it acknowledged.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};

use crate::support::{TestApp, file_url, files};

const UPLOADS: u64 = 50;

/// Different sizes, some beyond what the store writes at once.
fn content(number: u64) -> Vec<u8> {
    files::noise(if number.is_multiple_of(10) { 9 << 20 } else { 100_000 + number as usize * 7001 }, number + 1)
}

#[tokio::test]
async fn a_killed_server_keeps_every_acknowledged_file() {
    let mut app = TestApp::spawn().await;
    let mut alice = app.user("alice").await;
    for model in 0..5 {
        alice.put(&format!("/api/v1/models/alice/m{model}"), json!({})).await.expect(201);
    }
    let (acknowledge, mut acknowledged) = mpsc::unbounded_channel();
    let mut uploads = JoinSet::new();
    for number in 0..UPLOADS {
        let (alice, acknowledge) = (alice.clone(), acknowledge.clone());
        uploads.spawn(async move {
            let url = file_url(&format!("alice/m{}", number % 5), &format!("{number}.bin"));
            let request = alice.request(reqwest::Method::PUT, &url).body(content(number));
            let is_kept = match request.send().await {
                Ok(response) => response.status() == 200 && response.bytes().await.is_ok(),
                Err(_) => false,
            };
            if is_kept {
                acknowledge.send((number, url)).unwrap();
            }
        });
    }
    drop(acknowledge);
    let mut kept = BTreeMap::new();
    while kept.len() < 15 {
        kept.extend([acknowledged.recv().await.expect("uploads are acknowledged")]);
    }
    app.kill_and_restart().await;
    while let Some((number, url)) = acknowledged.recv().await {
        kept.insert(number, url);
    }
    uploads.join_all().await;
    assert!((kept.len() as u64) < UPLOADS, "the server was killed too late to show anything");

    alice.url = app.url().to_owned();
    for (number, url) in &kept {
        assert!(alice.get(url).await.expect(200).body == content(*number), "{url} was acknowledged");
    }
    for number in (0..UPLOADS).filter(|number| !kept.contains_key(number)) {
        let answer = alice.get(&file_url(&format!("alice/m{}", number % 5), &format!("{number}.bin"))).await;
        let is_whole = answer.status == 200 && answer.body == content(number);
        assert!(answer.status == 404 || is_whole, "{number} is neither there nor absent");
    }
    app.fsck().await;
    app.drain().await;
    app.run(&["gc", "--grace-hours", "0"]).await.expect(0);
    assert_eq!(app.fsck().await["unreferenced"], 0);
    for (number, url) in &kept {
        assert!(alice.get(url).await.expect(200).body == content(*number), "{url} is collected");
    }
    app.finish().await;
}
