//! Labels that drop, or differ from, what an ancestor's license asks.

use super::{
    super::{
        Finding, Severity,
        catalogue::{Family, License},
        label::Named,
        walk::{Change, Mode},
    },
    subject::Case,
};

/// One thing that is wrong with a label, before it is known how sure the path is.
struct Conflict {
    rule: &'static str,
    severity: Severity,
    term: &'static str,
    message: String,
    remedy: String,
}

/// Rules about the label.
pub(super) fn about(case: &Case<'_>) -> Vec<Finding> {
    let subject = case.subject;
    let is_labeled_otherwise = !subject.label.is_empty() && !names(subject.label, case.carried.license);
    if is_labeled_otherwise && subject.ships(case.carried.license) {
        // “Apache for my changes, K for the base”: the text is there, the label says something else.
        let has_conflict = !conflicts(case, subject.label).is_empty();
        return has_conflict.then(|| dual_terms(case)).into_iter().collect();
    }
    if names(subject.own, case.carried.license) {
        return Vec::new();
    }
    let is_unsure = subject.own.iter().any(|named| match named.known() {
        Some(own) => named.exception.is_some() || !subject.license(own).traits.is_read,
        None => true,
    });
    let finding = |conflict: Conflict| {
        let is_milder = is_unsure && conflict.severity == Severity::Violation;
        let severity = if is_milder { Severity::Review } else { conflict.severity };
        let unread = if is_milder { "; the terms that it declares were not read" } else { "" };
        case.finding(conflict.rule, severity, conflict.term, conflict.message + unread, conflict.remedy)
    };
    conflicts(case, subject.own).into_iter().map(finding).collect()
}

/// Whether a label drops what this license asks: for ancestors that others inherit from.
pub(super) fn drops(case: &Case<'_>) -> bool {
    let is_drop = |conflict: &Conflict| {
        matches!(
            conflict.rule,
            "RELICENSED_WITHOUT_RIGHT"
                | "USE_RESTRICTIONS_DROPPED"
                | "NC_DROPPED"
                | "SHAREALIKE_DROPPED"
                | "VERSION_MISMATCH"
                | "COPYLEFT_CONFLICT"
        )
    };
    let own = case.subject.own;
    !names(own, case.carried.license) && conflicts(case, own).iter().any(is_drop)
}

fn names(named: &[Named], license: usize) -> bool {
    named.iter().any(|named| named.known() == Some(license))
}

fn dual_terms(case: &Case<'_>) -> Finding {
    let message = format!(
        "it is labeled `{}`, and ships the text of {}: who may do what with which part is for a person to say",
        case.subject.spell(case.subject.label),
        case.license.name
    );
    let remedy = format!("say in the card which terms hold for what, and name both in the label: {}", both(case));
    case.finding("DUAL_TERMS_REVIEW", Severity::Review, "relicense_derivative", message, remedy)
}

fn both(case: &Case<'_>) -> String {
    let own = case.subject.licenses(case.subject.label).into_iter().map(License::expression);
    let all: Vec<String> = own.chain([case.license.expression()]).collect();
    format!("`{}`", all.join(" AND "))
}

fn conflicts(case: &Case<'_>, own: &[Named]) -> Vec<Conflict> {
    let declared = case.subject.licenses(own);
    if declared.is_empty() {
        return Vec::new();
    }
    let names = case.subject.spell(own);
    let label = Label { case, declared: &declared, names: &names };
    let mut found = Vec::new();
    found.extend(label.nc_dropped());
    let has_nc = !found.is_empty();
    if let Some(copyleft) = label.copyleft_conflict() {
        found.push(copyleft);
        return found;
    }
    if let Some(version) = label.version() {
        found.push(version);
        return found;
    }
    let main = match case.license.family() {
        Family::NotGranted => Some(label.not_granted()),
        Family::Passthrough => label.passthrough(has_nc),
        Family::ShareAlike => label.share_alike(),
        Family::Permissive => label.permissive(),
        Family::NoDerivatives if case.change() == Change::Copied && !has_nc => label.relabelled_copy(),
        Family::NoDerivatives | Family::Unknown => None,
    };
    found.extend(main);
    found
}

struct Label<'a> {
    case: &'a Case<'a>,
    declared: &'a [&'a License],
    names: &'a str,
}

