//! The worked cases that came with the catalogue: exactly the expected findings, and nothing else above a notice.

use serde_json::Value;

use super::graph::{found, judge};

pub(super) const VECTORS: &str = include_str!("../fixtures/license_vectors.json");

#[test]
fn the_worked_cases_give_exactly_the_expected_findings() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    let mut wrong = Vec::new();
    for vector in vectors["vectors"].as_array().unwrap() {
        let expect = &vector["expect"];
        let judgement = judge(&vector["input"]);
        let found = found(&judgement);
        let expected: Vec<&str> = expect["findings"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        let is_complete = expected.iter().all(|finding| found.iter().any(|other| other == finding));
        let is_exact =
            found.iter().all(|finding| expected.contains(&finding.as_str()) || finding.starts_with("notice:"));
        let is_absent = |rule: &Value| !judgement.findings.iter().any(|finding| *rule == *finding.rule);
        let keeps_absent = expect["absent"].as_array().unwrap().iter().all(is_absent);
        let is_right = is_complete && (is_exact || expect["exact"] != true) && keeps_absent;
        if !is_right || expect["position"] != *judgement.position {
            wrong.push(format!("{} {}: {} {found:?}, not {expect}", vector["id"], vector["title"], judgement.position));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(vectors["vectors"].as_array().unwrap().len(), 64);
}

#[test]
fn every_finding_and_duty_names_clause_path_and_remedy() {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    for vector in vectors["vectors"].as_array().unwrap() {
        let judgement = judge(&vector["input"]);
        for finding in &judgement.findings {
            assert!(!finding.message.is_empty() && !finding.remedy.is_empty(), "{finding:?}");
            assert!(finding.path.first() == Some(&judgement.id), "{finding:?}");
            let rule = herdbook::license::rules::find_rule(&finding.rule).expect("each rule is in the table");
            assert!(finding.severity <= rule.severity || rule.id == "NOTICE_MISSING", "{finding:?}");
        }
        for duty in &judgement.obligations {
            assert!(!duty.summary.is_empty() && duty.via.first() == Some(&judgement.id), "{duty:?}");
            assert!(["yes", "no", "unchecked"].contains(&duty.satisfied.as_str()), "{duty:?}");
        }
    }
}
