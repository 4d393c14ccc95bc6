//! DeepSeek's attention: keys and values unfolded from a narrow state, a part of each key shared by all heads.

use candle_core::{Result, Tensor};

use super::{
    attention::{Cache, Scoring, mask, mix},
    math,
    weights::Weights,
};
use crate::smoke::child::plan::{Latent, Plan};

pub(super) fn attend(
    plan: &Plan,
    weights: &Weights<'_>,
    parts: &Latent,
    cache: &mut Cache,
    position: usize,
    x: &Tensor,
) -> Result<Tensor> {
    let (tokens, heads) = (x.dim(0)?, parts.heads);
    let (plain, turned, value) = (parts.plain, parts.turned, parts.value);
    let query = match &parts.query {
        (Some((down, norm)), up) => weights.linear(up, &math::norm(weights, norm, &weights.linear(down, x)?)?)?,
        (None, direct) => weights.linear(direct, x)?,
    };
    let query = query.reshape((tokens, heads, plain + turned))?.transpose(0, 1)?;
    let both = weights.linear(&parts.down, x)?;
    let narrow = both.dim(1)? - turned;
    let latent = math::norm(weights, &parts.norm, &both.narrow(1, 0, narrow)?.contiguous()?)?;
    let unfolded = weights.linear(&parts.up, &latent)?.reshape((tokens, heads, plain + value))?.transpose(0, 1)?;
    let turn = |x: Tensor| match plan.ropes.get(parts.rope) {
        Some(rope) => math::rotate(rope, position, &x),
        None => Ok(x),
    };
    let shared = turn(both.narrow(1, narrow, turned)?.contiguous()?.reshape((1, tokens, turned))?)?;
    let shared = shared.broadcast_as((heads, tokens, turned))?;
    let keys = Tensor::cat(&[unfolded.narrow(2, 0, plain)?, shared], 2)?.contiguous()?;
    let values = unfolded.narrow(2, plain, value)?.contiguous()?;
    let turned = turn(query.narrow(2, plain, turned)?.contiguous()?)?;
    let query = Tensor::cat(&[query.narrow(2, 0, plain)?, turned], 2)?.contiguous()?;
    let (keys, values) = cache.append(keys, values)?;
    let mask = mask(true, position, tokens, keys.dim(1)?, None)?;
    let scoring = Scoring { scale: parts.scale, cap: None, bias: &mask, slopes: None, sinks: None };
    weights.linear(&parts.output, &mix(&query, &keys, &values, &scoring)?)
}