impl Label<'_> {
    fn keep(&self) -> String {
        format!("declare `{}`, or an expression that contains it", self.case.license.key)
    }

    fn is_permissive(&self) -> bool {
        self.declared.iter().all(|own| own.is_permissive())
    }

    fn conflict(&self, rule: &'static str, severity: Severity, term: &'static str, message: String) -> Conflict {
        Conflict { rule, severity, term, message, remedy: self.keep() }
    }

    fn nc_dropped(&self) -> Option<Conflict> {
        let allows = self.declared.iter().any(|own| own.traits.allows_commerce);
        let keeps = self.declared.iter().any(|own| own.is_noncommercial());
        if !self.case.license.is_noncommercial() || keeps || !allows {
            return None;
        }
        let message = format!(
            "`{}` allows commercial use, which {} of `{}` does not",
            self.names,
            self.case.license.name,
            self.case.ancestor()
        );
        let mut conflict = self.conflict("NC_DROPPED", Severity::Violation, "commercial_use", message);
        conflict.remedy = format!("{}, or another non-commercial license that it allows", self.keep());
        Some(conflict)
    }

    /// GPL §10 (GPL-2.0 §6): no further restrictions over the whole.
    fn copyleft_conflict(&self) -> Option<Conflict> {
        let gnu = self.declared.iter().find(|own| own.traits.is_gnu)?;
        let license = self.case.license;
        let adds = matches!(license.family(), Family::Passthrough | Family::NotGranted | Family::NoDerivatives)
            || license.is_noncommercial();
        if !adds {
            return None;
        }
        let message = format!(
            "`{}` allows no further restrictions over the whole, and {} of `{}` keeps some",
            gnu.key,
            license.name,
            self.case.ancestor()
        );
        let mut conflict = self.conflict("COPYLEFT_CONFLICT", Severity::Violation, "relicense_derivative", message);
        conflict.remedy = format!("no label meets both: license your own part otherwise, and {}", self.keep());
        Some(conflict)
    }

    fn version(&self) -> Option<Conflict> {
        let license = self.case.license;
        let is_bound = license.family() == Family::NotGranted && license.has_one_licensor();
        let other = self.declared.iter().find(|own| own.stem() == license.stem() && own.key != license.key)?;
        if !is_bound || !other.has_one_licensor() {
            return None;
        }
        let subject = self.case.subject;
        let is_carried = subject
            .carried
            .iter()
            .any(|carried| carried.class.mode <= Mode::Adapter && subject.license(carried.license).key == other.key);
        let ancestor = self.case.ancestor();
        if is_carried {
            let message = format!("its parents carry both {} and {}: both must travel", license.name, other.name);
            let mut conflict = self.conflict("MULTI_LICENSE_REVIEW", Severity::Review, "propagation", message);
            conflict.remedy = format!(
                "meet the terms of both versions, and name both: `{} AND {}`",
                other.expression(),
                license.expression()
            );
            return Some(conflict);
        }
        let message =
            format!("it declares `{}`, but `{ancestor}` is under {}, which must travel", other.key, license.name);
        Some(self.conflict("VERSION_MISMATCH", Severity::Violation, "relicense_derivative", message))
    }

    /// Llama, Yi, Stability and their like: the base stays under its license.
    fn not_granted(&self) -> Conflict {
        let is_unrelated = self.declared.iter().all(|own| own.is_permissive() || own.family() == Family::Unknown);
        if !is_unrelated || self.declared.iter().any(|own| own.is_noncommercial()) {
            return self.terms_differ();
        }
        let message = format!(
            "it is labeled `{}`, but holds weights of `{}` under {}, which grants no right to license them again",
            self.names,
            self.case.ancestor(),
            self.case.license.name
        );
        self.conflict("RELICENSED_WITHOUT_RIGHT", Severity::Violation, "relicense_derivative", message)
    }

    fn passthrough(&self, has_nc: bool) -> Option<Conflict> {
        let license = self.case.license;
        if !license.traits.passes_restrictions {
            // Its limits follow every derivative, and that they were dropped is already said.
            return (!has_nc).then(|| self.terms_differ());
        }
        if !self.is_permissive() {
            return Some(self.terms_differ());
        }
        let message = format!(
            "`{}` drops the use restrictions of {} on `{}`, which must be passed on",
            self.names,
            license.name,
            self.case.ancestor()
        );
        let mut conflict = self.conflict("USE_RESTRICTIONS_DROPPED", Severity::Violation, "propagation", message);
        conflict.remedy = format!("{}, or a license that passes its restrictions on", self.keep());
        Some(conflict)
    }

    fn terms_differ(&self) -> Conflict {
        let license = self.case.license;
        let message = format!(
            "it declares `{}`, while terms of {} of `{}` still hold for the base: can both be met?",
            self.names,
            license.name,
            self.case.ancestor()
        );
        let mut conflict = self.conflict("TERMS_DIFFER", Severity::Review, "relicense_derivative", message);
        let own: Vec<String> = self.declared.iter().map(|own| own.expression()).collect();
        conflict.remedy =
            format!("check that both can be met, and name both: `{} AND {}`", own.join(" AND "), license.expression());
        conflict
    }

    fn share_alike(&self) -> Option<Conflict> {
        let license = self.case.license;
        let (ancestor, term) = (self.case.ancestor(), "relicense_derivative");
        match self.case.change() {
            Change::Copied => return self.relabelled_copy(),
            Change::Reformatted => {
                let message = format!(
                    "is `{ancestor}` in another format an adaptation? Either way {} holds for what was copied, not `{}`",
                    license.name, self.names
                );
                return Some(self.conflict("SA_TRANSFORM_REVIEW", Severity::Review, term, message));
            }
            Change::Modified => {}
        }
        let declares = |key: &str| self.declared.iter().any(|own| own.key == key);
        let is_later = match license.key.as_str() {
            // Creative Commons lists GPL-3.0 as compatible, one way.
            "cc-by-sa-4.0" if declares("gpl-3.0") => return None,
            // LGPL-3.0 adds permissions to GPL-3.0, which may be left out.
            "lgpl-3.0" if declares("gpl-3.0") || declares("agpl-3.0") => return None,
            "gpl-2.0" => declares("gpl-3.0") || declares("agpl-3.0"),
            "gpl-3.0" => declares("agpl-3.0"),
            _ => false,
        };
        if is_later {
            let message = format!(
                "whether `{ancestor}` under {} may become part of a work under `{}` depends on “or later” and on §13",
                license.name, self.names
            );
            return Some(self.conflict("COMPAT_REVIEW", Severity::Review, term, message));
        }
        let message = format!(
            "{} of `{ancestor}` must stay the license of what is built on it, not `{}`",
            license.name, self.names
        );
        // “Library” and “Combined Work” have no counterpart for weights.
        let severity = if license.traits.is_library_copyleft { Severity::Review } else { Severity::Violation };
        Some(self.conflict("SHAREALIKE_DROPPED", severity, term, message))
    }

    fn permissive(&self) -> Option<Conflict> {
        let license = self.case.license;
        let is_gpl2 = self.declared.iter().any(|own| own.key == "gpl-2.0");
        if is_gpl2 && matches!(license.key.as_str(), "apache-2.0" | "cc-by-4.0") {
            let message = format!(
                "{} of `{}` asks for more than GPL-2.0 allows: it can become part of a work under GPL-3.0, not 2.0",
                license.name,
                self.case.ancestor()
            );
            let conflict = self.conflict("COMPAT_REVIEW", Severity::Review, "relicense_derivative", message);
            return Some(Conflict { remedy: "declare `gpl-3.0`, or ask the licensor".to_owned(), ..conflict });
        }
        let is_free = license.is_noncommercial() || license.category == "public-domain";
        (self.case.change() == Change::Copied && !is_free).then(|| self.relabelled_copy()).flatten()
    }

    /// Different terms may be put over one's own changes; a verbatim copy has none.
    fn relabelled_copy(&self) -> Option<Conflict> {
        if !self.is_permissive() {
            return None;
        }
        let message = format!(
            "a verbatim copy of `{}` under {} is labeled `{}`: there are no changes that other terms could cover",
            self.case.ancestor(),
            self.case.license.name,
            self.names
        );
        let mut conflict = self.conflict("RELABELLED_COPY", Severity::Review, "relicense_derivative", message);
        conflict.remedy = format!("declare the original license, `{}`", self.case.license.key);
        Some(conflict)
    }
}
