//! A tiny Llama's shape and its weights as plain numbers: made at random, merged, rounded, written.

use std::{collections::BTreeMap, f32::consts::TAU};

use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};

use super::Error;

/// Number of tokens.
pub(super) const VOCABULARY: usize = 496;
/// Width of the residual stream.
pub(super) const HIDDEN: usize = 64;
/// Width of the feed-forward layer; a multiple of 32, as `Q8_0` wants it.
pub(super) const INTERMEDIATE: usize = 192;
/// Number of layers.
pub(super) const LAYERS: usize = 4;
/// Number of query heads.
pub(super) const HEADS: usize = 4;
/// Number of key and value heads.
pub(super) const KV_HEADS: usize = 2;
/// Width of a head.
pub(super) const HEAD: usize = HIDDEN / HEADS;
/// Longest sequence.
pub(super) const CONTEXT: usize = 128;
/// Epsilon of the norms.
pub(super) const EPSILON: f64 = 1e-5;
/// Base of the rotary frequencies.
pub(super) const THETA: f32 = 10_000.0;
/// Token that begins a text.
pub(super) const BEGIN: u32 = 0;
/// Token that ends a text.
pub(super) const END: u32 = 1;

/// A tensor's values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Array {
    /// Dimensions, outermost first.
    pub(super) shape: Vec<usize>,
    /// Row after row.
    pub(super) values: Vec<f32>,
}

/// Tensors by name.
pub(super) type Weights = BTreeMap<String, Array>;

/// Returns names and shapes of a whole model.
pub(super) fn shapes() -> Vec<(String, Vec<usize>)> {
    let narrow = KV_HEADS * HEAD;
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
        ("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (part, shape) in [
            ("input_layernorm", vec![HIDDEN]),
            ("self_attn.q_proj", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj", vec![narrow, HIDDEN]),
            ("self_attn.v_proj", vec![narrow, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
            ("mlp.gate_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.up_proj", vec![INTERMEDIATE, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, INTERMEDIATE]),
        ] {
            shapes.push((format!("model.layers.{layer}.{part}.weight"), shape));
        }
    }
    shapes
}

/// Returns weights as a model has them before it has learned anything.
pub(super) fn random(seed: u64) -> Weights {
    let mut numbers = Random::new(seed);
    shapes()
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            let is_norm = shape.len() == 1;
            let values = (0..count).map(|_| if is_norm { 1.0 } else { 0.02 * numbers.normal() }).collect();
            (name, Array { shape, values })
        })
        .collect()
}

/// Returns the mean of two models, value by value.
pub(super) fn merge(first: &Weights, second: &Weights) -> Weights {
    let mean = |a: &Array, b: &Array| {
        let values = a.values.iter().zip(&b.values).map(|(a, b)| f32::midpoint(*a, *b)).collect();
        Array { shape: a.shape.clone(), values }
    };
    first.iter().filter_map(|(name, a)| Some((name.clone(), mean(a, second.get(name)?)))).collect()
}

/// Rounds every value to the nearest that BF16 has.
pub(super) fn round(weights: &mut Weights) {
    for value in weights.values_mut().flat_map(|array| &mut array.values) {
        *value = f32::from_bits(u32::from(to_bf16(*value)) << 16);
    }
}

/// Returns a safetensors file with the weights as BF16.
pub(super) fn to_safetensors(weights: &Weights) -> Result<Vec<u8>, Error> {
    let bytes: Vec<Vec<u8>> = weights
        .values()
        .map(|array| array.values.iter().flat_map(|value| to_bf16(*value).to_le_bytes()).collect())
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for ((name, array), bytes) in weights.iter().zip(&bytes) {
        views.push((name, TensorView::new(Dtype::BF16, array.shape.clone(), bytes)?));
    }
    let format = [("format".to_owned(), "pt".to_owned())].into();
    Ok(serialize(views, Some(format))?)
}

/// Rounds to the nearest, ties to even; the values here are finite.
fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    let [_, _, low, high] = rounded.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// Returns `config.json`.
pub(super) fn config() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": CONTEXT,
        "mlp_bias": false,
        "model_type": "llama",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "tie_word_embeddings": false,
        "torch_dtype": "bfloat16",
        "use_cache": true,
        "vocab_size": VOCABULARY,
    })
}

/// Numbers that are the same on every machine and in every release: `SplitMix64`.
pub(super) struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where there is none.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % limit).unwrap_or(0)
    }

    #[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32")]
    fn unit(&mut self) -> f32 {
        ((self.next() >> 40) as f32 + 0.5) / (1_u32 << 24) as f32
    }

    /// A number of the standard normal distribution.
    pub(super) fn normal(&mut self) -> f32 {
        let (radius, angle) = (self.unit(), self.unit());
        (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
    }
}
