//! The feed-forward part, dense or a mixture of experts.

use candle_core::{D, IndexOp, Result, Tensor};

use super::{math, weights::Weights};
use crate::smoke::child::plan::{Experts, Matrix, Mlp, Plan};

pub(super) fn forward(plan: &Plan, weights: &Weights<'_>, mlp: &Mlp, x: &Tensor) -> Result<Tensor> {
    match mlp {
        Mlp::Gated { gate, up, down } => gated(plan, weights, [gate, up, down], x),
        Mlp::FusedGated { gate_up, down } => {
            let both = weights.linear(gate_up, x)?;
            let width = gate_up.rows / 2;
            let gate = math::activate(plan.activation, &both.narrow(1, 0, width)?.contiguous()?)?;
            weights.linear(down, &(gate * both.narrow(1, width, width)?)?)
        }
        Mlp::Plain { up, down } => {
            let inner = math::activate(plan.activation, &weights.linear(up, x)?)?;
            weights.linear(down, &inner)
        }
        Mlp::Experts(experts) => mixture(plan, weights, experts, x),
    }
}

fn gated(plan: &Plan, weights: &Weights<'_>, [gate, up, down]: [&Matrix; 3], x: &Tensor) -> Result<Tensor> {
    let gate = math::activate(plan.activation, &weights.linear(gate, x)?)?;
    weights.linear(down, &(gate * weights.linear(up, x)?)?)
}

/// Runs each expert once, on the tokens that chose it: only chosen experts are read.
fn mixture(plan: &Plan, weights: &Weights<'_>, experts: &Experts, x: &Tensor) -> Result<Tensor> {
    let shares: Vec<Vec<f32>> = math::softmax(&weights.linear(&experts.router, x)?)?.to_vec2()?;
    let mut chosen: Vec<Vec<(usize, f32)>> = vec![Vec::new(); experts.each.len()];
    for (token, shares) in shares.iter().enumerate() {
        for (expert, share) in choose(shares, experts) {
            chosen[expert].push((token, share));
        }
    }
    let mut rows: Vec<Tensor> = vec![x.i(0)?.zeros_like()?; shares.len()];
    for (expert, tokens) in experts.each.iter().zip(&chosen).filter(|(_, tokens)| !tokens.is_empty()) {
        let input: Vec<Tensor> = tokens.iter().map(|(token, _)| x.i(*token)).collect::<Result<_>>()?;
        let output = gated(plan, weights, expert.each_ref(), &Tensor::stack(&input, 0)?)?;
        for (row, (token, share)) in tokens.iter().enumerate() {
            rows[*token] = (&rows[*token] + (output.i(row)? * f64::from(*share))?)?;
        }
    }
    let mut mixed = Tensor::stack(&rows, 0)?;
    if let Some((expert, gate)) = &experts.shared {
        let mut common = gated(plan, weights, expert.each_ref(), x)?;
        if let Some(gate) = gate {
            let open = (weights.linear(gate, x)?.neg()?.exp()? + 1.0)?.recip()?;
            common = common.broadcast_mul(&open)?;
        }
        mixed = (mixed + common)?;
    }
    debug_assert_eq!(mixed.dim(D::Minus1)?, x.dim(D::Minus1)?);
    Ok(mixed)
}

fn choose(shares: &[f32], experts: &Experts) -> Vec<(usize, f32)> {
    let mut order: Vec<(usize, f32)> = shares.iter().copied().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    order.truncate(experts.chosen);
    let total: f32 = order.iter().map(|(_, share)| share).sum();
    if experts.normalize && total > 0.0 {
        for (_, share) in &mut order {
            *share /= total;
        }
    }
    order
}
