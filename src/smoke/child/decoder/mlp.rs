//! The feed-forward part, dense or a mixture of experts.

use candle_core::{D, IndexOp, Result, Tensor};

use super::{math, weights::Weights};
use crate::smoke::child::plan::{Experts, Form, Mlp, Router, Scoring};

pub(super) fn forward(weights: &Weights<'_>, mlp: &Mlp, x: &Tensor) -> Result<Tensor> {
    match mlp {
        Mlp::Gated { gate, up, down, activation } => {
            let gate = math::activate(*activation, &weights.linear(gate, x)?)?;
            weights.linear(down, &(gate * weights.linear(up, x)?)?)
        }
        Mlp::FusedGated { both, down, form, activation } => {
            let both = weights.linear(both, x)?;
            let opened = match form {
                Form::Halves => {
                    let width = both.dim(D::Minus1)? / 2;
                    let gate = math::activate(*activation, &both.narrow(1, 0, width)?.contiguous()?)?;
                    (gate * both.narrow(1, width, width)?)?
                }
                Form::Alternating { limit, alpha } => alternating(&both, *limit, *alpha)?,
            };
            weights.linear(down, &opened)
        }
        Mlp::Plain { up, down, activation } => {
            weights.linear(down, &math::activate(*activation, &weights.linear(up, x)?)?)
        }
        Mlp::Experts(experts) => mixture(weights, experts, x),
    }
}

/// gpt-oss: `(up + 1) · gate · sigmoid(alpha · gate)`, both within limits.
fn alternating(both: &Tensor, limit: f64, alpha: f64) -> Result<Tensor> {
    let (tokens, width) = both.dims2()?;
    let pairs = both.reshape((tokens, width / 2, 2))?;
    let gate = pairs.narrow(2, 0, 1)?.squeeze(2)?.minimum(limit)?;
    let up = pairs.narrow(2, 1, 1)?.squeeze(2)?.clamp(-limit, limit)?;
    let open = (&gate * math::sigmoid(&(&gate * alpha)?)?)?;
    (up + 1.0)? * open
}

/// Runs each expert once, on the tokens that chose it: only chosen experts are read.
fn mixture(weights: &Weights<'_>, experts: &Experts, x: &Tensor) -> Result<Tensor> {
    let router = &experts.router;
    let logits: Vec<Vec<f32>> = weights.linear(&router.matrix, x)?.to_vec2()?;
    let correction = router.correction.as_ref().map(|vector| weights.numbers(vector)).transpose()?;
    let mut chosen: Vec<Vec<(usize, f32)>> = vec![Vec::new(); experts.each.len()];
    for (token, logits) in logits.iter().enumerate() {
        for (expert, share) in choose(router, correction.as_deref(), logits) {
            chosen[expert].push((token, share));
        }
    }
    let mut rows: Vec<Tensor> = vec![x.i(0)?.zeros_like()?; logits.len()];
    for (expert, tokens) in experts.each.iter().zip(&chosen).filter(|(_, tokens)| !tokens.is_empty()) {
        let input: Vec<Tensor> = tokens.iter().map(|(token, _)| x.i(*token)).collect::<Result<_>>()?;
        let output = forward(weights, expert, &Tensor::stack(&input, 0)?)?;
        for (row, (token, share)) in tokens.iter().enumerate() {
            rows[*token] = (&rows[*token] + (output.i(row)? * f64::from(*share))?)?;
        }
    }
    let mixed = Tensor::stack(&rows, 0)?;
    let Some(shared) = &experts.shared else { return Ok(mixed) };
    let common = forward(weights, shared, x)?;
    match &experts.shared_gate {
        Some(gate) => mixed + common.broadcast_mul(&math::sigmoid(&weights.linear(gate, x)?)?)?,
        None => mixed + common,
    }
}

/// The experts of a token and their weights.
fn choose(router: &Router, correction: Option<&[f32]>, logits: &[f32]) -> Vec<(usize, f32)> {
    let scores = match router.scoring {
        Scoring::Sparsemixer { jitter } => return sparsemixer(logits, jitter, router.chosen),
        Scoring::Softmax => softmax(logits),
        Scoring::SoftmaxOfChosen => logits.to_vec(),
        Scoring::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
    };
    let mut ranked: Vec<(usize, f32)> = match correction {
        Some(correction) => scores.iter().zip(correction).map(|(a, b)| a + b).enumerate().collect(),
        None => scores.iter().copied().enumerate().collect(),
    };
    if let Some((count, best)) = router.groups {
        keep_best_groups(&mut ranked, count, best, router.groups_by_two);
    }
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    ranked.truncate(router.chosen);
    let mut order: Vec<(usize, f32)> = ranked.into_iter().map(|(expert, _)| (expert, scores[expert])).collect();
    if router.scoring == Scoring::SoftmaxOfChosen {
        let shares = softmax(&order.iter().map(|(_, logit)| *logit).collect::<Vec<_>>());
        order.iter_mut().zip(shares).for_each(|((_, share), new)| *share = new);
    }
    let total: f32 = order.iter().map(|(_, share)| share).sum();
    for (_, share) in &mut order {
        if router.normalize && total > 0.0 {
            *share /= total;
        }
        #[expect(clippy::cast_possible_truncation, reason = "single precision is what is computed in")]
        {
            *share *= router.scale as f32;
        }
    }
    order
}

/// Leaves only experts of the best groups, by their best one or two.
fn keep_best_groups(ranked: &mut Vec<(usize, f32)>, count: usize, best: usize, by_two: bool) {
    let size = ranked.len() / count.max(1);
    if size == 0 {
        return;
    }
    let worth = |group: &[(usize, f32)]| {
        let mut scores: Vec<f32> = group.iter().map(|(_, score)| *score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        scores.iter().take(if by_two { 2 } else { 1 }).sum::<f32>()
    };
    let mut groups: Vec<(usize, f32)> = ranked.chunks(size).map(worth).enumerate().collect();
    groups.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    groups.truncate(best);
    ranked.retain(|(expert, _)| groups.iter().any(|(group, _)| expert / size == *group));
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = shifted.iter().sum();
    shifted.into_iter().map(|value| value / sum).collect()
}

/// PhiMoE: the largest, with its share among those near it; then the same once more without it.
fn sparsemixer(logits: &[f32], jitter: f64, chosen: usize) -> Vec<(usize, f32)> {
    let mut left = logits.to_vec();
    let mut order = Vec::new();
    for _ in 0..chosen {
        let best = left.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let Some((expert, largest)) = best else { break };
        let near = |(index, logit): (usize, &f32)| {
            let distance = f64::from(largest - logits[index]) / f64::from(logits[index].abs().max(largest));
            if distance > 2.0 * jitter { f32::NEG_INFINITY } else { *logit }
        };
        let masked: Vec<f32> = left.iter().enumerate().map(near).collect();
        order.push((expert, softmax(&masked)[expert]));
        left[expert] = f32::NEG_INFINITY;
    }
    order
}
