//! Pages about what the weights say: evidence of a parent link, decisions about it, and whose weights a file is of.

use reqwest::Method;

use crate::support::{Answer, Caller, Files, TestApp, files, send};

fn with_base(mut model: Files, base: &str) -> Files {
    model.extend(files::card(&format!("license: mit\nbase_model: {base}")));
    model
}

/// `alice/base`, its fine-tune `alice/tuned`, and `alice/impostor`, which only claims to be one.
async fn herd(app: &TestApp) -> Caller {
    let alice = app.user("alice").await;
    alice.publish("alice/base", &files::stories()).await;
    alice.publish("alice/tuned", &with_base(files::tuned(1), "alice/base")).await;
    alice.publish("alice/impostor", &with_base(files::impostor(2), "alice/base")).await;
    app.drain().await;
    alice
}

#[track_caller]
fn assert_says(page: &str, words: &[&str]) {
    for word in words {
        assert!(page.contains(word), "`{word}` is not in {page}");
    }
}

#[tokio::test]
async fn the_evidence_of_a_link_is_a_page() {
    let app = TestApp::spawn().await;
    herd(&app).await;
    let anonymous = app.anonymous();
    let page = anonymous.get("/alice/tuned/lineage/alice/base").await.expect(200).text();
    let figures = ["is confirmed.", "Similarity", "Unrelated models", "Embedding rows", "Who states it", "the card"];
    assert_says(&page, &figures);
    assert_says(&page, &["<svg", "attention out", "What this cannot tell", "herdbook identify DIR --json"]);
    assert_says(&page, &["href=\"/api/v1/models/alice/tuned/lineage/alice/base\">Evidence as JSON"]);
    assert!(!page.contains("<form method=\"post\""), "who is not signed in decides nothing");

    let moved = anonymous.get("/Alice/Tuned/lineage/Alice/Base").await.expect(308);
    assert!(moved.header("location").starts_with("/alice/tuned/lineage/"), "{}", moved.header("location"));
    let moved = anonymous.get("/alice/tuned/lineage/Alice/Base").await.expect(308);
    assert_eq!(moved.header("location"), "/alice/tuned/lineage/alice/base");
    let backwards = anonymous.get("/alice/base/lineage/alice/tuned").await.expect(404).text();
    assert_says(&backwards, &["nobody states that <code>alice/base</code> was made from <code>alice/tuned</code>"]);
    anonymous.get("/alice/tuned/lineage/alice/nobody").await.expect(404);

    let pedigree = anonymous.get("/alice/tuned/pedigree").await.expect(200).text();
    assert_says(&pedigree, &["class=\"confirmed\"", "href=\"/alice/tuned/lineage/alice/base\"", "is confirmed."]);
    let base = anonymous.get("/alice/base/pedigree").await.expect(200).text();
    assert_says(&base, &["it was made from no other model here"]);
    let tree = anonymous.get("/alice/base/tree?lineage=contradicted").await.expect(200).text();
    assert_says(&tree, &["1 of 2 descendants", "/alice/impostor/lineage/alice/base"]);
    assert!(!tree.contains("alice/tuned"), "{tree}");
    app.finish().await;
}

#[tokio::test]
async fn what_was_not_measured_says_why() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish("alice/card-only", &files::card("license: mit\nbase_model: acme/elsewhere")).await;
    app.drain().await;
    let page = app.anonymous().get("/alice/card-only/lineage/acme/elsewhere").await.expect(200).text();
    assert_says(&page, &["unverifiable", "Nothing: the sentence above says why."]);
    let pedigree = app.anonymous().get("/alice/card-only/pedigree").await.expect(200).text();
    assert_says(&pedigree, &["The weights say nothing", "href=\"/alice/card-only/lineage/acme/elsewhere\""]);
    app.finish().await;
}

#[tokio::test]
async fn a_contradicted_model_is_held_until_an_administrator_decides() {
    let app = TestApp::spawn().await;
    let alice = herd(&app).await;
    let bob = app.user("bob").await;
    let link = "/alice/impostor/lineage/alice/base";
    let page = app.anonymous().get(link).await.expect(200).text();
    assert_says(&page, &["contradicted", "All weights, value by value", "260,032 of 260,032"]);
    let card = app.anonymous().get("/alice/impostor").await.expect(200).text();
    assert!(!card.contains("Waits for review"), "by default it is only noted");

    let policy = [("action", "policy"), ("policy", "review")];
    alice.post_form("/alice/impostor/settings", &policy).await.expect(303);
    let unknown = [("action", "policy"), ("policy", "burn")];
    alice.post_form("/alice/impostor/settings", &unknown).await.expect(400);
    let settings = alice.get("/alice/impostor/settings").await.expect(200).text();
    assert_says(&settings, &["value=\"review\" checked"]);
    for tab in ["", "/files", "/pedigree", "/license", "/history"] {
        let page = app.anonymous().get(&format!("/alice/impostor{tab}")).await.expect(200).text();
        assert_says(&page, &["Waits for review"]);
    }
    let audit = app.anonymous().get("/compliance").await.expect(200).text();
    assert_says(&audit, &["Lineage to review", &format!("href=\"{link}\"")]);
    let elsewhere = app.anonymous().get("/compliance?namespace=bob").await.expect(200).text();
    assert!(!elsewhere.contains("Lineage to review"), "{elsewhere}");

    let say = |action: &'static str, reason: &'static str| [("action", action), ("reason", reason)];
    bob.post_form(link, &say("dispute", "I do not like it")).await.expect(403);
    alice.post_form(link, &say("overrule", "I know better")).await.expect(403);
    alice.post_form(link, &say("dispute", " ")).await.expect(400);
    let disputed = alice.post_form(link, &say("dispute", "the <b>optimizer</b> was reset")).await.expect(303);
    assert_eq!(disputed.header("location"), format!("{link}#decisions"));
    let page = app.anonymous().get(link).await.expect(200).text();
    assert_says(&page, &["disputed", "the &#60;b&#62;optimizer&#60;/b&#62; was reset", "contradicted"]);
    app.admin.post_form(link, &say("overrule", "seen the logs")).await.expect(303);
    let page = app.anonymous().get(link).await.expect(200).text();
    assert_says(&page, &["overruled", "seen the logs", "was reset", "contradicted"]);
    let card = app.anonymous().get("/alice/impostor").await.expect(200).text();
    assert!(!card.contains("Waits for review"), "{card}");
    app.finish().await;
}

