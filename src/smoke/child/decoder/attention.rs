//! Attention over what was read, with grouped heads, windows and caps.

use candle_core::{Device, Result, Tensor};

use super::{math, weights::Weights};
use crate::smoke::child::plan::{HeadNorm, Layer, Plan, Qkv};

/// Keys and values of the tokens read so far, `[kv heads, tokens, width]`.
#[derive(Default)]
pub(super) struct Cache(Option<(Tensor, Tensor)>);

impl Cache {
    fn append(&mut self, keys: Tensor, values: Tensor) -> Result<(Tensor, Tensor)> {
        let both = match self.0.take() {
            Some((k, v)) => (Tensor::cat(&[k, keys], 1)?, Tensor::cat(&[v, values], 1)?),
            None => (keys, values),
        };
        self.0 = Some(both.clone());
        Ok(both)
    }
}

/// Attends from each row of `x` to all rows up to it.
pub(super) fn attend(
    plan: &Plan,
    weights: &Weights<'_>,
    layer: &Layer,
    cache: &mut Cache,
    position: usize,
    x: &Tensor,
) -> Result<Tensor> {
    let (heads, kv_heads, width) = (plan.heads, plan.kv_heads, plan.head_dim);
    let tokens = x.dim(0)?;
    let (q, k, v) = project(plan, weights, layer, x)?;
    let q = by_head(plan, weights, layer.q_norm.as_ref(), &q, heads)?;
    let k = by_head(plan, weights, layer.k_norm.as_ref(), &k, kv_heads)?;
    let v = by_head(plan, weights, None, &v, kv_heads)?;
    let turn = |x: Tensor| match layer.rope {
        Some(rope) => math::rotate(&plan.ropes[rope], plan.family.interleaved_rope, position, &x),
        None => Ok(x),
    };
    let (keys, values) = cache.append(turn(k)?.contiguous()?, v.contiguous()?)?;
    let known = keys.dim(1)?;
    // Query heads of one group stand together, so that grouping is a reshape.
    let grouped = turn(q)?.contiguous()?.reshape((kv_heads, heads / kv_heads * tokens, width))?;
    #[expect(clippy::cast_precision_loss, reason = "a head is at most 1024 wide")]
    let scale = plan.family.attention_scale.unwrap_or_else(|| (width as f64).powf(-0.5));
    let scores = (grouped.matmul(&keys.t()?)? * scale)?;
    let scores = math::soft_cap(&scores, plan.family.attention_cap)?.reshape((heads, tokens, known))?;
    let scores = scores.broadcast_add(&mask(position, tokens, known, layer.window)?)?;
    let shares = math::softmax(&scores)?.reshape((kv_heads, heads / kv_heads * tokens, known))?;
    let mixed = shares.matmul(&values)?.reshape((heads, tokens, width))?;
    let joined = mixed.transpose(0, 1)?.contiguous()?.reshape((tokens, heads * width))?;
    weights.linear(&layer.output, &joined)
}

fn project(plan: &Plan, weights: &Weights<'_>, layer: &Layer, x: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let (q, k, v) = match &layer.qkv {
        Qkv::Separate { q, k, v } => (weights.linear(q, x)?, weights.linear(k, x)?, weights.linear(v, x)?),
        Qkv::Fused(matrix) => {
            let all = weights.linear(matrix, x)?;
            let (q, kv) = (plan.heads * plan.head_dim, plan.kv_heads * plan.head_dim);
            (all.narrow(1, 0, q)?, all.narrow(1, q, kv)?, all.narrow(1, q + kv, kv)?)
        }
    };
    match plan.family.qkv_clip {
        Some(clip) => Ok((q.clamp(-clip, clip)?, k.clamp(-clip, clip)?, v.clamp(-clip, clip)?)),
        None => Ok((q, k, v)),
    }
}

/// `[tokens, heads · width]` → `[heads, tokens, width]`, normed before or after the split.
fn by_head(plan: &Plan, weights: &Weights<'_>, norm: Option<&HeadNorm>, x: &Tensor, heads: usize) -> Result<Tensor> {
    let tokens = x.dim(0)?;
    let whole = match norm {
        Some(norm) if !norm.per_head => math::norm(plan, weights, &norm.norm, x)?,
        _ => x.clone(),
    };
    let split = whole.contiguous()?.reshape((tokens, heads, plan.head_dim))?;
    let split = match norm {
        Some(norm) if norm.per_head => math::norm(plan, weights, &norm.norm, &split)?,
        _ => split,
    };
    split.transpose(0, 1)
}

/// Zero where a query may look, minus infinity elsewhere: not ahead, and at most a window back.
fn mask(position: usize, tokens: usize, known: usize, window: Option<usize>) -> Result<Tensor> {
    let mut mask = Vec::with_capacity(tokens * known);
    for query in position..position + tokens {
        for key in 0..known {
            let visible = key <= query && window.is_none_or(|window| query - key < window);
            mask.push(if visible { 0.0 } else { f32::NEG_INFINITY });
        }
    }
    Tensor::from_vec(mask, (tokens, known), &Device::Cpu)
}
