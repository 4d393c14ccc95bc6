//! SPDX 3.0.1 as JSON-LD, with the profiles for software, AI, data sets and license expressions
//! (<https://spdx.github.io/spdx-spec/v3.0.1/>).
//!
//! Every element has an address below one that is derived from the whole content, so that two reports share an address
//! only if they say the same: the first pass takes the digest, the second writes the document, the third its elements.
//! The graph itself lists the elements of the document (serialization/json-ld.md of the model).

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::{
    Exporter, Members, expression,
    names::{self, license_page, package, page, segment, timestamp},
    without_gaps, wording,
};
use crate::{
    digest::Hasher,
    license::{
        DISCLAIMER,
        report::{ReportFile, ReportInfo, ReportModel, ReportParent},
    },
};

/// The one node that is no element: who wrote this, when, with what.
const CREATION: &str = "_:creation";
/// What stands for a license that is not known, and for none.
const NO_ASSERTION: &str = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoAssertionLicense";
const NO_LICENSE: &str = "https://spdx.org/rdf/3.0.1/terms/ExpandedLicensing/NoneLicense";

/// The passes: what addresses depend on, the document, its elements.
const DIGEST: usize = 0;
const DOCUMENT: usize = 1;

/// Writes SPDX.
pub(super) struct Spdx {
    info: ReportInfo,
    hasher: Hasher,
    /// What every address in the report begins with.
    root: String,
    members: Members,
    /// Parents that the report does not cover, until they are written: name in lower case to its spelling, and whether it
    /// is known as a data set only. Gathered in the first pass; the second takes out what the report covers.
    outside: BTreeMap<String, (String, bool)>,
    /// Addresses that stand in the graph already.
    written: HashSet<String>,
}

impl Spdx {
    pub(super) fn new(info: ReportInfo) -> Self {
        Self {
            info,
            hasher: Hasher::default(),
            root: String::new(),
            members: Members::default(),
            outside: BTreeMap::new(),
            written: HashSet::new(),
        }
    }

    /// The first pass: what the addresses depend on, and which parents there are.
    fn take(&mut self, model: &ReportModel) {
        self.hasher.update(&serde_json::to_vec(model).unwrap_or_default());
        self.hasher.update(model.description.as_bytes());
        for parent in model.parents.iter().filter(|parent| !wording::is_contradicted(parent)) {
            let is_data = parent.relation == "trained_on";
            let key = parent.id.to_lowercase();
            let (_, only_data) = self.outside.entry(key).or_insert_with(|| (parent.id.clone(), true));
            *only_data &= is_data;
        }
    }

    fn settle_root(&mut self) {
        let ReportInfo { scope, version, catalogue, as_of, .. } = &self.info;
        self.hasher.update(format!("{scope}\n{version}\n{catalogue}\n{}", timestamp(*as_of)).as_bytes());
        let digest = std::mem::take(&mut self.hasher).finish();
        let base = names::base(&self.info);
        self.root = format!("{base}/spdx/{}/", names::uuid(&format!("{base}#{digest}")));
    }

    fn address(&self, id: &str) -> String {
        format!("{}models/{}", self.root, names::path(&id.to_lowercase()))
    }

    fn head(&mut self) -> String {
        let (author, tool) = (format!("{}herdbook", self.root), format!("{}tool", self.root));
        let creation = json!({
            "type": "CreationInfo",
            "@id": CREATION,
            "specVersion": "3.0.1",
            "created": timestamp(self.info.as_of),
            "createdBy": [author],
            "createdUsing": [tool],
        });
        let name = format!("Herdbook at {}", names::base(&self.info));
        let author = element("SoftwareAgent", &author, json!({"name": name}));
        let tool = element("Tool", &tool, json!({"name": format!("Herdbook {}", self.info.version)}));
        let nodes: String = [creation, author, tool].iter().map(|node| self.members.next(node)).collect();
        format!("{{\"@context\":\"https://spdx.org/rdf/3.0.1/spdx-context.jsonld\",\n\"@graph\":[{nodes}")
    }

    /// The document, up to its roots.
    fn document(&mut self) -> String {
        let name = if self.info.scope.is_empty() { "everything" } else { &self.info.scope };
        let members = json!({
            "name": format!("license positions of {name}"),
            "comment": DISCLAIMER,
            "description": format!("by the license catalogue of {}", self.info.catalogue),
        });
        let document = element("SpdxDocument", &format!("{}document", self.root), members);
        let document = self.members.next(&document);
        self.members = Members::default();
        format!("{},\"rootElement\":[", document.strip_suffix('}').unwrap_or(&document))
    }

