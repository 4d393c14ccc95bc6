//! A private model does not exist for those who may not read it, on any route.

mod routes;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Caller, Files, TestApp, files, send};
use routes::{ASKS, Ask, Kind};

const ROUTES: &str = include_str!("../../src/http/routes.rs");
const PRIVATE: &str = "olga/hidden-quokka";
/// What must not appear: no request for another model contains it.
const SECRET: &str = "quokka";

#[test]
fn the_walk_knows_every_route() {
    // Long routes are written on several lines.
    let routes = ROUTES.split_whitespace().collect::<Vec<_>>().join(" ").replace(".route( ", ".route(");
    let written: BTreeSet<(String, &str)> = routes.split(".route(\"").skip(1).map(route).collect();
    let known: BTreeSet<(String, &str)> = ASKS.iter().map(|ask| (ask.method.to_owned(), ask.route)).collect();
    let unknown: Vec<_> = written.difference(&known).collect();
    let gone: Vec<_> = known.difference(&written).collect();
    assert!(unknown.is_empty(), "tests/privacy/routes.rs does not say what to ask of {unknown:#?}");
    assert!(gone.is_empty(), "tests/privacy/routes.rs asks what is no route any more: {gone:#?}");
    assert!(written.len() > 90, "only {} routes were read", written.len());
}

/// Reads `PATH", METHOD().to(…`.
fn route(text: &str) -> (String, &str) {
    let (path, rest) = text.split_once("\", ").unwrap();
    (rest.split('(').next().unwrap().to_owned(), path)
}

