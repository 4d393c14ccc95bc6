//! How far a model is from its base: in its weights, and in what it finds likely.

use super::{
    Run,
    decoder::Position,
    headers::Subject,
    judge::{Measured, PERPLEXED},
    probe_text::{TEXT_ID, Tokens},
    stored::Stored,
    tensors::Tensors,
};
use crate::{
    formats::TensorEntry,
    smoke::{Kept, Record, Relation, Status},
};

/// Divergence below which nothing was changed.
const NOTHING: f64 = 1e-6;
/// Divergence above which a config computes something else with the same weights.
const OTHER_CONFIG: f64 = 1e-3;
/// Largest models whose weights are compared one by one here; lineage compares all.
const MAX_BYTES: u64 = 8 << 30;
/// Most tensors that are named.
const MAX_LISTED: usize = 200;
/// Relative distance that rounding to half precision explains.
const ROUNDED: f64 = 4e-3;
/// Relative distance up to which weights have moved as training moves them; damage of whole matrices is farther.
const NEAR: f64 = 0.25;
/// Numbers that are compared at a time.
const BLOCK: usize = 1 << 18;

/// In how many bits a model is stored, as far as it decides how near it must be to its base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Whole,
    Bits8,
    Bits5To6,
    Bits4,
    Bits2To3,
}

impl Encoding {
    /// The encoding of most of a model's numbers.
    pub(super) fn of(subject: &Subject) -> Self {
        let mut counts = std::collections::BTreeMap::new();
        for entry in subject.tensors.iter().filter(|entry| entry.shape.len() > 1) {
            *counts.entry(entry.dtype).or_insert(0_u64) += entry.elements();
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count).map_or("", |(dtype, _)| dtype);
        match most {
            "Q8_0" | "Q8_1" | "Q8_K" => Self::Bits8,
            "Q5_0" | "Q5_1" | "Q5_K" | "Q6_K" => Self::Bits5To6,
            "Q4_0" | "Q4_1" | "Q4_K" => Self::Bits4,
            "Q2_K" | "Q3_K" => Self::Bits2To3,
            _ => Self::Whole,
        }
    }

    /// Divergences up to which a quantized model passes, and up to which it is worth a look.
    fn limits(self) -> (f64, f64) {
        match self {
            Self::Whole | Self::Bits8 => (5e-3, 0.05),
            Self::Bits5To6 => (0.05, 0.2),
            Self::Bits4 => (0.15, 0.5),
            Self::Bits2To3 => (0.6, 1.5),
        }
    }
}

/// Makes what is kept of a run.
pub(super) fn keep(tokens: &Tokens, positions: &[Position], words: usize, surprise: f64) -> Record {
    let predicted = positions.iter().take(tokens.ids.len().saturating_sub(1));
    let positions = predicted.map(|position| Kept::new(&position.best)).collect();
    Record { text_id: TEXT_ID.to_owned(), tokens: tokens.ids.clone(), vocabulary: words as u64, positions, surprise }
}

/// Whether a model that reads these tokens can be compared with a record word by word.
pub(super) fn is_comparable(record: &Record, ids: &[u32], words: usize) -> bool {
    record.text_id == TEXT_ID && record.tokens == ids && record.vocabulary <= words as u64
}

/// The words whose likelihoods are compared, for each position.
pub(super) fn words(record: &Record) -> Vec<Vec<u32>> {
    record.positions.iter().map(|kept| kept.best().into_iter().map(|(word, _)| word).collect()).collect()
}

