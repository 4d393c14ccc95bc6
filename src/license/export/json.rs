//! Our own form: everything that is known, in the words of the API.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Exporter, Members, names::timestamp};
use crate::license::{
    DISCLAIMER,
    report::{ReportFile, ReportInfo, ReportModel, ReportParent},
};

/// Positions, the best first.
const POSITIONS: [&str; 6] = ["clear", "notice", "review", "incomplete", "violation", "unknown"];

/// Writes JSON.
pub(super) struct Json {
    info: ReportInfo,
    members: Members,
    positions: BTreeMap<String, u64>,
}

impl Json {
    pub(super) fn new(info: ReportInfo) -> Self {
        Self { info, members: Members::default(), positions: BTreeMap::new() }
    }
}

impl Exporter for Json {
    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn extension(&self) -> &'static str {
        "json"
    }

    fn passes(&self) -> usize {
        1
    }

    fn begin(&mut self, _pass: usize) -> String {
        let head = json!({
            "scope": self.info.scope,
            "catalogue": self.info.catalogue,
            "version": self.info.version,
            "as_of": timestamp(self.info.as_of),
            "disclaimer": DISCLAIMER,
        })
        .to_string();
        format!("{},\"models\":[", head.strip_suffix('}').unwrap_or(&head))
    }

    fn model(&mut self, _pass: usize, model: &ReportModel) -> String {
        *self.positions.entry(model.position.clone()).or_default() += 1;
        self.members.next(&value(model))
    }

    fn end(&mut self, _pass: usize) -> String {
        let mut counts: serde_json::Map<String, Value> =
            POSITIONS.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
        for (position, count) in &self.positions {
            counts.insert(position.clone(), json!(count));
        }
        format!("\n],\"positions\":{}}}\n", Value::Object(counts))
    }
}

/// A model with everything but its description.
pub(super) fn value(model: &ReportModel) -> Value {
    let parent = |parent: &ReportParent| {
        json!({
            "id": parent.id,
            "revision": parent.revision,
            "relation": parent.relation,
            "origin": parent.origin,
            "verdict": parent.verdict,
        })
    };
    let file = |file: &ReportFile| json!({"path": file.path, "size": file.size, "sha256": file.sha256});
    json!({
        "id": model.id,
        "revision": model.commit,
        "hosted": model.is_hosted,
        "declared": model.declared,
        "expression": model.expression,
        "position": model.position,
        "architecture": model.architecture,
        "parameters": model.parameters,
        "pipeline_tag": model.pipeline_tag,
        "parents": model.parents.iter().map(parent).collect::<Vec<_>>(),
        "files": model.files.iter().map(file).collect::<Vec<_>>(),
        "obligations": model.obligations,
        "findings": model.findings,
    })
}
