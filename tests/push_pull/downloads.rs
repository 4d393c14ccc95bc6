//! What was sent comes back byte for byte, whole or in ranges, with the headers that clients check.

use herdbook::digest::Digest;
use reqwest::Method;

use crate::support::{Answer, Caller, TestApp, files, send};

#[tokio::test]
async fn a_published_model_comes_back_byte_for_byte() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let commit = alice.publish("alice/stories", &files::stories()).await;
    for (path, content) in files::stories() {
        for place in
            [format!("/alice/stories/resolve/main/{path}"), format!("/api/v1/models/alice/stories/files/{path}")]
        {
            let answer = alice.get(&place).await.expect(200);
            assert!(answer.body == content, "{place}");
            assert_eq!(answer.header("x-repo-commit"), commit);
            assert_eq!(answer.header("content-length"), content.len().to_string());
        }
    }
    app.drain().await;
    let model = alice.model("alice/stories").await;
    assert_eq!(model["smoke_test"]["verdict"], "passed");
    assert_eq!((&model["parameters"], &model["dtype"]), (&260_032.into(), &"F32".into()));
    assert_eq!(model["architecture"], "LlamaForCausalLM");
    app.finish().await;
}

#[tokio::test]
async fn an_older_revision_keeps_its_files() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let first = alice.publish("alice/m", &vec![files::file("a.txt", "one")]).await;
    let second = alice.publish("alice/m", &vec![files::file("a.txt", "two")]).await;
    assert_ne!(first, second);
    for (revision, content) in [(&first, "one"), (&second, "two"), (&"main".to_owned(), "two")] {
        let hub = alice.get(&format!("/alice/m/resolve/{revision}/a.txt")).await.expect(200);
        let rest = alice.get(&format!("/api/v1/models/alice/m/files/a.txt?revision={revision}")).await.expect(200);
        assert_eq!((hub.text().as_str(), rest.text().as_str()), (content, content));
    }
    alice.get("/api/v1/models/alice/m/files/a.txt?revision=v9").await.refused(404, "revision-not-found", "v9");
    alice.get("/api/v1/models/alice/m/files/b.txt").await.refused(404, "file-not-found", "b.txt");
    app.finish().await;
}

const PLACE: &str = "/api/v1/models/alice/m/files/noise.bin";

async fn with_header(alice: &Caller, method: Method, name: &str, value: &str) -> Answer {
    send(alice.request(method, PLACE).header(name, value)).await
}

#[tokio::test]
async fn ranges_are_answered_exactly() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let content = files::noise(100_000, 1);
    alice.publish("alice/m", &vec![files::file("noise.bin", content.clone())]).await;
    for (range, expected, described) in [
        ("bytes=0-0", &content[..1], "bytes 0-0/100000"),
        ("bytes=99999-", &content[99_999..], "bytes 99999-99999/100000"),
        ("bytes=-500", &content[99_500..], "bytes 99500-99999/100000"),
        ("bytes=40000-60000", &content[40_000..=60_000], "bytes 40000-60000/100000"),
        ("bytes=90000-200000", &content[90_000..], "bytes 90000-99999/100000"),
    ] {
        let answer = with_header(&alice, Method::GET, "Range", range).await.expect(206);
        assert!(answer.body == expected, "{range}");
        assert_eq!(answer.header("content-range"), described);
    }
    let outside = with_header(&alice, Method::GET, "Range", "bytes=100000-").await.expect(416);
    assert_eq!((outside.header("content-range"), outside.body.len()), ("bytes */100000", 0));
    for nonsense in ["bytes=5-2", "lines=1-2", "bytes=a-b", "bytes=0-1,5-9"] {
        let answer = with_header(&alice, Method::GET, "Range", nonsense).await.expect(200);
        assert!(answer.body == content, "{nonsense}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_client_that_has_the_content_is_told_so() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let content = files::noise(1000, 2);
    alice.publish("alice/m", &vec![files::file("noise.bin", content.clone())]).await;
    let first = alice.get(PLACE).await.expect(200);
    let etag = first.header("etag");
    assert_eq!(etag, format!("\"{}\"", Digest::of(&content).to_hex()));
    let again = with_header(&alice, Method::GET, "If-None-Match", etag).await.expect(304);
    assert_eq!((again.body.len(), again.header("etag")), (0, etag));
    with_header(&alice, Method::GET, "If-None-Match", "\"other\"").await.expect(200);

    let head = alice.head("/alice/m/resolve/main/noise.bin").await.expect(200);
    assert_eq!((head.header("content-length"), head.body.len()), ("1000", 0));
    assert_eq!(head.header("accept-ranges"), "bytes");
    app.finish().await;
}

#[tokio::test]
async fn what_somebody_uploaded_never_runs_as_a_page() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/m", &vec![files::file("evil.html", "<script>alert(1)</script>")]).await;
    let answer = alice.get("/alice/m/resolve/main/evil.html").await.expect(200);
    assert!(answer.header("content-type").starts_with("text/plain"), "{}", answer.header("content-type"));
    assert!(answer.header("content-security-policy").contains("sandbox"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    app.finish().await;
}
