//! Callers: tokens and their scopes, sessions of the pages, organizations.

use herdbook::digest::Digest;
use reqwest::Method;
use serde_json::json;
use sqlx::Row as _;

use crate::support::{Answer, Caller, TestApp, files, send};

#[tokio::test]
async fn a_scope_limits_what_a_token_may_do() {
    let app = TestApp::spawn().await;
    let write = app.user("alice").await;
    let read = app.token("alice", "read").await;
    write.publish_private("alice/m", &files::card("license: mit")).await;
    read.model("alice/m").await;
    for answer in [
        read.put_file("alice/m", "x", "x").await,
        read.put("/api/v1/models/alice/new", json!({})).await,
        read.delete("/api/v1/models/alice/m").await,
        read.post("/api/repos/create", json!({ "name": "new" })).await,
        read.post("/api/v1/tokens", json!({ "name": "more", "scope": "write" })).await,
        write.post("/api/v1/tokens", json!({ "name": "more", "scope": "admin" })).await,
        write.post("/api/v1/import", json!({})).await,
        app.token("alice", "admin").await.post("/api/v1/import", json!({})).await,
        app.token("admin", "write").await.post("/api/v1/import", json!({})).await,
    ] {
        answer.expect(403);
    }
    write.put("/api/v1/models/bob/m", json!({})).await.refused(403, "forbidden", "namespace `bob`");
    app.finish().await;
}

#[tokio::test]
async fn a_token_is_shown_once_and_kept_as_its_digest() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let made = alice.post("/api/v1/tokens", json!({ "name": "laptop", "scope": "read" })).await.expect(201).json();
    let secret = made["token"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("hb_") && secret.len() == 43, "{secret}");
    let laptop = Caller { token: Some(secret.clone()), ..alice.clone() };
    let known = laptop.get("/api/v1/whoami").await.expect(200).json();
    assert_eq!((&known["name"], &known["scope"], &known["token"]), (&json!("alice"), &json!("read"), &json!("laptop")));
    let listed = alice.get("/api/v1/tokens").await.expect(200);
    assert!(listed.text().contains("laptop") && !listed.text().contains(&secret), "{}", listed.text());

    let mut db = app.database().await;
    let rows = sqlx::query("select digest, t::text from tokens t").fetch_all(&mut db).await.unwrap();
    assert!(rows.iter().all(|row| !row.get::<String, _>(1).contains(&secret)));
    let digest = Digest::of(secret.as_bytes());
    assert!(rows.iter().any(|row| row.get::<Vec<u8>, _>(0) == digest.as_bytes()));

    alice.delete(&format!("/api/v1/tokens/{}", made["id"])).await.expect(204);
    laptop.get("/api/v1/whoami").await.refused(401, "invalid-token", "Invalid credentials");
    laptop.get("/api/v1/models").await.refused(401, "invalid-token", "Invalid credentials");
    let bob = app.user("bob").await;
    bob.delete(&format!("/api/v1/tokens/{}", made["id"])).await.expect(404);
    app.finish().await;
}

#[tokio::test]
async fn people_keep_tokens_that_they_already_have() {
    let app = TestApp::spawn().await;
    app.user("alice").await;
    let arguments = ["token", "create", "--user", "alice", "--scope", "read", "--value-stdin"];
    app.run_with_input(&arguments, "hf_anOldTokenFromElsewhere\n").await.expect(0);
    let old = Caller { token: Some("hf_anOldTokenFromElsewhere".into()), ..app.anonymous() };
    assert_eq!(old.get("/api/whoami-v2").await.expect(200).json()["name"], "alice");
    let basic = app.anonymous().request(Method::GET, "/api/whoami-v2").basic_auth("alice", old.token);
    assert_eq!(send(basic).await.expect(200).json()["name"], "alice");
    for (value, message) in
        [("short", "8 to 512"), ("has a space", "without spaces"), ("hf_anOldTokenFromElsewhere", "in use")]
    {
        let refused = app.run_with_input(&arguments, value).await.expect(2);
        assert!(refused.stderr.contains(message), "{value}: {}", refused.stderr);
    }
    let nobody = app.run(&["token", "create", "--user", "nobody"]).await.expect(2);
    assert!(nobody.stderr.contains("user `nobody` does not exist"), "{}", nobody.stderr);
    let listed = app.run(&["token", "list", "--user", "alice", "--json"]).await.expect(0).json();
    let id = listed[0]["id"].to_string();
    app.run(&["token", "revoke", "--user", "alice", &id]).await.expect(0);
    let taken = app.run(&["user", "add", "ALICE"]).await.expect(2);
    assert!(taken.stderr.contains("already exists"), "{}", taken.stderr);
    app.finish().await;
}

