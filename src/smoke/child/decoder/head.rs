//! From states to words: the head is read in blocks of words, and of each block only what counts is kept.
//!
//! A vocabulary of a quarter million words times 256 tokens would take as much memory as a layer of a large model; what
//! is asked of it (likelihoods, entropy, the best few) can be summed up on the way.

use candle_core::{Result, Tensor};

use super::{math, weights::Weights};
use crate::smoke::child::plan::Head;

/// Most words of a position that are kept.
pub(in crate::smoke::child) const BEST: usize = 64;
/// Logits that are held at a time when all are wanted.
const HELD: usize = 16 << 20;

/// What is asked of each position.
#[derive(Debug, Default)]
pub(in crate::smoke::child) struct Wanted<'a> {
    /// A word for each position whose likelihood is asked for.
    pub(in crate::smoke::child) next: &'a [u32],
    /// Words for each position whose likelihoods are asked for: those that another model found best.
    pub(in crate::smoke::child) others: &'a [Vec<u32>],
}

/// What the head says at a position.
#[derive(Debug, Clone, Default)]
pub(in crate::smoke::child) struct Position {
    /// The best words and the logarithms of their probabilities, the best first.
    pub(in crate::smoke::child) best: Vec<(u32, f32)>,
    /// Minus the logarithm of the wanted word's probability.
    pub(in crate::smoke::child) surprise: Option<f64>,
    /// Logarithms of the wanted words' probabilities, in the order in which they were asked for.
    pub(in crate::smoke::child) others: Vec<f32>,
    /// Entropy in nats.
    pub(in crate::smoke::child) entropy: f64,
    /// Standard deviation of the logits.
    pub(in crate::smoke::child) deviation: f64,
    pub(in crate::smoke::child) finite: bool,
}

/// Reads the head for these states.
pub(super) fn read(weights: &Weights<'_>, head: &Head, states: &Tensor, wanted: &Wanted<'_>) -> Result<Vec<Position>> {
    let mut sums: Vec<Sum> = (0..states.dim(0)?)
        .map(|position| Sum::new(wanted.next.get(position).copied(), wanted.others.get(position).map(Vec::as_slice)))
        .collect();
    blocks(weights, head, states, |first, logits| {
        sums.iter_mut().zip(&logits).for_each(|(sum, logits)| sum.add(first, logits));
        Ok(())
    })?;
    Ok(sums.into_iter().map(Sum::finish).collect())
}

/// Gives all logits, one row of words for each token; the head is read again for each part that fits in memory.
pub(super) fn logits(
    weights: &Weights<'_>,
    head: &Head,
    states: &Tensor,
    take: &mut impl FnMut(Vec<f32>),
) -> Result<()> {
    let tokens = states.dim(0)?;
    let step = (HELD / head.matrix.rows.max(1)).max(1);
    for first in (0..tokens).step_by(step) {
        let count = step.min(tokens - first);
        let mut part = vec![Vec::with_capacity(head.matrix.rows); count];
        blocks(weights, head, &states.narrow(0, first, count)?, |_, logits| {
            part.iter_mut().zip(logits).for_each(|(row, logits)| row.extend(logits));
            Ok(())
        })?;
        part.into_iter().for_each(&mut *take);
    }
    Ok(())
}

/// Gives the logits of each block of words, `[tokens][words]`, and the number of its first word.
fn blocks(
    weights: &Weights<'_>,
    head: &Head,
    states: &Tensor,
    mut take: impl FnMut(usize, Vec<Vec<f32>>) -> Result<()>,
) -> Result<()> {
    let bias = head.matrix.bias.as_ref().map(|bias| weights.vector(bias)).transpose()?;
    weights.row_blocks(&head.matrix, states, |first, part| {
        let part = match &bias {
            Some(bias) => part.broadcast_add(&bias.narrow(0, first, part.dim(1)?)?)?,
            None => part,
        };
        let scaled = if head.scale == 1.0 { part } else { (part * head.scale)? };
        take(first, math::soft_cap(&scaled, head.cap)?.to_vec2()?)
    })
}

/// A running sum over the words of a position.
struct Sum<'a> {
    next: Option<u32>,
    others: &'a [u32],
    next_logit: Option<f32>,
    other_logits: Vec<f32>,
    best: Vec<(u32, f32)>,
    threshold: f32,
    largest: f64,
    /// Of `e^(logit - largest)`, and of that times the difference.
    exponentials: f64,
    weighted: f64,
    count: f64,
    total: f64,
    squares: f64,
    finite: bool,
}

