//! Attention over what was read, with grouped heads, windows, caps, distances and sinks.

use candle_core::{Device, Result, Tensor};

use super::{math, weights::Weights};
use crate::smoke::child::plan::{Attention, HeadNorm, Plan, Qkv};

/// Keys and values of the tokens read so far, `[kv heads, tokens, width]`.
#[derive(Default)]
pub(super) struct Cache(Option<(Tensor, Tensor)>);

impl Cache {
    pub(super) fn append(&mut self, keys: Tensor, values: Tensor) -> Result<(Tensor, Tensor)> {
        let both = match self.0.take() {
            Some((k, v)) => (Tensor::cat(&[k, keys], 1)?, Tensor::cat(&[v, values], 1)?),
            None => (keys, values),
        };
        self.0 = Some(both.clone());
        Ok(both)
    }
}

/// Attends from each row of `x` to the rows that it may see.
pub(super) fn attend(
    plan: &Plan,
    weights: &Weights<'_>,
    parts: &Attention,
    cache: &mut Cache,
    position: usize,
    x: &Tensor,
) -> Result<Tensor> {
    let (heads, kv_heads, width) = (parts.heads, parts.kv_heads, parts.head_dim);
    let (q, k, v) = project(weights, parts, x)?;
    let rope = parts.rope.and_then(|rope| plan.ropes.get(rope));
    let turn = |x: Tensor| match rope {
        Some(rope) => math::rotate(rope, position, &x),
        None => Ok(x),
    };
    // What is clipped is what the norms give, where there are any.
    let clip = |x: Tensor| match parts.clip {
        Some(clip) => x.clamp(-clip, clip),
        None => Ok(x),
    };
    let prepare = |norm: Option<&HeadNorm>, x: &Tensor, heads| -> Result<Tensor> {
        if norm.is_some_and(|norm| norm.after_rope) {
            let turned = turn(math::by_head(weights, None, x, (heads, width))?)?;
            let flat = turned.transpose(0, 1)?.contiguous()?.reshape((x.dim(0)?, heads * width))?;
            return math::by_head(weights, norm, &flat, (heads, width));
        }
        turn(clip(math::by_head(weights, norm, x, (heads, width))?)?)
    };
    let (q, k) = (prepare(parts.q_norm.as_ref(), &q, heads)?, prepare(parts.k_norm.as_ref(), &k, kv_heads)?);
    let v = clip(math::by_head(weights, None, &v, (kv_heads, width))?)?;
    let (keys, values) = cache.append(k.contiguous()?, v.contiguous()?)?;
    let slopes = parts.slopes.as_ref().map(|slopes| Slopes { each: slopes, first: parts.slopes_before_scale });
    let sinks = parts.sinks.as_ref().map(|sinks| weights.vector(sinks)).transpose()?;
    let mask = mask(parts.causal, position, x.dim(0)?, keys.dim(1)?, parts.window)?;
    let scoring = Scoring { scale: parts.scale, cap: parts.cap, bias: &mask, slopes, sinks: sinks.as_ref() };
    let mixed = mix(&q.contiguous()?, &keys, &values, &scoring)?;
    weights.linear(&parts.output, &mixed)
}

/// How scores come about.
pub(super) struct Scoring<'a> {
    pub(super) scale: f64,
    pub(super) cap: Option<f64>,
    /// Added to the scores: `[queries, keys]` for all heads, or `[heads, queries, keys]`.
    pub(super) bias: &'a Tensor,
    pub(super) slopes: Option<Slopes<'a>>,
    pub(super) sinks: Option<&'a Tensor>,
}

/// A bias of each head that grows with the position.
pub(super) struct Slopes<'a> {
    each: &'a [f32],
    /// Added before the scores are scaled, in half precision.
    first: bool,
}

