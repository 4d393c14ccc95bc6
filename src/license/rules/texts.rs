//! What must stand in a model's name, card and files.

use super::{
    super::{
        Finding, Severity,
        catalogue::{License, Notice},
        graph::FileFacts,
        profile::Profile,
        walk::{Change, Mode},
    },
    subject::{Case, Subject},
    use_limits::exceeds,
};

/// A name that must begin as the license asks.
pub(super) fn name_prefix(case: &Case<'_>) -> Option<Finding> {
    let prefix = case.license.traits.name_prefix.as_deref()?;
    // A verbatim copy keeps the original's name.
    if case.mode() <= Mode::Adapter && case.change() == Change::Copied {
        return None;
    }
    let name = case.subject.name();
    if begins_with(name, prefix) {
        return None;
    }
    let severity = if begins_with(name, "Meta Llama") { Severity::Review } else { Severity::Violation };
    let built = if case.mode() == Mode::Output { "trained on outputs of" } else { "built on" };
    let message = format!(
        "the name of a model {built} `{}` must begin with “{prefix}”, this one begins with “{}”",
        case.ancestor(),
        first_word(name)
    );
    let remedy = format!("rename it to begin with `{}`", prefix.replace(' ', "-"));
    Some(case.finding("NAME_PREFIX", severity, "name_prefix", message, remedy))
}

/// Case does not matter; `-`, `_` and space are one.
pub(in super::super) fn begins_with(name: &str, prefix: &str) -> bool {
    let plain = |c: char| if matches!(c, '-' | '_') { ' ' } else { c.to_ascii_lowercase() };
    let mut letters = name.chars().map(plain);
    prefix.chars().map(plain).all(|letter| letters.next() == Some(letter))
}

fn first_word(name: &str) -> String {
    name.split(['-', '_', ' ']).next().unwrap_or(name).chars().take(40).collect()
}

/// Texts that must travel with the weights.
pub(super) fn files(case: &Case<'_>) -> Vec<Finding> {
    let Some(files) = case.subject.files() else { return Vec::new() };
    // Whether an adapter carries anything of the base is open; where the license is permissive nothing hangs on it.
    if case.is_unreached_adapter() && case.license.is_permissive() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    findings.extend(license_copy(case, files));
    findings.extend(notice(case, files));
    findings.extend(display(case, files));
    findings
}

fn license_copy(case: &Case<'_>, files: &FileFacts) -> Option<Finding> {
    if has_license_copy(case.license, case.subject.ships(case.carried.license), files) != Some(false) {
        return None;
    }
    let unknown = files.license_texts.iter().find(|text| text.key.is_none() && !text.path.is_empty());
    let message = match unknown {
        Some(text) => format!(
            "no file was recognized as the text of {} of `{}` (`{}` is no text that is known here)",
            case.license.name,
            case.ancestor(),
            text.path
        ),
        None => format!("no copy of {} of `{}` is among the files", case.license.name, case.ancestor()),
    };
    let remedy = "add the license text as a file, as the attribution kit does".to_owned();
    Some(case.finding("LICENSE_COPY_MISSING", softened(case, Severity::Incomplete), "license_copy", message, remedy))
}

fn softened(case: &Case<'_>, severity: Severity) -> Severity {
    if case.is_unreached_adapter() { Severity::Review } else { severity }
}

/// Whether the text that must travel is there; `None`: none is asked for.
pub(super) fn has_license_copy(license: &License, ships: bool, files: &FileFacts) -> Option<bool> {
    if !license.traits.license_copy {
        return None;
    }
    // Creative Commons §3(a)(1)(C): the text, or a link to it.
    let is_linked = || license.traits.link_suffices && files.readme.contains("creativecommons.org/licenses/");
    Some(ships || is_linked())
}

