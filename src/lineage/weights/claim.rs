//! Declared parents meet evidence.
//!
//! What is said of an upload is confirmed only when rows, similarity and change agree, and contradicted only when the
//! weights show nothing in common. In between it is said what is known: the family, another parent, or that it cannot be
//! told and why.

use std::collections::HashSet;

use serde::Serialize;

use super::{
    herd::{Herd, RELATED, RELATED_INVARIANT, Tie},
    judgment::{Kind, Tree},
};
use crate::lineage::Relation;

/// What an uploader declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The declared parent, when it has a fingerprint; else why it has none.
    pub parent: Result<usize, String>,
    /// The declared relation.
    pub relation: Relation,
}

/// How a claim and the weights go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The declared parent is the parent.
    Confirmed,
    /// The family is right, the parent is another or cannot be told.
    ConfirmedFamily,
    /// The weights have nothing in common with the declared parent's.
    Contradicted,
    /// Nothing can be said, for a reason that is given.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Exact values show it, or full weights have to be compared before it is shown.
    Certain,
    /// Distances and directions show it.
    Probable,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// From 0 to 1.
    pub confidence: f64,
    /// The same in a word.
    pub level: Level,
    /// Whether it must not be shown before the full weights of both were compared.
    pub needs_full_comparison: bool,
    /// A parent that fits better, by number.
    pub nearer: Option<usize>,
    /// The verdict in words.
    pub sentence: String,
}

/// Judges a declared parent by what a [`Tree`] of the whole herd says. `name` gives members their names.
pub fn verdict(herd: &Herd, tree: &Tree, child: usize, claim: &Claim, name: &dyn Fn(usize) -> String) -> ClaimVerdict {
    let case = Case { herd, tree, child, name };
    match &claim.parent {
        Err(reason) => unverifiable(format!("Declared base: cannot be checked, {reason}.")),
        Ok(parent) if *parent == child => unverifiable("Declared base: a model is not its own base.".to_owned()),
        Ok(parent) => case.judge(*parent, claim.relation),
    }
}

struct Case<'a> {
    herd: &'a Herd<'a>,
    tree: &'a Tree,
    child: usize,
    name: &'a dyn Fn(usize) -> String,
}

