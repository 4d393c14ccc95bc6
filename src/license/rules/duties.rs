//! Obligations: what the licenses of a model ask, whether or not anything is wrong.

use super::{
    super::{
        Obligation,
        catalogue::{Family, License, Outputs, ThresholdKind, grouped},
        walk::{Change, Class, Mode},
    },
    subject::Subject,
    texts,
};

/// A license that asks something, and how it reaches the model.
struct Asking<'a> {
    license: usize,
    class: Option<Class>,
    visit: usize,
    subject: &'a Subject<'a>,
}

/// Lists them: the model's own licenses first, then carried ones, each once.
pub(super) fn list(subject: &Subject<'_>) -> Vec<Obligation> {
    let mut asking: Vec<Asking<'_>> = Vec::new();
    let own = subject.own.iter().filter_map(super::super::label::Named::known);
    for license in own.filter(|license| !subject.engine.catalogue.is_licensors_own(subject.id(), *license)) {
        asking.push(Asking { license, class: None, visit: 0, subject });
    }
    for carried in subject.carried.iter().filter(|carried| carried.class.mode != Mode::Data) {
        match asking.iter_mut().find(|other| other.license == carried.license) {
            // The path to an ancestor says more than the own label.
            Some(own) if own.class.is_none() => {
                (own.class, own.visit) = (Some(carried.class), carried.visit);
            }
            Some(_) => {}
            None => asking.push(Asking {
                license: carried.license,
                class: Some(carried.class),
                visit: carried.visit,
                subject,
            }),
        }
    }
    asking.iter().flat_map(Asking::duties).collect()
}

impl Asking<'_> {
    fn duties(&self) -> Vec<Obligation> {
        let license = self.subject.license(self.license);
        let mut duties = Duties { asking: self, license, list: Vec::new(), via: None };
        if self.class.is_some_and(|class| class.mode == Mode::Output) {
            duties.of_outputs();
        } else {
            duties.of_weights();
            duties.of_use();
        }
        duties.list
    }
}

struct Duties<'a> {
    asking: &'a Asking<'a>,
    license: &'a License,
    list: Vec<Obligation>,
    via: Option<Vec<String>>,
}

