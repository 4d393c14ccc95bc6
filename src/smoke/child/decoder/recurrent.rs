//! Mixers that carry a state along: short convolutions and the two Mambas.
//!
//! The scans run token by token as the papers define them; the parallel forms of the libraries give the same sums.

use candle_core::{D, Device, Result, Tensor};

use super::{math, weights::Weights};
use crate::smoke::child::plan::{Activation, Chunk, Conv, Mamba, Mamba2, NormKind};

/// What a layer carries from token to token.
#[derive(Default)]
pub(super) struct State {
    /// The last inputs of a convolution, `[width - 1, channels]`.
    tail: Option<Tensor>,
    /// The state of a scan.
    scan: Vec<f32>,
}

/// LFM2: two gates around a short convolution.
pub(super) fn conv(weights: &Weights<'_>, parts: &Conv, state: &mut State, x: &Tensor) -> Result<Tensor> {
    let all = weights.linear(&parts.input, x)?;
    let width = all.dim(1)? / 3;
    let part = |index: usize| all.narrow(1, index * width, width);
    let mixed = convolve(weights, &parts.kernel, state, &(part(0)? * part(2)?)?)?;
    weights.linear(&parts.output, &(part(1)? * mixed)?)
}

/// Convolves `[tokens, channels]` with the inputs before them, each channel by itself.
fn convolve(weights: &Weights<'_>, kernel: &Chunk, state: &mut State, x: &Tensor) -> Result<Tensor> {
    let (tokens, channels) = x.dims2()?;
    let before = kernel.width.saturating_sub(1);
    let tail = match state.tail.take() {
        Some(tail) => tail,
        None => Tensor::zeros((before, channels), x.dtype(), &Device::Cpu)?,
    };
    let all = Tensor::cat(&[&tail, &x.contiguous()?], 0)?;
    state.tail = Some(all.narrow(0, tokens, before)?.contiguous()?);
    let taps = weights.vector(&kernel.weight)?.reshape((channels, kernel.width))?.t()?.contiguous()?;
    let mut sum = all.narrow(0, 0, tokens)?.broadcast_mul(&taps.narrow(0, 0, 1)?)?;
    for tap in 1..kernel.width {
        sum = (sum + all.narrow(0, tap, tokens)?.broadcast_mul(&taps.narrow(0, tap, 1)?)?)?;
    }
    match &kernel.bias {
        Some(bias) => sum.broadcast_add(&weights.vector(bias)?),
        None => Ok(sum),
    }
}

/// The first Mamba: each channel has a state of its own, and steps of its own length.
#[expect(clippy::many_single_char_names, reason = "those of the paper")]
pub(super) fn mamba(weights: &Weights<'_>, parts: &Mamba, state: &mut State, x: &Tensor) -> Result<Tensor> {
    let (tokens, inner, size) = (x.dim(0)?, parts.inner, parts.state);
    let both = weights.linear(&parts.input, x)?;
    let gate = both.narrow(1, inner, inner)?.contiguous()?;
    let mixed = convolve(weights, &parts.conv, state, &both.narrow(1, 0, inner)?)?;
    let mixed = math::activate(parts.activation, &mixed)?;
    let chosen = weights.linear(&parts.select, &mixed)?;
    let chosen = |start: usize, width: usize| -> Result<Tensor> {
        let part = chosen.narrow(1, start, width)?.contiguous()?;
        match parts.select_eps {
            Some(eps) => math::normalize(NormKind::Rms, eps, &part),
            None => Ok(part),
        }
    };
    let steps: Vec<Vec<f32>> = weights.linear(&parts.step, &chosen(0, parts.rank)?)?.to_vec2()?;
    let (b, c): (Vec<Vec<f32>>, Vec<Vec<f32>>) =
        (chosen(parts.rank, size)?.to_vec2()?, chosen(parts.rank + size, size)?.to_vec2()?);
    let (a_log, d) = (weights.numbers(&parts.a_log)?, weights.numbers(&parts.d)?);
    let a: Vec<f32> = a_log.iter().map(|log| -log.exp()).collect();
    let inputs: Vec<Vec<f32>> = mixed.to_vec2()?;
    state.scan.resize(inner * size, 0.0);
    let mut outputs = Vec::with_capacity(tokens * inner);
    for token in 0..tokens {
        let (b, c) = (&b[token], &c[token]);
        let rows = state.scan.chunks_exact_mut(size).zip(a.chunks_exact(size));
        for (channel, (row, a)) in rows.enumerate() {
            let (step, input) = (softplus(steps[token][channel]), inputs[token][channel]);
            let mut sum = d[channel] * input;
            for (((h, a), b), c) in row.iter_mut().zip(a).zip(b).zip(c) {
                *h = (step * a).exp() * *h + step * b * input;
                sum += *h * c;
            }
            outputs.push(sum);
        }
    }
    let outputs = Tensor::from_vec(outputs, (tokens, inner), &Device::Cpu)?;
    weights.linear(&parts.output, &(outputs * math::activate(parts.activation, &gate)?)?)
}

