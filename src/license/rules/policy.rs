//! What a namespace accepts, beside what licenses say.

use super::{
    super::{Finding, Severity, label::normalize, walk::Mode},
    subject::{Case, Subject},
};

/// Applies the allow and deny lists to a carried license.
pub(super) fn about_carried(case: &Case<'_>, policy: &super::super::profile::Policy) -> Option<Finding> {
    if case.mode() == Mode::Data {
        return None;
    }
    let whose = format!(" of `{}`", case.ancestor());
    let (rule, severity, message, remedy) = verdict(case.subject, case.carried.license, policy, &whose)?;
    Some(case.finding_at(rule, severity, ("", None), message, remedy.to_owned()))
}

/// Applies them to the model's own licenses.
pub(super) fn about_own(subject: &Subject<'_>, policy: &super::super::profile::Policy) -> Vec<Finding> {
    let finding = |license: usize| {
        let (rule, severity, message, remedy) = verdict(subject, license, policy, "")?;
        let key = &subject.license(license).key;
        Some(Finding { license: Some(key.clone()), ..subject.finding(rule, severity, key, message, remedy) })
    };
    subject.own.iter().filter_map(super::super::label::Named::known).filter_map(finding).collect()
}

fn verdict(
    subject: &Subject<'_>,
    license: usize,
    policy: &super::super::profile::Policy,
    whose: &str,
) -> Option<(&'static str, Severity, String, &'static str)> {
    let catalogue = subject.engine.catalogue;
    let name = &subject.license(license).name;
    let lists = |keys: &[String]| keys.iter().any(|key| catalogue.find(&normalize(key)) == Some(license));
    if lists(&policy.deny) {
        let message = format!("the policy of its namespace denies {name}{whose}");
        return Some(("POLICY_DENIED", Severity::Violation, message, "use a model under another license"));
    }
    if !policy.allow.is_empty() && !lists(&policy.allow) {
        let message = format!("{name}{whose} is not among the licenses that its namespace allows");
        let remedy = "ask whoever keeps the policy, or use a model under an allowed license";
        return Some(("POLICY_NOT_ALLOWED", Severity::Review, message, remedy));
    }
    None
}
