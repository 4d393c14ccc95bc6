//! What is wrong with labels themselves.

use super::{
    super::{
        Finding, Severity,
        label::{Name, Named},
        walk::Mode,
    },
    subject::{Case, Subject},
};

/// Rules about a model's own label.
pub(super) fn about(subject: &Subject<'_>) -> Vec<Finding> {
    let resolved = &subject.engine.resolved[subject.model];
    let review = |rule: &str, about: &str, message: String, remedy: &str| {
        subject.finding(rule, Severity::Review, about, message, remedy)
    };
    let mut findings = Vec::new();
    if resolved.is_empty() && has_labeled_ancestor(subject) {
        let message = match list(subject) {
            licenses if licenses.is_empty() => "it declares no license, and its ancestors have one".to_owned(),
            licenses => format!("it declares no license, and carries terms of {licenses} from its ancestors"),
        };
        let remedy = "declare the license in the card's `license` field";
        findings.push(review("LICENSE_UNDECLARED", subject.id(), message, remedy));
    }
    if let Some((label, place)) = &resolved.broken {
        let message = format!("the license expression `{label}` cannot be read {}", place_of(place));
        findings.push(review("OTHER_UNRESOLVED", subject.id(), message, "correct the expression in the card"));
    }
    let unlisted = names(subject.own);
    if !unlisted.is_empty() && resolved.broken.is_none() {
        let message = format!("the label `{}` names no license text that is known here", unlisted.join("`, `"));
        let remedy = "name a listed license, or add this one to the catalogue";
        findings.push(review("OTHER_UNRESOLVED", subject.id(), message, remedy));
    }
    for named in subject.own {
        findings.extend(unread(subject, named, &[subject.id().to_owned()], ""));
    }
    if resolved.is_list && subject.own.len() > 1 {
        let message = format!(
            "the card lists several licenses, `{}`: all of them are taken to apply",
            subject.spell(subject.own)
        );
        let remedy = "write an expression, with AND where all apply and OR where one may be chosen";
        findings.push(review("MULTI_LICENSE_REVIEW", subject.id(), message, remedy));
    }
    findings.extend(mismatch(subject));
    findings
}

fn place_of(place: &str) -> String {
    if place.starts_with("at ") { place.to_owned() } else { format!("({place})") }
}

fn names(named: &[Named]) -> Vec<&str> {
    let unlisted = |named: &'_ Named| matches!(named.name, Name::Unlisted(_));
    named
        .iter()
        .filter(|named| unlisted(named))
        .map(|named| match &named.name {
            Name::Unlisted(name) => name.as_str(),
            Name::Known(_) => "",
        })
        .collect()
}

fn has_labeled_ancestor(subject: &Subject<'_>) -> bool {
    subject.above.visits.iter().skip(1).any(|visit| !subject.engine.resolved[visit.model].is_empty())
}

fn list(subject: &Subject<'_>) -> String {
    let mut keys: Vec<&str> =
        subject.carried.iter().map(|carried| subject.license(carried.license).key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.join(", ")
}

/// Identifiers that name a family, and texts that nobody read.
fn unread(subject: &Subject<'_>, named: &Named, path: &[String], whose: &str) -> Vec<Finding> {
    let Some(index) = named.known() else { return Vec::new() };
    let license = subject.license(index);
    let finding = |rule: &str, about: &str, message: String, remedy: &str| Finding {
        path: path.to_vec(),
        license: Some(license.key.clone()),
        ..subject.finding(rule, Severity::Review, about, message, remedy)
    };
    let mut findings = Vec::new();
    if subject.engine.catalogue.is_family(index) {
        let message = format!("the label `{}`{whose} names a family of licenses with different terms", license.key);
        findings.push(finding("FAMILY_ID_AMBIGUOUS", &license.key, message, "name the exact license and version"));
    }
    if !license.traits.is_read {
        let message =
            format!("the terms of {}{whose} are not known in full here ({})", license.name, license.text_read);
        let remedy = "read its text, and add its terms to the catalogue";
        findings.push(finding("TEXT_NOT_READ", &license.key, message, remedy));
    }
    if let Some(exception) = &named.exception {
        let exception: String = exception.chars().take(80).collect();
        let message = format!("what `{exception}`{whose} changes in {} is not known here", license.name);
        findings.push(finding(
            "TEXT_NOT_READ",
            &format!("{} WITH {exception}", license.key),
            message,
            "read the exception",
        ));
    }
    findings
}

/// The same, of a license that is carried.
pub(super) fn about_carried(case: &Case<'_>) -> Vec<Finding> {
    if case.mode() == Mode::Data {
        return Vec::new();
    }
    let is_fine = case.license.traits.is_read && case.carried.exception.is_none();
    if is_fine && !case.subject.engine.catalogue.is_family(case.carried.license) {
        return Vec::new();
    }
    let named = Named { name: Name::Known(case.carried.license), exception: case.carried.exception.clone() };
    let path = case.subject.engine.names(&case.subject.above.path(case.carried.visit));
    unread(case.subject, &named, &path, &format!(" of `{}`", case.ancestor()))
}

/// Label and files name different licenses.
fn mismatch(subject: &Subject<'_>) -> Option<Finding> {
    let resolved = &subject.engine.resolved[subject.model];
    let carries = |text: usize| subject.carried.iter().any(|carried| carried.license == text);
    let own = |text: usize| subject.own.iter().any(|named| named.known() == Some(text));
    // A text that neither the label nor an ancestor explains, and that limits more than the label says.
    let is_extra = |text: usize| !own(text) && !carries(text) && !subject.license(text).is_permissive();
    let extra = resolved.texts.iter().copied().filter(|text| is_extra(*text));
    let mut texts: Vec<usize> = if resolved.is_mismatch { resolved.texts.clone() } else { extra.collect() };
    if texts.is_empty() || subject.label.is_empty() {
        return None;
    }
    texts.sort_unstable();
    let keys: Vec<&str> = texts.iter().map(|text| subject.license(*text).key.as_str()).collect();
    let message =
        format!("its label says `{}`, its files hold the text of {}", subject.spell(subject.label), keys.join(", "));
    let remedy = "let label and files say the same; until then the files count";
    Some(subject.finding("DECLARED_FILE_MISMATCH", Severity::Review, subject.id(), message, remedy))
}
