//! `herdbook push` and `herdbook pull`.

use std::{fs, path::Path};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Files, TestApp, files};

fn folder(files: &Files) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let place = folder.path().join(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }
    folder
}

fn assert_holds(folder: &Path, files: &Files) {
    for (path, content) in files {
        assert!(fs::read(folder.join(path)).unwrap() == *content, "{path}");
    }
}

fn as_text(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

#[tokio::test]
async fn a_pushed_folder_is_pulled_again_and_nothing_is_sent_twice() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut content = files::stories();
    content.push(files::file("sub/größe 1.bin", files::noise(9_000_000, 1)));
    content.push(files::file("empty", ""));
    let source = folder(&content);
    fs::create_dir(source.path().join(".git")).unwrap();
    fs::write(source.path().join(".git/config"), "not pushed").unwrap();

    let push = ["push", as_text(&source), "alice/m", "--json"];
    let first = app.run_as(&alice, &push).await.expect(0).json();
    assert_eq!((&first["files"], &first["sent_files"]), (&json!(content.len()), &json!(content.len())));
    assert_eq!((&first["changed"], &first["model"]), (&json!(true), &json!("alice/m")));
    assert_eq!(first["url"], format!("{}/alice/m", app.url()));
    let second = app.run_as(&alice, &push).await.expect(0).json();
    assert_eq!((&second["sent_files"], &second["sent_bytes"]), (&json!(0), &json!(0)));
    assert_eq!((&second["changed"], &second["revision"]), (&json!(false), &first["revision"]));

    let target = tempfile::tempdir().unwrap();
    let pull = ["pull", "alice/m", as_text(&target), "--json"];
    let pulled = app.run_as(&alice, &pull).await.expect(0).json();
    assert_eq!((&pulled["revision"], &pulled["files"]), (&first["revision"], &json!(content.len() + 1)));
    assert_holds(target.path(), &content);
    fs::write(target.path().join("config.json"), "changed").unwrap();
    let again = app.run_as(&alice, &pull).await.expect(0).json();
    assert_eq!(again["fetched_files"], 1, "only what differs is fetched");
    assert_holds(target.path(), &content);
    app.finish().await;
}

#[tokio::test]
async fn a_push_keeps_files_unless_told_to_delete() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/m", &vec![files::file("old", "1"), files::file("both", "1")]).await;
    let source = folder(&vec![files::file("both", "2"), files::file("new", "2")]);
    let listed = async || {
        let model = alice.model("alice/m").await;
        let files = model["files"].as_array().unwrap().clone();
        files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let push = ["push", as_text(&source), "alice/m", "--message", "Second epoch"];
    app.run_as(&alice, &push).await.expect(0);
    assert_eq!(listed().await, [".gitattributes", "both", "new", "old"]);
    app.run_as(&alice, &[&push[..], &["--delete"]].concat()).await.expect(0);
    assert_eq!(listed().await, [".gitattributes", "both", "new"]);
    let commits = alice.get("/api/models/alice/m/commits/main").await.expect(200).json();
    assert_eq!(commits[0]["title"], "Second epoch");
    app.finish().await;
}

#[tokio::test]
async fn a_private_push_is_seen_by_its_namespace_only() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let source = folder(&files::card("license: mit"));
    app.run_as(&alice, &["push", as_text(&source), "alice/closed", "--private"]).await.expect(0);
    assert_eq!(alice.model("alice/closed").await["visibility"], "private");
    let target = tempfile::tempdir().unwrap();
    let pull = ["pull", "alice/closed", as_text(&target)];
    let refused = app.run_as(&bob, &pull).await.expect(2);
    assert!(refused.stderr.contains("model `alice/closed` does not exist"), "{}", refused.stderr);
    app.run_as(&alice, &pull).await.expect(0);
    assert_holds(target.path(), &files::card("license: mit"));
    app.finish().await;
}

#[tokio::test]
async fn parts_and_branches_are_pulled_by_name() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let first = alice.publish("alice/m", &vec![files::file("a.txt", "1"), files::file("sub/b.bin", "1")]).await;
    alice.publish("alice/m", &vec![files::file("a.txt", "2")]).await;
    let target = tempfile::tempdir().unwrap();
    let pull = ["pull", "alice/m", as_text(&target), "--include", "*.txt", "--revision", &first];
    app.run_as(&alice, &pull).await.expect(0);
    assert_holds(target.path(), &vec![files::file("a.txt", "1")]);
    assert!(!target.path().join("sub").exists());
    let nothing = app.run_as(&alice, &["pull", "alice/m", as_text(&target), "--include", "*.gguf"]).await.expect(2);
    assert!(nothing.stderr.contains("no file of `alice/m` matches"), "{}", nothing.stderr);
    app.finish().await;
}

#[tokio::test]
async fn what_a_push_cannot_do_is_said() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let source = folder(&files::card("license: mit"));
    let dir = as_text(&source);
    let cases: [(&[&str], &str); 5] = [
        (&["push", "/nonexistent", "alice/m"], "cannot read /nonexistent"),
        (&["push", dir, "alice"], "expected `namespace/name`"),
        (&["push", dir, "bob/m"], "may not write to the namespace `bob`"),
        (&["push", dir, "alice/m", "--endpoint", "http://127.0.0.1:9"], "no server answers at http://127.0.0.1:9"),
        (&["push", dir, "alice/m", "--token", "hb_wrong"], "Invalid credentials"),
    ];
    for (arguments, message) in cases {
        let refused = app.run_as(&alice, arguments).await.expect(2);
        assert!(refused.stderr.contains(message), "{arguments:?}: {}", refused.stderr);
    }
    let stranger = app.run_as(&app.anonymous(), &["push", dir, "alice/m"]).await.expect(2);
    assert!(stranger.stderr.contains("set HERDBOOK_TOKEN"), "{}", stranger.stderr);
    let empty = tempfile::tempdir().unwrap();
    let refused = app.run_as(&alice, &["push", as_text(&empty), "alice/m"]).await.expect(2);
    assert!(refused.stderr.contains("holds no files"), "{}", refused.stderr);
    app.finish().await;
}
