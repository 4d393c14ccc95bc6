//! What a license permits, asks and forbids, in plain words beside its clauses: for pages.

use serde::Serialize;

use super::{Family, License, Outputs, ThresholdKind};

/// One thing that a license says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Sentence {
    /// In plain words.
    pub sentence: String,
    /// The term of the catalogue that it rests on.
    pub term: String,
    /// Where the text says so, when a place is known.
    pub clause: Option<String>,
    /// `text`: it stands there; `interp`: our reading.
    pub basis: String,
}

/// What a license says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct PlainWords {
    /// What one may do.
    pub permits: Vec<Sentence>,
    /// What one must do.
    pub asks: Vec<Sentence>,
    /// What one may not do.
    pub forbids: Vec<Sentence>,
    /// What is not known, because the text was not read that far.
    pub unknown: Vec<Sentence>,
}

impl License {
    /// Says in plain words what this license permits, asks and forbids.
    pub fn plain_words(&self) -> PlainWords {
        let mut words = PlainWords::default();
        self.uses(&mut words);
        self.sharing(&mut words);
        self.texts(&mut words);
        self.sizes(&mut words);
        self.outputs_in_words(&mut words);
        self.limits(&mut words);
        words
    }

    fn sentence(&self, term: &str, sentence: impl Into<String>) -> Sentence {
        Sentence {
            sentence: sentence.into(),
            term: term.to_owned(),
            clause: self.clause(term),
            basis: self.terms[term]["basis"].as_str().unwrap_or("interp").to_owned(),
        }
    }

    fn word(&self, term: &str) -> &str {
        self.value(term).as_str().unwrap_or_default()
    }

    fn uses(&self, words: &mut PlainWords) {
        let term = "commercial_use";
        match self.word(term) {
            "no" => words.forbids.push(self.sentence(term, "Commercial use.")),
            "conditional" => words.permits.push(self.sentence(term, "Commercial use, under conditions.")),
            value if value.starts_with("yes (") => {
                words.permits.push(self.sentence(term, "Commercial use, within its use restrictions."));
            }
            "yes" => words.permits.push(self.sentence(term, "Commercial use.")),
            _ => words.unknown.push(self.sentence(term, "Whether it may be used commercially.")),
        }
        let plain =
            [("redistribution", "Passing it on"), ("derivatives", "Building on it: fine-tunes, merges, other formats")];
        for (term, what) in plain {
            let value = self.word(term);
            if let Some(rest) = value.strip_prefix("allowed") {
                words.permits.push(self.sentence(term, format!("{what}{rest}.")));
            } else if value.starts_with("private") {
                words.permits.push(self.sentence(term, format!("{what}, but for oneself only.")));
            } else if value == "unknown" {
                words.unknown.push(self.sentence(term, format!("{what}.")));
            }
        }
        let value = self.word("sublicense");
        if value.starts_with("granted") {
            words.permits.push(self.sentence("sublicense", "Giving others a license of one's own to it."));
        } else if value.starts_with("forbidden") {
            words.forbids.push(self.sentence("sublicense", "Giving others a license of one's own to it."));
        }
    }

    fn sharing(&self, words: &mut PlainWords) {
        let term = "relicense_derivative";
        match self.traits.family {
            Family::Permissive if self.is_noncommercial() => {
                words.permits.push(
                    self.sentence(term, "Own terms over what is built on it, as long as they stay non-commercial."),
                );
            }
            Family::Permissive => words.permits.push(self.sentence(term, "Own terms over what is built on it.")),
            Family::Passthrough if self.traits.passes_restrictions => {
                words.permits.push(
                    self.sentence(term, "Own terms over what is built on it, with its use restrictions in them."),
                );
                let sentence = "Bind recipients to its use restrictions by an enforceable provision.";
                words.asks.push(self.sentence("propagation", sentence));
            }
            Family::Passthrough => {
                words
                    .permits
                    .push(self.sentence(term, "Own terms over what is built on it, while its own conditions stay."));
            }
            Family::ShareAlike => words.asks.push(self.sentence(term, "License what is built on it alike.")),
            Family::NotGranted => {
                words.forbids.push(
                    self.sentence(term, "Other terms over what was taken from it: that stays under this license."),
                );
            }
            Family::NoDerivatives => words.forbids.push(self.sentence(term, "Sharing what is built on it.")),
            Family::Unknown => words.unknown.push(self.sentence(term, "Which terms what is built on it may have.")),
        }
        if self.traits.is_gnu || self.traits.is_library_copyleft {
            words.asks.push(self.sentence("propagation", "Offer the source; what that is for weights is unsettled."));
        }
        match self.word("adapters") {
            "unknown" => words.unknown.push(self.sentence("adapters", "Whether it reaches adapters.")),
            _ if self.traits.reaches_adapters => {
                words.asks.push(self.sentence("adapters", "The same of adapters for it."));
            }
            _ => {}
        }
        if self.traits.network {
            let sentence = "The same when it is offered as a service: that counts as distributing it.";
            words.asks.push(self.sentence("network_use_is_distribution", sentence));
        }
    }

