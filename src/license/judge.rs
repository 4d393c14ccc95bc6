//! The engine: gathers the licenses that a model carries along its lineage, and applies the rules.
//!
//! Pure and deterministic: equal input gives equal output, byte for byte, in whatever order it is given.

use super::{
    Finding, Judgement, Severity,
    catalogue::Catalogue,
    graph::Graph,
    label::{self, Named, Resolved, Source},
    profile::{Distribution, Terms},
    rules::{self, Subject},
    walk::{Above, Class, Mode, Ways},
};

/// A license that reaches the model, by the best path of its class.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    /// Number in the catalogue.
    pub(super) license: usize,
    /// What the path is like.
    pub(super) class: Class,
    /// The step of the walk at which it was found.
    pub(super) visit: usize,
    /// The model whose license it is takes more than text.
    pub(super) is_multimodal: bool,
    /// What follows `WITH` in its label.
    pub(super) exception: Option<String>,
}

/// A graph prepared for judging: each label resolved once, links sorted, cycles cut.
#[derive(Debug)]
pub struct Engine<'a> {
    /// The licenses.
    pub catalogue: &'a Catalogue,
    /// The models.
    pub graph: &'a Graph,
    /// What each model's label and files resolve to.
    pub resolved: Vec<Resolved>,
    pub(super) ways: Ways,
}

impl<'a> Engine<'a> {
    /// Resolves all labels, and prepares the lineage.
    pub fn new(catalogue: &'a Catalogue, graph: &'a Graph) -> Self {
        let resolved = graph.models.iter().map(|model| label::resolve(catalogue, model)).collect();
        let is_release = graph.models.iter().map(|model| catalogue.is_licensors_namespace(&model.id)).collect();
        Self { catalogue, graph, resolved, ways: Ways::new(graph, is_release) }
    }

    /// Judges one model under the intended use and the policy of its namespace.
    pub fn judge(&self, model: usize, terms: &Terms) -> Judgement {
        let above = self.ways.above(model);
        let resolved = &self.resolved[model];
        let facts = &self.graph.models[model];
        let mut outcomes: Vec<Outcome> = match resolved.branches.is_empty() {
            true => vec![self.evaluate(model, &[], &above, terms)],
            false => resolved.branches.iter().map(|own| self.evaluate(model, own, &above, terms)).collect(),
        };
        let weights: Vec<[usize; 4]> = outcomes.iter().map(|outcome| weigh(&outcome.findings)).collect();
        let best = (0..outcomes.len()).min_by_key(|place| (weights[*place], *place)).unwrap_or(0);
        let is_decisive = weights.iter().any(|weight| *weight != weights[best]);
        let outcome = outcomes.swap_remove(best);
        let own = resolved.branches.get(best).map(Vec::as_slice).unwrap_or_default();
        let mut choices = outcome.choices;
        if is_decisive {
            choices.insert(0, format!("{}: {}", facts.id, self.spell(own)));
        }
        Judgement {
            id: facts.id.clone(),
            declared: (!facts.labels.is_empty()).then(|| facts.labels.join(", ")),
            expression: self.expression(model, if is_decisive { Some(own) } else { None }, &above, &outcome.carried),
            choices,
            position: self.position(model, &above, &outcome.findings),
            obligations: outcome.obligations,
            findings: outcome.findings,
        }
    }

    /// Names of the models of a path.
    pub fn names(&self, path: &[usize]) -> Vec<String> {
        path.iter().map(|index| self.graph.models[*index].id.clone()).collect()
    }

    /// Judges with one alternative of the model's own label.
    fn evaluate(&self, model: usize, own: &[Named], above: &Above, terms: &Terms) -> Outcome {
        let facts = &self.graph.models[model];
        let by_visibility = if facts.is_private { Distribution::Private } else { Distribution::Public };
        let resolved = &self.resolved[model];
        let has_other_label = resolved.source == Source::Files;
        let label = if has_other_label { resolved.label.first().map(Vec::as_slice).unwrap_or_default() } else { own };
        let base = Subject {
            engine: self,
            model,
            own,
            label,
            above,
            carried: &[],
            profile: &terms.profile,
            distribution: terms.profile.visibility.unwrap_or(by_visibility),
        };
        let (carried, choices) = self.gather(&base, terms);
        let subject = Subject { carried: &carried, ..base };
        let findings = rules::judge(&subject, &terms.policy);
        let obligations = rules::obligations(&subject);
        Outcome { findings, obligations, carried, choices }
    }