/// A browser that is signed in.
struct Browser {
    caller: Caller,
    cookie: String,
}

impl Browser {
    async fn sign_in(app: &TestApp, user: &Caller) -> Self {
        let fields = [("token", user.token.as_deref().unwrap()), ("next", "/models")];
        let answer = app.anonymous().post_form("/sign-in", &fields).await.expect(303);
        assert_eq!(answer.header("location"), "/models");
        let set = answer.header("set-cookie").to_owned();
        for wanted in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(set.contains(wanted), "{set}");
        }
        assert!(!set.contains(user.token.as_deref().unwrap()), "the cookie is no token");
        Self { caller: app.anonymous(), cookie: set.split(';').next().unwrap().to_owned() }
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.caller.request(Method::GET, path).header("Cookie", &self.cookie)).await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.caller.request(Method::POST, path).header("Cookie", &self.cookie);
        send(request.header("Content-Type", "application/x-www-form-urlencoded").body(body)).await
    }

    /// The secret in the forms of the pages.
    async fn csrf(&self) -> String {
        let page = self.get("/settings/tokens").await.expect(200).text();
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("the forms carry a secret");
        rest.split('"').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn a_form_needs_the_secret_of_its_session() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let browser = Browser::sign_in(&app, &alice).await;
    let stolen = Browser::sign_in(&app, &bob).await.csrf().await;
    let new = |csrf: &str| vec![("csrf", csrf.to_owned()), ("name", "laptop".into()), ("scope", "read".into())];
    for csrf in ["", "wrong", &stolen] {
        let fields = new(csrf);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let refused = browser.post("/settings/tokens", &fields).await.expect(403);
        assert!(refused.text().contains("out of date"), "{}", refused.text());
    }
    let csrf = browser.csrf().await;
    let made = browser.post("/settings/tokens", &[("csrf", &csrf), ("name", "laptop"), ("scope", "read")]).await;
    let shown = made.expect(200).text();
    let secrets = shown.match_indices("hb_").filter_map(|(at, _)| shown.get(at..at + 43));
    let token = secrets.filter(|text| is_secret(text)).find(|text| *text != csrf);
    let laptop = Caller { token: token.map(str::to_owned), ..alice.clone() };
    assert_eq!(laptop.get("/api/v1/whoami").await.expect(200).json()["token"], "laptop");
    let again = browser.get("/settings/tokens").await.expect(200).text();
    assert!(!again.contains(token.unwrap()), "it is shown once");
    let more = browser.post("/settings/tokens", &[("csrf", &csrf), ("name", "more"), ("scope", "admin")]).await;
    more.expect(403);

    alice.publish("alice/m", &files::card("license: mit")).await;
    browser.post("/alice/m/settings", &[("action", "delete"), ("confirm", "alice/m")]).await.expect(403);
    alice.model("alice/m").await;
    app.finish().await;
}

fn is_secret(text: &str) -> bool {
    text[3..].chars().all(|c| c.is_ascii_alphanumeric())
}

#[tokio::test]
async fn a_session_ends_when_it_is_told_to_or_its_token_ends() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let browser = Browser::sign_in(&app, &alice).await;
    browser.post("/sign-out", &[("csrf", "wrong")]).await.expect(403);
    let csrf = browser.csrf().await;
    browser.post("/sign-out", &[("csrf", &csrf)]).await.expect(303);
    browser.get("/settings/tokens").await.expect(401);

    let browser = Browser::sign_in(&app, &alice).await;
    browser.get("/settings/tokens").await.expect(200);
    let id = alice.get("/api/v1/tokens").await.expect(200).json()["tokens"][0]["id"].clone();
    alice.delete(&format!("/api/v1/tokens/{id}")).await.expect(204);
    browser.get("/settings/tokens").await.expect(401);
    app.finish().await;
}