    /// Everything about a model.
    fn elements(&mut self, model: &ReportModel) -> Vec<Value> {
        let address = self.address(&model.id);
        let mut elements = Vec::new();
        let supplier = self.supplier(&model.id, &mut elements);
        let kind = model.architecture.iter().collect::<Vec<_>>();
        elements.push(element(
            "ai_AIPackage",
            &address,
            json!({
                "name": model.id,
                "description": model.description,
                "suppliedBy": supplier,
                "software_packageVersion": model.commit,
                "software_packageUrl": package(&model.id, model.commit.as_deref()),
                "software_downloadLocation": page(&self.info, &model.id),
                "software_primaryPurpose": "model",
                "ai_typeOfModel": kind,
                "ai_domain": model.pipeline_tag.iter().collect::<Vec<_>>(),
                "extension": [properties(model)],
            }),
        ));
        self.licenses(model, &address, &mut elements);
        for (number, parent) in model.parents.iter().enumerate() {
            elements.push(self.parent(&address, number, parent));
            if let Some((id, is_data)) = self.outside.remove(&parent.id.to_lowercase()) {
                elements.extend(self.stub(&id, is_data));
            }
        }
        elements.extend(files(&address, &model.files));
        let findings = model.findings.iter().map(|finding| ("review", wording::finding(finding)));
        let obligations = model.obligations.iter().map(|obligation| ("other", wording::obligation(obligation)));
        for (number, (kind, statement)) in findings.chain(obligations).enumerate() {
            elements.push(annotation(&address, &format!("annotation-{number}"), kind, &statement));
        }
        elements
    }

    fn supplier(&mut self, id: &str, elements: &mut Vec<Value>) -> Option<String> {
        let (namespace, _) = names::parts(id);
        let namespace = namespace?;
        let address = format!("{}namespaces/{}", self.root, segment(&namespace.to_lowercase()));
        if self.written.insert(address.clone()) {
            elements.push(element("Agent", &address, json!({"name": namespace})));
        }
        Some(address)
    }

    /// Exactly one declared and one concluded license (profile conformance of the AI profile).
    fn licenses(&mut self, model: &ReportModel, address: &str, elements: &mut Vec<Value>) {
        let declared = model.declared.as_deref().map(expression::of_label);
        let concluded = model.expression.as_deref().map(expression::of_expression);
        let differs = declared != concluded;
        let none = if model.is_hosted { NO_LICENSE } else { NO_ASSERTION };
        let label = model.declared.as_ref().map(|label| format!("the label is `{label}`")).unwrap_or_default();
        let why = if differs { "derived along the lineage: see the annotations of the model" } else { "" };
        for (kind, expression, otherwise, comment) in [
            ("hasDeclaredLicense", declared, none, label.as_str()),
            ("hasConcludedLicense", concluded, NO_ASSERTION, why),
        ] {
            let to = expression.map_or(otherwise.to_owned(), |expression| self.expression(&expression, elements));
            elements.push(relationship(address, kind, kind, &[to], comment));
        }
    }

    fn expression(&mut self, expression: &str, elements: &mut Vec<Value>) -> String {
        let address = format!("{}expressions/{}", self.root, names::uuid(expression));
        if self.written.insert(address.clone()) {
            let references: Vec<Value> = expression::references(expression)
                .iter()
                .map(|name| json!({"type": "DictionaryEntry", "key": name, "value": license_page(&self.info, name)}))
                .collect();
            elements.push(element(
                "simplelicensing_LicenseExpression",
                &address,
                json!({"simplelicensing_licenseExpression": expression, "simplelicensing_customIdToUri": references}),
            ));
        }
        address
    }

    /// A parent link. What the weights contradict is told in an annotation and is no relationship.
    fn parent(&self, address: &str, number: usize, parent: &ReportParent) -> Value {
        let comment = wording::parent(parent);
        if wording::is_contradicted(parent) {
            return annotation(address, &format!("parent-{number}"), "other", &comment);
        }
        let kind = match parent.relation.as_str() {
            "trained_on" => "trainedOn",
            // Nothing of a teacher's weights is in its student, nor of a model in the data that it wrote.
            "distill" | "generated_by" | "architecture" | "tokenizer" => "other",
            _ => "descendantOf",
        };
        relationship(address, kind, &format!("parent-{number}"), &[self.address(&parent.id)], &comment)
    }

