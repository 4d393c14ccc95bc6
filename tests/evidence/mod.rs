//! Parents checked against the weights: found, confirmed, contradicted, and what people say of it.

mod decisions;
mod identify;
mod secrets;
mod verdicts;
mod weights;

use serde_json::Value;

use crate::support::Caller;

/// A parent of a model as `parent relation origin verdict`.
async fn parents(caller: &Caller, model: &str) -> Vec<String> {
    let model = caller.model(model).await;
    let text = |claim: &Value, field: &str| claim[field].as_str().unwrap().to_owned();
    let claims = model["lineage"]["parents"].as_array().unwrap();
    let words = |claim: &Value| ["parent", "relation", "origin", "verdict"].map(|field| text(claim, field)).join(" ");
    claims.iter().map(words).collect()
}

/// A parent link with its evidence.
async fn link(caller: &Caller, child: &str, parent: &str) -> Value {
    caller.get(&format!("/api/v1/models/{child}/lineage/{parent}")).await.expect(200).json()
}
