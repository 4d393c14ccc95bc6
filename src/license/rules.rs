//! The rules, each with a stable id, a message, a clause and a remedy.

use super::{
    Finding, Obligation, Severity,
    catalogue::{Family, License},
    judge::{Above, Carried, Engine, Mode},
};
use crate::lineage::Relation;

/// What is wrong with a model's own label.
pub(super) fn about_label(engine: &Engine<'_>, model: usize, above: &Above) -> Vec<Finding> {
    let id = &engine.graph.models[model].id;
    let resolved = &engine.resolved[model];
    let finding = |rule: &str, about: &str, message: String, remedy: &str| Finding {
        rule: rule.to_owned(),
        severity: Severity::Review,
        about: about.to_owned(),
        message,
        license: None,
        section: None,
        path: vec![id.clone()],
        remedy: remedy.to_owned(),
        waiver: None,
    };
    let mut findings = Vec::new();
    if resolved.is_empty() && !above.carried.is_empty() {
        let licenses = list(engine, above);
        let message = format!("it declares no license, and carries terms of {licenses} from its ancestors");
        findings.push(finding("LICENSE_UNDECLARED", id, message, "declare the license in the card's `license` field"));
    }
    for label in &resolved.unresolved {
        let message = format!("the label `{label}` names no license text that is known here");
        findings.push(finding(
            "OTHER_UNRESOLVED",
            label,
            message,
            "name a listed license, or add this one to the catalogue",
        ));
    }
    for label in &resolved.ambiguous {
        let message = format!("the label `{label}` names a family of licenses with different terms");
        findings.push(finding("FAMILY_ID_AMBIGUOUS", label, message, "name the exact license and version"));
    }
    for label in &resolved.unread {
        let message = format!("the terms of `{label}` are not in the catalogue");
        findings.push(finding("TEXT_NOT_READ", label, message, "read its text and add its terms to the catalogue"));
    }
    findings
}

fn list(engine: &Engine<'_>, above: &Above) -> String {
    let mut names: Vec<&str> =
        above.carried.iter().map(|c| engine.catalogue.licenses[c.license].key.as_str()).collect();
    names.dedup();
    names.join(", ")
}

/// What a carried license says against the model's own label, name and files.
pub(super) fn about_carried(engine: &Engine<'_>, model: usize, carried: &Carried, above: &Above) -> Vec<Finding> {
    let case = Case { engine, model, carried, license: &engine.catalogue.licenses[carried.license] };
    let mut findings = Vec::new();
    if carried.mode == Mode::Output {
        findings.extend(case.output());
        return findings;
    }
    findings.extend(case.relicensed(above));
    findings.extend(case.name_prefix());
    findings.extend(case.files());
    findings
}

struct Case<'a> {
    engine: &'a Engine<'a>,
    model: usize,
    carried: &'a Carried,
    license: &'a License,
}

