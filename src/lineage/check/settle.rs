//! Judges a gathered herd, on a thread that may take its time.

use serde_json::{Value, json};

use super::{
    super::{
        Error, Relation,
        weights::{
            claim::{self, Claim, Verdict},
            evidence,
            family::{self, Seen},
            herd::Herd,
            judgment::{Judgment, Kind, Tree},
        },
    },
    herd::{Absence, Gathered, Named},
};

/// What was concluded of a member.
pub(super) struct Settled {
    pub(super) model_id: i64,
    pub(super) revision_id: i64,
    pub(super) is_private: bool,
    pub(super) kind: String,
    pub(super) related: Vec<i64>,
    pub(super) shared_start: Vec<i64>,
    pub(super) detail: Value,
    /// Verdicts of its parent links: claimed ones, and those that were detected.
    pub(super) links: Vec<Link>,
    /// Revisions whose weights must be compared in full before a verdict is shown.
    pub(super) to_compare: Vec<(i64, i64)>,
}

/// A verdict on a parent link.
pub(super) struct Link {
    pub(super) parent_id: i64,
    pub(super) parent_revision_id: Option<i64>,
    pub(super) parent_is_private: bool,
    pub(super) is_detected: bool,
    pub(super) relation: Relation,
    pub(super) verdict: &'static str,
    pub(super) level: &'static str,
    pub(super) confidence: f32,
    pub(super) sentence: String,
    pub(super) nearer_id: Option<i64>,
    pub(super) evidence: Value,
}

/// Judges the herd and returns what was concluded of its complete members.
pub(super) async fn settle(herd: Gathered) -> Result<Vec<Settled>, Error> {
    let settled = tokio::task::spawn_blocking(move || settle_now(&herd)).await;
    settled.map_err(|panic| Error::Weights(std::io::Error::other(panic)))
}

fn settle_now(gathered: &Gathered) -> Vec<Settled> {
    let herd = Herd::new(gathered.members.iter().map(|member| &*member.print).collect());
    let seen = gathered
        .members
        .iter()
        .zip(&gathered.attested)
        .map(|(member, attested)| Seen { rank: member.first_revision_id.cast_unsigned(), attested: *attested });
    let seen: Vec<Seen> = seen.collect();
    let tree = family::judge_all(&herd, &seen);
    let bench = Bench { gathered, herd: &herd, tree: &tree };
    gathered.complete.iter().map(|member| bench.settle(*member)).collect()
}

/// A judged herd.
struct Bench<'a> {
    gathered: &'a Gathered,
    herd: &'a Herd<'a>,
    tree: &'a Tree,
}

