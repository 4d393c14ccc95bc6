//! CycloneDX 1.6 as a bill of materials for machine learning
//! (<https://cyclonedx.org/docs/1.6/json/>, <https://cyclonedx.org/capabilities/mlbom/>).
//!
//! A model is a component with its card, licenses, files and parents; a finding is an annotation of it. What has no
//! place in the format stands under properties that begin with `herdbook:`. A report of one model describes it as the
//! subject of the bill (`metadata.component`). The serial number stands at the end, since it is derived from the whole.

use serde_json::{Value, json};

use super::{
    Exporter, Members, expression,
    names::{self, license_page, package, page, timestamp},
    without_gaps, wording,
};
use crate::{
    digest::Hasher,
    license::{
        DISCLAIMER, Finding,
        report::{ReportFile, ReportInfo, ReportModel, ReportParent},
    },
};

/// The passes: models, then what is said of them.
const COMPONENTS: usize = 0;

/// Writes CycloneDX.
pub(super) struct CycloneDx {
    info: ReportInfo,
    members: Members,
    hasher: Hasher,
    /// A report of one model, which is still awaited.
    awaits_subject: bool,
}

impl CycloneDx {
    pub(super) fn new(info: ReportInfo) -> Self {
        Self { info, members: Members::default(), hasher: Hasher::default(), awaits_subject: false }
    }

    fn is_of_one_model(&self) -> bool {
        self.info.scope.contains('/')
    }

    fn head(&self) -> String {
        let tool = self.tool();
        let metadata = json!({
            "timestamp": timestamp(self.info.as_of),
            "tools": {"components": [tool]},
            "properties": [
                property("scope", if self.info.scope.is_empty() { "everything" } else { &self.info.scope }),
                property("catalogue", &self.info.catalogue),
                property("disclaimer", DISCLAIMER),
            ],
        });
        let head = json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": metadata,
        });
        head.to_string()
    }

    fn tool(&self) -> Value {
        json!({"type": "application", "name": "Herdbook", "version": self.info.version})
    }

    fn annotation(&self, model: &ReportModel, finding: &Finding) -> Value {
        json!({
            "subjects": [reference(model)],
            "annotator": {"component": self.tool()},
            "timestamp": timestamp(self.info.as_of),
            "text": wording::finding(finding),
        })
    }

    fn component(&self, model: &ReportModel) -> Value {
        let (group, name) = names::parts(&model.id);
        without_gaps(json!({
            "type": "machine-learning-model",
            "bom-ref": reference(model),
            "group": group,
            "name": name,
            "version": model.commit,
            "description": model.description,
            "licenses": licenses(model),
            "purl": reference(model),
            "pedigree": self.pedigree(model),
            "externalReferences": self.links(model),
            "components": model.files.iter().map(file).collect::<Vec<_>>(),
            "modelCard": card(model),
            "properties": properties(model),
        }))
    }

    fn pedigree(&self, model: &ReportModel) -> Value {
        let ancestors: Vec<Value> =
            model.parents.iter().filter(|parent| !wording::is_contradicted(parent)).map(|p| self.ancestor(p)).collect();
        without_gaps(json!({"ancestors": ancestors}))
    }

    fn ancestor(&self, parent: &ReportParent) -> Value {
        let (group, name) = names::parts(&parent.id);
        let kind = if parent.relation == "trained_on" { "data" } else { "machine-learning-model" };
        without_gaps(json!({
            "type": kind,
            "group": group,
            "name": name,
            "version": parent.revision,
            "purl": package(&parent.id, parent.revision.as_deref()),
            "externalReferences": [{"type": "distribution", "url": page(&self.info, &parent.id)}],
            "properties": [
                property("relation", &parent.relation),
                property("origin", &parent.origin),
                property("verdict", &parent.verdict),
            ],
        }))
    }

    fn links(&self, model: &ReportModel) -> Value {
        let mut links = vec![json!({"type": "distribution", "url": page(&self.info, &model.id)})];
        let concluded = model.expression.as_deref().map(expression::of_expression).unwrap_or_default();
        for license in expression::references(&concluded) {
            links.push(json!({"type": "license", "url": license_page(&self.info, &license), "comment": license}));
        }
        json!(links)
    }

    fn piece(&mut self, piece: String) -> String {
        self.hasher.update(piece.as_bytes());
        piece
    }
}

