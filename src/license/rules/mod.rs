//! The rules, each with a stable id, a message, a clause and a remedy.
//!
//! One module per topic; [`RULES`] lists them for exports and pages.

mod duties;
mod labels;
mod lineage;
mod outputs;
mod policy;
mod relicense;
mod subject;
mod table;
mod texts;
mod use_limits;

use std::collections::HashMap;

pub use table::{RULES, Rule, find_rule};

pub(super) use lineage::same_namespace;
pub(super) use subject::Subject;

use super::{
    Finding, Obligation, Severity,
    judge::Carried,
    profile::{Distribution, Policy},
    walk::{Class, Mode},
};
use subject::Case;

/// Everything that the rules find about a model, the gravest first.
pub(super) fn judge(subject: &Subject<'_>, policy: &Policy) -> Vec<Finding> {
    let mut findings = labels::about(subject);
    findings.extend(lineage::about(subject));
    findings.extend(policy::about_own(subject, policy));
    for carried in subject.carried {
        findings.extend(about_carried(subject, carried, policy));
    }
    for own in own_base(subject) {
        findings.extend(use_limits::about(&case(subject, &own)));
    }
    put_to_sleep(subject, &mut findings);
    tidy(findings)
}

/// What a carried license says against a model's own label, name, files and use.
pub(super) fn about_carried(subject: &Subject<'_>, carried: &Carried, policy: &Policy) -> Vec<Finding> {
    let case = case(subject, carried);
    let mut findings = labels::about_carried(&case);
    findings.extend(policy::about_carried(&case, policy));
    match case.mode() {
        Mode::Data => findings.extend(outputs::about_data(&case)),
        Mode::Output => findings.extend(outputs::about(&case)),
        Mode::Weights | Mode::Adapter => {
            findings.extend(relicense::about(&case));
            findings.extend(sharing(&case));
            findings.extend(texts::name_prefix(&case));
            findings.extend(adapter_scope(&case, &findings));
            findings.extend(texts::files(&case));
            findings.extend(use_limits::about(&case));
        }
    }
    findings
}

/// What the licenses of a model ask.
pub(super) fn obligations(subject: &Subject<'_>) -> Vec<Obligation> {
    duties::list(subject)
}

fn case<'a>(subject: &'a Subject<'a>, carried: &'a Carried) -> Case<'a> {
    Case { subject, carried, license: subject.license(carried.license) }
}

/// A model that is labeled with a licensor's license, and is not the licensor's, holds a base that was not recorded: the
/// limits on use bind its owner too.
fn own_base(subject: &Subject<'_>) -> Vec<Carried> {
    let catalogue = subject.engine.catalogue;
    let is_base = |license: &usize| {
        catalogue.license(*license).has_one_licensor() && !catalogue.is_licensors_own(subject.id(), *license)
    };
    let known = subject.own.iter().filter_map(|named| Some((named.known()?, named.exception.clone())));
    let carried = known.filter(|(license, _)| is_base(license)).map(|(license, exception)| Carried {
        license,
        class: subject.above.visits[0].class,
        visit: 0,
        is_multimodal: subject.engine.is_multimodal(subject.model),
        exception,
    });
    carried.collect()
}

/// Works that may not be shared when changed, and copyleft on weights.
fn sharing(case: &Case<'_>) -> Vec<Finding> {
    use super::{catalogue::Family, walk::Change};
    let mut findings = Vec::new();
    let (license, ancestor) = (case.license, case.ancestor());
    let term = "relicense_derivative";
    if license.family() == Family::NoDerivatives && case.change() == Change::Reformatted {
        let message =
            format!("is `{ancestor}` in another format an adaptation, which {} does not allow to share?", license.name);
        let remedy = "ask the licensor, or make it private".to_owned();
        findings.push(case.finding("ND_TRANSFORM_REVIEW", Severity::Review, term, message, remedy));
    }
    if license.family() == Family::NoDerivatives && case.change() == Change::Modified {
        let message = format!("{} of `{ancestor}` forbids sharing what is built on it", license.name);
        let remedy = "make it private, or get permission".to_owned();
        findings.push(case.finding("ND_DERIVATIVE_SHARED", Severity::Violation, term, message, remedy));
    }
    if license.traits.is_gnu || license.traits.is_library_copyleft {
        let message = format!(
            "{} of `{ancestor}` asks for the source: whether that means data, scripts or the weights is unsettled",
            license.name
        );
        let remedy = "decide what to offer as source, and say so in the card".to_owned();
        findings.push(case.finding("COPYLEFT_WEIGHTS_REVIEW", Severity::Review, term, message, remedy));
    }
    findings
}

