//! T5: the encoder reads all tokens; the decoder reads the same ones, one after the other, and looks at its states.

use candle_core::{Device, Result, Tensor};

use super::{
    Trace,
    attention::{Scoring, mask, mix},
    math, mlp,
    weights::Weights,
};
use crate::smoke::child::plan::{Look, Matrix, Plan, Stack, T5};

/// Reads the tokens; the states are the decoder's, or the encoder's where there is none.
pub(super) fn read(plan: &Plan, t5: &T5, weights: &Weights<'_>, ids: &[u32]) -> Result<Trace> {
    let words = weights.rows(&plan.embedding.tokens, ids)?;
    let mut absmax = Vec::new();
    let encoded = climb(t5, weights, &t5.encoder, &words, None, &mut absmax)?;
    let states = match &t5.decoder {
        Some(decoder) => climb(t5, weights, decoder, &words, Some(&encoded), &mut absmax)?,
        None => encoded,
    };
    Ok(Trace { states, absmax })
}

fn climb(
    t5: &T5,
    weights: &Weights<'_>,
    stack: &Stack,
    words: &Tensor,
    encoded: Option<&Tensor>,
    absmax: &mut Vec<f32>,
) -> Result<Tensor> {
    let causal = encoded.is_some();
    let mut state = words.clone();
    let mut distances: Option<Tensor> = None;
    for block in &stack.blocks {
        if let Some(table) = &block.own.distances {
            distances = Some(biases(t5, weights, table, words.dim(0)?, causal)?);
        }
        let Some(bias) = &distances else {
            return Err(candle_core::Error::Msg("the first block has no table of distances".to_owned()));
        };
        state = (&state + look(t5, weights, &block.own, &state, None, bias)?)?;
        if let (Some(cross), Some(encoded)) = (&block.cross, encoded) {
            let everything = mask(false, 0, state.dim(0)?, encoded.dim(0)?, None)?;
            state = (&state + look(t5, weights, cross, &state, Some(encoded), &everything)?)?;
        }
        state = (&state + mlp::forward(weights, &block.mlp, &math::norm(weights, &block.norm, &state)?)?)?;
        absmax.push(math::absmax(&state)?);
    }
    math::norm(weights, &stack.norm, &state)
}

fn look(
    t5: &T5,
    weights: &Weights<'_>,
    parts: &Look,
    state: &Tensor,
    encoded: Option<&Tensor>,
    bias: &Tensor,
) -> Result<Tensor> {
    let normed = math::norm(weights, &parts.norm, state)?;
    let seen = encoded.unwrap_or(&normed);
    let split = |matrix: &Matrix, x: &Tensor| -> Result<Tensor> {
        math::by_head(weights, None, &weights.linear(matrix, x)?, (t5.heads, t5.head_dim))?.contiguous()
    };
    let (q, k, v) = (split(&parts.q, &normed)?, split(&parts.k, seen)?, split(&parts.v, seen)?);
    let scoring = Scoring { scale: 1.0, cap: None, bias, slopes: None, sinks: None };
    weights.linear(&parts.output, &mix(&q, &k, &v, &scoring)?)
}

/// `[heads, queries, keys]`: what the table says of each distance, and what lies ahead of a decoder.
fn biases(t5: &T5, weights: &Weights<'_>, table: &Matrix, tokens: usize, causal: bool) -> Result<Tensor> {
    let rows: Vec<u32> = (0..u32::try_from(table.rows).unwrap_or(0)).collect();
    let values: Vec<Vec<f32>> = weights.rows(table, &rows)?.to_vec2()?;
    let mut bias = Vec::with_capacity(t5.heads * tokens * tokens);
    for head in 0..t5.heads {
        for query in 0..tokens {
            for key in 0..tokens {
                let value = values.get(bucket(t5, query, key, !causal)).and_then(|row| row.get(head));
                bias.push(if causal && key > query { f32::NEG_INFINITY } else { value.copied().unwrap_or(0.0) });
            }
        }
    }
    Tensor::from_vec(bias, (t5.heads, tokens, tokens), &Device::Cpu)
}

/// The bucket of a distance: near ones have their own, far ones share them by the logarithm.
fn bucket(t5: &T5, query: usize, key: usize, both_ways: bool) -> usize {
    let (buckets, start) = match (both_ways, key > query) {
        (true, true) => (t5.buckets / 2, t5.buckets / 2),
        (true, false) => (t5.buckets / 2, 0),
        (false, _) => (t5.buckets, 0),
    };
    let distance = if both_ways { query.abs_diff(key) } else { query.saturating_sub(key) };
    let exact = buckets / 2;
    if distance < exact {
        return start + distance;
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "distances and buckets are small and the logarithm is of more than one"
    )]
    let far = {
        let ratio = (distance as f32 / exact as f32).ln() / (t5.farthest as f32 / exact as f32).ln();
        (ratio * (buckets - exact) as f32) as usize
    };
    start + (exact + far).min(buckets - 1)
}
