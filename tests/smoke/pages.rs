//! Where people see the smoke test: the tab, the page of a run, what is held back, what was released.

use serde_json::{Value, json};

use crate::support::{Caller, Files, Setup, TestApp, files};

#[track_caller]
fn assert_says(page: &str, words: &[&str]) {
    for word in words {
        assert!(page.contains(word), "`{word}` is not in {page}");
    }
}

fn with_base(mut model: Files, base: &str) -> Files {
    model.extend(files::card(&format!("license: mit\nbase_model: {base}\nbase_model_relation: finetune")));
    model
}

/// The trained model with another `config.json`.
fn with_config(change: impl Fn(&mut Value)) -> Files {
    let mut files = files::stories();
    let config = files.iter_mut().find(|(path, _)| path == "config.json").unwrap();
    let mut json = serde_json::from_slice(&config.1).unwrap();
    change(&mut json);
    config.1 = serde_json::to_vec(&json).unwrap();
    files
}

/// The latest run of a model, as JSON.
async fn latest(caller: &Caller, model: &str) -> Value {
    let runs = caller.get(&format!("/api/v1/models/{model}/smoke-tests")).await.expect(200).json();
    runs["items"][0].clone()
}

async fn page(caller: &Caller, place: &str) -> String {
    caller.get(place).await.expect(200).text()
}

#[tokio::test]
async fn a_run_that_passed_stands_beside_its_base() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/base", &files::stories()).await;
    app.drain().await;
    alice.publish("alice/tuned", &with_base(files::tuned(1), "alice/base")).await;
    app.drain().await;
    // The base may have been recognized after the first run: the one that counts is with it.
    alice.post("/api/v1/models/alice/tuned/smoke-tests", json!({})).await.expect(202);
    app.drain().await;
    let visitor = app.anonymous();
    let run = latest(&visitor, "alice/tuned").await;
    assert_eq!((&run["verdict"], &run["base"], &run["cause"]), (&json!("passed"), &json!("alice/base"), &Value::Null));
    let place = format!("/alice/tuned/smoke-test/{}", run["id"]);
    let shown = page(&visitor, &place).await;
    assert_says(&shown, &["It loads, runs and writes:", "What it writes", "Once upon a time", "checks passed"]);
    assert_says(&shown, &["Beside its base <a href=\"/alice/base\">", "Perplexity", "Bits per byte", "Divergence"]);
    assert_says(&shown, &["Same first word", "Only reported, but no change at all is worth a look."]);
    assert_says(
        &shown,
        &["Every value of every weight", "values.finite", "Passes up to 1,000, fails above 1,000,000."],
    );
    assert_says(&shown, &["Over 5 layers, the largest activation goes from", "<svg", "The same as a table"]);
    assert_says(&shown, &["Where the time went", "reading all values", "Peak memory", "Bytes read", "Landlock"]);
    assert_says(&shown, &[&format!("/api/v1/models/alice/tuned/smoke-tests/{}\"", run["id"]), "candle"]);
    assert!(!shown.contains("<form method=\"post\""), "visitors run nothing");
    let tab = page(&visitor, "/alice/tuned/smoke-test").await;
    assert_says(&tab, &[&format!("href=\"{place}\""), "</a>, the newest", "served all the same"]);
    visitor.get("/alice/tuned/smoke-test/999999").await.expect(404);
    visitor.get("/alice/tuned/smoke-test/latest").await.expect(404);
    visitor.get(&format!("/alice/base/smoke-test/{}", run["id"])).await.expect(404);

    let id = format!("/api/v1/models/alice/tuned/smoke-tests/{}", run["id"]);
    let alone = visitor.get(&id).await.expect(200).json();
    assert_eq!((&alone["model"], &alone["id"], &alone["record"]), (&json!("alice/tuned"), &run["id"], &Value::Null));
    let whole = visitor.get(&format!("{id}?record=true")).await.expect(200).json();
    assert!(whole["record"]["positions"].as_array().unwrap().len() > 100, "{whole}");
    visitor.get("/api/v1/models/alice/tuned/smoke-tests/none").await.refused(404, "not-found", "no such smoke test");

    // The base's name is for those who may read it.
    let settings = [("action", "visibility"), ("visibility", "private")];
    alice.post_form("/alice/base/settings", &settings).await.expect(303);
    assert!(!page(&visitor, &place).await.contains("alice/base"));
    assert_eq!(visitor.get(&id).await.expect(200).json()["base"], Value::Null);
    assert_says(&page(&alice, &place).await, &["<a href=\"/alice/base\">"]);
    app.finish().await;
}

#[tokio::test]
async fn what_failed_and_what_was_not_run_say_why() {
    let app = TestApp::spawn().await;
    app.admin.publish("admin/random", &files::impostor(3)).await;
    let odd = with_config(|config| {
        config["architectures"] = json!(["QuokkaForCausalLM"]);
        config["model_type"] = json!("quokka");
    });
    app.admin.publish("admin/odd", &odd).await;
    app.drain().await;
    let failed = page(&app.anonymous(), "/admin/random/smoke-test").await;
    assert_says(&failed, &["It does not work:", "✕", "nobody trained"]);
    assert_says(&page(&app.anonymous(), "/admin/random").await, &["It failed the smoke test"]);
    let skipped = page(&app.anonymous(), "/admin/odd/smoke-test").await;
    assert_says(&skipped, &["It was not run, so nothing is said about it", "<code>QuokkaForCausalLM</code>"]);
    assert_says(&skipped, &["Not reached: the model was not run.", "never guessed"]);
    assert!(!page(&app.anonymous(), "/admin/odd").await.contains("failed the smoke test"));
    app.finish().await;
}

