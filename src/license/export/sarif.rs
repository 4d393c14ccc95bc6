//! SARIF 2.1.0, for pages that show what scanners find
//! (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/sarif-v2.1.0-os.html>).
//!
//! A result per finding, at the card of the model; the path is a code flow from the ancestor whose license decides to
//! the model. Rules are those that fired, in order of appearance: they stand behind the results, so that nothing is
//! kept but their names.

use serde_json::{Value, json};

use super::{
    Exporter, Members,
    names::{self, timestamp},
    without_gaps, wording,
};
use crate::{
    digest::Digest,
    license::{
        DISCLAIMER, Finding, Severity,
        report::{ReportInfo, ReportModel},
        rules::find_rule,
        waiver::Waived,
    },
};

/// The name of the folder that places are relative to.
const MODELS: &str = "MODELS";

/// Writes SARIF.
pub(super) struct Sarif {
    info: ReportInfo,
    members: Members,
    /// Rules that fired.
    rules: Vec<String>,
}

impl Sarif {
    pub(super) fn new(info: ReportInfo) -> Self {
        Self { info, members: Members::default(), rules: Vec::new() }
    }

    fn result(&mut self, model: &ReportModel, finding: &Finding) -> Value {
        let index = self.rules.iter().position(|rule| *rule == finding.rule).unwrap_or_else(|| {
            self.rules.push(finding.rule.clone());
            self.rules.len() - 1
        });
        let mut result = without_gaps(json!({
            "ruleId": finding.rule,
            "ruleIndex": index,
            "level": level(finding.severity),
            "message": message(&text(model, finding)),
            "locations": [self.location(&model.id)],
            "codeFlows": flows(finding),
            "partialFingerprints": {"herdbook/v1": fingerprint(model, finding)},
            "hostedViewerUri": format!("{}/license", names::page(&self.info, &model.id)),
            "properties": properties(model, finding),
        }));
        result["suppressions"] = suppressions(finding);
        result
    }

    /// The card, where labels stand; a report of one model is for its own folder.
    fn location(&self, id: &str) -> Value {
        let is_its_own = self.info.scope.eq_ignore_ascii_case(id);
        let artifact = if is_its_own {
            json!({"uri": "README.md"})
        } else {
            json!({"uri": format!("{}/README.md", names::path(id)), "uriBaseId": MODELS})
        };
        json!({
            "physicalLocation": {"artifactLocation": artifact, "region": {"startLine": 1}},
            "logicalLocations": [logical(id)],
        })
    }

    fn rule(&self, id: &str) -> Value {
        let rule = find_rule(id);
        let (title, help) = rule.map_or((id, ""), |rule| (rule.title, rule.remedy));
        let explains = rule.map_or_else(|| format!("{title}."), |rule| rule.explains.to_owned());
        let name: String = id.split('_').map(capitalized).collect();
        without_gaps(json!({
            "id": id,
            "name": name,
            "shortDescription": message(&format!("{title}.")),
            "fullDescription": message(&explains),
            "help": if help.is_empty() { Value::Null } else { message(&format!("{help} {DISCLAIMER}")) },
            "helpUri": format!("{}/compliance?rule={}", names::base(&self.info), names::segment(id)),
            "properties": {"tags": ["license"]},
        }))
    }
}

