//! Judges a gathered herd, on a thread that may take its time.

use serde_json::{Value, json};

use super::{
    super::{
        Error, Relation,
        weights::{
            claim::{self, Claim, ClaimVerdict, Level, Verdict},
            evidence,
            family::{self, Seen},
            herd::{Herd, Tie},
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

/// Models near the one in question that are judged again when not everybody can be.
const MOST_NEAR: usize = 32;

/// Judges the herd and returns what was concluded of its complete members, and models that should be asked again.
pub(super) async fn settle(herd: Gathered) -> Result<(Vec<Settled>, Vec<i64>), Error> {
    let settled = tokio::task::spawn_blocking(move || settle_now(&herd)).await;
    settled.map_err(|panic| Error::Weights(std::io::Error::other(panic)))
}

fn settle_now(gathered: &Gathered) -> (Vec<Settled>, Vec<i64>) {
    let herd = Herd::new(gathered.members.iter().map(|member| &*member.print).collect());
    let tree = judge(gathered, &herd);
    let related = tree.judged.get(&gathered.own).map(|judgment| judgment.related.as_slice()).unwrap_or_default();
    let near = related.iter().take(if gathered.is_whole { 0 } else { MOST_NEAR });
    let near = near.map(|member| gathered.members[*member].row.model_id).collect();
    let bench = Bench { gathered, herd: &herd, tree: &tree };
    (gathered.complete.iter().map(|member| bench.settle(*member)).collect(), near)
}

fn judge(gathered: &Gathered, herd: &Herd) -> Tree {
    let attested = attested(gathered, herd);
    let seen = gathered
        .members
        .iter()
        .zip(attested)
        .map(|(member, attested)| Seen { rank: member.row.first_revision_id.cast_unsigned(), attested });
    family::judge_all(herd, &seen.collect::<Vec<Seen>>())
}

/// Who stands at the beginning where the weights do not tell: what a base's known publisher released. Without such, those
/// whom relatives name as their parent, and who name none themselves.
fn attested(gathered: &Gathered, herd: &Herd) -> Vec<bool> {
    if gathered.attested.contains(&true) {
        return gathered.attested.clone();
    }
    let mut is_named = vec![false; herd.len()];
    let mut names_one = vec![false; herd.len()];
    for (child, parents) in &gathered.named {
        let here = parents.iter().filter(|parent| parent.relation != Relation::Distill);
        for parent in here.filter_map(|parent| parent.member.as_ref().ok()) {
            if matches!(herd.tie(*child, *parent), Some(Tie::Direct | Tie::Invariant)) {
                is_named[*parent] = true;
                names_one[*child] = true;
            }
        }
    }
    is_named.into_iter().zip(names_one).map(|(is_named, names_one)| is_named && !names_one).collect()
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
            |members: &[usize]| members.iter().map(|other| self.gathered.members[*other].row.revision_id).collect();
        let judgment = self.tree.judged.get(&member);
        let mut settled = Settled {
            model_id: own.row.model_id,
            revision_id: own.row.revision_id,
            is_private: own.row.is_private,
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
            let parent_id = self.gathered.members[*parent].row.model_id;
            if settled.links.iter().all(|link| link.parent_id != parent_id) {
                settled.links.push(self.detected(member, *parent));
            }
        }
        settled
    }

    /// A member's name as sentences quote it.
    fn name(&self, member: usize) -> String {
        format!("`{}`", self.gathered.members[member].row.name)
    }

    fn model_id(&self, member: usize) -> i64 {
        self.gathered.members[member].row.model_id
    }

    fn link(&self, member: usize, named: &Named, to_compare: &mut Vec<(i64, i64)>) -> Link {
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
        let parent = match &named.member {
            Ok(parent) => *parent,
            Err(Absence::Pending) => return link,
            Err(Absence::For(reason)) => {
                link.verdict = "unverifiable";
                link.sentence = format!("Whether it descends from `{}` cannot be told: {reason}.", named.parent_name);
                return link;
            }
        };
        let found = self.verdict(member, parent, named.relation);
        if found.verdict == Verdict::Contradicted && self.gathered.members[member].row.is_difference {
            link.verdict = "unverifiable";
            link.sentence = format!(
                "Whether it descends from `{}` cannot be told: its card says that its weights are a difference, which \
                 shows no trace of what it is to be added to.",
                named.parent_name
            );
            return link;
        }
        link.verdict = found.verdict.as_str();
        link.level = level(&found);
        link.confidence = confidence(&found);
        link.sentence = found.sentence;
        link.nearer_id = found.nearer.map(|nearer| self.model_id(nearer));
        link.evidence = evidence(self.herd, self.tree, member, parent, &|other| json!(self.model_id(other)));
        if found.needs_full_comparison {
            self.rest_on_all_weights(member, named, &mut link, to_compare);
        }
        link
    }

    fn verdict(&self, member: usize, parent: usize, relation: Relation) -> ClaimVerdict {
        let claim = Claim { parent: Ok(parent), relation };
        claim::verdict(self.herd, self.tree, member, &claim, &|other| self.name(other))
    }

    /// Nothing is contradicted before all weights were compared, and not when they agree after all.
    fn rest_on_all_weights(&self, member: usize, named: &Named, link: &mut Link, to_compare: &mut Vec<(i64, i64)>) {
        let pair = (self.gathered.members[member].row.revision_id, named.parent_revision_id.unwrap_or(0));
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
        let mut found = self.verdict(member, parent, relation);
        // A sibling may stand in for a base that is not here: what nobody declared is certain only beyond the root.
        if self.tree.roots.get(&member) == Some(&parent) && relation == Relation::Finetune {
            found.level = Level::Probable;
            found.confidence = found.confidence.min(0.9);
        }
        Link {
            parent_id: other.row.model_id,
            parent_revision_id: Some(other.row.revision_id),
            parent_is_private: other.row.is_private,
            is_detected: true,
            relation,
            verdict: "detected",
            level: level(&found),
            confidence: confidence(&found),
            sentence: detected_sentence(&found, &self.name(parent)),
            nearer_id: None,
            evidence: evidence(self.herd, self.tree, member, parent, &|other| json!(self.model_id(other))),
        }
    }

    fn detail(&self, judgment: &Judgment) -> Value {
        let mut value = json!({ "judgment": judgment.kind, "reason": judgment.reason, "votes": judgment.votes });
        with_members(&mut value, &|other| json!(self.model_id(other)));
        value
    }
}

/// What was measured between a member and a parent; members become what `name` makes of them.
pub(in crate::lineage) fn evidence(
    herd: &Herd,
    tree: &Tree,
    member: usize,
    parent: usize,
    name: &dyn Fn(usize) -> Value,
) -> Value {
    let found = evidence::evidence(herd, tree, member, parent);
    let mut value = serde_json::to_value(&found).unwrap_or_default();
    value["compared"] = json!(herd.len().saturating_sub(1));
    value["finding"] = json!(tree.judged.get(&member).map(|judgment| &judgment.kind));
    if let Some(merge) = &found.merge {
        let parts: Vec<Value> =
            merge.parts.iter().map(|(member, weight)| json!({ "member": member, "weight": weight })).collect();
        value["merge"]["parts"] = json!(parts);
    }
    with_members(&mut value, name);
    value
}

/// Numbers of members become names or rows, wherever one is named.
fn with_members(value: &mut Value, name: &dyn Fn(usize) -> Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
                match number.filter(|_| field == "member" || field == "base") {
                    Some(number) => *value = name(number),
                    None => with_members(value, name),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| with_members(item, name)),
        _ => {}
    }
}

/// What a detected parent is said in, from the words that would confirm it.
fn detected_sentence(found: &ClaimVerdict, parent: &str) -> String {
    format!("Nobody declared it: the weights show that it descends from {parent}.{}", reasons(found, parent))
}

/// What speaks for a parent, from the words that would confirm it.
pub(in crate::lineage) fn reasons<'a>(found: &'a ClaimVerdict, parent: &str) -> &'a str {
    let confirmed = format!("Declared base {parent} is confirmed.");
    found.sentence.strip_prefix(&confirmed).unwrap_or_default()
}

