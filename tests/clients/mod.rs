//! The clients that people have, unmodified: they are told where the server is and who they are, and nothing else.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{Caller, Output, TestApp, files, program};

/// An interpreter with a client, in a home of its own.
struct Client {
    interpreter: PathBuf,
    home: TempDir,
    caller: Caller,
}

impl Client {
    /// The client of an interpreter that a variable names; without one the test is left out, and says so.
    fn find(variable: &str, caller: &Caller) -> Option<Self> {
        let Some(interpreter) = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file()) else {
            eprintln!("left out: {variable} names no interpreter, `make setup` makes one");
            return None;
        };
        Some(Self { interpreter, home: tempfile::tempdir().unwrap(), caller: caller.clone() })
    }

    async fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.run_with(script, arguments, &[]).await
    }

    async fn run_with(&self, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
        let mut command = self.command(&self.interpreter);
        command.arg(script).args(arguments).envs(environment.iter().copied());
        program::finish(&mut command).await.expect(0)
    }

    /// Runs the command-line program that stands beside the interpreter.
    async fn hf(&self, arguments: &[&str]) -> Output {
        program::finish(self.command(&self.interpreter.with_file_name("hf")).args(arguments)).await
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path()).env("TMPDIR", self.home.path());
        command.env("HF_ENDPOINT", &self.caller.url).env("HF_HOME", self.home.path());
        command.envs(self.caller.token.as_ref().map(|token| ("HF_TOKEN", token)));
        command.current_dir(self.home.path());
        command
    }
}

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