impl Exporter for Sarif {
    fn content_type(&self) -> &'static str {
        "application/sarif+json"
    }

    fn extension(&self) -> &'static str {
        "sarif"
    }

    fn passes(&self) -> usize {
        1
    }

    fn begin(&mut self, _pass: usize) -> String {
        let scope = if self.info.scope.is_empty() { "everything" } else { &self.info.scope };
        let run = json!({
            "automationDetails": {"id": format!("herdbook/{scope}/"), "description": message(DISCLAIMER)},
            "originalUriBaseIds": {
                (MODELS): {"uri": format!("{}/", names::base(&self.info)), "description": message("the registry")},
            },
            "columnKind": "unicodeCodePoints",
            "properties": {
                "scope": self.info.scope,
                "catalogue": self.info.catalogue,
                "asOf": timestamp(self.info.as_of),
                "disclaimer": DISCLAIMER,
            },
        })
        .to_string();
        let run = run.strip_suffix('}').unwrap_or(&run);
        format!(
            "{{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",\"runs\":[\n{run},\n\"results\":["
        )
    }

    fn model(&mut self, _pass: usize, model: &ReportModel) -> String {
        let mut text = String::new();
        for finding in &model.findings {
            let result = self.result(model, finding);
            text.push_str(&self.members.next(&result));
        }
        text
    }

    fn end(&mut self, _pass: usize) -> String {
        let rules: Vec<Value> = self.rules.iter().map(|rule| self.rule(rule)).collect();
        let driver = json!({
            "name": "Herdbook",
            "version": self.info.version,
            "informationUri": names::base(&self.info),
            "rules": rules,
        });
        format!("\n],\n\"tool\":{{\"driver\":{driver}}}}}\n]}}\n")
    }
}

/// Accepted findings are suppressed. The member is there for all results of a run or for none, empty where nothing is
/// suppressed (section 3.27.23).
fn suppressions(finding: &Finding) -> Value {
    let suppression = |waived: &Waived| {
        json!({
            "kind": "external",
            "status": "accepted",
            "justification": wording::waiver(waived),
            "properties": {"owner": waived.owner, "expires": timestamp(waived.expires)},
        })
    };
    finding.waiver.iter().map(suppression).collect()
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Violation => "error",
        Severity::Incomplete | Severity::Review => "warning",
        Severity::Notice => "note",
    }
}

fn logical(id: &str) -> Value {
    let (_, name) = names::parts(id);
    json!({"name": name, "fullyQualifiedName": id, "kind": "package"})
}

fn text(model: &ReportModel, finding: &Finding) -> String {
    let clause = [finding.license.as_deref(), finding.section.as_deref()];
    let clause = clause.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let clause = if clause.is_empty() { clause } else { format!(" ({clause})") };
    let remedy = if finding.remedy.is_empty() { String::new() } else { format!(" To mend it, {}.", finding.remedy) };
    format!("`{}`: {}{clause}.{remedy}", model.id, finding.message)
}

/// The path, in the direction in which terms go: from the ancestor whose license decides to the model.
fn flows(finding: &Finding) -> Value {
    if finding.path.len() < 2 {
        return Value::Null;
    }
    let last = finding.path.len() - 1;
    let step = |(place, id): (usize, &String)| {
        let what = match place {
            0 => format!("the terms come from `{id}`"),
            _ if place == last => format!("they reach `{id}`"),
            _ => format!("they pass through `{id}`"),
        };
        json!({"location": {"logicalLocations": [logical(id)], "message": message(&what)}})
    };
    let locations: Vec<Value> = finding.path.iter().rev().enumerate().map(step).collect();
    json!([{"message": message(&finding.path.join(" > ")), "threadFlows": [{"locations": locations}]}])
}

/// What makes two results of different runs the same: rule, model, what it is about, where the path ends.
fn fingerprint(model: &ReportModel, finding: &Finding) -> String {
    let end = finding.path.last().map(String::as_str).unwrap_or_default();
    let key = [&finding.rule, &model.id, &finding.about, end].map(str::to_lowercase).join("\n");
    Digest::of(key.as_bytes()).to_hex()[..32].to_owned()
}

fn properties(model: &ReportModel, finding: &Finding) -> Value {
    without_gaps(json!({
        "severity": finding.severity,
        "about": finding.about,
        "license": finding.license,
        "section": finding.section,
        "remedy": finding.remedy,
        "path": finding.path,
        "revision": model.commit,
        "position": model.position,
    }))
}

/// A message. Braces stand doubled, and what looks like a link is no link (sections 3.11.5 and 3.11.6).
fn message(text: &str) -> Value {
    let mut text = text.replace('{', "{{").replace('}', "}}");
    if text.contains("](") {
        text = text.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]");
    }
    json!({"text": text})
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map(|first| format!("{first}{}", characters.as_str().to_lowercase())).unwrap_or_default()
}
