//! License positions under policies: what blocks, what is accepted, what is asked for another use, who may know.

mod blocks;
mod catalogue;
mod hooks;
mod policy;
mod privacy;
mod questions;
mod waivers;

use serde_json::Value;

use crate::support::{Caller, TestApp, files};

/// `alice/nc`, not for commerce, and `bob/tune`, which was made of it and is labeled MIT.
async fn family() -> (TestApp, Caller, Caller) {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    alice.publish("alice/nc", &files::card("license: cc-by-nc-4.0")).await;
    bob.publish("bob/tune", &files::card("license: mit\nbase_model: alice/nc")).await;
    app.drain().await;
    (app, alice, bob)
}

async fn license(caller: &Caller, model: &str) -> Value {
    caller.get(&format!("/api/v1/models/{model}/license")).await.expect(200).json()
}

fn finding<'a>(license: &'a Value, rule: &str) -> &'a Value {
    let findings = license["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["rule"] == rule).unwrap_or_else(|| panic!("no {rule} in {license}"))
}

fn has(license: &Value, rule: &str) -> bool {
    license["findings"].as_array().unwrap().iter().any(|finding| finding["rule"] == rule)
}