#[tokio::test]
async fn a_run_that_broke_off_says_where_and_accuses_nobody() {
    let app = TestApp::spawn().await;
    app.admin.publish("admin/large", &files::stories()).await;
    app.drain().await;
    let detail = "the run did not end: stage `forward` was stopped after 120 s; this says nothing about the model";
    let checks = json!([{ "id": "run.completed", "level": 0, "status": "error", "detail": detail }]);
    let broken =
        "update smoke_tests set verdict = 'error', cause = 'timeout', sample = null, metrics = '{}', checks = $1";
    sqlx::query(broken).bind(checks).execute(&mut app.database().await).await.unwrap();
    let shown = page(&app.anonymous(), "/admin/large/smoke-test").await;
    assert_says(&shown, &["The test broke off, which says nothing about the model", "longer than a test may"]);
    assert_says(&shown, &["<dt>Cause</dt><dd>timeout</dd>", "<dt>Broke off at</dt><dd>short run</dd>"]);
    assert_eq!(latest(&app.anonymous(), "admin/large").await["cause"], "timeout");
    app.finish().await;
}

#[tokio::test]
async fn a_test_that_waits_is_shown_and_runs_are_asked_for_by_revision() {
    let setup = Setup { environment: vec![("HERDBOOK_JOBS".into(), "0".into())], ..Setup::default() };
    let app = TestApp::with(setup).await;
    let old = app.admin.publish("admin/stories", &files::stories()).await;
    let empty = page(&app.admin, "/admin/stories/smoke-test").await;
    assert_says(&empty, &["It has not been tested yet", "Run it now"]);
    let worker = app.worker();
    app.drain().await;
    let first = latest(&app.admin, "admin/stories").await;
    assert_eq!(first["revision"], json!(old));
    app.admin.publish("admin/stories", &files::tuned(1)).await;
    app.drain().await;
    worker.stop().await;
    let form = page(&app.admin, &format!("/admin/stories/smoke-test/{}", first["id"])).await;
    assert_says(
        &form,
        &["Test this revision again", &format!("name=\"revision\" value=\"{old}\""), "newest revision is"],
    );
    app.admin.post_form("/admin/stories/smoke-test", &[("revision", &old)]).await.expect(303);
    let waiting = page(&app.anonymous(), "/admin/stories/smoke-test").await;
    assert_says(&waiting, &["pending", "waits for its turn", &old[..12]]);
    app.anonymous().post_form("/admin/stories/smoke-test", &[("revision", &old)]).await.expect(401);
    let worker = app.worker();
    app.drain().await;
    worker.stop().await;
    let again = latest(&app.admin, "admin/stories").await;
    assert_eq!((&again["revision"], again["id"] != first["id"]), (&first["revision"], true));
    app.finish().await;
}

#[tokio::test]
async fn a_revision_is_held_and_released_on_its_page() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    bob.publish("bob/broken", &files::impostor(7)).await;
    app.drain().await;
    let tab = "/bob/broken/smoke-test";
    alice.get("/bob/broken/settings").await.expect(403);
    assert_says(&page(&bob, "/bob/broken/settings").await, &["does not pass the smoke test", "Quarantine it"]);
    let policy = |word: &'static str| [("action", "smoke-policy"), ("policy", word)];
    alice.post_form("/bob/broken/settings", &policy("quarantine")).await.expect(403);
    bob.post_form("/bob/broken/settings", &policy("burn")).await.expect(400);
    bob.post_form("/bob/broken/settings", &policy("quarantine")).await.expect(303);

    let held = page(&alice, tab).await;
    assert_says(&held, &["is in quarantine: it failed the smoke test.", "only those who push to it get its files"]);
    assert_says(&held, &["prefers no word to another", "until it passes or an administrator releases it"]);
    assert!(!held.contains("Release it"), "only administrators of the installation release");
    assert!(!page(&bob, tab).await.contains("Release it"), "not the owner");
    assert_says(&page(&alice, "/bob/broken").await, &["In quarantine: it did not pass the smoke test."]);
    assert_says(&page(&app.admin, tab).await, &["Release it", "name=\"reason\""]);
    let commit = latest(&alice, "bob/broken").await["revision"].as_str().unwrap().to_owned();
    let release = [("action", "release"), ("revision", commit.as_str()), ("reason", "Random <b>on purpose</b>.")];
    bob.post_form(tab, &release).await.expect(403);
    app.admin.post_form(tab, &[("action", "release"), ("revision", &commit)]).await.expect(400);
    app.admin.post_form(tab, &[("action", "burn")]).await.expect(400);
    app.admin.post_form(tab, &release).await.expect(303);
    let released = page(&alice, tab).await;
    assert_says(&released, &["was released from quarantine by <b>admin</b>", "on purpose", "It does not work:"]);
    assert!(!released.contains("<b>on purpose") && !released.contains("is in quarantine"), "{released}");
    alice.get("/bob/broken/resolve/main/config.json").await.expect(200);

    let off = [("action", "smoke-policy"), ("policy", "off"), ("namespace", "bob")];
    bob.post_form("/policy", &off).await.expect(303);
    assert_says(&page(&bob, "/policy?namespace=bob").await, &["value=\"off\" checked"]);
    assert_says(&page(&alice, tab).await, &["A failed test changes nothing here"]);
    assert!(!page(&alice, "/bob/broken").await.contains("failed the smoke test"));
    app.finish().await;
}