impl Case<'_> {
    fn id(&self) -> &str {
        &self.engine.graph.models[self.model].id
    }

    fn ancestor(&self) -> &str {
        &self.engine.graph.models[self.carried.path[self.carried.path.len() - 1]].id
    }

    fn declared(&self) -> Vec<&License> {
        self.engine.resolved[self.model].known.iter().map(|index| &self.engine.catalogue.licenses[*index]).collect()
    }

    fn finding(&self, rule: &str, severity: Severity, term: &str, message: String, remedy: String) -> Finding {
        let is_adapter = self.carried.mode == Mode::Adapter && !self.license.reaches_adapters();
        let is_soft = self.carried.is_uncertain || is_adapter || self.license.is_weak(term);
        let severity = if is_soft && severity == Severity::Violation { Severity::Review } else { severity };
        let message = if is_adapter && severity == Severity::Review {
            format!("{message}; the license does not say whether it reaches adapters")
        } else {
            message
        };
        Finding {
            rule: rule.to_owned(),
            severity,
            about: self.license.key.clone(),
            message,
            license: Some(self.license.key.clone()),
            section: self.license.clause(term),
            path: self.engine.names(&self.carried.path),
            remedy,
            waiver: None,
        }
    }

    /// The rules about a label that drops what the ancestor's license asks.
    fn relicensed(&self, above: &Above) -> Option<Finding> {
        let declared = self.declared();
        if declared.is_empty() || declared.iter().any(|own| own.key == self.license.key) {
            return None;
        }
        let names = declared.iter().map(|own| own.key.as_str()).collect::<Vec<_>>().join(", ");
        let (license, ancestor) = (self.license, self.ancestor());
        let keep = format!("declare `{}`, or an expression that contains it", license.key);
        if let Some(version) = declared.iter().find(|own| own.stem() == license.stem() && license.stem() == "llama") {
            return Some(self.other_version(version, above, keep));
        }
        let is_permissive = declared.iter().all(|own| own.is_permissive());
        if license.is_noncommercial() && declared.iter().any(|own| !own.is_noncommercial()) {
            let message = format!("`{names}` allows commercial use, which {} of `{ancestor}` does not", license.name);
            return Some(self.finding("NC_DROPPED", Severity::Violation, "commercial_use", message, keep));
        }
        let term = "relicense_derivative";
        match license.family() {
            Family::NotGranted if is_permissive => {
                let message = format!(
                    "it is labeled `{names}`, but holds weights of `{ancestor}` under {}, which grants no right to license them again",
                    license.name
                );
                Some(self.finding("RELICENSED_WITHOUT_RIGHT", Severity::Violation, term, message, keep))
            }
            Family::Passthrough if is_permissive && self.passes_restrictions() => {
                let message = format!(
                    "`{names}` drops the use restrictions of {} on `{ancestor}`, which must be passed on",
                    license.name
                );
                Some(self.finding("USE_RESTRICTIONS_DROPPED", Severity::Violation, "propagation", message, keep))
            }
            Family::ShareAlike => {
                let message = format!(
                    "{} of `{ancestor}` must stay the license of what is built on it, not `{names}`",
                    license.name
                );
                Some(self.finding("SHAREALIKE_DROPPED", Severity::Violation, term, message, keep))
            }
            Family::NoDerivatives => Some(self.no_derivatives()),
            Family::NotGranted | Family::Passthrough if !is_permissive || !license.is_permissive() => {
                let message =
                    format!("it declares `{names}`, while {} of `{ancestor}` still applies to the base", license.name);
                let remedy =
                    format!("check that both can be met, and name both: `{names} AND {}`", license.expression());
                Some(self.finding("TERMS_DIFFER", Severity::Review, term, message, remedy))
            }
            _ => None,
        }
    }

    fn passes_restrictions(&self) -> bool {
        let words = self.license.value("propagation").as_str().unwrap_or_default();
        words.starts_with("pass-through") || words.starts_with("limits")
    }

    fn other_version(&self, declared: &License, above: &Above, keep: String) -> Finding {
        let is_carried = above.carried.iter().any(|c| self.engine.catalogue.licenses[c.license].key == declared.key);
        let ancestor = self.ancestor();
        if is_carried {
            let message = format!("its parents carry both {} and {}", self.license.name, declared.name);
            let remedy = "meet the terms of both versions, and name both".to_owned();
            return self.finding("MULTI_LICENSE_REVIEW", Severity::Review, "relicense_derivative", message, remedy);
        }
        let message = format!("it declares `{}`, but `{ancestor}` is under {}", declared.key, self.license.name);
        self.finding("VERSION_MISMATCH", Severity::Violation, "relicense_derivative", message, keep)
    }

    fn no_derivatives(&self) -> Finding {
        let ancestor = self.ancestor();
        let is_transform = matches!(self.carried.relation, Relation::Quantized | Relation::Copy);
        let term = "relicense_derivative";
        if is_transform {
            let message = format!(
                "whether a change of format is an adaptation under {} of `{ancestor}` is open",
                self.license.name
            );
            return self.finding("ND_TRANSFORM_REVIEW", Severity::Review, term, message, "ask the licensor".to_owned());
        }
        let message = format!("{} of `{ancestor}` forbids sharing what is built on it", self.license.name);
        self.finding(
            "ND_DERIVATIVE_SHARED",
            Severity::Violation,
            term,
            message,
            "make it private, or get permission".to_owned(),
        )
    }

    /// A name that must begin as the license asks.
    fn name_prefix(&self) -> Option<Finding> {
        let prefix = self.license.value("name_prefix").as_str()?;
        if self.carried.relation == Relation::Copy {
            return None;
        }
        let plain = |text: &str| text.to_lowercase().replace(['-', '_'], " ");
        let name = self.id().split_once('/').map_or(self.id(), |(_, name)| name);
        let (name_plain, prefix_plain) = (plain(name), plain(prefix));
        if name_plain.starts_with(&prefix_plain) {
            return None;
        }
        let is_soft = name_plain.starts_with("meta llama") || self.carried.mode == Mode::Adapter;
        let severity = if is_soft { Severity::Review } else { Severity::Violation };
        let message = format!(
            "the name of a model built on `{}` must begin with “{prefix}”, this one begins with “{}”",
            self.ancestor(),
            first_word(name)
        );
        let remedy = format!("rename it to begin with `{}`", prefix.replace(' ', "-"));
        Some(self.finding("NAME_PREFIX", severity, "name_prefix", message, remedy))
    }

    /// Texts that must travel with the weights.
    fn files(&self) -> Vec<Finding> {
        let Some(files) = &self.engine.graph.models[self.model].files else { return Vec::new() };
        let mut findings = Vec::new();
        if self.license.value("license_copy") == true && files.license_texts.is_empty() {
            let message = format!("no copy of {} is among the files", self.license.name);
            let remedy = "add the license text as LICENSE".to_owned();
            findings.push(self.finding("LICENSE_COPY_MISSING", Severity::Incomplete, "license_copy", message, remedy));
        }
        if let Some(line) = self.license.value("notice_file").as_str()
            && files.notice.is_empty()
        {
            let is_copy = matches!(self.carried.relation, Relation::Copy | Relation::Quantized);
            let severity = if is_copy { Severity::Incomplete } else { Severity::Review };
            let message = format!("no NOTICE file says “{line}”");
            findings.push(self.finding(
                "NOTICE_MISSING",
                severity,
                "notice_file",
                message,
                "add the line to a file NOTICE".to_owned(),
            ));
        }
        if let Some(phrase) = self.license.value("display").as_str()
            && !files.readme.to_lowercase().contains(&phrase.to_lowercase())
        {
            let message = format!("the card does not say “{phrase}”");
            findings.push(self.finding(
                "DISPLAY_REVIEW",
                Severity::Review,
                "display",
                message,
                format!("write “{phrase}” in the card"),
            ));
        }
        findings
    }

    fn output(&self) -> Option<Finding> {
        let outputs = self.license.value("outputs");
        let mode = outputs["mode"].as_str().unwrap_or("silent");
        let ancestor = self.ancestor();
        match mode {
            "ban_other_llm" => {
                let is_same_family = self.declared().iter().any(|own| own.stem() == self.license.stem());
                let rule = if is_same_family { "OUTPUT_BAN_REVIEW" } else { "OUTPUT_BAN" };
                let severity = if is_same_family { Severity::Review } else { Severity::Violation };
                let message =
                    format!("{} forbids improving other models with the outputs of `{ancestor}`", self.license.name);
                Some(self.finding(
                    rule,
                    severity,
                    "outputs",
                    message,
                    "use outputs of a model that allows it".to_owned(),
                ))
            }
            _ if self.license.is_noncommercial() => {
                let message =
                    format!("{} of `{ancestor}` is non-commercial and does not settle its outputs", self.license.name);
                Some(self.finding("OUTPUT_REVIEW", Severity::Review, "outputs", message, "ask the licensor".to_owned()))
            }
            _ => None,
        }
    }
}

