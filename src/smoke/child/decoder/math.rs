//! Norms, activations, soft caps, softmax, rotation: the small functions between multiplications.

use candle_core::{D, Device, Result, Tensor};

use super::weights::Weights;
use crate::smoke::child::plan::{Activation, Norm, NormKind, Plan, Rope};

/// Normalizes the last dimension with a norm of the plan's family.
pub(super) fn norm(plan: &Plan, weights: &Weights<'_>, norm: &Norm, x: &Tensor) -> Result<Tensor> {
    let centered = match plan.family.norm {
        NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        NormKind::Rms | NormKind::RmsPlusOne => x.clone(),
    };
    let spread = (centered.sqr()?.mean_keepdim(D::Minus1)? + plan.norm_eps)?.sqrt()?;
    let mut normed = centered.broadcast_div(&spread)?;
    if let Some(weight) = &norm.weight {
        let weight = weights.vector(weight)?;
        let weight = if plan.family.norm == NormKind::RmsPlusOne { (weight + 1.0)? } else { weight };
        normed = normed.broadcast_mul(&weight)?;
    }
    match &norm.bias {
        Some(bias) => normed.broadcast_add(&weights.vector(bias)?),
        None => Ok(normed),
    }
}

pub(super) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
    }
}

/// `cap · tanh(x / cap)`.
pub(super) fn soft_cap(x: &Tensor, cap: Option<f64>) -> Result<Tensor> {
    match cap.filter(|cap| *cap > 0.0) {
        Some(cap) => (x / cap)?.tanh()? * cap,
        None => Ok(x.clone()),
    }
}

pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?)?.exp()?;
    shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)
}

/// The largest absolute value; NaN when there is one (a plain maximum would overlook it).
pub(super) fn absmax(x: &Tensor) -> Result<f32> {
    let mut largest = 0_f32;
    for value in x.flatten_all()?.to_vec1::<f32>()? {
        if value.is_nan() {
            return Ok(value);
        }
        largest = largest.max(value.abs());
    }
    Ok(largest)
}

/// Rotates `[heads, tokens, width]` for tokens from `position` on; dimensions beyond the frequencies stay.
pub(super) fn rotate(rope: &Rope, interleaved: bool, position: usize, x: &Tensor) -> Result<Tensor> {
    let (heads, tokens, width) = x.dims3()?;
    let pairs = rope.frequencies.len();
    if pairs == 0 {
        return Ok(x.clone());
    }
    let (cos, sin) = tables(rope, position, tokens)?;
    let turned = x.narrow(2, 0, 2 * pairs)?;
    let (first, second) = if interleaved {
        let split = turned.contiguous()?.reshape((heads, tokens, pairs, 2))?;
        (split.narrow(3, 0, 1)?.squeeze(3)?, split.narrow(3, 1, 1)?.squeeze(3)?)
    } else {
        (turned.narrow(2, 0, pairs)?, turned.narrow(2, pairs, pairs)?)
    };
    let new_first = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
    let new_second = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
    let turned = if interleaved {
        Tensor::stack(&[new_first, new_second], 3)?.reshape((heads, tokens, 2 * pairs))?
    } else {
        Tensor::cat(&[new_first, new_second], 2)?
    };
    if 2 * pairs == width {
        return Ok(turned);
    }
    Tensor::cat(&[turned, x.narrow(2, 2 * pairs, width - 2 * pairs)?], 2)
}

fn tables(rope: &Rope, position: usize, tokens: usize) -> Result<(Tensor, Tensor)> {
    let pairs = rope.frequencies.len();
    let mut cos = Vec::with_capacity(tokens * pairs);
    let mut sin = Vec::with_capacity(tokens * pairs);
    for token in 0..tokens {
        for frequency in &rope.frequencies {
            #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
            let angle = (position + token) as f64 * frequency;
            #[expect(clippy::cast_possible_truncation, reason = "single precision is what is computed in")]
            {
                cos.push((angle.cos() * rope.scale) as f32);
                sin.push((angle.sin() * rope.scale) as f32);
            }
        }
    }
    let table = |values| Tensor::from_vec(values, (tokens, pairs), &Device::Cpu);
    Ok((table(cos)?, table(sin)?))
}
