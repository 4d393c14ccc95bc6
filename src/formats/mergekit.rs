//! The recipe of a merge, as mergekit writes it into the merged model.

use std::collections::BTreeSet;

use serde_json::Value;

/// Longest recipe that is read, in bytes.
pub const MAX_RECIPE: u64 = 1024 * 1024;

/// What a recipe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// `linear`, `slerp`, `ties`, …
    pub method: Option<String>,
    /// The models that went in, as written, without their LoRA parts, sorted.
    pub parents: Vec<String>,
}

/// Parses a recipe.
pub fn parse(source: &str) -> Result<Recipe, String> {
    if source.len() as u64 > MAX_RECIPE {
        return Err(format!("the merge recipe has {} bytes, at most {MAX_RECIPE} are read", source.len()));
    }
    let recipe: Value =
        serde_saphyr::from_str(source).map_err(|error| format!("the merge recipe is not valid YAML: {error}"))?;
    let mut parents = BTreeSet::new();
    collect(&recipe, &mut parents, 0);
    let method = recipe.get("merge_method").and_then(Value::as_str).map(str::to_owned);
    Ok(Recipe { method, parents: parents.into_iter().collect() })
}

/// Recipes nest models in `models`, `slices[].sources`, `modules`, and name a `base_model`.
fn collect(value: &Value, parents: &mut BTreeSet<String>, depth: u32) {
    if depth > 8 || parents.len() > 64 {
        return;
    }
    match value {
        Value::Array(list) => list.iter().for_each(|item| collect(item, parents, depth + 1)),
        Value::Object(map) => {
            for (key, inner) in map {
                match (key.as_str(), inner) {
                    ("model" | "base_model", Value::String(name)) => add(name, parents),
                    // Newer recipes write `model: {model: {path: …}}`.
                    ("path", Value::String(name)) => add(name, parents),
                    _ => collect(inner, parents, depth + 1),
                }
            }
        }
        _ => {}
    }
}

fn add(name: &str, parents: &mut BTreeSet<String>) {
    // `model+lora` merges the adapter first; both are ancestors.
    for part in name.split('+') {
        parents.insert(part.trim().chars().take(300).collect());
    }
}
