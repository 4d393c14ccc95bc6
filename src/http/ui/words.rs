//! Licenses and rules in plain words, as the engine says them: the one place where pages ask it.

use super::{format, words_shim};
use crate::license::catalogue::License;

/// One thing that a license permits, asks or forbids.
#[derive(Debug, Clone)]
pub(super) struct Sentence {
    pub(super) sentence: String,
    /// Name of the term.
    pub(super) term: String,
    pub(super) clause: String,
    /// Whether it is our reading rather than the text's own words.
    pub(super) is_reading: bool,
    /// `permits`, `asks` or `forbids`.
    pub(super) verb: &'static str,
}

/// What a license says.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub(super) permits: Vec<Sentence>,
    pub(super) asks: Vec<Sentence>,
    pub(super) forbids: Vec<Sentence>,
}

/// Returns what a license permits, asks and forbids.
pub(super) fn plain(license: &License) -> Plain {
    let mut plain = words_shim::plain(license);
    let sides = [("permits", &mut plain.permits), ("asks", &mut plain.asks), ("forbids", &mut plain.forbids)];
    for (verb, said) in sides {
        said.iter_mut().for_each(|sentence| sentence.verb = verb);
    }
    plain
}

/// Returns the title of a rule: what is the matter, in plain words.
pub(super) fn rule_title(id: &str) -> String {
    words_shim::rule_title(id).map_or_else(|| capitalized(&id.to_lowercase().replace('_', " ")), str::to_owned)
}

/// Returns all rules, with their titles.
pub(super) fn rules() -> Vec<(&'static str, String)> {
    words_shim::RULES.iter().map(|(id, title)| (*id, (*title).to_owned())).collect()
}

/// The terms of a license that a rule rests on, the most telling first.
fn terms_of(rule: &str) -> &'static [&'static str] {
    match rule {
        "NC_USE" | "NC_DROPPED" | "REGISTRATION_REVIEW" | "DATASET_NC_REVIEW" => &["commercial_use"],
        "THRESHOLD_MAU" | "THRESHOLD_REVENUE" => &["thresholds"],
        "NAME_PREFIX" => &["name_prefix"],
        "DISPLAY_REVIEW" => &["display"],
        "LICENSE_COPY_MISSING" => &["license_copy"],
        "NOTICE_MISSING" => &["notice_file", "notice_text"],
        "USE_RESTRICTIONS_DROPPED" => &["propagation", "relicense_derivative"],
        "GEO_EU_MULTIMODAL" => &["geo"],
        "ADAPTER_SCOPE_REVIEW" => &["adapters"],
        "OUTPUT_BAN" | "OUTPUT_BAN_REVIEW" | "OUTPUT_NC" | "OUTPUT_REVIEW" => &["outputs"],
        _ => &["relicense_derivative", "propagation", "derivatives"],
    }
}

/// Returns what of a license decides a finding of a rule, in plain words.
pub(super) fn deciding(license: &License, rule: &str) -> Option<Sentence> {
    let plain = plain(license);
    let all: Vec<Sentence> = plain.forbids.into_iter().chain(plain.asks).chain(plain.permits).collect();
    terms_of(rule).iter().find_map(|term| all.iter().find(|said| said.term == *term)).cloned()
}

/// A message of the engine as a sentence, safe in HTML.
pub(super) fn sentence(message: &str) -> String {
    let mut text = capitalized(message.trim());
    if !text.is_empty() && !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    format::message(&text)
}

pub(super) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
