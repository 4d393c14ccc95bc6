//! Runs a [`Plan`] on tokens, layer by layer, in single precision.
//!
//! Weights stay in the file: a linear layer reads them in blocks of rows and forgets each block, so that a model of any
//! size runs in little memory. Small models are kept in memory, because generating reads them once for each token.

mod attention;
mod head;
mod kernel;
mod latent;
mod math;
mod mlp;
mod recurrent;
mod t5;
mod weights;

use candle_core::{Result, Tensor};

use super::plan::{Embedding, Layer, Mixer, Order, Plan, Projection};
pub(super) use head::{Position, Wanted};
use recurrent::State;
pub(super) use weights::Weights;

/// A model that remembers what it has read.
pub(super) struct Decoder<'a> {
    plan: &'a Plan,
    weights: Weights<'a>,
    memories: Vec<Memory>,
    position: usize,
}

/// What a layer remembers.
#[derive(Default)]
struct Memory {
    keys: attention::Cache,
    state: State,
}

/// What came out of the layers.
pub(super) struct Trace {
    /// The last state of each token, `[tokens, hidden]`, in front of the head.
    pub(super) states: Tensor,
    /// The largest activation behind each layer; not finite when any of them is not.
    pub(super) absmax: Vec<f32>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(plan: &'a Plan, weights: Weights<'a>) -> Self {
        let memories = plan.layers.iter().map(|_| Memory::default()).collect();
        Self { plan, weights, memories, position: 0 }
    }

    /// Reads the tokens that follow those read before.
    pub(super) fn read(&mut self, ids: &[u32]) -> Result<Trace> {
        let plan = self.plan;
        if let Some(t5) = &plan.t5 {
            return t5::read(plan, t5, &self.weights, ids);
        }
        let mut state = self.embed(&plan.embedding, ids)?;
        let mut absmax = Vec::with_capacity(plan.layers.len());
        for (index, layer) in plan.layers.iter().enumerate() {
            state = self.layer(layer, index, &state)?;
            absmax.push(math::absmax(&state)?);
        }
        self.position += ids.len();
        if let Some(norm) = &plan.norm {
            state = math::norm(&self.weights, norm, &state)?;
        }
        for step in &plan.bridge {
            state = match step {
                Projection::Linear(matrix) => self.weights.linear(matrix, &state)?,
                Projection::Activation(activation) => math::activate(*activation, &state)?,
                Projection::Norm(norm) => math::norm(&self.weights, norm, &state)?,
            };
        }
        Ok(Trace { states: state, absmax })
    }

    /// Reads the head for these states, a block of words at a time; a model without one has nothing to say.
    pub(super) fn words(&self, states: &Tensor, wanted: &Wanted<'_>) -> Result<Vec<Position>> {
        match &self.plan.head {
            Some(head) => head::read(&self.weights, head, states, wanted),
            None => Ok(Vec::new()),
        }
    }

    /// Gives the logits of each state, or the states themselves where there is no head.
    pub(super) fn logits(&self, states: &Tensor, mut take: impl FnMut(Vec<f32>)) -> Result<()> {
        match &self.plan.head {
            Some(head) => head::logits(&self.weights, head, states, &mut take),
            None => {
                states.to_vec2()?.into_iter().for_each(take);
                Ok(())
            }
        }
    }

    fn embed(&self, embedding: &Embedding, ids: &[u32]) -> Result<Tensor> {
        let weights = &self.weights;
        let mut state = (weights.rows(&embedding.tokens, ids)? * embedding.scale)?;
        if let Some(projection) = &embedding.projection {
            state = weights.linear(projection, &state)?;
        }
        if let Some(positions) = &embedding.positions {
            let mut next = self.position + positions.offset;
            let mut rows = Vec::with_capacity(ids.len());
            for id in ids {
                let skipped = positions.skips == Some(*id);
                let row = if skipped { positions.offset.saturating_sub(1) } else { next };
                next += usize::from(!skipped);
                rows.push(u32::try_from(row).unwrap_or(u32::MAX));
            }
            state = (state + weights.rows(&positions.table, &rows)?)?;
        }
        if let Some(types) = &embedding.types {
            state = state.broadcast_add(&weights.rows(types, &[0])?)?;
        }
        match &embedding.norm {
            Some(norm) => math::norm(weights, norm, &state),
            None => Ok(state),
        }
    }

    fn layer(&mut self, layer: &Layer, index: usize, input: &Tensor) -> Result<Tensor> {
        let (plan, weights, position) = (self.plan, &self.weights, self.position);
        let residual = |state: &Tensor, change: Tensor| match layer.residual_scale {
            1.0 => state + change,
            scale => state + (change * scale)?,
        };
        let norm = |norm: &Option<_>, state: &Tensor| match norm {
            Some(norm) => math::norm(weights, norm, state),
            None => Ok(state.clone()),
        };
        let normed = norm(&layer.before_mixer, input)?;
        let memory = &mut self.memories[index];
        let mixed = match &layer.mixer {
            Mixer::Attention(parts) => attention::attend(plan, weights, parts, &mut memory.keys, position, &normed)?,
            Mixer::Latent(parts) => latent::attend(plan, weights, parts, &mut memory.keys, position, &normed)?,
            Mixer::Conv(parts) => recurrent::conv(weights, parts, &mut memory.state, &normed)?,
            Mixer::Mamba(parts) => recurrent::mamba(weights, parts, &mut memory.state, &normed)?,
            Mixer::Mamba2(parts) => recurrent::mamba2(weights, parts, &mut memory.state, &normed)?,
        };
        let feed = |state: &Tensor| match &layer.mlp {
            Some(mlp) => mlp::forward(weights, mlp, state),
            None => Ok(state.clone()),
        };
        if layer.order == Order::Post {
            let state = norm(&layer.after_mixer, &residual(input, mixed)?)?;
            return norm(&layer.after_mlp, &residual(&state, feed(&state)?)?);
        }
        let mixed = norm(&layer.after_mixer, &mixed)?;
        if layer.order == Order::Parallel {
            // Both parts read the layer's input, through a norm of their own if there is one.
            let second = if layer.before_mlp.is_some() { norm(&layer.before_mlp, input)? } else { normed };
            return residual(&residual(input, mixed)?, norm(&layer.after_mlp, &feed(&second)?)?);
        }
        let from_normed = layer.order == Order::FromNormed;
        let state = residual(if from_normed { &normed } else { input }, mixed)?;
        if layer.mlp.is_none() {
            return Ok(state);
        }
        let second = norm(&layer.before_mlp, &state)?;
        let changed = norm(&layer.after_mlp, &feed(&second)?)?;
        residual(if from_normed { &second } else { &state }, changed)
    }
}
