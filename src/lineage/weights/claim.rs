//! Claims meet evidence: what the weights say of a parent that somebody names.
//!
//! Nobody is accused on the strength of what is merely missing: a parent is contradicted only where both models could be
//! compared, no trace of a relation was found in any way that we know, and no relative of the one descends from the other.

use super::{
    family::are_related,
    herd::{Herd, RELATED, Tie},
    judgment::{Judgment, Kind, Tree},
};
use crate::lineage::Relation;

/// A parent that somebody names.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The member that is named; `None` when it cannot be compared.
    pub parent: Option<usize>,
    /// Why it cannot.
    pub absence: String,
    /// How the child is said to be made.
    pub relation: Relation,
    /// The parent's name, for sentences.
    pub parent_name: String,
}

/// What the weights say of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The parent, or one that is functionally equal.
    Confirmed,
    /// Related, but another parent is nearer, or which one cannot be told.
    ConfirmedFamily,
    /// No trace of it.
    Contradicted,
    /// Cannot be told.
    Unverifiable,
}

impl Verdict {
    /// The word in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::ConfirmedFamily => "confirmed_family",
            Self::Contradicted => "contradicted",
            Self::Unverifiable => "unverifiable",
        }
    }
}

/// How sure a verdict is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// It rests on values that only inheritance explains, or on all weights.
    Certain,
    /// It rests on geometry.
    Probable,
    /// There is nothing to be sure of.
    None,
}

impl Level {
    /// The word in the database and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Probable => "probable",
            Self::None => "none",
        }
    }

    /// As a number from 0 to 1, for those who sort.
    pub fn confidence(self) -> f32 {
        match self {
            Self::Certain => 0.99,
            Self::Probable => 0.8,
            Self::None => 0.0,
        }
    }
}

/// A verdict with what it rests on, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimVerdict {
    /// What the weights say.
    pub verdict: Verdict,
    /// How sure that is.
    pub level: Level,
    /// 0 to 1.
    pub confidence: f32,
    /// Whether it may be shown only after all weights were compared.
    pub needs_full_comparison: bool,
    /// A parent that fits better.
    pub nearer: Option<usize>,
    /// In words.
    pub sentence: String,
}

impl ClaimVerdict {
    fn new(verdict: Verdict, level: Level, nearer: Option<usize>, sentence: String) -> Self {
        let needs_full_comparison = verdict == Verdict::Contradicted;
        Self { verdict, level, confidence: level.confidence(), needs_full_comparison, nearer, sentence }
    }

    fn unverifiable(parent: &str, reason: &str) -> Self {
        let sentence = format!("Whether it descends from `{parent}` cannot be told: {reason}.");
        Self::new(Verdict::Unverifiable, Level::None, None, sentence)
    }
}

/// Names of members, for sentences.
pub type Names<'a> = &'a dyn Fn(usize) -> String;

/// Returns what the weights say of a claim.
pub fn verdict(herd: &Herd, tree: &Tree, child: usize, claim: &Claim, names: Names) -> ClaimVerdict {
    let Some(parent) = claim.parent else {
        return ClaimVerdict::unverifiable(&claim.parent_name, &claim.absence);
    };
    let case = Case { herd, tree, child, parent, claim, names };
    match herd.tie(child, parent) {
        Some(Tie::Direct | Tie::Invariant) => case.of_the_family(),
        Some(Tie::SharedStart) => case.of_the_same_start(),
        None => case.of_no_relation(),
    }
}

/// Returns what the weights show of a parent that nobody claims.
pub fn detected_sentence(herd: &Herd, tree: &Tree, child: usize, parent: usize, names: Names) -> String {
    let reasons = parent_sentence(herd, tree, child, parent, names);
    format!("Nobody declared it; the weights show that it descends from `{}`. {reasons}", names(parent))
}

/// Returns what speaks for a parent.
pub fn parent_sentence(herd: &Herd, tree: &Tree, child: usize, parent: usize, names: Names) -> String {
    let claim =
        Claim { parent: Some(parent), absence: String::new(), relation: Relation::Unknown, parent_name: names(parent) };
    Case { herd, tree, child, parent, claim: &claim, names }.reasons()
}

/// What both compute is the same, whatever their values.
pub(super) fn same_function(tree: &Tree, a: usize, b: usize) -> bool {
    function(tree, a) == function(tree, b)
}

fn function(tree: &Tree, member: usize) -> usize {
    let mut at = member;
    for _ in 0..64 {
        match tree.judged.get(&at) {
            Some(Judgment { kind: Kind::Copy { .. }, parents, .. }) if !parents.is_empty() => at = parents[0],
            _ => return at,
        }
    }
    at
}

