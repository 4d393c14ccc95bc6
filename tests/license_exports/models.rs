//! Models to report on: one with everything that can be said, names that are meant to break a format, and many.

use herdbook::license::{
    Finding, Obligation, Severity,
    report::{ReportFile, ReportInfo, ReportModel, ReportParent},
    waiver::Waived,
};
use time::{Date, Month, OffsetDateTime, Time};

/// What looks like code to spreadsheets, markup, templates and terminals.
pub(crate) const HOSTILE: &str =
    "=cmd|' /C calc'!A0, \"quoted\" <b>{0}</b> [link](1) \u{1b}[31m\u{0}\u{7}\r\nnext ☃ 模型 \u{202e}";

pub(crate) fn info(scope: &str) -> ReportInfo {
    ReportInfo {
        scope: scope.to_owned(),
        version: "0.1.0".to_owned(),
        catalogue: "2026-11-23".to_owned(),
        endpoint: "https://models.example.org".to_owned(),
        as_of: moment(2026),
    }
}

fn moment(year: i32) -> OffsetDateTime {
    let day = Date::from_calendar_date(year, Month::March, 14).unwrap();
    OffsetDateTime::new_utc(day, Time::from_hms_milli(15, 9, 26, 535).unwrap())
}

pub(crate) fn parent(id: &str, relation: &str, verdict: &str) -> ReportParent {
    ReportParent {
        id: id.to_owned(),
        revision: Some("5".repeat(40)),
        relation: relation.to_owned(),
        origin: "declared".to_owned(),
        verdict: verdict.to_owned(),
    }
}

pub(crate) fn finding(rule: &str, severity: Severity, path: &[&str]) -> Finding {
    Finding {
        rule: rule.to_owned(),
        severity,
        about: "llama2".to_owned(),
        message: "it is labeled `apache-2.0`, but holds weights under Llama 2".to_owned(),
        license: Some("llama2".to_owned()),
        section: Some("§1.a".to_owned()),
        path: path.iter().map(ToString::to_string).collect(),
        remedy: "declare `llama2`, or an expression that contains it".to_owned(),
        waiver: None,
    }
}

fn obligation(id: &str, satisfied: &str) -> Obligation {
    Obligation {
        id: id.to_owned(),
        summary: "give recipients a copy of the Llama 2 Community License".to_owned(),
        license: "llama2".to_owned(),
        section: "§1.b.i".to_owned(),
        via: vec!["acme/Chat".to_owned(), "meta-llama/Llama-2-7b".to_owned()],
        satisfied: satisfied.to_owned(),
    }
}

fn waiver(reason: &str) -> Waived {
    Waived { id: 7, reason: reason.to_owned(), owner: "legal@acme.example".to_owned(), expires: moment(2027) }
}

fn file(path: &str, byte: &str) -> ReportFile {
    ReportFile { path: path.to_owned(), size: 12, sha256: byte.repeat(32) }
}

/// A model with everything: a choice of licenses, several parents, files, findings of each severity, a waiver.
pub(crate) fn rich() -> ReportModel {
    let path = ["acme/Chat", "lmsys/Vicuna-7b", "meta-llama/Llama-2-7b"];
    let mut waived = finding("NAME_PREFIX", Severity::Violation, &path);
    waived.waiver = Some(waiver("agreed with the licensor"));
    ReportModel {
        id: "acme/Chat".to_owned(),
        is_hosted: true,
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        description: "A model that talks.".to_owned(),
        architecture: Some("LlamaForCausalLM".to_owned()),
        parameters: Some(6_738_415_616),
        pipeline_tag: Some("text-generation".to_owned()),
        declared: Some("apache-2.0".to_owned()),
        expression: Some("Apache-2.0 AND LicenseRef-llama2 AND (MIT OR CC-BY-4.0)".to_owned()),
        position: "violation".to_owned(),
        files: vec![file("LICENSE", "0a"), file("weights/模型 1.safetensors", "fe")],
        parents: vec![
            parent("lmsys/Vicuna-7b", "finetune", "confirmed"),
            parent("acme/adapter", "adapter", "confirmed_family"),
            parent("acme/teacher", "distill", "unverifiable"),
            parent("acme/chats", "trained_on", "pending"),
            parent("acme/stranger", "merge", "contradicted"),
        ],
        obligations: vec![obligation("license-copy", "no"), obligation("use-policy", "unchecked")],
        findings: vec![
            finding("RELICENSED_WITHOUT_RIGHT", Severity::Violation, &path),
            finding("LICENSE_COPY_MISSING", Severity::Incomplete, &path),
            finding("MULTI_LICENSE_REVIEW", Severity::Review, &path[..2]),
            finding("A_RULE_OF_TOMORROW", Severity::Notice, &path[..1]),
            waived,
        ],
    }
}

/// A model all of whose texts are hostile.
pub(crate) fn hostile() -> ReportModel {
    let long = "very-long-".repeat(60);
    let name = format!("acme/{HOSTILE}");
    let mut found = finding("RELICENSED_WITHOUT_RIGHT", Severity::Violation, &[&name, &long, HOSTILE]);
    for text in [&mut found.message, &mut found.remedy, &mut found.about] {
        HOSTILE.clone_into(text);
    }
    found.license = Some(HOSTILE.to_owned());
    found.section = Some(long.clone());
    found.waiver = Some(waiver(HOSTILE));
    ReportModel {
        id: name,
        is_hosted: true,
        commit: Some("main?".to_owned()),
        description: HOSTILE.to_owned(),
        architecture: Some(HOSTILE.to_owned()),
        parameters: Some(-1),
        pipeline_tag: Some(String::new()),
        declared: Some(HOSTILE.to_owned()),
        expression: Some(format!("LicenseRef-openrail++ AND ({HOSTILE} OR MIT")),
        position: "unknown".to_owned(),
        files: vec![ReportFile { path: HOSTILE.to_owned(), size: u64::MAX, sha256: "none".to_owned() }],
        parents: vec![parent(HOSTILE, HOSTILE, HOSTILE), parent(&long, "trained_on", ""), parent("", "", "")],
        obligations: vec![Obligation { id: HOSTILE.to_owned(), via: Vec::new(), ..obligation("", HOSTILE) }],
        findings: vec![found],
    }
}

/// A model about which nothing is known.
pub(crate) fn bare() -> ReportModel {
    ReportModel { id: "gpt2".to_owned(), position: "unknown".to_owned(), ..ReportModel::default() }
}

/// A line of models, each made from the one before.
pub(crate) fn many(count: usize) -> Vec<ReportModel> {
    let model = |number: usize| {
        let (id, below) = (format!("many/model-{number}"), format!("Many/Model-{}", number.saturating_sub(1)));
        ReportModel {
            findings: vec![finding("RELICENSED_WITHOUT_RIGHT", Severity::Violation, &[&id, &below])],
            parents: vec![parent(&below, "finetune", "confirmed")],
            id,
            ..rich()
        }
    };
    (0..count).map(model).collect()
}
