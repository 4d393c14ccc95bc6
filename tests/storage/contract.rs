//! What a store must do, on a folder and on S3.

use std::process::Stdio;

use herdbook::digest::Digest;
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::support::{Caller, Setup, TestApp, file_url, files, python, python::Client, send};

/// Sizes around those at which the store changes its ways: it writes parts of 8 MiB.
const SIZES: [usize; 7] = [0, 1, 65_537, (8 << 20) - 1, 8 << 20, (8 << 20) + 1, 17 << 20];

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("file://{}", folder.path().display());
    let app = TestApp::with(Setup { store: Some(store), ..Setup::default() }).await;
    keeps_the_contract(&app).await;
    assert!(!app.data_dir().join("store").exists(), "the store is elsewhere");
    app.finish().await;
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    let Some(bucket) = Bucket::start().await else { return };
    let app = TestApp::with(bucket.setup()).await;
    keeps_the_contract(&app).await;
    let alice = app.token("alice", "write").await;
    let client = Client::find("HERDBOOK_TEST_PYTHON", &alice).unwrap();
    client.run("transfer.py", &["alice/over-xet", "9"]).await;
    assert!(!app.data_dir().join("store").exists(), "nothing is kept here");
    app.finish().await;
}

/// A server that speaks S3; it ends with this value.
struct Bucket {
    address: String,
    _server: Child,
}

impl Bucket {
    async fn start() -> Option<Self> {
        let mut command = Command::new(python::interpreter("HERDBOOK_TEST_PYTHON")?);
        command.arg(python::path("s3_server.py")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = command.kill_on_drop(true).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).await.unwrap();
        assert!(address.starts_with("http://"), "the S3 server did not start");
        Some(Self { address: address.trim().to_owned(), _server: server })
    }

    fn setup(&self) -> Setup {
        let variables = [
            ("AWS_ENDPOINT_URL", self.address.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Setup { store: Some("s3://herd/some/prefix".to_owned()), environment }
    }
}

async fn keeps_the_contract(app: &TestApp) {
    let alice = app.user("alice").await;
    alice.get("/readyz").await.expect(200);
    for size in SIZES {
        let content = files::noise(size, size as u64);
        alice.publish("alice/m", &vec![files::file(&format!("{size}.bin"), content)]).await;
    }
    for size in SIZES {
        reads_back(&alice, size).await;
    }
    refuses_other_content(&alice).await;
    resumes(&alice).await;
    tests_weights(app, &alice).await;
    let report = app.fsck().await;
    assert_eq!(report["unreferenced"], 0, "{report}");
    collects(app, &alice).await;
}

async fn reads_back(alice: &Caller, size: usize) {
    let content = files::noise(size, size as u64);
    let url = file_url("alice/m", &format!("{size}.bin"));
    assert!(alice.get(&url).await.expect(200).body == content, "{size}");
    let middle = size / 2;
    for (first, last) in [(0, 0), (middle, size.saturating_sub(1)), (middle.saturating_sub(3), middle)] {
        if last >= size {
            continue;
        }
        let request = alice.request(Method::GET, &url).header("Range", format!("bytes={first}-{last}"));
        assert!(send(request).await.expect(206).body == content[first..=last], "{first}-{last} of {size}");
    }
}

async fn refuses_other_content(alice: &Caller) {
    for size in [10, 9 << 20] {
        let request = alice.request(Method::PUT, &file_url("alice/m", "other.bin"));
        let request = request.header("X-Content-SHA256", Digest::of(b"announced").to_hex());
        send(request.body(vec![7_u8; size])).await.refused(422, "digest-mismatch", "nothing was kept");
    }
}

async fn resumes(alice: &Caller) {
    let content = files::noise(10_000_000, 9);
    let url = file_url("alice/m", "pieces.bin");
    for (first, last, status) in [(0, 3, 202), (3, 9_000_000, 202), (9_000_000, 10_000_000, 200)] {
        let request = alice.request(Method::PUT, &url);
        let request = request.header("Content-Range", format!("bytes {first}-{}/10000000", last - 1));
        send(request.body(content[first..last].to_vec())).await.expect(status);
    }
    assert!(alice.get(&url).await.expect(200).body == content);
}

/// Weights are tested where they lie, with what was summed when they came and without.
async fn tests_weights(app: &TestApp, alice: &Caller) {
    alice.publish("alice/stories", &files::stories()).await;
    app.drain().await;
    app.sql("delete from weight_statistics").await;
    alice.post("/api/v1/models/alice/stories/smoke-tests", json!({})).await.expect(202);
    app.drain().await;
    let tests = alice.get("/api/v1/models/alice/stories/smoke-tests").await.expect(200).json();
    let (read, summed) = (&tests["items"][0], &tests["items"][1]);
    assert_eq!((&read["verdict"], &summed["verdict"]), (&json!("passed"), &json!("passed")), "{tests}");
    let bytes = |test: &serde_json::Value| test["metrics"]["bytes_read"].as_u64().unwrap();
    assert!(bytes(read) > bytes(summed) && bytes(summed) > 1 << 20, "{} {}", bytes(read), bytes(summed));
}

/// Only what no model names is removed, and only when it is old enough.
async fn collects(app: &TestApp, alice: &Caller) {
    let shared = files::file("shared.bin", files::noise(50_000, 21));
    let alone = files::file("alone.bin", files::noise(60_000, 22));
    alice.publish("alice/gone", &vec![shared.clone(), alone]).await;
    alice.publish("alice/stays", &vec![shared.clone()]).await;
    alice.delete("/api/v1/models/alice/gone").await.expect(204);
    let gc = async |options: &[&str]| app.run(&[&["gc", "--json"], options].concat()).await.expect(0).json();
    assert_eq!(gc(&[]).await["blobs"], 0, "it is too young");
    let planned = gc(&["--dry-run", "--grace-hours", "0"]).await;
    assert_eq!((&planned["blobs"], &planned["bytes"]), (&json!(1), &json!(60_000)), "{planned}");
    let done = gc(&["--grace-hours", "0"]).await;
    assert_eq!((&done["blobs"], &done["bytes"], &done["dry_run"]), (&json!(1), &json!(60_000), &json!(false)));
    assert_eq!(gc(&["--grace-hours", "0"]).await["blobs"], 0);
    assert!(alice.get(&file_url("alice/stays", "shared.bin")).await.expect(200).body == shared.1);
    reads_back(alice, 17 << 20).await;
}