struct Case<'a> {
    herd: &'a Herd<'a>,
    tree: &'a Tree,
    child: usize,
    parent: usize,
    claim: &'a Claim,
    names: Names<'a>,
}

impl Case<'_> {
    fn judged(&self) -> Option<&Judgment> {
        self.tree.judged.get(&self.child)
    }

    fn of_the_family(&self) -> ClaimVerdict {
        let (tree, name) = (self.tree, &self.claim.parent_name);
        let parents = tree.parents(self.child);
        let is_it = parents.iter().any(|parent| same_function(tree, *parent, self.parent));
        if is_it || same_function(tree, self.child, self.parent) {
            let verb = if self.claim.relation == Relation::Unknown { "The parent" } else { "The declared base" };
            let sentence = format!("{verb} `{name}` is confirmed. {}{}", self.reasons(), self.other_relation());
            return ClaimVerdict::new(Verdict::Confirmed, self.level(), None, sentence);
        }
        let nearer = parents.first().copied();
        let is_above = nearer.is_some_and(|nearer| {
            self.herd_members().any(|m| same_function(tree, m, self.parent) && self.descends(nearer, m))
        });
        let sentence = match nearer {
            Some(nearer) if is_above => format!(
                "It descends from `{name}`'s family, but from `{0}`, not from `{name}` directly; the license of `{0}` applies too. {1}",
                (self.names)(nearer),
                self.reasons_for(nearer)
            ),
            Some(nearer) => format!(
                "It is of one family with `{name}`, but `{}` fits better as its parent. {}",
                (self.names)(nearer),
                self.reasons_for(nearer)
            ),
            None if self.descends(self.parent, self.child) => format!(
                "It is of one family with `{name}`, but the weights suggest that `{name}` descends from it, not the other way."
            ),
            None => format!(
                "It is of one family with `{name}`; which of them is the parent cannot be told. {}",
                self.likeness(self.parent)
            ),
        };
        ClaimVerdict::new(Verdict::ConfirmedFamily, self.level(), nearer, sentence)
    }

    fn herd_members(&self) -> std::ops::Range<usize> {
        0..self.herd.len()
    }

    fn descends(&self, member: usize, from: usize) -> bool {
        member == from || self.tree.descends(member, from)
    }

    fn of_the_same_start(&self) -> ClaimVerdict {
        let reason = format!(
            "both began from the same random numbers (similarity {:.2}, evenly weak), which is no evidence of copying",
            self.herd.compare(self.child, self.parent).similarity
        );
        ClaimVerdict::unverifiable(&self.claim.parent_name, &reason)
    }

    fn of_no_relation(&self) -> ClaimVerdict {
        let (herd, name) = (self.herd, &self.claim.parent_name);
        if self.claim.relation == Relation::Distill {
            let reason = "training on another model's outputs leaves no trace in the weights";
            return ClaimVerdict::unverifiable(name, reason);
        }
        let related = self.judged().map(|judgment| judgment.related.as_slice()).unwrap_or_default();
        // Training changed so much that only a relative between them shows the way.
        let between = related
            .iter()
            .find(|q| **q != self.parent && (self.descends(**q, self.parent) || are_related(herd, **q, self.parent)));
        if let Some(between) = between {
            let sentence = format!(
                "It is of one family with `{name}` through `{}`, to which both are related; compared directly they are no longer alike.",
                (self.names)(*between)
            );
            return ClaimVerdict::new(Verdict::ConfirmedFamily, Level::Probable, Some(*between), sentence);
        }
        if let Some(reason) = self.obstacle() {
            return ClaimVerdict::unverifiable(name, &reason);
        }
        let comparison = herd.compare(self.child, self.parent);
        let nearer = self.tree.parents(self.child).first().copied().or(related.first().copied());
        let instead = nearer.map_or_else(
            || "Nothing else here is related to it either. Distillation and very heavy retraining leave no trace and cannot be excluded.".to_owned(),
            |q| format!("The weights match `{}` instead ({}).", (self.names)(q), self.likeness(q).trim_end_matches('.').to_lowercase()),
        );
        let sentence = format!(
            "The declared base `{name}` is contradicted: no relation was found (similarity {:.3}; unrelated models score 0.000 ± {:.4}, related ones above {RELATED}). {instead}",
            comparison.similarity,
            self.deviation(),
        );
        ClaimVerdict::new(Verdict::Contradicted, Level::Certain, nearer, sentence)
    }

    /// Why the absence of a relation would prove nothing.
    fn obstacle(&self) -> Option<String> {
        let (x, y) = (self.herd.print(self.child), self.herd.print(self.parent));
        let shared = x.tensors.iter().filter(|(slot, tensor)| {
            let other = y.tensors.get(slot).and_then(|other| other.canonical);
            tensor.is_matrix() && tensor.zeros < 1.0 && tensor.canonical.is_some() && tensor.canonical == other
        });
        let shared = shared.count();
        if shared > 0 {
            return Some(format!("{shared} whole tensors are identical, although the rest is not alike"));
        }
        if x.shape.hidden != y.shape.hidden {
            return Some(format!(
                "their architectures differ (width {} against {}), and nothing of them can be compared",
                x.shape.hidden, y.shape.hidden
            ));
        }
        let rows = self.herd.equal_rows(self.child, self.parent);
        if rows > 0 {
            return Some(format!(
                "{rows} of the sampled embedding rows are identical, although nothing else is alike: rows alone can be copied"
            ));
        }
        let comparison = self.herd.compare(self.child, self.parent);
        if comparison.cosines.len() < 2 {
            return Some("too few of their matrices have the same shape".to_owned());
        }
        None
    }

    /// Standard deviation of the similarity of unrelated models: `1.2 / √N` for `N` sampled coordinates.
    fn deviation(&self) -> f64 {
        deviation(self.herd, self.child)
    }

    fn level(&self) -> Level {
        let Some(judgment) = self.judged() else { return Level::Probable };
        let is_exact = match judgment.kind {
            Kind::Copy { .. } | Kind::Merge { .. } | Kind::MergedAdapter { .. } => true,
            Kind::Pruned { .. } | Kind::Quantized { .. } => true,
            _ => judgment.votes.is_some_and(|votes| votes.decide() == Some(true)),
        };
        if is_exact { Level::Certain } else { Level::Probable }
    }

    fn reasons(&self) -> String {
        self.reasons_for(self.parent)
    }

    /// What was measured against a member, in words.
    fn reasons_for(&self, other: usize) -> String {
        let mut words = Vec::new();
        if let Some(votes) = self.judged().and_then(|judgment| judgment.votes)
            && votes.rows_inherited + votes.tensors_inherited > 0
        {
            words.push(format!(
                "{} embedding rows and {} whole tensors that it alone could hand down are identical here, {} contradict.",
                votes.rows_inherited,
                votes.tensors_inherited,
                votes.rows_contradicting + votes.tensors_contradicting
            ));
        }
        words.push(self.likeness(other));
        if let Some(judgment) = self.judged() {
            words.push(describe(&judgment.kind, judgment, self.names));
        }
        words.retain(|word| !word.is_empty());
        words.join(" ")
    }

    fn likeness(&self, other: usize) -> String {
        let comparison = self.herd.compare(self.child, other);
        if comparison.similarity <= RELATED {
            let invariant = self.herd.invariant(self.child, other);
            return format!("What survives rewriting agrees to {invariant:.3} (unrelated models reach 0.16).");
        }
        if comparison.identical >= 1.0 {
            return "Every tensor is identical.".to_owned();
        }
        format!("The weights differ by {:.2} % (similarity {:.3}).", comparison.distance * 100.0, comparison.similarity)
    }

    /// Says so when the child was made another way than claimed.
    fn other_relation(&self) -> String {
        let found = self.judged().and_then(|judgment| judgment.kind.relation());
        match found {
            Some(found) if self.claim.relation != Relation::Unknown && found != self.claim.relation => {
                format!(" It is declared as {}, and looks like {}.", self.claim.relation, found.as_str())
            }
            _ => String::new(),
        }
    }
}

