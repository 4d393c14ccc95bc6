//! Norms, activations, soft caps, softmax, rotation: the small functions between multiplications.

use candle_core::{D, Device, Result, Tensor};

use super::weights::Weights;
use crate::smoke::child::plan::{Activation, HeadNorm, Norm, NormKind, Rope, Scope, Vector};

/// Normalizes the last dimension.
pub(super) fn norm(weights: &Weights<'_>, norm: &Norm, x: &Tensor) -> Result<Tensor> {
    let normed = normalize(norm.kind, norm.eps, x)?;
    affine(weights, norm.kind, norm.weight.as_ref(), norm.bias.as_ref(), normed)
}

/// Splits `[tokens, heads · width]` into heads and normalizes before or after the split: `[heads, tokens, width]`.
pub(super) fn by_head(
    weights: &Weights<'_>,
    norm: Option<&HeadNorm>,
    x: &Tensor,
    (heads, width): (usize, usize),
) -> Result<Tensor> {
    let tokens = x.dim(0)?;
    let split = |x: &Tensor| x.contiguous()?.reshape((tokens, heads, width));
    let Some(norm) = norm else { return split(x)?.transpose(0, 1) };
    let joined = |vectors: &[Vector]| -> Result<Option<Tensor>> {
        let parts: Vec<Tensor> = vectors.iter().map(|vector| weights.vector(vector)).collect::<Result<_>>()?;
        if parts.is_empty() { Ok(None) } else { Tensor::cat(&parts, 0).map(Some) }
    };
    let (weight, bias) = (joined(&norm.weights)?, joined(&norm.biases)?);
    let shaped = |values: Option<Tensor>| match (values, norm.scope) {
        (Some(values), Scope::EachHead) => values.reshape((heads, width)).map(Some),
        (values, _) => Ok(values),
    };
    let (weight, bias) = (shaped(weight)?, shaped(bias)?);
    let apply = |x: &Tensor| -> Result<Tensor> {
        let mut normed = normalize(norm.kind, norm.eps, x)?;
        if let Some(weight) = &weight {
            normed = normed.broadcast_mul(&lifted(norm.kind, weight)?)?;
        }
        match &bias {
            Some(bias) => normed.broadcast_add(bias),
            None => Ok(normed),
        }
    };
    let normed = if norm.scope == Scope::All { split(&apply(x)?)? } else { apply(&split(x)?)? };
    normed.transpose(0, 1)
}

pub(super) fn normalize(kind: NormKind, eps: f64, x: &Tensor) -> Result<Tensor> {
    let centered = match kind {
        NormKind::Layer | NormKind::LayerPlusOne => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        NormKind::Rms | NormKind::RmsPlusOne => x.clone(),
    };
    let spread = (centered.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    centered.broadcast_div(&spread)
}

fn lifted(kind: NormKind, weight: &Tensor) -> Result<Tensor> {
    match kind {
        NormKind::RmsPlusOne | NormKind::LayerPlusOne => weight + 1.0,
        NormKind::Rms | NormKind::Layer => Ok(weight.clone()),
    }
}

fn affine(
    weights: &Weights<'_>,
    kind: NormKind,
    weight: Option<&Vector>,
    bias: Option<&Vector>,
    mut normed: Tensor,
) -> Result<Tensor> {
    if let Some(weight) = weight {
        normed = normed.broadcast_mul(&lifted(kind, &weights.vector(weight)?)?)?;
    }
    match bias {
        Some(bias) => normed.broadcast_add(&weights.vector(bias)?),
        None => Ok(normed),
    }
}

pub(super) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::QuickGelu => x * sigmoid(&(x * 1.702)?)?,
        Activation::Relu => x.relu(),
        Activation::Relu2 => x.relu()?.sqr(),
        Activation::Tanh => x.tanh(),
    }
}

pub(super) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// `cap · tanh(x / cap)`.
pub(super) fn soft_cap(x: &Tensor, cap: Option<f64>) -> Result<Tensor> {
    match cap.filter(|cap| *cap > 0.0) {
        Some(cap) => (x / cap)?.tanh()? * cap,
        None => Ok(x.clone()),
    }
}

/// Shares that sum to one; a sink of `[…, 1]` takes a share that is not among them.
pub(super) fn softmax(x: &Tensor, sink: Option<&Tensor>) -> Result<Tensor> {
    let largest = x.max_keepdim(D::Minus1)?;
    let largest = match sink {
        Some(sink) => largest.broadcast_maximum(sink)?,
        None => largest,
    };
    let shifted = x.broadcast_sub(&largest)?.exp()?;
    let sum = shifted.sum_keepdim(D::Minus1)?;
    let sum = match sink {
        Some(sink) => (sum + sink.broadcast_sub(&largest)?.exp()?)?,
        None => sum,
    };
    shifted.broadcast_div(&sum)
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

/// Rotates `[heads, tokens, width]` for tokens from `position` on; dimensions beyond the pairs stay.
pub(super) fn rotate(rope: &Rope, position: usize, x: &Tensor) -> Result<Tensor> {
    let (heads, tokens, width) = x.dims3()?;
    let pairs = rope.pairs();
    if pairs == 0 {
        return Ok(x.clone());
    }
    let (cos, sin) = tables(rope, position, tokens)?;
    let turned = x.narrow(2, 0, 2 * pairs)?;
    let (first, second) = if rope.interleaved {
        let split = turned.contiguous()?.reshape((heads, tokens, pairs, 2))?;
        (split.narrow(3, 0, 1)?.squeeze(3)?, split.narrow(3, 1, 1)?.squeeze(3)?)
    } else {
        (turned.narrow(2, 0, pairs)?, turned.narrow(2, pairs, pairs)?)
    };
    let new_first = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
    let new_second = (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?;
    let turned = if rope.interleaved {
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
    let pairs = rope.pairs();
    let (frequencies, scale) = rope.at(position + tokens);
    let mut cos = Vec::with_capacity(tokens * pairs);
    let mut sin = Vec::with_capacity(tokens * pairs);
    for token in 0..tokens {
        for frequency in frequencies.iter() {
            #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
            let angle = (position + token) as f64 * frequency;
            #[expect(clippy::cast_possible_truncation, reason = "single precision is what is computed in")]
            {
                cos.push((angle.cos() * scale) as f32);
                sin.push((angle.sin() * scale) as f32);
            }
        }
    }
    let table = |values| Tensor::from_vec(values, (tokens, pairs), &Device::Cpu);
    Ok((table(cos)?, table(sin)?))
}
