//! Runs a [`Plan`] on tokens, layer by layer, in single precision.
//!
//! Weights stay in the file: a linear layer reads them in blocks of rows and forgets each block, so that a model of any
//! size runs in little memory. Small models are kept in memory, because generating reads them once for each token.

mod attention;
mod math;
mod mlp;
mod weights;

use candle_core::{Result, Tensor};

use super::{
    plan::{Layer, Plan},
    tensors::Tensors,
};
use attention::Cache;
use weights::Weights;

/// A decoder that remembers what it has read.
pub(super) struct Decoder<'a> {
    plan: &'a Plan,
    weights: Weights<'a>,
    caches: Vec<Cache>,
    position: usize,
}

/// What came out of a pass over some tokens.
pub(super) struct Pass {
    /// One row of the vocabulary's length per token.
    pub(super) logits: Vec<Vec<f32>>,
    /// The largest activation behind each layer; not finite when any of them is not.
    pub(super) absmax: Vec<f32>,
}

impl<'a> Decoder<'a> {
    /// Makes a decoder that may keep this many bytes of weights in memory.
    pub(super) fn new(plan: &'a Plan, tensors: &'a Tensors, memory: u64) -> Self {
        let caches = plan.layers.iter().map(|_| Cache::default()).collect();
        Self { plan, weights: Weights::new(tensors, memory), caches, position: 0 }
    }

    /// Reads the tokens that follow those read before.
    pub(super) fn forward(&mut self, ids: &[u32]) -> Result<Pass> {
        let plan = self.plan;
        let mut state = (self.weights.rows(&plan.embedding, ids)? * plan.family.embedding_scale)?;
        let mut absmax = Vec::with_capacity(plan.layers.len());
        for (index, layer) in plan.layers.iter().enumerate() {
            state = self.layer(layer, index, &state)?;
            absmax.push(math::absmax(&state)?);
        }
        self.position += ids.len();
        let state = math::norm(plan, &self.weights, &plan.norm, &state)?;
        let logits = (self.weights.linear(&plan.head, &state)? * plan.family.logits_scale)?;
        let logits = math::soft_cap(&logits, plan.family.logits_cap)?;
        Ok(Pass { logits: logits.to_vec2()?, absmax })
    }

    fn layer(&mut self, layer: &Layer, index: usize, input: &Tensor) -> Result<Tensor> {
        let (plan, weights) = (self.plan, &self.weights);
        let residual = |state: &Tensor, change: Tensor| state + (change * plan.family.residual_scale)?;
        let norm = |norm: &Option<_>, state: &Tensor| match norm {
            Some(norm) => math::norm(plan, weights, norm, state),
            None => Ok(state.clone()),
        };
        let normed = norm(&layer.before_attention, input)?;
        let attended = attention::attend(plan, weights, layer, &mut self.caches[index], self.position, &normed)?;
        let attended = norm(&layer.after_attention, &attended)?;
        if plan.family.parallel {
            // Both parts read the layer's input, through a norm of their own if there is one.
            let second = if layer.before_mlp.is_some() { norm(&layer.before_mlp, input)? } else { normed };
            return residual(&residual(input, attended)?, mlp::forward(plan, weights, &layer.mlp, &second)?);
        }
        let state = residual(input, attended)?;
        let changed = mlp::forward(plan, weights, &layer.mlp, &norm(&layer.before_mlp, &state)?)?;
        residual(&state, norm(&layer.after_mlp, &changed)?)
    }
}