/// Standard deviation of the similarity of unrelated models, from the number of sampled coordinates.
pub(super) fn deviation(herd: &Herd, member: usize) -> f64 {
    let samples: usize = herd.print(member).layer_matrices().map(|(_, tensor)| tensor.sample.len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
    let samples = samples.max(1) as f64;
    1.2 / samples.sqrt()
}

/// What a model turned out to be, in a sentence.
fn describe(kind: &Kind, judgment: &Judgment, names: Names) -> String {
    match kind {
        Kind::Copy { how } => format!("It is a copy ({how})."),
        Kind::Finetune => "It was trained further.".to_owned(),
        Kind::MergedAdapter { .. } => "It was trained further with a low-rank adapter that was merged in.".to_owned(),
        Kind::Merge { method, coefficients, .. } => {
            let part = |(at, parent): (usize, &usize)| match coefficients.get(at) {
                Some(weight) => format!("`{}` × {weight:.2}", names(*parent)),
                None => format!("`{}`", names(*parent)),
            };
            let parts: Vec<String> = judgment.parents.iter().enumerate().map(part).collect();
            format!("It is a {method} merge of {}.", parts.join(" and "))
        }
        Kind::Quantized { grid } => format!("It is quantized ({grid})."),
        Kind::Pruned { what } => format!("It is pruned ({what})."),
        Kind::Extended { what } => format!("It is extended ({what})."),
        Kind::Base | Kind::CommonOrigin => String::new(),
    }
}
