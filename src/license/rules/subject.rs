//! What rules look at: a model with its own label, the licenses that reach it, and the intended use.

use super::super::{
    Finding, Severity,
    catalogue::License,
    graph::{FileFacts, ModelFacts},
    judge::{Carried, Engine},
    label::{Name, Named},
    profile::{Distribution, Profile},
    walk::{Above, Change, Mode},
};

/// A model under judgement, with one alternative of its label.
pub(in super::super) struct Subject<'a> {
    pub(in super::super) engine: &'a Engine<'a>,
    pub(in super::super) model: usize,
    /// What holds for its own contribution.
    pub(in super::super) own: &'a [Named],
    /// What its label says; differs from `own` where files won.
    pub(in super::super) label: &'a [Named],
    pub(in super::super) above: &'a Above,
    pub(in super::super) carried: &'a [Carried],
    pub(in super::super) profile: &'a Profile,
    pub(in super::super) distribution: Distribution,
}

impl<'a> Subject<'a> {
    pub(super) fn facts(&self) -> &'a ModelFacts {
        &self.engine.graph.models[self.model]
    }

    pub(super) fn id(&self) -> &'a str {
        &self.facts().id
    }

    /// The name without its namespace.
    pub(super) fn name(&self) -> &'a str {
        self.id().split_once('/').map_or(self.id(), |(_, name)| name)
    }

    pub(super) fn files(&self) -> Option<&'a FileFacts> {
        self.facts().files.as_ref()
    }

    /// The known licenses among these.
    pub(super) fn licenses(&self, named: &[Named]) -> Vec<&'a License> {
        named.iter().filter_map(Named::known).map(|index| self.engine.catalogue.license(index)).collect()
    }

    pub(super) fn license(&self, index: usize) -> &'a License {
        self.engine.catalogue.license(index)
    }

    /// Whether a text of this license is among the files.
    pub(super) fn ships(&self, license: usize) -> bool {
        self.engine.resolved[self.model].texts.contains(&license)
    }

    /// A finding about the model itself.
    pub(super) fn finding(
        &self,
        rule: &str,
        severity: Severity,
        about: &str,
        message: String,
        remedy: &str,
    ) -> Finding {
        Finding {
            rule: rule.to_owned(),
            severity,
            about: about.to_owned(),
            message,
            license: None,
            section: None,
            path: vec![self.id().to_owned()],
            remedy: remedy.to_owned(),
            waiver: None,
        }
    }

    /// Names of these, as people wrote them.
    pub(super) fn spell(&self, named: &[Named]) -> String {
        let name = |named: &Named| match &named.name {
            Name::Known(index) => self.license(*index).key.clone(),
            Name::Unlisted(name) => name.clone(),
        };
        named.iter().map(name).collect::<Vec<_>>().join(" AND ")
    }
}

/// A license that reaches a model by one path.
pub(super) struct Case<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) carried: &'a Carried,
    pub(super) license: &'a License,
}

impl Case<'_> {
    pub(super) fn mode(&self) -> Mode {
        self.carried.class.mode
    }

    pub(super) fn change(&self) -> Change {
        self.carried.class.change
    }

    /// The model whose license it is.
    pub(super) fn ancestor(&self) -> &str {
        let visit = &self.subject.above.visits[self.carried.visit];
        &self.subject.engine.graph.models[visit.model].id
    }

    /// Whether the path is through parameters beside the base, and the license does not say that it reaches them.
    pub(super) fn is_unreached_adapter(&self) -> bool {
        self.mode() == Mode::Adapter && !self.license.reaches_adapters()
    }

    /// A finding about the license, milder where the path or the reading is not sure enough for a violation.
    pub(super) fn finding(
        &self,
        rule: &str,
        severity: Severity,
        term: &str,
        message: String,
        remedy: String,
    ) -> Finding {
        self.finding_at(rule, severity, (term, self.license.clause(term)), message, remedy)
    }

    pub(super) fn finding_at(
        &self,
        rule: &str,
        severity: Severity,
        (term, section): (&str, Option<String>),
        message: String,
        remedy: String,
    ) -> Finding {
        let doubt = if severity == Severity::Violation { self.doubt(term) } else { None };
        let (severity, message) = match doubt {
            Some(doubt) => (Severity::Review, format!("{message}; {doubt}")),
            None => (severity, message),
        };
        Finding {
            rule: rule.to_owned(),
            severity,
            about: self.license.key.clone(),
            message,
            license: Some(self.license.key.clone()),
            section,
            path: self.subject.engine.names(&self.subject.above.path(self.carried.visit)),
            remedy,
            waiver: None,
        }
    }

    /// Why a violation cannot be stated.
    fn doubt(&self, term: &str) -> Option<String> {
        if self.carried.class.is_uncertain {
            return Some(
                "a link on the way is only detected, or does not say what was done: confirm it first".to_owned(),
            );
        }
        if self.carried.class.is_indirect {
            return Some("only outputs of a model built on it were used, of which the text does not speak".to_owned());
        }
        if self.is_unreached_adapter() {
            return Some("the license does not say whether it reaches adapters".to_owned());
        }
        if self.license.is_weak(term) {
            return Some("its text was not read in full".to_owned());
        }
        if self.carried.exception.is_some() {
            return Some("the exception to it was not read".to_owned());
        }
        None
    }
}