fn level(found: &ClaimVerdict) -> &'static str {
    match (found.verdict, found.level) {
        (Verdict::Unverifiable, _) => "none",
        (_, Level::Certain) => "certain",
        (_, Level::Probable) => "probable",
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a share")]
fn confidence(found: &ClaimVerdict) -> f32 {
    found.confidence as f32
}

/// Whether the comparison of all weights agrees that there is no relation.
fn confirms(full: &Value) -> Result<(), String> {
    if let Some(error) = full["error"].as_str() {
        return Err(format!("all weights could not be compared: {error}"));
    }
    let cosine = full["cosine"].as_f64().unwrap_or(1.0);
    let identical = identical_rows(full);
    if cosine.abs() > super::super::weights::herd::RELATED {
        return Err(format!("the samples show no relation, but all weights have a similarity of {cosine:.3}"));
    }
    if identical > FEW_ROWS {
        return Err(format!("the samples show no relation, but {identical} rows of the weights are identical"));
    }
    Ok(())
}

/// Identical rows that may be an accident: those of tokens that were never used.
const FEW_ROWS: u64 = 4;

/// Rows that are identical in both. Tensors that are identical in most rows are constants: zeros, or ones.
fn identical_rows(full: &Value) -> u64 {
    let slots = full["slots"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = slots.iter().filter(|slot| slot["cosine"].as_f64().is_some_and(|cosine| cosine != 0.0));
    rows.filter(|slot| slot["rows"].as_u64().unwrap_or(0) > 1)
        .map(|slot| slot["identical_rows"].as_u64().unwrap_or(0))
        .sum()
}

fn word(kind: &Kind) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value["kind"].as_str().map(str::to_owned)).unwrap_or_default()
}
