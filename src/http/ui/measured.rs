//! What was measured between a model and its parent, in the words of the evidence page.

use serde::Deserialize;
use serde_json::Value;

use super::format;
use crate::lineage::weights::herd::RELATED_INVARIANT;

/// The figures of a verdict, as [`crate::lineage::link::Link`] carries them; what was not measured is absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Measured {
    pub(super) similarity: Option<Similarity>,
    invariant: Option<f64>,
    change: Option<f64>,
    equal: Option<f64>,
    rows: Option<Rows>,
    tensors: Option<Tensors>,
    pub(super) strip: Vec<Cell>,
    coverage: Option<f64>,
    merge: Option<Merge>,
    adapter_rank: Option<f64>,
    alternatives: Vec<Other>,
    votes: Option<Votes>,
    p_bound: Option<f64>,
    direction: Vec<String>,
    compared: Option<i64>,
    full: Option<Full>,
}

/// A similarity with its scale.
#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(default)]
pub(super) struct Similarity {
    value: f64,
    threshold: f64,
    null_mean: f64,
    null_deviation: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rows {
    compared: i64,
    identical: i64,
    inherited: i64,
    contradicting: i64,
    decay_factor: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tensors {
    identical: i64,
    cast_equal: i64,
    changed: i64,
    missing: i64,
    extra: i64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Votes {
    tensors_inherited: i64,
    tensors_contradicting: i64,
}

/// A matrix, or several of one role.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cell {
    pub(super) role: String,
    pub(super) layer: Option<u16>,
    pub(super) cosine: f64,
    pub(super) change: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Merge {
    method: String,
    parts: Vec<Part>,
    base: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Part {
    member: Option<String>,
    weight: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Other {
    member: Option<String>,
    similarity: f64,
    change: f64,
    why: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Full {
    error: Option<String>,
    cosine: f64,
    largest_cosine: f64,
    change: f64,
    values: i64,
    all_values: i64,
    covered: f64,
    rows: i64,
    identical_rows: i64,
}

/// A number with what unrelated models have.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) unrelated: String,
    pub(super) meaning: String,
}

/// Where on the scale from 0 to 1 a similarity stands, in percent of its width.
pub(super) struct Scale {
    pub(super) value: String,
    pub(super) here: f64,
    pub(super) threshold: String,
    pub(super) bound: f64,
    pub(super) unrelated: String,
    pub(super) spread: f64,
}

/// The parts of a merge.
pub(super) struct MergeView {
    pub(super) method: String,
    pub(super) parts: Vec<(String, String)>,
    pub(super) base: Option<String>,
}

/// Somebody who is not the parent.
pub(super) struct Alternative {
    pub(super) id: String,
    pub(super) similarity: String,
    pub(super) change: String,
    pub(super) why: String,
}

impl Measured {
    /// Reads what a verdict carries; older or newer verdicts may lack some of it.
    pub(super) fn read(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }

    pub(super) fn scale(&self) -> Option<Scale> {
        let similarity = self.similarity?;
        let place = |value: f64| value.clamp(0.0, 1.0) * 100.0;
        Some(Scale {
            value: format::cosine(similarity.value),
            here: place(similarity.value.abs()),
            threshold: plain(similarity.threshold),
            bound: place(similarity.threshold),
            unrelated: similarity.unrelated(),
            spread: place(3.0 * similarity.null_deviation).max(0.6),
        })
    }

    /// What was compared, in a sentence.
    pub(super) fn scope(&self) -> String {
        let Some(coverage) = self.coverage else { return String::new() };
        let among = match self.compared {
            Some(1) => " No other model here might be related.".to_owned(),
            Some(number) => format!(" {} that might be related were looked at.", format::plural(number, "model")),
            None => String::new(),
        };
        format!(
            "Samples of every tensor that both have were compared; these tensors hold {} of this model's parameters.{among}",
            format::percent(coverage.min(1.0))
        )
    }

    pub(super) fn figures(&self, is_related: bool) -> Vec<Figure> {
        let mut figures = Vec::new();
        let mut add = |name, value: String, unrelated: String, meaning: &str| {
            figures.push(Figure { name, value, unrelated, meaning: meaning.to_owned() });
        };
        if let Some(similarity) = self.similarity {
            let meaning = "Cosine between the sampled matrices of both: 1 is the same direction, 0 is chance.";
            add("Similarity", format::cosine(similarity.value), similarity.unrelated(), meaning);
        }
        if let Some(invariant) = self.invariant {
            let meaning = "Cosine of products of weights that stay the same when a model is permuted or rescaled.";
            add(
                "Similarity of what survives rewriting",
                format::cosine(invariant),
                format!("below {}", plain(RELATED_INVARIANT)),
                meaning,
            );
        }
        if let Some(change) = self.change {
            let meaning = "Length of the difference over the length of the parent's weights.";
            add("Change", format::percent(change), "100 % and more".to_owned(), meaning);
        }
        if let Some(equal) = self.equal {
            let meaning = "Share of sampled values that are exactly the parent's.";
            add("Equal values", format::percent(equal), "next to none".to_owned(), meaning);
        }
        if let Some(rows) = &self.rows {
            let meaning = "Whole rows of the embedding, each the vector of one token, that are exactly the parent's.";
            let share = format!("{} of {}", format::count(rows.identical), format::count(rows.compared));
            add("Identical rows", share, "none".to_owned(), meaning);
        }
        if let Some(bound) = self.p_bound {
            let meaning =
                "Bound of the probability that unrelated models look as alike as these, over all models searched.";
            add("Chance", chance(bound), "as likely as not".to_owned(), meaning);
        }
        if let Some(rank) = self.adapter_rank.filter(|_| is_related) {
            let meaning = "Rank of the difference, as the samples show it: a low-rank adapter was merged in.";
            add("Rank of the merged adapter", plain(rank), "full".to_owned(), meaning);
        }
        figures
    }

    /// Rows of the embedding, counted.
    pub(super) fn rows(&self, is_related: bool) -> Vec<(&'static str, String)> {
        let Some(rows) = &self.rows else { return Vec::new() };
        let mut counts =
            vec![("Looked at in both", format::count(rows.compared)), ("Identical", format::count(rows.identical))];
        if is_related && self.votes.is_some() {
            counts.push((
                "This parent's own, kept here: only it can have handed them down",
                format::count(rows.inherited),
            ));
            counts.push(("This parent's own, not found here: speak against it", format::count(rows.contradicting)));
        }
        counts.extend(
            rows.decay_factor.map(|factor| ("Factor by which weight decay shrank untrained rows", plain(factor))),
        );
        counts
    }

    /// Whole tensors, counted.
    pub(super) fn tensors(&self, is_related: bool) -> Vec<(&'static str, String)> {
        let Some(tensors) = &self.tensors else { return Vec::new() };
        let mut counts = vec![
            ("Equal to the last bit", format::count(tensors.identical)),
            ("Equal once rounded to fewer bits", format::count(tensors.cast_equal)),
            ("Changed", format::count(tensors.changed)),
            ("Only in the parent", format::count(tensors.missing)),
            ("Only in this model", format::count(tensors.extra)),
        ];
        if let Some(votes) = self.votes.as_ref().filter(|_| is_related) {
            counts.push(("This parent's own, kept here", format::count(votes.tensors_inherited)));
            counts.push(("This parent's own, not found here", format::count(votes.tensors_contradicting)));
        }
        counts
    }

    pub(super) fn merge(&self) -> Option<MergeView> {
        let merge = self.merge.as_ref()?;
        let weight = |weight: Option<f64>| weight.map_or_else(|| "–".to_owned(), |weight| format!("{weight:.2}"));
        let part = |part: &Part| Some((part.member.clone()?, weight(part.weight)));
        Some(MergeView {
            method: merge.method.clone(),
            parts: merge.parts.iter().filter_map(part).collect(),
            base: merge.base.clone(),
        })
    }

    pub(super) fn alternatives(&self) -> Vec<Alternative> {
        let alternative = |other: &Other| {
            Some(Alternative {
                id: other.member.clone()?,
                similarity: format::cosine(other.similarity),
                change: format::percent(other.change),
                why: other.why.clone(),
            })
        };
        self.alternatives.iter().filter_map(alternative).collect()
    }

    /// What tells which of both came first.
    pub(super) fn direction(&self) -> Vec<&'static str> {
        let words = |basis: &String| match basis.as_str() {
            "rows" => {
                Some("Exact values of the parent's own are found here unchanged: only it can have handed them down.")
            }
            "irreversible" => Some(
                "Something was done that cannot be undone, such as rounding to fewer bits, or leaving parts out or adding them: the one that still lacks it came first.",
            ),
            "time" => {
                Some("Nothing in the weights tells which of both came first; the earlier upload counts as the parent.")
            }
            _ => None,
        };
        self.direction.iter().filter_map(words).collect()
    }

    /// The comparison of all weights, where one was made; or why it failed.
    pub(super) fn full(&self) -> Option<Result<Vec<(&'static str, String)>, String>> {
        let full = self.full.as_ref()?;
        if let Some(error) = &full.error {
            return Some(Err(error.clone()));
        }
        let share = |part: i64, all: i64| format!("{} of {}", format::count(part), format::count(all));
        Some(Ok(vec![
            (
                "Values compared",
                format!("{} ({})", share(full.values, full.all_values), format::percent(full.covered.min(1.0))),
            ),
            ("Mean similarity of the matrices", format::cosine(full.cosine)),
            ("Largest similarity of one matrix", format::cosine(full.largest_cosine)),
            ("Change", format::percent(full.change)),
            ("Identical rows", share(full.identical_rows, full.rows)),
        ]))
    }
}

impl Similarity {
    fn unrelated(self) -> String {
        format!("{:.3} ± {:.3}", self.null_mean, self.null_deviation)
    }
}

fn plain(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A bound of a probability, in words.
fn chance(bound: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "at most a million")]
    let one_in = (1.0 / bound.max(1e-6)).round() as i64;
    match bound {
        bound if bound >= 0.5 => "as likely as not".to_owned(),
        bound if bound <= 1e-6 => "below 1 in a million".to_owned(),
        _ => format!("at most 1 in {}", format::count(one_in)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_never_better_than_they_are() {
        assert_eq!(chance(1e-6), "below 1 in a million");
        assert_eq!(chance(0.002), "at most 1 in 500");
        assert_eq!(chance(1.0), "as likely as not");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let measured = Measured::read(&json!({}));
        assert!(measured.figures(true).is_empty() && measured.scale().is_none() && measured.scope().is_empty());
        let merge = json!({ "merge": { "method": "linear", "base": null, "parts": [
            { "member": "a/b", "weight": 0.3 }, { "member": "a/c", "weight": null }] } });
        let merge = Measured::read(&merge).merge().unwrap();
        assert_eq!(merge.parts, [("a/b".to_owned(), "0.30".to_owned()), ("a/c".to_owned(), "–".to_owned())]);
        let failed = Measured::read(&json!({ "full": { "error": "too short" } }));
        assert_eq!(failed.full(), Some(Err("too short".to_owned())));
    }
}
