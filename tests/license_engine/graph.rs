//! Small graphs, written as people say them.

use herdbook::license::{Judgement, catalogue::CATALOGUE, judge::Engine, offline};
use serde_json::{Value, json};

/// A graph file under construction; the first model is the subject.
#[derive(Clone, Debug)]
pub(super) struct Graph(Value);

impl Graph {
    /// A model with this label.
    pub(super) fn of(id: &str, license: impl Into<Value>) -> Self {
        Self(json!({ "models": [], "edges": [], "profile": {}, "policy": {}, "subject": id })).model(id, license)
    }

    pub(super) fn model(mut self, id: &str, license: impl Into<Value>) -> Self {
        self.0["models"].as_array_mut().unwrap().push(json!({ "id": id, "license": license.into() }));
        self
    }

    /// A link of the model that was added first.
    pub(super) fn from(self, relation: &str, parent: &str) -> Self {
        let child = self.0["subject"].as_str().unwrap().to_owned();
        self.edge(&child, relation, parent)
    }

    pub(super) fn edge(mut self, child: &str, relation: &str, parent: &str) -> Self {
        let edge = json!({ "child": child, "parent": parent, "relation": relation, "origin": "declared" });
        self.0["edges"].as_array_mut().unwrap().push(edge);
        self
    }

    /// Sets a field of the link that was added last.
    pub(super) fn but(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["edges"].as_array_mut().unwrap().last_mut().unwrap()[field] = value.into();
        self
    }

    /// Sets a field of a model.
    pub(super) fn with(mut self, id: &str, field: &str, value: impl Into<Value>) -> Self {
        let models = self.0["models"].as_array_mut().unwrap();
        models.iter_mut().find(|model| model["id"] == id).unwrap()[field] = value.into();
        self
    }

    /// Sets the files of the subject.
    pub(super) fn files(self, files: Value) -> Self {
        let id = self.0["subject"].as_str().unwrap().to_owned();
        self.with(&id, "files", files)
    }

    pub(super) fn profile(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["profile"][field] = value.into();
        self
    }

    pub(super) fn policy(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0["policy"][field] = value.into();
        self
    }

    pub(super) fn judge(&self) -> Judgement {
        judge(&self.0)
    }

    /// `severity:RULE@about` of each finding.
    pub(super) fn found(&self) -> Vec<String> {
        found(&self.judge())
    }

    /// Asserts what is found, notices included.
    #[track_caller]
    pub(super) fn finds(&self, expected: &[&str]) {
        let (mut found, mut expected) = (self.found(), expected.to_vec());
        found.sort();
        expected.sort_unstable();
        assert_eq!(found, expected, "{self:?}");
    }
}

/// Judges the subject of a graph file.
pub(super) fn judge(file: &Value) -> Judgement {
    let given = offline::parse(&CATALOGUE, &file.to_string()).unwrap();
    let engine = Engine::new(&CATALOGUE, &given.graph);
    given.judge(&engine).next().unwrap()
}

pub(super) fn found(judgement: &Judgement) -> Vec<String> {
    let spell = |finding: &herdbook::license::Finding| {
        format!("{}:{}@{}", finding.severity.as_str(), finding.rule, finding.about)
    };
    judgement.findings.iter().map(spell).collect()
}

/// A model `a/x` with a label, made by a relation from `o/m` under a license.
pub(super) fn made(parent: &str, relation: &str, label: &str) -> Graph {
    Graph::of("a/x", label).model("o/m", parent).from(relation, "o/m")
}

/// The same with a name that begins as Llama's licenses ask.
pub(super) fn llama(parent: &str, relation: &str, label: &str) -> Graph {
    Graph::of("a/Llama-3-x", label).model("o/m", parent).from(relation, "o/m")
}
