//! `herdbook fsck` and `herdbook gc` on a store that something happened to.

use std::{fs, path::PathBuf};

use herdbook::digest::Digest;
use serde_json::Value;

use crate::support::{TestApp, files};

fn place(app: &TestApp, content: &[u8]) -> PathBuf {
    let hex = Digest::of(content).to_hex();
    app.data_dir().join("store/blobs").join(&hex[..2]).join(hex)
}

async fn damaged(app: &TestApp) -> Vec<Value> {
    let report = app.run(&["fsck", "--json"]).await.expect(1).json();
    report["damaged"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_changed_a_shortened_and_a_lost_object_are_named() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let content = files::noise(100_000, 1);
    let revision = alice.publish("alice/m", &vec![files::file("sub/w.bin", content.clone())]).await;
    let place = place(&app, &content);
    let mut flipped = content.clone();
    flipped[50_000] ^= 1;
    let digest = serde_json::json!(Digest::of(&content));
    for (broken, problem) in [
        (Some(&flipped[..]), "its content has digest"),
        (Some(&content[..99]), "it has 99 bytes"),
        (None, "is missing"),
    ] {
        match broken {
            Some(bytes) => fs::write(&place, bytes).unwrap(),
            None => fs::remove_file(&place).unwrap(),
        }
        let found = damaged(&app).await;
        assert_eq!((found.len(), &found[0]["digest"]), (1, &digest), "{found:?}");
        assert!(found[0]["problem"].as_str().unwrap().contains(problem), "{found:?}");
        let used_by = found[0]["used_by"].to_string();
        assert!(used_by.contains("alice/m") && used_by.contains("sub/w.bin"), "{used_by}");
        assert!(used_by.contains(&revision[..7]), "{used_by}");
    }
    let told = app.run(&["fsck"]).await.expect(1);
    assert!(told.stdout.contains("DAMAGED") && told.stdout.contains("1 damaged"), "{}", told.stdout);
    fs::write(&place, &content).unwrap();
    app.finish().await;
}

#[tokio::test]
async fn pushing_a_lost_file_again_mends_it() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let model = vec![files::file("w.bin", files::noise(100_000, 2))];
    alice.publish("alice/m", &model).await;
    fs::remove_file(place(&app, &model[0].1)).unwrap();
    assert_eq!(damaged(&app).await.len(), 1);
    alice.publish("alice/m", &model).await;
    app.finish().await;
}

#[tokio::test]
async fn leftovers_of_a_crash_are_counted_and_collected() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/m", &files::card("license: mit")).await;
    let orphan = place(&app, b"nobody's");
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, "nobody's").unwrap();
    let temporary = app.data_dir().join("store/tmp/incoming/00");
    fs::create_dir_all(temporary.parent().unwrap()).unwrap();
    fs::write(&temporary, "half").unwrap();
    assert_eq!(app.fsck().await["unreferenced"], 1);

    let gc = async |options: &[&str]| app.run(&[&["gc", "--json"], options].concat()).await.expect(0).json();
    let young = gc(&[]).await;
    assert_eq!((young["orphans"].as_u64(), young["temporary"].as_u64()), (Some(0), Some(0)), "both are young");
    for place in [&orphan, &temporary] {
        let yesterday = std::time::SystemTime::now() - std::time::Duration::from_hours(48);
        fs::File::open(place).unwrap().set_modified(yesterday).unwrap();
    }
    let planned = gc(&["--dry-run"]).await;
    assert_eq!((planned["orphans"].as_u64(), planned["temporary"].as_u64()), (Some(1), Some(1)));
    assert!(orphan.exists() && temporary.exists(), "a dry run removes nothing");
    gc(&[]).await;
    assert!(!orphan.exists() && !temporary.exists());
    assert_eq!(app.fsck().await["unreferenced"], 0);
    app.finish().await;
}