impl Exporter for CycloneDx {
    fn content_type(&self) -> &'static str {
        "application/vnd.cyclonedx+json; version=1.6"
    }

    fn extension(&self) -> &'static str {
        "cdx.json"
    }

    fn passes(&self) -> usize {
        2
    }

    fn begin(&mut self, pass: usize) -> String {
        self.members = Members::default();
        if pass != COMPONENTS {
            return self.piece(",\n\"annotations\":[".to_owned());
        }
        self.awaits_subject = self.is_of_one_model();
        let head = self.head();
        // The subject becomes the last member of the metadata; other models become components beside it.
        let piece = if self.awaits_subject {
            head.strip_suffix("}}").unwrap_or(&head).to_owned()
        } else {
            format!("{},\n\"components\":[", head.strip_suffix('}').unwrap_or(&head))
        };
        self.piece(piece)
    }

    fn model(&mut self, pass: usize, model: &ReportModel) -> String {
        if pass != COMPONENTS {
            let findings: String =
                model.findings.iter().map(|finding| self.members.next(&self.annotation(model, finding))).collect();
            return self.piece(findings);
        }
        let component = self.component(model);
        let piece = if !self.is_of_one_model() {
            self.members.next(&component)
        } else if std::mem::take(&mut self.awaits_subject) {
            format!(",\n\"component\":{component}")
        } else {
            String::new()
        };
        self.piece(piece)
    }

    fn end(&mut self, pass: usize) -> String {
        if pass == COMPONENTS {
            let piece = if self.is_of_one_model() { "}" } else { "\n]" };
            return self.piece(piece.to_owned());
        }
        let digest = std::mem::take(&mut self.hasher).finish();
        format!(
            "\n],\n\"serialNumber\":\"urn:uuid:{}\"}}\n",
            names::uuid(&format!("{}#{digest}", names::base(&self.info)))
        )
    }
}

/// What annotations call a model: its package address.
fn reference(model: &ReportModel) -> String {
    package(&model.id, model.commit.as_deref())
}

fn property(name: &str, value: &str) -> Value {
    json!({"name": format!("herdbook:{name}"), "value": value})
}

/// Declared and concluded licenses. The format takes either one expression or a list of licenses; only the list can say
/// both, so each part of an expression that applies is an entry, and alternatives are one entry together. The exact
/// expression stands in the properties.
fn licenses(model: &ReportModel) -> Vec<Value> {
    let declared = model.declared.as_deref().map(expression::of_label);
    let concluded = model.expression.as_deref().map(expression::of_expression);
    let entries = |expression: Option<String>, acknowledgement: &'static str| {
        let parts = expression.map(|expression| expression::parts(&expression)).unwrap_or_default();
        parts.into_iter().map(move |part| {
            let key = if expression::is_listed(&part) { "id" } else { "name" };
            json!({"license": {key: part, "acknowledgement": acknowledgement}})
        })
    };
    entries(declared, "declared").chain(entries(concluded, "concluded")).collect()
}

/// A file of the model; a digest that is none is left out.
fn file(file: &ReportFile) -> Value {
    let is_digest = file.sha256.len() == 64 && file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hashes = if is_digest { json!([{"alg": "SHA-256", "content": file.sha256}]) } else { json!([]) };
    without_gaps(json!({
        "type": "file",
        "name": file.path,
        "hashes": hashes,
        "properties": [property("size", &file.size.to_string())],
    }))
}

fn card(model: &ReportModel) -> Value {
    let family = model.architecture.as_deref().map(|name| name.split("For").next().unwrap_or(name));
    let parameters = model.parameters.map(|count| property("parameters", &count.to_string()));
    without_gaps(json!({
        "modelParameters": without_gaps(json!({
            "task": model.pipeline_tag,
            "architectureFamily": family,
            "modelArchitecture": model.architecture,
        })),
        "properties": parameters.into_iter().collect::<Vec<_>>(),
    }))
}

fn properties(model: &ReportModel) -> Vec<Value> {
    let mut properties = vec![property("position", &model.position)];
    properties.extend(model.declared.as_deref().map(|label| property("declared", label)));
    properties.extend(model.expression.as_deref().map(|expression| property("expression", expression)));
    for parent in model.parents.iter().filter(|parent| wording::is_contradicted(parent)) {
        properties.push(property("contradicted", &wording::parent(parent)));
    }
    for obligation in &model.obligations {
        properties.push(property(&format!("obligation:{}", obligation.id), &wording::obligation(obligation)));
    }
    properties
}