impl Case<'_> {
    fn judge(&self, parent: usize, relation: Relation) -> ClaimVerdict {
        let tie = self.herd.tie(self.child, parent).or_else(|| self.herd.tie(parent, self.child));
        let found = self.tree.parents(self.child);
        if found.iter().any(|one| self.is_same(*one, parent)) || self.is_same(self.child, parent) {
            return self.confirmed(parent, tie);
        }
        if self.is_symmetric(parent) {
            return self.confirmed(parent, tie);
        }
        // A parent's whole line is known: whoever stands in it belongs to the family, whatever a single pair looks like.
        let is_of_line = found.iter().any(|one| self.is_ancestor(parent, *one));
        match tie {
            Some(Tie::Direct | Tie::Invariant) => self.family(parent, is_of_line),
            _ if is_of_line => self.family(parent, true),
            Some(Tie::SharedStart) => unverifiable(format!(
                "Declared base {}: both began from the same random numbers (similarity {:.2}), or one was retrained very \
                 heavily; that is no evidence of copying.",
                (self.name)(parent),
                self.similarity(parent)
            )),
            None => self.unrelated(parent, relation),
        }
    }

    /// Whether both compute the same: they are copies of one model.
    fn is_same(&self, a: usize, b: usize) -> bool {
        a == b || self.origin(a) == self.origin(b)
    }

    /// The model that a member copies, rewritten or not.
    fn origin(&self, member: usize) -> usize {
        let mut at = member;
        for _ in 0..64 {
            match self.tree.judged.get(&at) {
                Some(judgment) if matches!(judgment.kind, Kind::Copy { .. }) => at = judgment.parents[0],
                _ => return at,
            }
        }
        at
    }

    fn is_ancestor(&self, ancestor: usize, of: usize) -> bool {
        self.tree.judged.keys().any(|member| self.is_same(*member, ancestor) && self.tree.descends(of, *member))
    }

    /// Whether only the time of the upload made the declared parent this one's child: in a family of two the weights do
    /// not tell which came first, and a declaration does.
    fn is_symmetric(&self, parent: usize) -> bool {
        let is_child = matches!(self.tree.parents(parent), [one] if *one == self.child);
        let kind = self.tree.judged.get(&parent).map(|judgment| &judgment.kind);
        let root = self.tree.root(self.child);
        let family = self.tree.roots.iter().filter(|(_, of)| **of == root).map(|(member, _)| self.origin(*member));
        let members: HashSet<usize> = family.collect();
        is_child && matches!(kind, Some(Kind::Finetune | Kind::MergedAdapter { .. })) && members.len() == 2
    }

    fn similarity(&self, other: usize) -> f64 {
        self.herd.compare(self.child, other).similarity
    }

    fn confirmed(&self, parent: usize, tie: Option<Tie>) -> ClaimVerdict {
        let judgment = self.tree.judged.get(&self.child);
        let is_certain = judgment.is_some_and(super::judgment::Judgment::is_certain);
        let comparison = self.herd.compare(self.child, parent);
        // Planted rows are not enough: the rest of the weights must be alike too.
        if !matches!(tie, Some(Tie::Direct | Tie::Invariant)) && !self.is_same(self.child, parent) {
            return unverifiable(format!(
                "Declared base {}: some values agree, the rest of the weights does not (similarity {:.3}).",
                (self.name)(parent),
                comparison.similarity
            ));
        }
        let is_symmetric = self.is_symmetric(parent);
        let is_certain = is_certain && !is_symmetric;
        let kind = match judgment.map(|judgment| &judgment.kind) {
            Some(kind) if !is_symmetric => relation_words(kind),
            _ => "fine-tune, as declared; the weights alone do not tell which of both came first".to_owned(),
        };
        let exact = match self.herd.equal_rows(self.child, parent) {
            0 => String::new(),
            rows => format!(" {rows} of the embedding rows looked at are its own, unchanged."),
        };
        let change = if comparison.similarity > RELATED {
            match comparison.distance * 100.0 {
                0.0 => " Every value that was compared is equal.".to_owned(),
                small if small < 0.05 => " Weights differ from it by less than 0.05 %.".to_owned(),
                percent => format!(" Weights differ from it by {percent:.1} %."),
            }
        } else {
            format!(
                " Products of weights that survive rewriting agree ({:.2}).",
                self.herd.invariant(self.child, parent)
            )
        };
        let sentence = format!("Declared base {} is confirmed.{exact}{change} Relation: {kind}.", (self.name)(parent));
        ClaimVerdict {
            verdict: Verdict::Confirmed,
            confidence: if is_certain { 0.99 } else { 0.9 },
            level: if is_certain { Level::Certain } else { Level::Probable },
            needs_full_comparison: false,
            nearer: None,
            sentence,
        }
    }

    fn family(&self, parent: usize, is_of_line: bool) -> ClaimVerdict {
        let name = (self.name)(parent);
        let nearer = self.tree.parents(self.child).first().copied();
        let is_backwards = self.is_ancestor(self.child, parent);
        let is_certain = self.tree.judged.get(&self.child).is_some_and(super::judgment::Judgment::is_certain);
        let sentence = match nearer {
            Some(nearer) if is_of_line && is_certain => format!(
                "Descends from {name}, but through {0}, not from it directly. The license of {0} applies too.",
                (self.name)(nearer)
            ),
            Some(nearer) if is_of_line => format!(
                "Descends from {name}; by distance alone {} stands between them, which is no proof.",
                (self.name)(nearer)
            ),
            _ if is_backwards => format!("Of one family with {name}, which looks like its descendant, not its base."),
            Some(nearer) => {
                format!(
                    "Of one family with {name}, but nearer to {}, which fits better as parent.",
                    (self.name)(nearer)
                )
            }
            None => format!(
                "Of one family with {name} (similarity {:.2}); which parent it has cannot be told from the models here.",
                self.similarity(parent)
            ),
        };
        ClaimVerdict {
            verdict: Verdict::ConfirmedFamily,
            confidence: if is_of_line && is_certain { 0.95 } else { 0.8 },
            level: if is_of_line && is_certain { Level::Certain } else { Level::Probable },
            needs_full_comparison: false,
            nearer,
            sentence,
        }
    }

    fn unrelated(&self, parent: usize, relation: Relation) -> ClaimVerdict {
        let (herd, name) = (self.herd, (self.name)(parent));
        let (own, other) = (herd.print(self.child), herd.print(parent));
        if relation == Relation::Distill {
            return unverifiable(format!("Declared base {name}: distillation leaves no trace in the weights."));
        }
        if own.shape.hidden != other.shape.hidden || own.shape.hidden == 0 {
            return unverifiable(format!(
                "Declared base {name}: another architecture (width {} here, {} there), which cannot be compared.",
                own.shape.hidden, other.shape.hidden
            ));
        }
        let comparison = herd.compare(self.child, parent);
        let rows = herd.equal_rows(self.child, parent);
        if comparison.cosines.is_empty() {
            return unverifiable(format!("Declared base {name}: no tensors that could be compared."));
        }
        // Exact values in common are a trace, even when someone planted them: that is for people to look at.
        if rows >= PLANTED || comparison.equal_tensors > 0 && comparison.similarity > RELATED / 2.0 {
            return unverifiable(format!(
                "Declared base {name}: {rows} embedding rows are equal, the rest of the weights is unrelated (similarity \
                 {:.3}).",
                comparison.similarity
            ));
        }
        let judgment = self.tree.judged.get(&self.child);
        let is_no_child = |other: &&usize| !self.tree.descends(**other, self.child);
        let nearer = judgment.and_then(|judgment| {
            judgment.parents.first().or_else(|| judgment.related.iter().find(is_no_child)).copied()
        });
        let invariant = unsigned_zero(herd.invariant(self.child, parent));
        let measured = format!(
            "no relation found (similarity {:.3}, unrelated models score 0.000 ± {:.3}; of what survives rewriting \
             {invariant:.2}, related models score above {RELATED_INVARIANT})",
            unsigned_zero(comparison.similarity),
            null_deviation(comparison.coordinates)
        );
        let sentence = match nearer {
            Some(nearer) => format!(
                "Declared base {name}: {measured}. The weights match {} instead ({:.3}).",
                (self.name)(nearer),
                self.similarity(nearer)
            ),
            None => format!(
                "Declared base {name}: no trace of it, {measured}. Distillation and very heavy retraining leave none."
            ),
        };
        ClaimVerdict {
            verdict: Verdict::Contradicted,
            confidence: if nearer.is_some() { 0.99 } else { 0.9 },
            level: if nearer.is_some() { Level::Certain } else { Level::Probable },
            needs_full_comparison: true,
            nearer,
            sentence,
        }
    }
}