fn first_word(name: &str) -> String {
    name.split(['-', '_', ' ']).next().unwrap_or(name).chars().take(40).collect()
}

/// What is wrong with the lineage itself.
pub(super) fn about_lineage(engine: &Engine<'_>, model: usize, above: &Above) -> Vec<Finding> {
    let id = &engine.graph.models[model].id;
    let finding = |rule: &str, severity, about: String, message: String, path: Vec<String>, remedy: &str| Finding {
        rule: rule.to_owned(),
        severity,
        about,
        message,
        license: None,
        section: None,
        path,
        remedy: remedy.to_owned(),
        waiver: None,
    };
    let mut findings = Vec::new();
    if let Some(path) = above.unlabeled.first() {
        let names = engine.names(path);
        let ancestor = names.last().cloned().unwrap_or_default();
        let more = above.unlabeled.len() - 1;
        let others = if more > 0 { format!(" (and of {more} more)") } else { String::new() };
        let message = format!("the license of its ancestor `{ancestor}`{others} is not known");
        findings.push(finding(
            "ANCESTOR_LICENSE_UNKNOWN",
            Severity::Review,
            ancestor,
            message,
            names,
            "find out and declare the ancestor's license",
        ));
    }
    if above.in_cycle {
        let message = "it is among its own ancestors: the cycle was cut here".to_owned();
        findings.push(finding(
            "CYCLE",
            Severity::Review,
            id.clone(),
            message,
            vec![id.clone()],
            "correct the parents that cards declare",
        ));
    }
    for parent in &above.contradicted {
        let parent = engine.graph.models[*parent].id.clone();
        let message = format!("the weights contradict `{parent}` as a parent: its terms are not passed on");
        findings.push(finding(
            "EDGE_CONTRADICTED",
            Severity::Notice,
            parent.clone(),
            message,
            vec![id.clone(), parent],
            "correct the card's `base_model`",
        ));
    }
    findings
}