#[tokio::test]
async fn no_route_shows_a_private_model_to_others() {
    let app = TestApp::spawn().await;
    let herd = Herd::new(&app).await;
    herd.publish_private(&app).await;
    for (who, caller) in [("anonymous", app.anonymous()), ("a stranger", herd.stranger.clone())] {
        for (number, ask) in ASKS.iter().enumerate() {
            let answer = herd.ask(&caller, ask, PRIVATE).await;
            if !ask.place.contains("MODEL") && !ask.place.contains("NAME") && !names_model(ask) {
                assert_silent(who, ask, &answer);
                continue;
            }
            // A name of the same length, another each time: to have asked for it must not matter.
            let name = format!("olga/hidden-q{number:05}");
            let absent = herd.ask(&caller, ask, &name).await;
            assert_eq!(
                shape(&answer, PRIVATE),
                shape(&absent, &name),
                "{who} can tell by {} {}",
                ask.method,
                ask.place
            );
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn those_who_may_read_a_private_model_find_it_everywhere() {
    let app = TestApp::spawn().await;
    let herd = Herd::new(&app).await;
    herd.publish_private(&app).await;
    let reader = app.token("olga", "read").await;
    for (who, caller) in [("the owner", &herd.owner), ("a reader", &reader), ("the administrator", &app.admin)] {
        for ask in ASKS.iter().filter(|ask| matches!(ask.kind, Kind::Sees | Kind::Lists)) {
            let answer = herd.ask(caller, ask, PRIVATE).await;
            let place = ask.place;
            let is_shown = answer.status.is_success() || answer.status.is_redirection();
            assert!(is_shown, "{who} gets {} for {place}: {}", answer.status, answer.text());
            if ask.kind == Kind::Lists {
                assert!(answer.text().contains(SECRET), "{who} misses the model at {place}: {}", answer.text());
            }
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_reader_may_not_change_what_it_reads() {
    let app = TestApp::spawn().await;
    let herd = Herd::new(&app).await;
    herd.publish_private(&app).await;
    let reader = app.token("olga", "read").await;
    for ask in ASKS.iter().filter(|ask| ask.kind == Kind::Changes && !ask.place.contains("sten")) {
        let answer = herd.ask(&reader, ask, PRIVATE).await;
        let is_refused = [403, 404].contains(&answer.status.as_u16());
        assert!(is_refused, "{} {} answers {}: {}", ask.method, ask.place, answer.status, answer.text());
    }
    app.finish().await;
}

#[tokio::test]
async fn a_private_model_moves_no_number_that_others_see() {
    let app = TestApp::spawn().await;
    let herd = Herd::new(&app).await;
    app.drain().await;
    let mut before = Vec::new();
    for place in COUNTED {
        before.push(undated(&app.anonymous().get(place).await.expect(200)));
    }
    let mut private = files::stories();
    private.extend(files::card("license: cc-by-nc-4.0\nbase_model: olga/open-base"));
    herd.owner.publish_private(PRIVATE, &private).await;
    app.drain().await;
    for (place, before) in COUNTED.iter().zip(before) {
        let after = undated(&app.anonymous().get(place).await.expect(200));
        assert_eq!(before, after, "{place} changed");
    }
    app.finish().await;
}

/// Answers that count or list what a private derivative of `open-base` could change.
const COUNTED: &[&str] = &[
    "/",
    "/models",
    "/models?search=a",
    "/compliance",
    "/compliance?use=commercial",
    "/licenses",
    "/licenses/cc-by-nc-4.0",
    "/olga",
    "/olga/open-base",
    "/olga/open-base/pedigree",
    "/olga/open-base/tree",
    "/olga/open-base/license",
    "/api/v1/stats",
    "/api/v1/events",
    "/api/v1/audit",
    "/api/v1/models",
    "/api/v1/models?base=olga/open-base",
    "/api/v1/models?sort=reach",
    "/api/v1/models/olga/open-base",
    "/api/v1/models/olga/open-base/lineage",
    "/api/v1/models/olga/open-base/license",
    "/api/models?full=true",
    "/api/models/olga/open-base",
];

/// A public base with a private child, whose public children and grandchild lead back to it.
struct Herd {
    owner: Caller,
    stranger: Caller,
}

impl Herd {
    async fn new(app: &TestApp) -> Self {
        let (owner, stranger) = (app.user("olga").await, app.user("sten").await);
        owner.publish("olga/open-base", &files::card("license: apache-2.0")).await;
        owner.publish("olga/open-sister", &files::card("license: apache-2.0\nbase_model: olga/open-base")).await;
        stranger.publish("sten/own", &files::card("license: mit")).await;
        Self { owner, stranger }
    }

    async fn publish_private(&self, app: &TestApp) {
        let mut private: Files = files::stories();
        private.extend(files::card("license: llama2\nbase_model: olga/open-base"));
        private.push(files::file("inner/note.txt", "the quokka is shy"));
        self.owner.publish_private(PRIVATE, &private).await;
        self.owner.publish("olga/open-child", &files::card("license: apache-2.0")).await;
        self.owner.publish("olga/open-grandchild", &files::card("license: mit\nbase_model: olga/open-child")).await;
        let claim = json!({ "parent": PRIVATE });
        self.owner.publish("olga/open-niece", &files::card("license: mit")).await;
        for child in ["open-child", "open-grandchild", "open-niece"] {
            self.owner.post(&format!("/api/v1/models/olga/{child}/claims"), claim.clone()).await.expect(200);
        }
        app.drain().await;
        assert_eq!(self.owner.model(PRIVATE).await["smoke_test"]["verdict"], "passed");
    }

    async fn ask(&self, caller: &Caller, ask: &Ask, model: &str) -> Answer {
        let (ns, name) = model.split_once('/').unwrap();
        let fill = |text: &str| text.replace("MODEL", model).replace("NAME", name).replace("NS", ns);
        let mut place = fill(ask.place);
        if place.contains("COMMIT") {
            let revision = self.owner.model(PRIVATE).await["revision"].as_str().unwrap().to_owned();
            place = place.replace("COMMIT", &revision);
        }
        if place.contains("RUN") {
            let runs = self.owner.get(&format!("/api/v1/models/{PRIVATE}/smoke-tests")).await.expect(200).json();
            place = place.replace("RUN", &runs["items"][0]["id"].to_string());
        }
        let body = fill(ask.body);
        let is_form = ask.route.starts_with("/sign") || ask.body.contains("csrf=");
        let kind = match ask.body.chars().next() {
            Some('{') => "application/json",
            _ if is_form => "application/x-www-form-urlencoded",
            _ => "application/octet-stream",
        };
        let method: Method = ask.method.to_uppercase().parse().unwrap();
        send(caller.request(method, &place).header("Content-Type", kind).body(body)).await
    }
}

fn names_model(ask: &Ask) -> bool {
    ask.body.contains("MODEL") || ask.body.contains("NAME")
}

#[track_caller]
fn assert_silent(who: &str, ask: &Ask, answer: &Answer) {
    let headers = format!("{:?}", answer.headers);
    let whole = answer.text() + &headers;
    assert!(!whole.contains(SECRET), "{who} reads of the model at {} {}: {whole}", ask.method, ask.place);
}

/// Status, headers and body, with the model's name taken out.
fn shape(answer: &Answer, model: &str) -> (u16, Vec<(String, String)>, String) {
    let name = model.split_once('/').unwrap().1;
    let unnamed = |text: &str| text.replace(name, "*");
    // Whether a body that nobody wants was read to its end is a matter of chance.
    let by_chance = ["date", "x-request-id", "connection"];
    let headers = answer.headers.iter().filter(|(name, _)| !by_chance.contains(&name.as_str()));
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), unnamed(value.to_str().unwrap()))).collect();
    headers.sort();
    (answer.status.as_u16(), headers, unnamed(&answer.text()))
}

/// An answer's text without ages and instants.
fn undated(answer: &Answer) -> String {
    if let Ok(mut json) = serde_json::from_slice::<Value>(&answer.body) {
        undate(&mut json);
        return serde_json::to_string_pretty(&json).unwrap();
    }
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.contains(" ago") && !line.contains("UTC"));
    lines.collect::<Vec<_>>().join("\n")
}

fn undate(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("_at") && name != "at" && name != "lastModified");
            fields.values_mut().for_each(undate);
        }
        Value::Array(items) => items.iter_mut().for_each(undate),
        _ => {}
    }
}
