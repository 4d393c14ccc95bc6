//! What a decoder consists of, read from config and tensor names, before a byte of weights is touched.
//!
//! The presence of tensors decides biases, norms, fused projections, experts and tied heads; the architecture decides
//! only quirks ([`family`]). On the way the plan notes what is missing or has another shape, and which tensors are used.

mod builder;
mod family;
mod layer;
mod rope;

use std::collections::BTreeSet;

use crate::formats::config::ModelConfig;

use super::tensors::Tensors;
use builder::Builder;
pub(super) use family::{Activation, Family, NormKind};
pub(super) use rope::Rope;

/// A matrix as linear layers store it: `rows` outputs of `cols` inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Matrix {
    pub(super) name: String,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) bias: Option<String>,
}

/// A norm; without a weight it only normalizes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Norm {
    pub(super) weight: Option<String>,
    pub(super) bias: Option<String>,
}

/// The projections in front of attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Qkv {
    Separate { q: Matrix, k: Matrix, v: Matrix },
    Fused(Matrix),
}

/// The feed-forward part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mlp {
    Gated { gate: Matrix, up: Matrix, down: Matrix },
    FusedGated { gate_up: Matrix, down: Matrix },
    Plain { up: Matrix, down: Matrix },
    Experts(Experts),
}

/// A mixture of experts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Experts {
    pub(super) router: Matrix,
    pub(super) each: Vec<[Matrix; 3]>,
    pub(super) chosen: usize,
    /// Whether the weights of the chosen ones are made to sum to one.
    pub(super) normalize: bool,
    /// An expert that always runs, with its gate: `[gate, up, down]` and the scalar gate.
    pub(super) shared: Option<([Matrix; 3], Option<Matrix>)>,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) before_attention: Option<Norm>,
    pub(super) qkv: Qkv,
    pub(super) q_norm: Option<HeadNorm>,
    pub(super) k_norm: Option<HeadNorm>,
    pub(super) output: Matrix,
    pub(super) after_attention: Option<Norm>,
    pub(super) before_mlp: Option<Norm>,
    pub(super) mlp: Mlp,
    pub(super) after_mlp: Option<Norm>,
    /// Keys that a query sees, itself included; `None`: all.
    pub(super) window: Option<usize>,
    /// Which of the plan's position embeddings applies; `None`: none.
    pub(super) rope: Option<usize>,
}

/// A norm of queries or keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeadNorm {
    pub(super) norm: Norm,
    /// Over each head, or over all at once.
    pub(super) per_head: bool,
}

/// A whole decoder.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) norm_eps: f64,
    pub(super) embedding: Matrix,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Norm,
    pub(super) head: Matrix,
    pub(super) ropes: Vec<Rope>,
    pub(super) activation: Activation,
    pub(super) family: Family,
    pub(super) found: Found,
}

/// What the plan noticed about the tensors.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) used: BTreeSet<String>,
    pub(super) missing: Vec<String>,
    pub(super) misshaped: Vec<String>,
    /// Layers that the files hold.
    pub(super) layers: usize,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This program does not know how to run it: says nothing about the model.
    Unsupported(String),
    /// The config does not describe a model.
    Wrong(String),
}

/// Plans the decoder that a config describes.
pub(super) fn make(config: &ModelConfig, tensors: &Tensors) -> Result<Plan, Refusal> {
    let architecture =
        config.architecture().ok_or_else(|| Refusal::Unsupported("config.json names no architecture".into()))?;
    if let Some(method) = &config.quantization {
        let reason = format!("weights quantized with `{method}` are not run, only their headers are checked");
        return Err(Refusal::Unsupported(reason));
    }
    let family = family::of(architecture, config)?;
    let mut builder = Builder::new(config, tensors, &family)?;
    let embedding = builder.embedding();
    let ropes = rope::all(config, builder.head_dim)?;
    let layers = (0..builder.layers).map(|index| layer::plan(&mut builder, index)).collect::<Result<_, _>>()?;
    let norm = builder.final_norm();
    let head = builder.head(&embedding);
    let activation = Activation::named(config.activation.as_deref().unwrap_or("silu"))?;
    let Builder { heads, kv_heads, head_dim, found, .. } = builder;
    let norm_eps = config.norm_eps.unwrap_or(1e-6);
    Ok(Plan { heads, kv_heads, head_dim, norm_eps, embedding, layers, norm, head, ropes, activation, family, found })
}