fn notice(case: &Case<'_>, files: &FileFacts) -> Option<Finding> {
    let notice = case.license.traits.notice.as_ref()?;
    let original = original(case.subject, case.carried.license);
    if has_notice(case.license, files, original) != Some(false) {
        return None;
    }
    let is_due = notice.covers_derivatives || case.change() < Change::Modified;
    let is_due = is_due && notice.term == "notice_file";
    let severity = softened(case, if is_due { Severity::Incomplete } else { Severity::Review });
    let message = match notice.is_conditional {
        true => format!("the notice of `{}` is not among the files ({})", case.ancestor(), case.license.name),
        false => format!("no notice says “{}”", notice.line),
    };
    let remedy = "add the line to a file NOTICE, as the attribution kit does".to_owned();
    Some(case.finding("NOTICE_MISSING", severity, notice.term, message, remedy))
}

/// The files of an ancestor under this license that has a notice: the first in the order of paths.
pub(super) fn original<'a>(subject: &Subject<'a>, license: usize) -> Option<&'a FileFacts> {
    let engine = subject.engine;
    let is_under = |model: &usize| engine.resolved[*model].known().any(|known| known == license);
    let steps = subject.above.visits.iter().skip(1).filter(|step| step.class.mode == Mode::Weights);
    let mut files =
        steps.map(|step| step.model).filter(is_under).filter_map(|model| engine.graph.models[model].files.as_ref());
    files.find(|files| !files.notice.is_empty())
}

/// Whether the notice is there; `None`: none is asked for, or the original is not known to have one.
pub(super) fn has_notice(license: &License, files: &FileFacts, original: Option<&FileFacts>) -> Option<bool> {
    let notice = license.traits.notice.as_ref()?;
    if notice.is_conditional {
        let original = words(&original?.notice);
        let first: String = original.chars().take(200).collect();
        return (!first.is_empty()).then(|| words(&files.notice).contains(&first));
    }
    let line = words(core(notice));
    let in_card = || notice.term == "notice_text" && words(&files.readme).contains(&line);
    Some(words(&files.notice).contains(&line) || in_card())
}

/// The sentence without the copyright line after it, which people shorten.
fn core(notice: &Notice) -> &str {
    notice.line.split(", Copyright").next().unwrap_or(&notice.line)
}

/// Letters and digits, single spaces.
fn words(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars().flat_map(char::to_lowercase) {
        if character.is_alphanumeric() {
            plain.push(character);
        } else if !plain.ends_with(' ') && !plain.is_empty() {
            plain.push(' ');
        }
    }
    plain.truncate(plain.trim_end().len());
    plain
}

/// A phrase that must be shown, as far as the card tells.
pub(super) fn display(case: &Case<'_>, files: &FileFacts) -> Option<Finding> {
    if has_phrase(case.license, files, case.subject.profile) != Some(false) {
        return None;
    }
    let phrases = &case.license.traits.phrases;
    let message = format!(
        "the card does not say “{}”, as {} of `{}` asks; it may stand elsewhere",
        phrases.join("” or “"),
        case.license.name,
        case.ancestor()
    );
    let remedy = format!("write “{}” in the card", phrases.first().map_or("", String::as_str));
    Some(case.finding("DISPLAY_REVIEW", Severity::Review, "display", message, remedy))
}

/// Whether the phrase is in the card; `None`: none is asked for.
pub(super) fn has_phrase(license: &License, files: &FileFacts, profile: &Profile) -> Option<bool> {
    let traits = &license.traits;
    let mut beyond = traits.thresholds.iter().filter(|threshold| threshold.asks_display_only).peekable();
    let is_due = beyond.peek().is_none() || beyond.any(|threshold| exceeds(threshold, profile));
    if traits.phrases.is_empty() || !is_due {
        return None;
    }
    let card = words(&files.readme);
    let look_for = license.terms["display"]["look_for"].as_array();
    let mut wanted: Vec<&str> = look_for.into_iter().flatten().filter_map(serde_json::Value::as_str).collect();
    if wanted.is_empty() {
        wanted = traits.phrases.iter().map(String::as_str).collect();
    }
    Some(wanted.iter().any(|phrase| card.contains(&words(phrase))))
}