    fn texts(&self, words: &mut PlainWords) {
        let traits = &self.traits;
        if traits.license_copy {
            let sentence =
                if traits.link_suffices { "Give its text, or a link to it, along." } else { "Give its text along." };
            words.asks.push(self.sentence("license_copy", sentence));
        }
        if let Some(notice) = &traits.notice {
            let sentence = match notice.is_conditional {
                true => "Keep the notices that it has.".to_owned(),
                false => format!("Keep a notice that says “{}”.", notice.line),
            };
            words.asks.push(self.sentence(notice.term, sentence));
        }
        if !traits.phrases.is_empty() {
            let beyond = traits.thresholds.iter().any(|threshold| threshold.asks_display_only);
            let when = if beyond { ", beyond certain sizes" } else { "" };
            words.asks.push(self.sentence("display", format!("Show “{}”{when}.", traits.phrases.join("” or “"))));
        }
        if let Some(prefix) = &traits.name_prefix {
            let sentence = format!("Begin the names of models built on it with “{prefix}”.");
            words.asks.push(self.sentence("name_prefix", sentence));
        }
        if self.value("change_notices") == true {
            words.asks.push(self.sentence("change_notices", "Say what was changed."));
        }
        if self.terms["aup"]["value"].is_object() {
            let address = self.value("aup")["url"].as_str().map(|url| format!(" ({url})")).unwrap_or_default();
            words.asks.push(self.sentence("aup", format!("Follow its acceptable use policy{address}.")));
        }
    }

    fn sizes(&self, words: &mut PlainWords) {
        for threshold in &self.traits.thresholds {
            let sentence = match threshold.kind {
                ThresholdKind::Users if threshold.asks_display_only => {
                    format!("With more than {} monthly users, show its phrase.", grouped(threshold.value))
                }
                ThresholdKind::Revenue if threshold.asks_display_only => {
                    format!("With more than {} US dollars a year, show its phrase.", grouped(threshold.value))
                }
                ThresholdKind::Users => {
                    format!("With more than {} monthly users, get an agreement of one's own.", grouped(threshold.value))
                }
                ThresholdKind::Revenue => {
                    format!(
                        "With more than {} US dollars a year, get an agreement of one's own.",
                        grouped(threshold.value)
                    )
                }
                ThresholdKind::Registration => "Register commercial use.".to_owned(),
            };
            words.asks.push(Sentence {
                sentence,
                term: "thresholds".to_owned(),
                clause: Some(threshold.clause.clone()),
                basis: "text".to_owned(),
            });
        }
    }

    fn outputs_in_words(&self, words: &mut PlainWords) {
        let say = |sentence: &str| self.sentence("outputs", sentence);
        match &self.traits.outputs {
            Outputs::Free => words.permits.push(say("Any use of its outputs, training other models included.")),
            Outputs::Naming => {
                words.permits.push(say("Training other models on its outputs, whose names then begin as above."));
            }
            Outputs::Display(_) => {
                words.permits.push(say("Training other models on its outputs, which then show the phrase."));
            }
            Outputs::BanOther => words.forbids.push(say("Improving other language models with its outputs.")),
            Outputs::BanFoundational => {
                words.forbids.push(say("Making or improving foundational models with its outputs."));
            }
            Outputs::Service => words.forbids.push(say("Developing competing models with its outputs.")),
            Outputs::UseLimitsFollow => words.forbids.push(say("Uses of its outputs beyond its limits on use.")),
            Outputs::UseLimited => words.asks.push(say("Run it within its limits, also to make training data.")),
            Outputs::Derivative { is_qualified: true } => {
                words.asks.push(say("Treat a model trained on its outputs to perform similarly as built on it."));
            }
            Outputs::Derivative { is_qualified: false } => {
                words.asks.push(say("Treat a model trained on its outputs as built on it."));
            }
            Outputs::Silent => words.unknown.push(say("What holds for its outputs: the text does not mention them.")),
            Outputs::Unknown => words.unknown.push(say("What holds for its outputs.")),
        }
    }

    fn limits(&self, words: &mut PlainWords) {
        if let Some(uses) = self.value("weapons").as_str() {
            words.forbids.push(self.sentence("weapons", format!("Use for: {uses}.")));
        }
        if self.value("safety_circumvention_ban") == true {
            words.forbids.push(self.sentence("safety_circumvention_ban", "Removing its safeguards."));
        }
        if self.traits.is_eu_multimodal {
            let sentence =
                "Use of its multimodal models by those domiciled in the European Union, except in finished products.";
            words.forbids.push(self.sentence("geo", sentence));
        }
        if let Some(when) = self.value("litigation_termination").as_str() {
            words.forbids.push(
                self.sentence("litigation_termination", format!("Suing over it: the license then ends ({when}).")),
            );
        }
    }
}

/// `700000000` as `700,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::CATALOGUE;

    #[test]
    fn llama_is_told_in_plain_words_with_clauses() {
        let words = CATALOGUE.find_by_key("llama3.1").unwrap().plain_words();
        let name = words.asks.iter().find(|said| said.term == "name_prefix").unwrap();
        assert_eq!(name.sentence, "Begin the names of models built on it with “Llama”.");
        assert_eq!((name.clause.as_deref(), name.basis.as_str()), (Some("§1.b.i last sentence"), "text"));
        assert!(words.asks.iter().any(|said| said.sentence.contains("700,000,000")));
        assert!(words.forbids.iter().any(|said| said.term == "relicense_derivative"));
    }

    #[test]
    fn every_license_says_something_and_unknown_stays_unknown() {
        for license in &CATALOGUE.licenses {
            let words = license.plain_words();
            let count = words.permits.len() + words.asks.len() + words.forbids.len() + words.unknown.len();
            assert!(count >= 3, "{}", license.key);
        }
        let unread = CATALOGUE.find_by_key("grok2-community").unwrap().plain_words();
        assert!(unread.unknown.len() >= 4, "{unread:?}");
    }
}