/// Equal rows that are no accident: independent models had none in 276 × 1024.
const PLANTED: u32 = 4;

/// What would be printed as a negative zero is none.
fn unsigned_zero(value: f64) -> f64 {
    if value.abs() < 0.005 { value.abs() } else { value }
}

/// Standard deviation of the similarity of unrelated models.
pub(super) fn null_deviation(coordinates: f64) -> f64 {
    1.2 / coordinates.max(1.0).sqrt()
}

fn unverifiable(sentence: String) -> ClaimVerdict {
    ClaimVerdict {
        verdict: Verdict::Unverifiable,
        confidence: 0.0,
        level: Level::Probable,
        needs_full_comparison: false,
        nearer: None,
        sentence,
    }
}

fn relation_words(kind: &Kind) -> String {
    match kind {
        Kind::Base => "the same model".to_owned(),
        Kind::CommonOrigin => "of common origin".to_owned(),
        Kind::Copy { how } => format!("{how} copy"),
        Kind::Finetune => "fine-tune".to_owned(),
        Kind::MergedAdapter { .. } => "fine-tune by a merged low-rank adapter".to_owned(),
        Kind::Merge { method, .. } => format!("{method} merge"),
        Kind::Quantized { grid } => format!("quantized to a {grid} grid"),
        Kind::Pruned { what } => format!("pruned ({what})"),
        Kind::Extended { what } => format!("extended ({what})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::weights::{
        Fingerprint,
        evidence::{self, Basis},
        family::{Seen, judge_all},
        synthetic::Weights,
    };

    /// Members by number: a base, a fine-tune, its fine-tune, two more children of the base, a stranger, and the stranger with a
    /// hundred embedding rows of the base.
    fn prints() -> Vec<Fingerprint> {
        let (base, stranger) = (Weights::base(1), Weights::base(9));
        let tuned = base.tuned(2, 8);
        let planted = stranger.with_rows_of(&base, 100);
        let models =
            [base.clone(), tuned.clone(), tuned.tuned(3, 8), base.tuned(4, 8), base.tuned(5, 8), stranger, planted];
        models.iter().map(Weights::print).collect()
    }

    fn judged(child: usize, parent: Result<usize, String>, relation: Relation) -> ClaimVerdict {
        let prints = prints();
        let herd = Herd::new(prints.iter().collect());
        let seen: Vec<Seen> = (0..7).map(|rank| Seen { rank, attested: false }).collect();
        let tree = judge_all(&herd, &seen);
        verdict(&herd, &tree, child, &Claim { parent, relation }, &|member| format!("m{member}"))
    }

    #[test]
    fn a_true_claim_is_confirmed_with_numbers() {
        let found = judged(1, Ok(0), Relation::Finetune);
        assert_eq!((found.verdict, found.level), (Verdict::Confirmed, Level::Certain));
        assert!(found.sentence.contains("m0 is confirmed") && found.sentence.contains("embedding rows"), "{found:?}");
        assert!(!found.needs_full_comparison);
    }

    #[test]
    fn a_grandparent_is_of_the_family_and_the_parent_is_named() {
        let found = judged(2, Ok(0), Relation::Finetune);
        assert_eq!((found.verdict, found.nearer), (Verdict::ConfirmedFamily, Some(1)), "{found:?}");
    }

    #[test]
    fn an_unrelated_base_is_contradicted_after_a_full_comparison() {
        let found = judged(1, Ok(5), Relation::Finetune);
        assert_eq!((found.verdict, found.nearer), (Verdict::Contradicted, Some(0)), "{found:?}");
        assert!(found.needs_full_comparison);
    }

    #[test]
    fn planted_rows_neither_confirm_nor_accuse() {
        let found = judged(6, Ok(0), Relation::Finetune);
        assert_eq!(found.verdict, Verdict::Unverifiable, "{found:?}");
    }

    #[test]
    fn what_cannot_be_told_says_why() {
        let found = judged(1, Err("it is not in this registry".to_owned()), Relation::Finetune);
        assert_eq!(found.verdict, Verdict::Unverifiable);
        assert!(found.sentence.contains("not in this registry"));
        assert_eq!(judged(5, Ok(0), Relation::Distill).verdict, Verdict::Unverifiable);
    }

    #[test]
    fn evidence_counts_what_was_handed_down() {
        let prints = prints();
        let herd = Herd::new(prints.iter().collect());
        let tree = judge_all(&herd, &[Seen::default(); 7]);
        let found = evidence::evidence(&herd, &tree, 2, 1);
        let rows = found.rows.unwrap();
        assert!(rows.inherited >= 4 && rows.contradicting == 0, "{rows:?}");
        assert_eq!(found.direction, [Basis::Rows]);
        assert!(found.alternatives.iter().any(|other| other.why.contains("ancestor of the parent")), "{found:?}");
        assert!((found.coverage - 1.0).abs() < 1e-9);
        assert!(found.p_bound >= 1e-6 && found.similarity.value > 0.9);
    }
}
