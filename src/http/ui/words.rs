//! Licenses and rules in plain words, as the engine says them: the one place where pages ask it.

use super::format;
use crate::license::{
    catalogue::{self, License},
    rules::{RULES, find_rule},
};

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

impl Sentence {
    fn new(verb: &'static str, said: catalogue::Sentence) -> Self {
        Self {
            sentence: said.sentence,
            term: said.term,
            clause: said.clause.unwrap_or_default(),
            is_reading: said.basis == "interp",
            verb,
        }
    }
}

/// What a license says.
#[derive(Debug, Default)]
pub(super) struct Plain {
    pub(super) permits: Vec<Sentence>,
    pub(super) asks: Vec<Sentence>,
    pub(super) forbids: Vec<Sentence>,
    pub(super) unknown: Vec<Sentence>,
}

/// Returns what a license permits, asks and forbids.
pub(super) fn plain(license: &License) -> Plain {
    let said = license.plain_words();
    let of = |verb, said: Vec<catalogue::Sentence>| said.into_iter().map(|said| Sentence::new(verb, said)).collect();
    Plain {
        permits: of("permits", said.permits),
        asks: of("asks", said.asks),
        forbids: of("forbids", said.forbids),
        unknown: of("leaves open", said.unknown),
    }
}

/// Returns the title of a rule: what is the matter, in plain words.
pub(super) fn rule_title(id: &str) -> String {
    find_rule(id).map_or_else(|| capitalized(&id.to_lowercase().replace('_', " ")), |rule| rule.title.to_owned())
}

/// Returns all rules, with their titles.
pub(super) fn rules() -> Vec<(&'static str, String)> {
    RULES.iter().map(|rule| (rule.id, rule.title.to_owned())).collect()
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
    let all: Vec<Sentence> =
        plain.forbids.into_iter().chain(plain.asks).chain(plain.permits).chain(plain.unknown).collect();
    terms_of(rule).iter().find_map(|term| all.iter().find(|said| said.term == *term)).cloned()
}

/// A message of the engine as a sentence, safe in HTML.
pub(super) fn sentence(message: &str) -> String {
    let mut text = capitalized(message.trim());
    if !text.is_empty() && !text.ends_with(['.', '!', '?']) && !text.ends_with(".”") {
        text.push('.');
    }
    format::message(&text)
}

pub(super) fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