/// Compares with the base's record and judges by the relation.
pub(super) fn compare(
    run: &mut Run,
    record: &Record,
    comparable: bool,
    positions: &[Position],
    measured: Measured,
    (relation, encoding, distance): (Option<Relation>, Encoding, Option<f64>),
) {
    let relation =
        relation.unwrap_or(if encoding == Encoding::Whole { Relation::Finetune } else { Relation::Quantized });
    run.metric("relation", relation.as_str());
    if !comparable {
        let detail = "the base reads the text as other tokens, or knows other words: likelihoods cannot be compared";
        return run.check("drift.kl", Status::Skipped, detail);
    }
    let (divergence, agreement) = divergence(record, positions);
    run.metric("kl_base", divergence);
    run.metric("top1_base", agreement);
    run.metric("ppl_base", record.surprise.exp());
    let limits = match relation {
        Relation::Copy => Some((1e-3, 1e-2)),
        Relation::Quantized => Some(encoding.limits()),
        _ => None,
    };
    let detail = format!("it diverges from its base by {divergence:.2e} nats a token, as {}", relation.as_str());
    match limits {
        Some((pass, warn)) => run.check("drift.kl", graded(divergence, pass, warn), detail),
        None if divergence < NOTHING && matches!(relation, Relation::Finetune | Relation::Adapter) => {
            run.check("drift.kl", Status::Warned, format!("{detail}: nothing was changed"));
        }
        None => run.check("drift.kl", Status::Passed, detail),
    }
    let ratio = (measured.surprise - record.surprise).exp();
    run.metric("ppl_ratio", ratio);
    let (status, comment) = perplexed(relation, ratio, measured, distance);
    run.check("ppl.vs_base", status, format!("the text is {ratio:.3} times as perplexing as to its base{comment}"));
    if run.same_weights && divergence > OTHER_CONFIG {
        let detail = "the weights are the base's, byte for byte, and it computes something else: the config differs";
        run.check("drift.config", Status::Warned, detail);
    }
}

/// Judges how much more a text perplexes a model than its base.
///
/// What was trained on other texts may find this one far less likely; so may what is damaged. The weights tell them
/// apart: training moves each a little, damage puts others in their place.
fn perplexed(relation: Relation, ratio: f64, measured: Measured, distance: Option<f64>) -> (Status, &'static str) {
    let (pass, warn) = match relation {
        Relation::Copy => (1.002, 1.02),
        Relation::Quantized => (1.05, 1.5),
        Relation::Finetune => (1.5, 5.0),
        // It leaves the base's weights as they are.
        Relation::Adapter => (5.0, f64::INFINITY),
        Relation::Merge => (2.0, 10.0),
        Relation::Other => return (Status::Passed, ": only reported"),
    };
    let status = graded(ratio, pass, warn);
    let was_trained = matches!(relation, Relation::Finetune | Relation::Merge) && measured.surprise.exp() < PERPLEXED;
    match (status, distance) {
        (Status::Warned | Status::Failed, Some(distance)) if was_trained && distance <= NEAR => {
            (Status::Passed, ": its weights are near, it was trained on something else")
        }
        (Status::Failed, None) if was_trained => (Status::Warned, ": trained on something else, or damaged"),
        (status, _) => (status, ""),
    }
}

fn graded(value: f64, pass: f64, warn: f64) -> Status {
    match value {
        value if value <= pass => Status::Passed,
        value if value <= warn => Status::Warned,
        _ => Status::Failed,
    }
}

/// The mean divergence of the model from its base, and how often their best words agree.
///
/// Over the base's best words and all others as one: a lower bound of the whole, and near it.
fn divergence(record: &Record, positions: &[Position]) -> (f64, f64) {
    let (mut sum, mut agree, mut count) = (0.0, 0.0, 0.0);
    for (kept, position) in record.positions.iter().zip(positions) {
        let best = kept.best();
        let (mut mass, mut other_mass, mut divergence) = (0.0, 0.0, 0.0);
        for ((_, base), model) in best.iter().zip(&position.others) {
            let (base, model) = (f64::from(*base), f64::from(*model));
            mass += base.exp();
            other_mass += model.exp();
            divergence += base.exp() * (base - model);
        }
        let (rest, other_rest) = ((1.0 - mass).max(1e-12), (1.0 - other_mass).max(1e-12));
        if rest > 1e-9 {
            divergence += rest * (rest / other_rest).ln();
        }
        sum += divergence.max(0.0);
        let first = |best: &[(u32, f32)]| best.first().map(|(word, _)| *word);
        agree += f64::from(u8::from(first(&best) == first(&position.best)));
        count += 1.0;
    }
    if count > 0.0 { (sum / count, agree / count) } else { (0.0, 0.0) }
}