impl Duties<'_> {
    fn ask(&mut self, id: &str, term: &str, summary: String, found: Option<bool>) {
        let section = self.license.clause(term).unwrap_or_default();
        self.ask_at(id, section, summary, found);
    }

    fn ask_at(&mut self, id: &str, section: String, summary: String, found: Option<bool>) {
        let subject = self.asking.subject;
        let names = || subject.engine.names(&subject.above.path(self.asking.visit));
        let via = self.via.get_or_insert_with(names).clone();
        let satisfied = match found {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unchecked",
        };
        self.list.push(Obligation {
            id: id.to_owned(),
            summary,
            license: self.license.key.clone(),
            section,
            via,
            satisfied: satisfied.to_owned(),
        });
    }

    fn of_outputs(&mut self) {
        let license = self.license;
        match &license.traits.outputs {
            Outputs::Naming => self.name(),
            Outputs::Display(_) => self.display(),
            Outputs::Derivative { .. } => {
                let summary = "pass its use restrictions on, as for a derivative".to_owned();
                self.ask("use-policy", "outputs", summary, None);
            }
            Outputs::BanOther => {
                let summary = "do not improve other language models with its outputs".to_owned();
                self.ask("outputs", "outputs", summary, None);
            }
            Outputs::BanFoundational => {
                let summary = "do not make or improve foundational models with its outputs".to_owned();
                self.ask("outputs", "outputs", summary, None);
            }
            Outputs::UseLimitsFollow => {
                self.ask(
                    "non-commercial",
                    "outputs",
                    "use its outputs within the limits of the model".to_owned(),
                    None,
                );
            }
            Outputs::Service => {
                self.ask(
                    "service-terms",
                    "outputs",
                    "do not develop competing models with its outputs".to_owned(),
                    None,
                );
            }
            Outputs::Free | Outputs::Silent | Outputs::UseLimited | Outputs::Unknown => {}
        }
    }

    fn of_weights(&mut self) {
        let license = self.license;
        let subject = self.asking.subject;
        let files = subject.files();
        if license.traits.license_copy {
            let found =
                files.and_then(|files| texts::has_license_copy(license, subject.ships(self.asking.license), files));
            self.ask("license-copy", "license_copy", format!("give recipients a copy of {}", license.name), found);
        }
        if let Some(notice) = &license.traits.notice {
            let original = texts::original(subject, self.asking.license);
            let found = files.and_then(|files| texts::has_notice(license, files, original));
            let summary = match notice.is_conditional {
                true => "keep the notices that the original has".to_owned(),
                false => format!("keep a notice that says “{}”", notice.line),
            };
            self.ask("notice", notice.term, summary, found);
        }
        self.display();
        self.name();
        self.change_notices();
        self.restrictions();
    }

    fn display(&mut self) {
        let license = self.license;
        if license.traits.phrases.is_empty() {
            return;
        }
        let subject = self.asking.subject;
        let found = subject.files().and_then(|files| texts::has_phrase(license, files, subject.profile));
        let beyond = license.traits.thresholds.iter().any(|threshold| threshold.asks_display_only);
        let when = if beyond { ", beyond the sizes that it names" } else { "" };
        let summary = format!("show “{}”{when}", license.traits.phrases.join("” or “"));
        self.ask("display", "display", summary, found);
    }

    fn name(&mut self) {
        let Some(prefix) = &self.license.traits.name_prefix else { return };
        if self.asking.class.is_some_and(|class| class.mode <= Mode::Adapter && class.change == Change::Copied) {
            return;
        }
        let found = texts::begins_with(self.asking.subject.name(), prefix);
        self.ask("name", "name_prefix", format!("begin the model's name with “{prefix}”"), Some(found));
    }

    fn change_notices(&mut self) {
        let is_changed = self.asking.class.is_none_or(|class| class.change > Change::Copied);
        if is_changed && self.license.value("change_notices") == true {
            self.ask("change-notices", "change_notices", "say in the files what was changed".to_owned(), None);
        }
    }

    fn restrictions(&mut self) {
        let license = self.license;
        if license.terms["aup"]["value"].is_object() {
            self.ask("use-policy", "aup", "follow the acceptable use policy".to_owned(), None);
        }
        if license.traits.passes_restrictions {
            let summary = "bind recipients to its use restrictions by an enforceable provision".to_owned();
            self.ask("pass-on", "propagation", summary, None);
        }
        match license.family() {
            Family::NotGranted => {
                let summary = "leave what was taken from it under this license".to_owned();
                self.ask("same-terms", "relicense_derivative", summary, None);
            }
            Family::ShareAlike => {
                self.ask("share-alike", "relicense_derivative", "license what is built on it alike".to_owned(), None);
            }
            Family::NoDerivatives => {
                self.ask("no-derivatives", "relicense_derivative", "do not share what is built on it".to_owned(), None);
            }
            _ => {}
        }
        if license.traits.is_gnu {
            let who = if license.traits.network { "recipients, and users over a network," } else { "recipients" };
            self.ask("source", "propagation", format!("offer {who} the source, whatever that is for weights"), None);
        }
    }

    fn of_use(&mut self) {
        let license = self.license;
        if license.is_noncommercial() {
            self.ask("non-commercial", "commercial_use", "use it for non-commercial purposes only".to_owned(), None);
        }
        for threshold in license.traits.thresholds.iter().filter(|threshold| !threshold.asks_display_only) {
            let value = grouped(threshold.value);
            let (id, summary) = match threshold.kind {
                ThresholdKind::Users => ("users", format!("with more than {value} monthly users, ask the licensor")),
                ThresholdKind::Revenue => ("revenue", format!("above {value} US dollars a year, ask the licensor")),
                ThresholdKind::Registration => ("registration", "register commercial use".to_owned()),
            };
            self.ask_at(id, threshold.clause.clone(), summary, None);
        }
        if let Some(uses) = license.value("weapons").as_str() {
            self.ask("no-military", "weapons", format!("do not use it for: {uses}"), None);
        }
        if license.value("safety_circumvention_ban") == true {
            self.ask("safeguards", "safety_circumvention_ban", "do not remove its safeguards".to_owned(), None);
        }
        if license.traits.is_eu_multimodal {
            let summary = "do not use multimodal models of it from within the European Union".to_owned();
            self.ask("eu-multimodal", "geo", summary, None);
        }
        match license.traits.outputs {
            Outputs::BanOther => {
                let summary = "do not improve other language models with its outputs".to_owned();
                self.ask("outputs", "outputs", summary, None);
            }
            Outputs::BanFoundational => {
                let summary = "do not make or improve foundational models with its outputs".to_owned();
                self.ask("outputs", "outputs", summary, None);
            }
            Outputs::UseLimitsFollow => {
                self.ask("outputs", "outputs", "use its outputs within the same limits".to_owned(), None);
            }
            _ => {}
        }
    }
}

/// Words for the duties of a license that hold only when something is distributed.
pub(super) fn asleep(license: &License, mode: Mode) -> Vec<&'static str> {
    let traits = &license.traits;
    if mode == Mode::Output {
        return match traits.outputs {
            Outputs::Naming => vec!["name"],
            Outputs::Display(_) => vec!["phrase to show"],
            Outputs::Derivative { .. } => vec!["use restrictions to pass on"],
            _ => Vec::new(),
        };
    }
    let all = [
        (traits.license_copy, "license copy"),
        (traits.notice.is_some(), "notice"),
        (!traits.phrases.is_empty(), "phrase to show"),
        (traits.name_prefix.is_some(), "name"),
        (license.value("change_notices") == true, "change notes"),
        (traits.passes_restrictions, "use restrictions to pass on"),
        (matches!(traits.family, Family::NotGranted | Family::ShareAlike), "the label"),
        (traits.family == Family::NoDerivatives, "no sharing of derivatives"),
        (traits.is_gnu, "source"),
    ];
    all.into_iter().filter(|(is_asked, _)| *is_asked).map(|(_, word)| word).collect()
}