#[tokio::test]
async fn signing_in_refuses_strangers_and_leads_nowhere_else() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let nobody = app.anonymous();
    let refused = nobody.post_form("/sign-in", &[("token", "hb_wrong")]).await.expect(403);
    assert!(refused.header("set-cookie").is_empty());
    let token = alice.token.as_deref().unwrap();
    for next in [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\u{b}x",
        "/\u{1}",
        "/.//evil.example",
        "",
    ] {
        let answer = nobody.post_form("/sign-in", &[("token", token), ("next", next)]).await.expect(303);
        assert_eq!(answer.header("location"), "/", "{next}");
    }
    for next in ["/", "/alice/m?x=a%20b#c"] {
        let answer = nobody.post_form("/sign-in", &[("token", token), ("next", next)]).await.expect(303);
        assert_eq!(answer.header("location"), next);
    }
    let form = "application/x-www-form-urlencoded";
    let elsewhere = nobody.request(Method::POST, "/sign-in").header("Origin", "https://evil.example");
    send(elsewhere.header("Content-Type", form).body(format!("token={token}"))).await.expect(403);
    app.finish().await;
}

#[tokio::test]
async fn an_organization_shares_private_models_by_role() {
    let app = TestApp::spawn().await;
    let (owner, writer, reader) = (app.user("owner").await, app.user("writer").await, app.user("reader").await);
    let stranger = app.user("stranger").await;
    app.run(&["user", "add-organization", "acme", "--admin", "owner"]).await.expect(0);
    app.run(&["user", "join", "acme", "writer", "--role", "write"]).await.expect(0);
    app.run(&["user", "join", "acme", "reader", "--role", "read"]).await.expect(0);
    app.run(&["user", "join", "acme", "reader", "--role", "king"]).await.expect(2);
    writer.publish_private("acme/m", &files::card("license: mit")).await;
    for caller in [&owner, &writer, &reader] {
        caller.model("acme/m").await;
    }
    stranger.get("/api/v1/models/acme/m").await.expect(404);
    reader.put_file("acme/m", "x", "x").await.expect(403);
    writer.put_file("acme/m", "x", "x").await.expect(200);
    writer.delete("/api/v1/models/acme/m").await.expect(403);
    let organizations = writer.get("/api/v1/whoami").await.expect(200).json()["organizations"].clone();
    assert_eq!(organizations, json!([{ "name": "acme", "role": "write" }]));
    owner.delete("/api/v1/models/acme/m").await.expect(204);
    app.finish().await;
}

#[tokio::test]
async fn a_token_changes_only_tokens_that_may_do_no_more() {
    let app = TestApp::spawn().await;
    let write = app.user("alice").await;
    let (read, admin) = (app.token("alice", "read").await, app.token("alice", "admin").await);
    let listed = write.get("/api/v1/tokens").await.expect(200).json()["tokens"].clone();
    let id = |scope: &str| {
        let token = listed.as_array().unwrap().iter().find(|token| token["scope"] == scope).unwrap();
        format!("/api/v1/tokens/{}", token["id"])
    };
    read.post("/api/v1/tokens", json!({ "name": "more", "scope": "read" })).await.refused(
        403,
        "forbidden",
        "only read",
    );
    read.delete(&id("write")).await.expect(403);
    read.delete(&id("admin")).await.expect(403);
    write.delete(&id("admin")).await.expect(403);
    write.get("/api/v1/whoami").await.expect(200);
    read.delete(&id("read")).await.expect(204);
    read.get("/api/v1/whoami").await.expect(401);
    admin.delete(&id("write")).await.expect(204);
    write.get("/api/v1/whoami").await.expect(401);
    app.finish().await;
}

#[tokio::test]
async fn no_shared_cache_keeps_what_a_known_caller_gets() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish_private("alice/m", &files::card("license: mit")).await;
    for place in ["/alice/m", "/settings/tokens", "/api/v1/models/alice/m", "/api/models/alice/m", "/alice/none"] {
        let answer = alice.get(place).await;
        assert_eq!(answer.header("cache-control"), "private, no-store", "{place}");
    }
    let file = alice.get("/alice/m/resolve/main/README.md").await.expect(200);
    assert_eq!(file.header("cache-control"), "private, no-cache");
    for caller in [&alice, &app.anonymous()] {
        let answer = caller.get("/models").await.expect(200);
        let vary: Vec<_> = answer.headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
        assert!(vary.contains(&"Authorization, Cookie"), "{vary:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn numbers_of_all_work_are_for_administrators() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    alice.publish_private("alice/m", &files::card("license: mit")).await;
    app.drain().await;
    for (caller, status) in [(app.anonymous(), 401), (alice, 403), (app.admin.clone(), 200)] {
        caller.get("/metrics").await.expect(status);
        let counts = caller.get("/api/v1/jobs").await.expect(200).json()["counts"].clone();
        assert_eq!(counts.as_object().unwrap().is_empty(), status != 200, "{counts}");
    }
    app.finish().await;
}