/// Compares the weights with the base's, tensor by tensor: what the relation must be, if that tells it, and their
/// relative distance.
pub(super) fn weights(run: &mut Run, subject: &Subject, base: &Subject) -> (Option<Relation>, Option<f64>) {
    if subject.is_adapter || !subject.overlay.changes.is_empty() {
        return (None, None);
    }
    if Encoding::of(subject) != Encoding::Whole {
        return (Some(Relation::Quantized), None);
    }
    if subject.tensors.bytes().saturating_add(base.tensors.bytes()) > MAX_BYTES {
        run.check("drift.weights", Status::Skipped, "the models are too large to compare their weights here");
        return (None, None);
    }
    let mut total = Distance::default();
    let mut changed = Vec::new();
    let (mut pairs, mut identical, mut reshaped) = (0_u64, 0_u64, 0_u64);
    let mut same_types = true;
    for entry in subject.tensors.iter() {
        let Some(other) = base.tensors.get(&entry.name) else { continue };
        if other.shape != entry.shape {
            reshaped += 1;
            continue;
        }
        let Ok(distance) = distance((&subject.tensors, entry), (&base.tensors, other)) else { continue };
        pairs += 1;
        same_types &= entry.dtype == other.dtype;
        if distance.squares == 0.0 {
            identical += 1;
        } else if changed.len() < MAX_LISTED {
            changed.push(serde_json::json!({"name": entry.name, "distance": round(distance.relative()), "cosine": round(distance.cosine())}));
        }
        total.add(&distance);
    }
    let unmatched = subject.tensors.len() as u64 - pairs;
    run.metric("drift_changed", changed);
    run.metric("drift_l2", round(total.relative()));
    if pairs == 0 || reshaped > 0 {
        let detail = format!("{reshaped} tensors have another shape than the base's: differences are only reported");
        run.check("drift.weights", Status::Passed, detail);
        return (Some(Relation::Other), None);
    }
    let relative = total.relative();
    let detail = format!("{identical} of {pairs} tensors are the base's; relative distance {relative:.2e}");
    run.check("drift.weights", Status::Passed, detail);
    run.same_weights = identical == pairs && unmatched == 0;
    let copied = run.same_weights || (!same_types && relative <= ROUNDED);
    (copied.then_some(Relation::Copy), Some(relative))
}

fn round(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// Sums over pairs of numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Distance {
    squares: f64,
    own: f64,
    base: f64,
    product: f64,
}

impl Distance {
    fn add(&mut self, other: &Self) {
        self.squares += other.squares;
        self.own += other.own;
        self.base += other.base;
        self.product += other.product;
    }

    fn relative(&self) -> f64 {
        if self.base > 0.0 { (self.squares / self.base).sqrt() } else { f64::from(u8::from(self.squares > 0.0)) }
    }

    fn cosine(&self) -> f64 {
        let lengths = (self.own * self.base).sqrt();
        if lengths > 0.0 { self.product / lengths } else { 0.0 }
    }
}

fn distance(own: (&Tensors, &TensorEntry), base: (&Tensors, &TensorEntry)) -> Result<Distance, String> {
    let elements = usize::try_from(own.1.elements()).map_err(|error| error.to_string())?;
    let mut sums = Distance::default();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for start in (0..elements).step_by(BLOCK) {
        let count = BLOCK.min(elements - start);
        numbers(own, start, count, &mut a)?;
        numbers(base, start, count, &mut b)?;
        for (a, b) in a.iter().zip(&b) {
            let (a, b) = (f64::from(*a), f64::from(*b));
            sums.squares += (a - b) * (a - b);
            sums.own += a * a;
            sums.base += b * b;
            sums.product += a * b;
        }
    }
    Ok(sums)
}

fn numbers(
    (tensors, entry): (&Tensors, &TensorEntry),
    start: usize,
    count: usize,
    values: &mut Vec<f32>,
) -> Result<(), String> {
    let stored = Stored::named(entry.dtype).filter(|stored| stored.is_plain()).ok_or("no plain numbers")?;
    let mut bytes = Vec::new();
    // Plain numbers: a row of one.
    tensors.read_rows(entry, stored, start, count, 1, &mut bytes).map_err(|error| error.to_string())?;
    values.clear();
    stored.decode(&bytes, values);
    Ok(())
}
