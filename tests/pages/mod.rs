//! The pages in a real browser: markup, accessibility, sizes, with and without script, light and dark, wide and narrow.

use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::process::Command;

use crate::support::{Caller, Output, TestApp, files, program};

/// The interpreter that drives the browser, and the browser.
fn browser() -> Option<(PathBuf, PathBuf)> {
    let interpreter = std::env::var_os("HERDBOOK_TEST_PYTHON").map(PathBuf::from).filter(|path| path.is_file());
    let chromium =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser"].map(PathBuf::from).into_iter().find(|p| p.exists());
    let found = interpreter.zip(chromium);
    if found.is_none() {
        eprintln!(
            "left out: HERDBOOK_TEST_PYTHON names no interpreter or there is no Chromium, `make setup` gets both"
        );
    }
    found
}

async fn drive(caller: &Caller, script: &str, arguments: &[&str]) -> Option<Output> {
    let (interpreter, chromium) = browser()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let mut command = Command::new(interpreter);
    command.arg(script).arg(&caller.url).arg(chromium).arg(caller.token.as_deref().unwrap_or_default()).args(arguments);
    Some(program::finish(&mut command).await.expect(0))
}

/// A herd with a bit of everything: a sound model, a conflict of licenses, odd names, and thousands that are catalogued.
async fn herd(app: &TestApp) {
    let catalog = app.data_dir().join("herd.jsonl.zst");
    std::fs::write(&catalog, herdbook::demo::LLAMA_HERD).unwrap();
    app.run(&["import", catalog.to_str().unwrap()]).await.expect(0);
    let mut base = files::stories();
    let card = "---\nlicense: cc-by-nc-4.0\ntags: [tiny, \"<b>\", مرحبا]\n---\n# Stories\n<script>alert(1)</script>\n\n\
                | a | b |\n|---|---|\n| 1 | 2 |\n\n🐑 مرحبا بالعالم\n";
    base.push(files::file("README.md", card));
    app.admin.publish("admin/stories", &base).await;
    let long = format!("admin/{}", "a-name-as-long-as-it-may-be-".repeat(3));
    let child = files::card("license: mit\nbase_model: admin/stories\nbase_model_relation: finetune");
    app.admin.publish(long.trim_end_matches('-'), &child).await;
    let mut tuned = files::tuned(1);
    tuned.extend(files::card("license: mit\nbase_model: admin/stories"));
    app.admin.publish("admin/tuned", &tuned).await;
    let mut impostor = files::impostor(2);
    impostor.extend(files::card("license: mit\nbase_model: admin/stories"));
    app.admin.publish("admin/impostor", &impostor).await;
    let policy = [("action", "policy"), ("policy", "review")];
    app.admin.post_form("/admin/impostor/settings", &policy).await.expect(303);
    let broken = vec![files::file("README.md", "---\nlicense: [\n---\n"), files::file("model.safetensors", b"short")];
    app.admin.publish("admin/broken", &broken).await;
    app.drain().await;
    // One revision is held back, another was released.
    let policy = json!({ "on_failure": "quarantine" });
    app.admin.put("/api/v1/namespaces/admin/smoke-policy", policy).await.expect(200);
    let reason = json!({ "reason": "It is broken on purpose." });
    app.admin.post("/api/v1/models/admin/broken/smoke-tests/release", reason).await.expect(200);
}

#[tokio::test]
async fn pages_are_sound_in_a_browser() {
    if browser().is_none() {
        return;
    }
    let app = TestApp::spawn().await;
    herd(&app).await;
    let long = format!("/admin/{}/license", "a-name-as-long-as-it-may-be-".repeat(3).trim_end_matches('-'));
    let unmeasured = long.replace("/license", "/lineage/admin/stories");
    let runs = app.admin.get("/api/v1/models/admin/tuned/smoke-tests").await.expect(200).json();
    let run = format!("/admin/tuned/smoke-test/{}", runs["items"][0]["id"]);
    let paths = [
        "/",
        "/models",
        "/models?search=nothing-has-this-name",
        "/models?sort=recent&kind=hosted",
        "/admin",
        "/admin/stories",
        "/admin/stories/files",
        "/admin/stories/pedigree",
        "/admin/stories/tree",
        "/admin/stories/license",
        "/admin/stories/tensors",
        "/admin/stories/history",
        "/admin/tuned/pedigree",
        "/admin/tuned/lineage/admin/stories",
        "/admin/impostor/pedigree",
        "/admin/impostor/lineage/admin/stories",
        "/admin/stories/tree?color=lineage&lineage=contradicted",
        &unmeasured,
        "/admin/broken",
        "/admin/broken/smoke-test",
        "/admin/impostor/smoke-test",
        "/admin/stories/smoke-test",
        &run,
        "+/admin/stories/settings",
        "/admin/broken/tensors",
        &long,
        "/meta-llama/Meta-Llama-3-8B",
        "/meta-llama/Meta-Llama-3-8B/tree",
        "/meta-llama/Meta-Llama-3-8B/tree?color=relation&relation=quantized",
        "/unsloth/llama-3-8b-bnb-4bit/pedigree",
        "/compliance",
        "/compliance?severity=violation&rule=NAME_PREFIX",
        "/compliance?namespace=admin&waived=open&license=cc-by-nc-4.0",
        "/compliance?use=commercial",
        "/compliance?use=commercial&namespace=admin&answer=yes",
        "/unsloth/llama-3-8b-bnb-4bit/license?commercial=true&mau=800000000",
        "/licenses",
        "/licenses?q=llama+3",
        "/licenses?q=no-such-license",
        "/licenses/llama3",
        "/what-if",
        "/what-if?parent=meta-llama/Meta-Llama-3-8B&relation=finetune&parent=admin/stories&relation=merge&name=you/x&license=mit",
        "/what-if?parent=nobody/nothing&name=x",
        "+/policy?namespace=admin",
        "/identify",
        "/upload",
        "/sign-in",
    ];
    let walked = drive(&app.admin, "pages.py", &paths).await.unwrap();
    assert_eq!(walked.stdout.trim(), "");
    app.finish().await;
}

#[tokio::test]
async fn an_empty_registry_says_how_to_begin() {
    if browser().is_none() {
        return;
    }
    let app = TestApp::spawn().await;
    for (path, command) in [("/", "herdbook push"), ("/", "herdbook import"), ("/models", "herdbook push")] {
        let page = app.anonymous().get(path).await.expect(200).text();
        assert!(page.contains(command), "{path}: {page}");
    }
    let page = app.anonymous().get("/compliance").await.expect(200).text();
    assert!(page.contains("Nothing was found in this scope."), "{page}");
    app.finish().await;
}

#[tokio::test]
async fn the_upload_page_pushes_a_folder_and_survives_a_broken_connection() {
    let app = TestApp::spawn().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories260K");
    let arguments = ["admin/from-a-page", folder.to_str().unwrap()];
    if drive(&app.admin, "upload_page.py", &arguments).await.is_none() {
        return;
    }
    for (path, content) in files::stories() {
        let got = app.admin.get(&format!("/admin/from-a-page/resolve/main/{path}")).await.expect(200);
        assert_eq!(got.body, content, "{path}");
    }
    app.finish().await;
}