impl Bench<'_> {
    fn settle(&self, member: usize) -> Settled {
        let own = &self.gathered.members[member];
        let revisions =
            |members: &[usize]| members.iter().map(|other| self.gathered.members[*other].revision_id).collect();
        let judgment = self.tree.judged.get(&member);
        let mut settled = Settled {
            model_id: own.model_id,
            revision_id: own.revision_id,
            is_private: own.is_private,
            kind: judgment.map_or("base".to_owned(), |judgment| word(&judgment.kind)),
            related: judgment.map(|judgment| revisions(&judgment.related)).unwrap_or_default(),
            shared_start: judgment.map(|judgment| revisions(&judgment.shared_start)).unwrap_or_default(),
            detail: judgment.map(|judgment| self.detail(judgment)).unwrap_or_default(),
            links: Vec::new(),
            to_compare: Vec::new(),
        };
        let named = self.gathered.named.get(&member).map(Vec::as_slice).unwrap_or_default();
        for parent in named {
            let link = self.link(member, parent, &mut settled.to_compare);
            settled.links.push(link);
        }
        for parent in judgment.map(|judgment| judgment.parents.as_slice()).unwrap_or_default() {
            let parent_id = self.gathered.members[*parent].model_id;
            if settled.links.iter().all(|link| link.parent_id != parent_id) {
                settled.links.push(self.detected(member, *parent));
            }
        }
        settled
    }

    fn name(&self, member: usize) -> String {
        self.gathered.members[member].name.clone()
    }

    fn model_id(&self, member: usize) -> i64 {
        self.gathered.members[member].model_id
    }

    fn link(&self, member: usize, named: &Named, to_compare: &mut Vec<(i64, i64)>) -> Link {
        let (parent, absence) = match &named.member {
            Ok(parent) => (Some(*parent), String::new()),
            Err(Absence::For(reason)) => (None, reason.clone()),
            Err(Absence::Pending) => (None, String::new()),
        };
        let mut link = Link {
            parent_id: named.parent_id,
            parent_revision_id: named.parent_revision_id,
            parent_is_private: named.parent_is_private,
            is_detected: false,
            relation: named.relation,
            verdict: "pending",
            level: "none",
            confidence: 0.0,
            sentence: format!("The fingerprint of `{}` is being made.", named.parent_name),
            nearer_id: None,
            evidence: json!({}),
        };
        if matches!(named.member, Err(Absence::Pending)) {
            return link;
        }
        let claim = Claim { parent, absence, relation: named.relation, parent_name: named.parent_name.clone() };
        let found = claim::verdict(self.herd, self.tree, member, &claim, &|other| self.name(other));
        link.verdict = found.verdict.as_str();
        link.level = found.level.as_str();
        link.confidence = found.confidence;
        link.sentence = found.sentence;
        link.nearer_id = found.nearer.map(|nearer| self.model_id(nearer));
        if let Some(parent) = parent {
            link.evidence = self.evidence(member, parent);
        }
        if found.needs_full_comparison {
            self.rest_on_all_weights(member, named, found.verdict, &mut link, to_compare);
        }
        link
    }

    /// Nothing is contradicted before all weights were compared, and not when they agree after all.
    fn rest_on_all_weights(
        &self,
        member: usize,
        named: &Named,
        verdict: Verdict,
        link: &mut Link,
        to_compare: &mut Vec<(i64, i64)>,
    ) {
        let pair = (self.gathered.members[member].revision_id, named.parent_revision_id.unwrap_or(0));
        let Some(full) = self.gathered.comparisons.get(&pair) else {
            to_compare.push(pair);
            link.verdict = "pending";
            link.level = "none";
            link.confidence = 0.0;
            link.nearer_id = None;
            link.sentence = format!(
                "The samples show no trace of `{}`; all weights of both are being compared before anything is concluded.",
                named.parent_name
            );
            return;
        };
        link.evidence["full"] = full.clone();
        if let Err(reason) = confirms(full) {
            debug_assert_eq!(verdict, Verdict::Contradicted);
            link.verdict = "unverifiable";
            link.level = "none";
            link.confidence = 0.0;
            link.nearer_id = None;
            link.sentence = format!("Whether it descends from `{}` cannot be told: {reason}.", named.parent_name);
        }
    }

    fn detected(&self, member: usize, parent: usize) -> Link {
        let judgment = &self.tree.judged[&member];
        let other = &self.gathered.members[parent];
        let relation = judgment.kind.relation().unwrap_or(Relation::Unknown);
        let claim = Claim { parent: Some(parent), absence: String::new(), relation, parent_name: other.name.clone() };
        let found = claim::verdict(self.herd, self.tree, member, &claim, &|other| self.name(other));
        Link {
            parent_id: other.model_id,
            parent_revision_id: Some(other.revision_id),
            parent_is_private: other.is_private,
            is_detected: true,
            relation,
            verdict: "detected",
            level: found.level.as_str(),
            confidence: found.confidence,
            sentence: claim::detected_sentence(self.herd, self.tree, member, parent, &|other| self.name(other)),
            nearer_id: None,
            evidence: self.evidence(member, parent),
        }
    }

    fn evidence(&self, member: usize, parent: usize) -> Value {
        let found = evidence::evidence(self.herd, self.tree, member, parent);
        let mut value = serde_json::to_value(found).unwrap_or_default();
        self.with_models(&mut value);
        value
    }

    fn detail(&self, judgment: &Judgment) -> Value {
        let mut value = json!({ "judgment": judgment.kind, "reason": judgment.reason, "votes": judgment.votes });
        self.with_models(&mut value);
        value
    }

    /// Numbers of members become rows of models, wherever evidence names one.
    fn with_models(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields.iter_mut() {
                    let number = field.as_u64().and_then(|number| usize::try_from(number).ok());
                    match number.filter(|_| name == "member" || name == "base") {
                        Some(number) if number < self.gathered.members.len() => *field = json!(self.model_id(number)),
                        _ => self.with_models(field),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.with_models(item)),
            _ => {}
        }
    }
}

/// Whether the comparison of all weights agrees that there is no relation.
fn confirms(full: &Value) -> Result<(), String> {
    if let Some(error) = full["error"].as_str() {
        return Err(format!("all weights could not be compared: {error}"));
    }
    let cosine = full["cosine"].as_f64().unwrap_or(1.0);
    let identical = full["identical_rows"].as_u64().unwrap_or(0);
    if cosine.abs() > super::super::weights::herd::RELATED {
        return Err(format!("the samples show no relation, but all weights have a similarity of {cosine:.3}"));
    }
    if identical > 0 {
        return Err(format!("the samples show no relation, but {identical} rows of the weights are identical"));
    }
    Ok(())
}

fn word(kind: &Kind) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value["kind"].as_str().map(str::to_owned)).unwrap_or_default()
}