    /// The licenses that reach a model. Where an ancestor's label offers alternatives, the one that is best for the user
    /// is taken, and named.
    fn gather(&self, base: &Subject<'_>, terms: &Terms) -> (Vec<Carried>, Vec<String>) {
        let mut all: Vec<Carried> = Vec::new();
        let mut choices: Vec<String> = Vec::new();
        let mut chosen: Vec<(usize, usize)> = Vec::new();
        let order = order(base.above);
        for visit in order.iter().copied() {
            let ancestor = base.above.visits[visit].model;
            let resolved = &self.resolved[ancestor];
            let branch = match resolved.branches.len() {
                0 => continue,
                1 => 0,
                _ => match chosen.iter().find(|(known, _)| *known == ancestor) {
                    Some((_, branch)) => *branch,
                    None => {
                        let (branch, is_decisive) = self.choose(base, ancestor, &order, terms);
                        chosen.push((ancestor, branch));
                        if is_decisive {
                            let id = &self.graph.models[ancestor].id;
                            choices.push(format!("{id}: {}", self.spell(&resolved.branches[branch])));
                        }
                        branch
                    }
                },
            };
            for carried in self.offers(base.model, base.above, visit, branch) {
                let key = |carried: &Carried| {
                    (carried.license, carried.class, carried.is_multimodal, carried.exception.is_some())
                };
                let same = |other: &Carried| key(other) == key(&carried);
                if !all.iter().any(same) {
                    all.push(carried);
                }
            }
        }
        // A license that binds by the weights binds no less by outputs or beside them.
        let strongest = |license: usize| {
            let sure = all.iter().filter(|other| other.license == license && !other.class.is_uncertain);
            sure.map(|other| other.class.mode).min()
        };
        let is_needed: Vec<bool> = all
            .iter()
            .map(|carried| strongest(carried.license).is_none_or(|mode| carried.class.mode <= mode))
            .collect();
        let mut needed = is_needed.into_iter();
        all.retain(|_| needed.next().unwrap_or(true));
        choices.sort();
        (all, choices)
    }

    /// What an ancestor contributes at a step, with one alternative of its label.
    fn offers(&self, model: usize, above: &Above, visit: usize, branch: usize) -> Vec<Carried> {
        let step = &above.visits[visit];
        let named = &self.resolved[step.model].branches[branch];
        let offer = |named: &Named| {
            let license = named.known().filter(|license| !self.is_exempt(model, step.model, *license))?;
            if step.class.is_released && self.is_released(above, visit, license) {
                return None;
            }
            Some(Carried {
                license,
                class: step.class,
                visit,
                is_multimodal: self.is_multimodal(step.model),
                exception: named.exception.clone(),
            })
        };
        named.iter().filter_map(offer).collect()
    }

    /// The alternative of an ancestor's label whose findings, alone, are the mildest; whether it matters.
    fn choose(&self, base: &Subject<'_>, ancestor: usize, order: &[usize], terms: &Terms) -> (usize, bool) {
        let weight = |branch: usize| {
            let visits = order.iter().filter(|visit| base.above.visits[**visit].model == ancestor);
            let carried: Vec<Carried> =
                visits.flat_map(|visit| self.offers(base.model, base.above, *visit, branch)).collect();
            let subject = Subject { carried: &carried, ..*base };
            let findings = carried.iter().flat_map(|carried| rules::about_carried(&subject, carried, &terms.policy));
            let (about_names, findings): (Vec<Finding>, Vec<Finding>) =
                findings.partition(|finding| finding.rule == "NAME_PREFIX");
            // A name can be changed; and without findings, the one that asks less is better.
            (weigh(&findings), weigh(&about_names), rules::obligations(&subject).len())
        };
        let count = self.resolved[ancestor].branches.len();
        let weights: Vec<_> = (0..count).map(weight).collect();
        let best = (0..count).min_by_key(|branch| (weights[*branch], *branch)).unwrap_or(0);
        let matters = |weight: &(_, _, usize)| (weight.0, weight.1) != (weights[best].0, weights[best].1);
        (best, weights.iter().any(matters))
    }

    /// A licensor is not bound by its own license; for general licenses, neither is the ancestor's own namespace.
    pub(super) fn is_exempt(&self, model: usize, ancestor: usize, license: usize) -> bool {
        let id = &self.graph.models[model].id;
        if self.catalogue.license(license).has_one_licensor() {
            return self.catalogue.is_licensors_own(id, license);
        }
        rules::same_namespace(id, &self.graph.models[ancestor].id)
    }

    /// Whether the licensor released something of its own in between: Llama 3.3 was made from 3.1, and whoever builds on
    /// it has it under the terms of 3.3.
    fn is_released(&self, above: &Above, visit: usize, license: usize) -> bool {
        let between = above.steps(visit).skip(1).filter(|step| step.depth > 0);
        let mut releases = between.filter(|step| !self.resolved[step.model].is_empty());
        releases.any(|step| self.catalogue.is_licensors_own(&self.graph.models[step.model].id, license))
    }