/// The second Mamba: heads share a step, groups of heads what selects.
pub(super) fn mamba2(weights: &Weights<'_>, parts: &Mamba2, state: &mut State, x: &Tensor) -> Result<Tensor> {
    let (tokens, heads, width, size) = (x.dim(0)?, parts.heads, parts.head_dim, parts.state);
    let (inner, selecting) = (heads * width, parts.groups * size);
    let all = weights.linear(&parts.input, x)?;
    let gate = all.narrow(1, 0, inner)?.contiguous()?;
    let mixed = convolve(weights, &parts.conv, state, &all.narrow(1, inner, inner + 2 * selecting)?)?;
    let mixed: Vec<Vec<f32>> = math::activate(parts.activation, &mixed)?.to_vec2()?;
    let steps: Vec<Vec<f32>> = all.narrow(1, 2 * inner + 2 * selecting, heads)?.contiguous()?.to_vec2()?;
    let (bias, a_log) = (weights.numbers(&parts.step_bias)?, weights.numbers(&parts.a_log)?);
    let d = weights.numbers(&parts.d)?;
    state.scan.resize(inner * size, 0.0);
    let mut outputs = Vec::with_capacity(tokens * inner);
    for token in 0..tokens {
        let (input, rest) = mixed[token].split_at(inner);
        let (b, c) = rest.split_at(selecting);
        for head in 0..heads {
            let group = head / (heads / parts.groups) * size;
            let (b, c) = (&b[group..group + size], &c[group..group + size]);
            let step = limited(softplus(steps[token][head] + bias[head]), parts.step_limits);
            let decay = (-step * a_log[head].exp()).exp();
            let own = head * width..(head + 1) * width;
            let rows = state.scan[own.start * size..own.end * size].chunks_exact_mut(size);
            for (row, input) in rows.zip(&input[own]) {
                let mut sum = d[head] * input;
                for ((h, b), c) in row.iter_mut().zip(b).zip(c) {
                    *h = decay * *h + step * input * b;
                    sum += *h * c;
                }
                outputs.push(sum);
            }
        }
    }
    let outputs = Tensor::from_vec(outputs, (tokens, inner), &Device::Cpu)?;
    let gated = (outputs * math::activate(Activation::Silu, &gate)?)?;
    // Each group is normalized by itself, with weights for all.
    let groups = gated.reshape((tokens, parts.groups, inner / parts.groups))?;
    let normed = math::normalize(NormKind::Rms, parts.norm.eps, &groups)?.reshape((tokens, inner))?;
    let normed = match &parts.norm.weight {
        Some(weight) => normed.broadcast_mul(&weights.vector(weight)?)?,
        None => normed,
    };
    debug_assert_eq!(normed.dim(D::Minus1)?, inner);
    weights.linear(&parts.output, &normed)
}

/// `ln(1 + e^x)`, which is `x` where that overflows.
fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

#[expect(clippy::cast_possible_truncation, reason = "single precision is what is computed in")]
fn limited(step: f32, (least, most): (f64, f64)) -> f32 {
    step.max(least as f32).min(most as f32)
}