/// Whether a license reaches an adapter is a question only where something hangs on it.
fn adapter_scope(case: &Case<'_>, so_far: &[Finding]) -> Option<Finding> {
    let is_followed = case.subject.own.iter().any(|named| named.known() == Some(case.carried.license));
    // What is about the name alone would be answered by another name.
    let others = ["NAME_PREFIX", "TEXT_NOT_READ", "FAMILY_ID_AMBIGUOUS", "POLICY_DENIED", "POLICY_NOT_ALLOWED"];
    let hangs = |finding: &Finding| !others.contains(&finding.rule.as_str());
    let is_open = case.is_unreached_adapter() && !case.license.is_permissive() && !case.license.traits.is_service;
    if !is_open || (is_followed && !so_far.iter().any(hangs)) {
        return None;
    }
    let message = format!(
        "{} of `{}` does not say whether it reaches parameters beside the weights",
        case.license.name,
        case.ancestor()
    );
    let remedy = format!("declare `{}`, which is safe, or ask the licensor", case.license.key);
    let section = case.license.clause("adapters").or_else(|| case.license.clause("relicense_derivative"));
    Some(case.finding_at("ADAPTER_SCOPE_REVIEW", Severity::Review, ("adapters", section), message, remedy))
}

/// Whether anybody outside gets the weights.
fn is_published(subject: &Subject<'_>) -> bool {
    subject.distribution == Distribution::Public
}

/// Duties of distribution sleep while a model is private, or offered as a service by a license that does not count that
/// as distribution; limits on use stay.
fn put_to_sleep(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    if is_published(subject) {
        return;
    }
    let is_private = subject.distribution == Distribution::Private;
    let counts_service = |key: Option<&String>| {
        let catalogue = subject.engine.catalogue;
        let license = key.and_then(|key| catalogue.find(&super::label::normalize(key)));
        license.is_some_and(|license| catalogue.license(license).traits.network)
    };
    findings.retain(|finding| {
        let Some(rule) = find_rule(&finding.rule) else { return true };
        if !rule.sleeps {
            return true;
        }
        // Notices travel with copies, which a service does not give.
        !is_private && rule.id != "NOTICE_MISSING" && counts_service(finding.license.as_ref())
    });
    let mut woken: Vec<(usize, Class, usize)> = Vec::new();
    for carried in subject.carried {
        let is_listed = woken.iter().any(|(license, ..)| *license == carried.license);
        let is_awake = !is_private && subject.license(carried.license).traits.network;
        if !is_listed && !is_awake && carried.class.mode != Mode::Data {
            woken.push((carried.license, carried.class, carried.visit));
        }
    }
    for (license, class, visit) in woken {
        let license = subject.license(license);
        let duties = duties::asleep(license, class.mode);
        if duties.is_empty() {
            continue;
        }
        let what =
            if is_private { "this private model were published" } else { "the weights of this service were published" };
        let message = format!("duties of {} would wake if {what}: {}", license.name, duties.join(", "));
        let finding = subject.finding(
            "PRIVATE_DORMANT",
            Severity::Notice,
            &license.key,
            message,
            "judge again before publishing",
        );
        findings.push(Finding {
            license: Some(license.key.clone()),
            section: license.clause("license_copy"),
            path: subject.engine.names(&subject.above.path(visit)),
            ..finding
        });
    }
}

/// One finding per rule and subject: the gravest, by the shortest path; the gravest first.
fn tidy(findings: Vec<Finding>) -> Vec<Finding> {
    let mut best: Vec<Finding> = Vec::with_capacity(findings.len());
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    for finding in findings {
        let key = (finding.rule.clone(), finding.about.clone());
        let Some(place) = places.get(&key).copied() else {
            places.insert(key, best.len());
            best.push(finding);
            continue;
        };
        // Findings come in the order of their paths: among equal ones the first stays.
        let is_better = |one: &Finding, other: &Finding| {
            (std::cmp::Reverse(one.severity), one.path.len()) < (std::cmp::Reverse(other.severity), other.path.len())
        };
        if is_better(&finding, &best[place]) {
            best[place] = finding;
        }
    }
    best.sort_by(|a, b| (b.severity, &a.rule, &a.about).cmp(&(a.severity, &b.rule, &b.about)));
    best
}