/// Sends a file as a browser sends the form of `/identify`.
async fn identify(caller: &Caller, cookie: &str, csrf: &str, content: &[u8]) -> Answer {
    let mut body = format!("--xx\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n").into_bytes();
    body.extend(b"--xx\r\nContent-Disposition: form-data; name=\"fingerprint\"; filename=\"f\"\r\n");
    body.extend(b"Content-Type: application/octet-stream\r\n\r\n");
    body.extend(content);
    body.extend(b"\r\n--xx--\r\n");
    let request = caller.request(Method::POST, "/identify").header("Cookie", cookie);
    send(request.header("Content-Type", "multipart/form-data; boundary=xx").body(body)).await
}

#[tokio::test]
async fn a_fingerprint_file_is_identified_on_a_page() {
    let app = TestApp::spawn().await;
    herd(&app).await;
    let anonymous = app.anonymous();
    let explained = anonymous.get("/identify").await.expect(200).text();
    assert_says(&explained, &["What is this file on my disk?", &format!("--endpoint {}", app.url()), "multipart"]);

    let folder = tempfile::tempdir().unwrap();
    let print = async |model: Files| {
        for (path, content) in model {
            std::fs::write(folder.path().join(path), content).unwrap();
        }
        let (folder, file) = (folder.path().to_str().unwrap(), app.data_dir().join("f"));
        app.run(&["identify", folder, "--save", file.to_str().unwrap()]).await.expect(0);
        std::fs::read(file).unwrap()
    };
    let tuned = print(files::tuned(3)).await;
    let found = identify(&anonymous, "", "", &tuned).await.expect(200).text();
    assert_says(
        &found,
        &["These weights are a fine-tune of <code>alice/base</code>", "href=\"/alice/tuned\"", "parent"],
    );
    let unrelated = print(files::impostor(4)).await;
    let nothing = identify(&anonymous, "", "", &unrelated).await.expect(200).text();
    assert_says(&nothing, &["Nothing here that you may read is related"]);

    let refused = identify(&anonymous, "", "", b"no fingerprint").await.expect(400).text();
    assert_says(&refused, &["this is no fingerprint", "role=\"alert\""]);
    let empty = identify(&anonymous, "", "", b"").await.expect(400).text();
    assert_says(&empty, &["this one is empty"]);
    let long = identify(&anonymous, "", "", &vec![0; (16 << 20) + 1]).await.expect(413).text();
    assert_says(&long, &["at most 16 MiB"]);
    let form = [("fingerprint", "x")];
    assert_says(&anonymous.post_form("/identify", &form).await.expect(400).text(), &["the form cannot be read"]);
    app.finish().await;
}

#[tokio::test]
async fn a_private_relative_is_told_on_the_page_only_to_those_who_may_read_it() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish_private("alice/secret-base", &files::stories()).await;
    app.drain().await;
    let token = alice.token.clone().unwrap();
    let signed_in = app.anonymous().post_form("/sign-in", &[("token", &token)]).await.expect(303);
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    let file = app.data_dir().join("f");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories260K");
    app.run(&["identify", folder.to_str().unwrap(), "--save", file.to_str().unwrap()]).await.expect(0);
    let print = std::fs::read(file).unwrap();
    let stranger = identify(&app.anonymous(), "", "", &print).await.expect(200).text();
    assert!(!stranger.contains("secret-base"), "{stranger}");
    identify(&app.anonymous(), &cookie, "wrong", &print).await.expect(403);
    let request = app.anonymous().request(Method::GET, "/identify").header("Cookie", &cookie);
    let page = send(request).await.expect(200).text();
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
    let csrf = rest.split('"').next().unwrap();
    let owner = identify(&app.anonymous(), &cookie, csrf, &print).await.expect(200).text();
    assert_says(&owner, &["copy", "alice/secret-base"]);
    app.finish().await;
}