/// Mixes values `[kv heads, keys, width]` for queries `[heads, queries, width]`: `[queries, heads · width]`.
///
/// One group of heads at a time: the scores of all of them would not fit in memory for long texts.
pub(super) fn mix(q: &Tensor, keys: &Tensor, values: &Tensor, scoring: &Scoring<'_>) -> Result<Tensor> {
    let (heads, tokens, width) = q.dims3()?;
    let (kv_heads, known, value) = values.dims3()?;
    let group = heads / kv_heads;
    let mut parts = Vec::with_capacity(kv_heads);
    for kv in 0..kv_heads {
        let queries = q.narrow(0, kv * group, group)?.reshape((group * tokens, width))?;
        let scores = queries.matmul(&keys.get(kv)?.t()?)?.reshape((group, tokens, known))?;
        let scores = match &scoring.slopes {
            Some(slopes) if slopes.first => {
                (scores.broadcast_add(&rising(slopes, kv * group, group, known)?)? * scoring.scale)?
            }
            Some(slopes) => (scores * scoring.scale)?.broadcast_add(&rising(slopes, kv * group, group, known)?)?,
            None => (scores * scoring.scale)?,
        };
        let scores = math::soft_cap(&scores, scoring.cap)?;
        let bias =
            if scoring.bias.rank() == 3 { scoring.bias.narrow(0, kv * group, group)? } else { scoring.bias.clone() };
        let scores = scores.broadcast_add(&bias)?;
        let sink = scoring.sinks.map(|sinks| sinks.narrow(0, kv * group, group)?.reshape((group, 1, 1))).transpose()?;
        let shares = math::softmax(&scores, sink.as_ref())?.reshape((group * tokens, known))?;
        parts.push(shares.matmul(&values.get(kv)?)?.reshape((group, tokens, value))?);
    }
    let mixed = Tensor::cat(&parts, 0)?;
    mixed.transpose(0, 1)?.contiguous()?.reshape((tokens, heads * value))
}

/// `[heads, 1, keys]`: slope times position.
fn rising(slopes: &Slopes<'_>, first: usize, count: usize, known: usize) -> Result<Tensor> {
    let mut values = Vec::with_capacity(count * known);
    for slope in slopes.each.iter().skip(first).take(count) {
        #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^23")]
        let products = (0..known).map(|key| slope * key as f32);
        if slopes.first {
            values.extend(products.map(|product| half::bf16::from_f32(product).to_f32()));
        } else {
            values.extend(products);
        }
    }
    Tensor::from_vec(values, (count, 1, known), &Device::Cpu)
}

fn project(weights: &Weights<'_>, parts: &Attention, x: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    match &parts.qkv {
        Qkv::Separate { q, k, v } => Ok((weights.linear(q, x)?, weights.linear(k, x)?, weights.linear(v, x)?)),
        Qkv::Fused { matrix, groups } => {
            let (tokens, width) = (x.dim(0)?, parts.head_dim);
            let (q, kv) = (parts.heads / groups, parts.kv_heads / groups);
            let all = weights.linear(matrix, x)?.reshape((tokens, *groups, q + 2 * kv, width))?;
            let part = |start: usize, count: usize| {
                all.narrow(2, start, count)?.contiguous()?.reshape((tokens, groups * count * width))
            };
            Ok((part(0, q)?, part(q, kv)?, part(q + kv, kv)?))
        }
    }
}

/// Zero where a query may look, minus infinity elsewhere: not ahead if causal, and less than a window away.
pub(super) fn mask(
    causal: bool,
    position: usize,
    tokens: usize,
    known: usize,
    window: Option<usize>,
) -> Result<Tensor> {
    let mut mask = Vec::with_capacity(tokens * known);
    for query in position..position + tokens {
        for key in 0..known {
            let ahead = causal && key > query;
            let visible = !ahead && window.is_none_or(|window| query.abs_diff(key) < window);
            mask.push(if visible { 0.0 } else { f32::NEG_INFINITY });
        }
    }
    Tensor::from_vec(mask, (tokens, known), &Device::Cpu)
}
