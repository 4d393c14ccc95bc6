//! What a model consists of, read from config and tensor names, before a byte of weights is touched.
//!
//! The presence of tensors decides biases, norms, fused projections, experts and tied heads; the architecture decides
//! only quirks, in one file per family of them. On the way the plan notes what is missing or has another shape, and
//! which tensors are used. What is not known is refused, never treated as the usual.

mod alibi;
mod builder;
mod encoder;
mod experts;
mod fused;
mod gpt;
mod latent;
mod llama;
mod parts;
mod quirks;
mod recurrent;
mod rope;
mod t5;

use crate::formats::config::ModelConfig;

use super::tensors::Tensors;
use builder::Builder;
pub(super) use parts::{
    Activation, Attention, Chunk, Conv, Experts, Form, Found, HeadNorm, Latent, Layer, Mamba, Mamba2, Matrix, Mixer,
    Mlp, Norm, NormKind, Order, Positions, Projection, Qkv, Router, Scope, Scoring, Vector,
};
pub(super) use rope::Rope;
pub(super) use t5::{Look, Stack, T5};

/// A whole model.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) architecture: String,
    pub(super) embedding: Embedding,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Option<Norm>,
    /// Applied to the last state, before the head: OPT's projection, BERT's transformation.
    pub(super) bridge: Vec<Projection>,
    /// `None`: the model ends in states, not in words.
    pub(super) head: Option<Head>,
    pub(super) ropes: Vec<Rope>,
    /// Reads in both directions: gives no likelihood of a text and writes nothing.
    pub(super) is_encoder: bool,
    /// An encoder and a decoder; the fields above are the decoder's then.
    pub(super) t5: Option<T5>,
    pub(super) found: Found,
}

impl Plan {
    /// The number of layers that the config asks for.
    pub(super) fn depth(&self) -> usize {
        self.t5.as_ref().map_or(self.layers.len(), |t5| t5.encoder.blocks.len())
    }
}

/// From tokens to the first state.
#[derive(Debug)]
pub(super) struct Embedding {
    pub(super) tokens: Matrix,
    pub(super) scale: f64,
    pub(super) positions: Option<Positions>,
    /// A table of token types, of which everything is the first.
    pub(super) types: Option<Matrix>,
    pub(super) norm: Option<Norm>,
    pub(super) projection: Option<Matrix>,
}

impl Embedding {
    fn plain(tokens: Matrix) -> Self {
        Self { tokens, scale: 1.0, positions: None, types: None, norm: None, projection: None }
    }
}

/// From the last state to a value for each word.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) matrix: Matrix,
    pub(super) scale: f64,
    pub(super) cap: Option<f64>,
}

/// Who wrote the weights: conversion changes some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Transformers,
    /// llama.cpp's converter: Llama's queries and keys are reordered for neighbours to be turned, Gemma's norms whole.
    Gguf,
}

impl Origin {
    /// Where the shape of the model is written down.
    pub(super) fn source(self) -> &'static str {
        match self {
            Self::Transformers => "config.json",
            Self::Gguf => "the metadata",
        }
    }
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// This program does not know how to run it: says nothing about the model.
    Unsupported(String),
    /// The config does not describe a model.
    Wrong(String),
}

impl Refusal {
    fn unsupported<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self::Unsupported(reason.into()))
    }

    /// The config leaves something to its class, whose defaults are not known here.
    fn absent(field: &str) -> Self {
        Self::Unsupported(format!("config.json has no `{field}`"))
    }
}

/// Plans the model that a config describes.
pub(super) fn make(config: &ModelConfig, tensors: &Tensors, origin: Origin) -> Result<Plan, Refusal> {
    let architecture =
        config.architecture().ok_or_else(|| Refusal::Unsupported("config.json names no architecture".into()))?;
    if let Some(method) = &config.quantization {
        return Refusal::unsupported(format!(
            "weights quantized with `{method}` are not run, only their headers are checked"
        ));
    }
    let builder = Builder::new(config, tensors, origin);
    let mut plan = match architecture {
        "GPT2LMHeadModel" | "GPTBigCodeForCausalLM" | "GPTJForCausalLM" | "OPTForCausalLM" => {
            gpt::plan(architecture, builder)
        }
        "GPTNeoXForCausalLM" | "PersimmonForCausalLM" => fused::plan(architecture, builder),
        "BloomForCausalLM" | "MptForCausalLM" | "MPTForCausalLM" | "FalconForCausalLM" | "RWForCausalLM" => {
            alibi::plan(architecture, builder)
        }
        "DeepseekV2ForCausalLM" | "DeepseekV3ForCausalLM" => latent::plan(architecture, builder),
        "MambaForCausalLM" | "FalconMambaForCausalLM" | "Mamba2ForCausalLM" | "Lfm2ForCausalLM" => {
            recurrent::plan(architecture, builder)
        }
        name if encoder::is_one(name) => encoder::plan(name, builder),
        "T5ForConditionalGeneration"
        | "T5EncoderModel"
        | "T5Model"
        | "MT5ForConditionalGeneration"
        | "MT5EncoderModel"
        | "UMT5ForConditionalGeneration"
        | "UMT5EncoderModel" => t5::plan(architecture, builder),
        name => llama::plan(name, builder),
    }?;
    architecture.clone_into(&mut plan.architecture);
    Ok(plan)
}