    /// A parent that the report does not cover.
    fn stub(&self, id: &str, is_data: bool) -> Vec<Value> {
        let address = self.address(id);
        let mut members = json!({
            "name": id,
            "comment": "a parent that this report does not cover",
            "software_packageUrl": package(id, None),
            "software_primaryPurpose": if is_data { "data" } else { "model" },
        });
        if is_data && let Some(members) = members.as_object_mut() {
            members.insert("dataset_datasetType".to_owned(), json!(["noAssertion"]));
        }
        let kind = if is_data { "dataset_DatasetPackage" } else { "ai_AIPackage" };
        let unknown = [NO_ASSERTION.to_owned()];
        vec![
            element(kind, &address, members),
            relationship(&address, "hasDeclaredLicense", "hasDeclaredLicense", &unknown, ""),
            relationship(&address, "hasConcludedLicense", "hasConcludedLicense", &unknown, ""),
        ]
    }
}

impl Exporter for Spdx {
    fn content_type(&self) -> &'static str {
        "application/spdx+json"
    }

    fn extension(&self) -> &'static str {
        "spdx.json"
    }

    fn passes(&self) -> usize {
        3
    }

    fn begin(&mut self, pass: usize) -> String {
        match pass {
            DIGEST => String::new(),
            DOCUMENT => {
                self.settle_root();
                format!("{}{}", self.head(), self.document())
            }
            _ => {
                self.members.is_begun = true;
                String::new()
            }
        }
    }

    fn model(&mut self, pass: usize, model: &ReportModel) -> String {
        match pass {
            DIGEST => {
                self.take(model);
                String::new()
            }
            DOCUMENT => {
                self.outside.remove(&model.id.to_lowercase());
                self.members.next(&Value::String(self.address(&model.id)))
            }
            _ => self.elements(model).iter().map(|element| self.members.next(element)).collect(),
        }
    }

    fn end(&mut self, pass: usize) -> String {
        match pass {
            DIGEST => String::new(),
            DOCUMENT => {
                // A document has a root, also one about nothing.
                let agent = Value::String(format!("{}herdbook", self.root));
                let root = if self.members.is_begun { String::new() } else { self.members.next(&agent) };
                let mut profiles = vec!["core", "software", "ai", "simpleLicensing", "extension"];
                profiles.extend(self.outside.values().any(|(_, is_data)| *is_data).then_some("dataset"));
                format!("{root}\n],\"profileConformance\":{}}}", json!(profiles))
            }
            _ => "\n]}\n".to_owned(),
        }
    }
}

/// A member of the graph.
fn element(kind: &str, address: &str, mut members: Value) -> Value {
    let mut element = json!({"type": kind, "spdxId": address, "creationInfo": CREATION});
    if let (Some(element), Some(members)) = (element.as_object_mut(), members.as_object_mut()) {
        element.append(members);
    }
    without_gaps(element)
}

fn relationship(from: &str, kind: &str, name: &str, to: &[String], comment: &str) -> Value {
    let members = json!({"from": from, "relationshipType": kind, "to": to, "comment": comment});
    element("Relationship", &format!("{from}#{name}"), members)
}

fn annotation(subject: &str, name: &str, kind: &str, statement: &str) -> Value {
    let members =
        json!({"annotationType": kind, "subject": subject, "contentType": "text/plain", "statement": statement});
    element("Annotation", &format!("{subject}#{name}"), members)
}

/// The files of a model, and that it contains them.
fn files(address: &str, files: &[ReportFile]) -> Vec<Value> {
    let mut elements = Vec::new();
    let mut contained = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let place = format!("{address}#file-{number}");
        let is_digest = file.sha256.len() == 64 && file.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let hash = json!({"type": "Hash", "algorithm": "sha256", "hashValue": file.sha256.to_lowercase()});
        let hashes = if is_digest { vec![hash] } else { Vec::new() };
        elements.push(element("software_File", &place, json!({"name": file.path, "verifiedUsing": hashes})));
        contained.push(place);
    }
    if !contained.is_empty() {
        elements.push(relationship(address, "contains", "files", &contained, ""));
    }
    elements
}

/// What has no place of its own, in the words of CycloneDX properties.
fn properties(model: &ReportModel) -> Value {
    let entry = |name: &str, value: &str| {
        json!({
            "type": "extension_CdxPropertyEntry",
            "extension_cdxPropName": format!("herdbook:{name}"),
            "extension_cdxPropValue": value,
        })
    };
    let mut entries = vec![entry("position", &model.position)];
    entries.extend(model.parameters.map(|count| entry("parameters", &count.to_string())));
    json!({"type": "extension_CdxPropertiesExtension", "extension_cdxProperty": entries})
}