impl<'a> Sum<'a> {
    fn new(next: Option<u32>, others: Option<&'a [u32]>) -> Self {
        let others = others.unwrap_or_default();
        Self {
            next,
            others,
            next_logit: None,
            other_logits: vec![f32::NEG_INFINITY; others.len()],
            best: Vec::new(),
            threshold: f32::NEG_INFINITY,
            largest: f64::NEG_INFINITY,
            exponentials: 0.0,
            weighted: 0.0,
            count: 0.0,
            total: 0.0,
            squares: 0.0,
            finite: true,
        }
    }

    fn add(&mut self, first: usize, logits: &[f32]) {
        let at = |word: u32| usize::try_from(word).ok()?.checked_sub(first).and_then(|index| logits.get(index));
        if let Some(logit) = self.next.and_then(at) {
            self.next_logit = Some(*logit);
        }
        for (word, place) in self.others.iter().zip(&mut self.other_logits) {
            if let Some(logit) = at(*word) {
                *place = *logit;
            }
        }
        self.finite &= logits.iter().all(|logit| logit.is_finite());
        if !self.finite {
            return;
        }
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        if largest > self.largest {
            let shift = self.largest - largest;
            let shrink = shift.exp();
            if self.exponentials > 0.0 {
                self.weighted = shrink * (self.weighted + self.exponentials * shift);
            }
            self.exponentials *= shrink;
            self.largest = largest;
        }
        for (index, logit) in logits.iter().enumerate() {
            let wide = f64::from(*logit);
            let difference = wide - self.largest;
            let exponential = difference.exp();
            self.exponentials += exponential;
            self.weighted += exponential * difference;
            self.count += 1.0;
            self.total += wide;
            self.squares += wide * wide;
            if *logit > self.threshold || self.best.len() < BEST {
                self.keep(first + index, *logit);
            }
        }
    }

    fn keep(&mut self, word: usize, logit: f32) {
        self.best.push((u32::try_from(word).unwrap_or(u32::MAX), logit));
        if self.best.len() >= 4 * BEST {
            self.prune();
        }
    }

    fn prune(&mut self) {
        self.best.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        self.best.truncate(BEST);
        if self.best.len() == BEST {
            self.threshold = self.best.last().map_or(f32::NEG_INFINITY, |(_, logit)| *logit);
        }
    }

    fn finish(mut self) -> Position {
        self.prune();
        let normalizer = self.largest + self.exponentials.ln();
        #[expect(clippy::cast_possible_truncation, reason = "single precision is what is kept")]
        let probability = |logit: f32| (f64::from(logit) - normalizer) as f32;
        let mean = self.total / self.count.max(1.0);
        Position {
            best: self.best.iter().map(|(word, logit)| (*word, probability(*logit))).collect(),
            surprise: self.next_logit.map(|logit| normalizer - f64::from(logit)),
            others: self.other_logits.iter().map(|logit| probability(*logit)).collect(),
            entropy: self.exponentials.ln() - self.weighted / self.exponentials.max(f64::MIN_POSITIVE),
            deviation: (self.squares / self.count.max(1.0) - mean * mean).max(0.0).sqrt(),
            finite: self.finite && self.count > 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summed(blocks: &[&[f32]], next: u32) -> Position {
        let others = [2, 0];
        let mut sum = Sum::new(Some(next), Some(&others));
        let mut first = 0;
        for block in blocks {
            sum.add(first, block);
            first += block.len();
        }
        sum.finish()
    }

    #[test]
    fn a_sum_over_blocks_is_that_over_the_whole() {
        let whole = summed(&[&[0.5, 3.0, -2.0, 7.0, 1.0, 1.0]], 4);
        let blocks = summed(&[&[0.5, 3.0], &[-2.0, 7.0, 1.0], &[1.0]], 4);
        assert_eq!(whole.best, blocks.best);
        assert_eq!(whole.others, blocks.others);
        for (a, b) in [(whole.entropy, blocks.entropy), (whole.deviation, blocks.deviation)] {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
        assert_eq!(whole.best[0].0, 3);
        let sum: f32 = whole.best.iter().map(|(_, p)| p.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-5);
    }

    #[test]
    fn equal_logits_have_all_the_entropy_and_one_peak_has_none() {
        let equal = summed(&[&[0.5; 60], &[0.5; 40]], 3);
        assert!((equal.entropy - 100_f64.ln()).abs() < 1e-9);
        assert!((equal.surprise.unwrap() - 100_f64.ln()).abs() < 1e-9);
        let peak = summed(&[&[0.0, 0.0, 100.0, 0.0]], 2);
        assert!(peak.entropy < 1e-9 && peak.surprise.unwrap() < 1e-9 && peak.finite);
    }

    #[test]
    fn a_word_that_is_not_there_has_no_likelihood_and_nan_is_noticed() {
        assert_eq!(summed(&[&[0.0, 1.0]], 2).surprise, None);
        assert!(!summed(&[&[0.0, f32::NAN]], 0).finite);
    }
}