    pub(super) fn is_multimodal(&self, model: usize) -> bool {
        let facts = &self.graph.models[model];
        facts.is_multimodal.unwrap_or_else(|| self.catalogue.is_multimodal(&facts.id))
    }

    fn spell(&self, named: &[Named]) -> String {
        named.iter().map(|named| self.spell_one(named)).collect::<Vec<_>>().join(" AND ")
    }

    fn spell_one(&self, named: &Named) -> String {
        let name = match &named.name {
            label::Name::Known(index) => self.catalogue.license(*index).expression(),
            label::Name::Unlisted(name) => super::catalogue::license_ref(name),
        };
        match &named.exception {
            Some(exception) => format!("{name} WITH {exception}"),
            None => name,
        }
    }

    /// What the model declares for its own contribution, and every carried license that does not allow other terms over
    /// the whole.
    fn expression(&self, model: usize, chosen: Option<&[Named]>, above: &Above, carried: &[Carried]) -> Option<String> {
        let resolved = &self.resolved[model];
        let mut names: Vec<String> = Vec::new();
        let branches = match chosen {
            Some(_) => &[],
            None => resolved.branches.as_slice(),
        };
        match branches {
            [] => names.extend(chosen.into_iter().flatten().map(|named| self.spell_one(named))),
            [one] => names.extend(one.iter().map(|named| self.spell_one(named))),
            several => {
                let spelled: Vec<String> = several
                    .iter()
                    .map(|one| if one.len() > 1 { format!("({})", self.spell(one)) } else { self.spell(one) })
                    .collect();
                names.push(spelled.join(" OR "));
            }
        }
        let is_choice = branches.len() > 1;
        let binds = |carried: &&Carried| {
            let license = self.catalogue.license(carried.license);
            let by_definition = super::catalogue::Outputs::Derivative { is_qualified: false };
            let is_part = carried.class.mode <= Mode::Adapter
                || (carried.class.mode == Mode::Output && license.traits.outputs == by_definition);
            is_part && !license.is_permissive()
        };
        let mut binding: Vec<String> =
            carried.iter().filter(binds).map(|carried| self.catalogue.license(carried.license).expression()).collect();
        binding.extend(self.unlisted_above(model, above));
        binding.sort();
        binding.dedup();
        binding.retain(|name| !names.contains(name));
        if is_choice && !binding.is_empty() {
            names[0] = format!("({})", names[0]);
        }
        names.extend(binding);
        (!names.is_empty()).then(|| names.join(" AND "))
    }

    /// Licenses of ancestors in the weights that name no text that we know.
    fn unlisted_above(&self, model: usize, above: &Above) -> Vec<String> {
        let is_part = |step: &&super::walk::Visit| step.depth > 0 && step.class.mode == Mode::Weights;
        let is_foreign = |step: &&super::walk::Visit| {
            !rules::same_namespace(&self.graph.models[model].id, &self.graph.models[step.model].id)
        };
        let steps = above.visits.iter().filter(is_part).filter(is_foreign);
        let named = steps.filter_map(|step| self.resolved[step.model].branches.first()).flatten();
        named.filter(|named| named.known().is_none()).map(|named| self.spell_one(named)).collect()
    }

    fn position(&self, model: usize, above: &Above, findings: &[Finding]) -> String {
        let is_labeled = |step: &super::walk::Visit| !self.resolved[step.model].is_empty();
        if self.resolved[model].is_empty() && !above.visits.iter().any(is_labeled) {
            return "unknown".to_owned();
        }
        findings.iter().map(|finding| finding.severity).max().map_or("clear", Severity::as_str).to_owned()
    }
}

/// Steps by length; among equal ones the more certain, then the alphabet.
fn order(above: &Above) -> Vec<usize> {
    let mut order: Vec<usize> = (1..above.visits.len()).collect();
    order.sort_by_key(|visit| {
        let step = &above.visits[*visit];
        (step.depth, std::cmp::Reverse(step.least()), *visit)
    });
    order
}

struct Outcome {
    findings: Vec<Finding>,
    obligations: Vec<super::Obligation>,
    carried: Vec<Carried>,
    choices: Vec<String>,
}

/// How many findings there are, the gravest kind first.
fn weigh(findings: &[Finding]) -> [usize; 4] {
    let count = |severity: Severity| findings.iter().filter(|finding| finding.severity == severity).count();
    [Severity::Violation, Severity::Incomplete, Severity::Review, Severity::Notice].map(count)
}