/// What the carried and declared licenses ask of the model.
pub(super) fn obligations(engine: &Engine<'_>, model: usize, above: &Above) -> Vec<Obligation> {
    let facts = &engine.graph.models[model];
    let own = engine.resolved[model].known.iter().map(|license| (*license, vec![facts.id.clone()]));
    let carried = above.carried.iter().filter(|c| c.mode != Mode::Output).map(|c| (c.license, engine.names(&c.path)));
    let mut obligations: Vec<Obligation> = Vec::new();
    for (license, via) in own.chain(carried) {
        let license = &engine.catalogue.licenses[license];
        if obligations.iter().any(|o| o.license == license.key) {
            continue;
        }
        let files = facts.files.as_ref();
        let state = |found: Option<bool>| match found {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unchecked",
        };
        let mut ask = |id: &str, term: &str, summary: String, found: Option<bool>| {
            obligations.push(Obligation {
                id: id.to_owned(),
                summary,
                license: license.key.clone(),
                section: license.clause(term).unwrap_or_default(),
                via: via.clone(),
                satisfied: state(found).to_owned(),
            });
        };
        if license.value("license_copy") == true {
            ask(
                "license-copy",
                "license_copy",
                format!("give recipients a copy of {}", license.name),
                files.map(|f| !f.license_texts.is_empty()),
            );
        }
        if let Some(line) = license.value("notice_file").as_str() {
            ask(
                "notice",
                "notice_file",
                format!("keep a NOTICE file that says “{line}”"),
                files.map(|f| !f.notice.is_empty()),
            );
        }
        if let Some(phrase) = license.value("display").as_str() {
            let shown = files.map(|f| f.readme.to_lowercase().contains(&phrase.to_lowercase()));
            ask("display", "display", format!("show “{phrase}”"), shown);
        }
        if let Some(prefix) = license.value("name_prefix").as_str() {
            let name = facts.id.split_once('/').map_or("", |(_, name)| name).to_lowercase().replace(['-', '_'], " ");
            ask(
                "name",
                "name_prefix",
                format!("begin the model's name with “{prefix}”"),
                Some(name.starts_with(&prefix.to_lowercase())),
            );
        }
        if license.terms["aup"]["value"].is_object() {
            ask("use-policy", "aup", "follow the acceptable use policy".to_owned(), None);
        }
        if license.value("change_notices") == true {
            ask("change-notices", "change_notices", "say in the files what was changed".to_owned(), None);
        }
        if license.is_noncommercial() {
            ask("non-commercial", "commercial_use", "use it for non-commercial purposes only".to_owned(), None);
        }
    }
    obligations
}
