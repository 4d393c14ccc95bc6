//! The quirks that only the architecture's name tells.

use serde_json::Value;

use super::Refusal;
use crate::formats::config::ModelConfig;

/// How a norm computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::smoke::child) enum NormKind {
    /// Root mean square.
    Rms,
    /// Root mean square, with weights stored less one.
    RmsPlusOne,
    /// Mean and variance.
    Layer,
}

/// Where position embedding applies, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::smoke::child) enum Windows {
    /// Every layer sees everything, whatever the config says.
    Never,
    /// `sliding_window` applies to each layer.
    Always,
    /// `layer_types` decides, or this pattern: every nth layer sees everything.
    EveryNthFull(usize),
    /// Only with `use_sliding_window`, from `max_window_layers` on, or as `layer_types` says.
    Qwen,
}

/// The activation of the feed-forward part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::smoke::child) enum Activation {
    Silu,
    Gelu,
    GeluTanh,
    Relu,
}

impl Activation {
    /// The activation of this name in a config.
    pub(super) fn named(name: &str) -> Result<Self, Refusal> {
        Ok(match name {
            "silu" | "swish" => Self::Silu,
            "gelu" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Self::GeluTanh,
            "relu" => Self::Relu,
            other => return Err(Refusal::Unsupported(format!("the activation `{other}` is not supported"))),
        })
    }
}

/// The quirks of a family of architectures.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Family {
    pub(in crate::smoke::child) norm: NormKind,
    pub(super) norms_without_weights: bool,
    pub(in crate::smoke::child) interleaved_rope: bool,
    pub(super) windows: Windows,
    /// Attention and feed-forward read the same input.
    pub(in crate::smoke::child) parallel: bool,
    pub(in crate::smoke::child) embedding_scale: f64,
    pub(in crate::smoke::child) residual_scale: f64,
    pub(in crate::smoke::child) logits_scale: f64,
    /// `None`: one over the root of the heads' width.
    pub(in crate::smoke::child) attention_scale: Option<f64>,
    pub(in crate::smoke::child) attention_cap: Option<f64>,
    pub(in crate::smoke::child) logits_cap: Option<f64>,
    pub(in crate::smoke::child) qkv_clip: Option<f64>,
}

const LLAMA: Family = Family {
    norm: NormKind::Rms,
    norms_without_weights: false,
    interleaved_rope: false,
    windows: Windows::Never,
    parallel: false,
    embedding_scale: 1.0,
    residual_scale: 1.0,
    logits_scale: 1.0,
    attention_scale: None,
    attention_cap: None,
    logits_cap: None,
    qkv_clip: None,
};

/// Returns the quirks of an architecture.
pub(super) fn of(architecture: &str, config: &ModelConfig) -> Result<Family, Refusal> {
    let number = |name: &str| config.raw.get(name).and_then(Value::as_f64).filter(|n| n.is_finite());
    let flag = |name: &str| config.raw.get(name).and_then(Value::as_bool).unwrap_or(false);
    Ok(match architecture {
        "LlamaForCausalLM" | "Olmo2ForCausalLM" => LLAMA,
        "MistralForCausalLM" | "MixtralForCausalLM" | "Phi3ForCausalLM" => Family { windows: Windows::Always, ..LLAMA },
        "Starcoder2ForCausalLM" => Family { windows: Windows::Always, norm: NormKind::Layer, ..LLAMA },
        "Qwen2ForCausalLM"
        | "Qwen3ForCausalLM"
        | "Qwen2MoeForCausalLM"
        | "Qwen3MoeForCausalLM"
        | "SmolLM3ForCausalLM" => Family { windows: Windows::Qwen, ..LLAMA },
        "GemmaForCausalLM" => gemma(config, Windows::Never),
        "Gemma2ForCausalLM" => Family {
            attention_scale: number("query_pre_attn_scalar").map(|scalar| scalar.powf(-0.5)),
            attention_cap: number("attn_logit_softcapping"),
            logits_cap: number("final_logit_softcapping"),
            ..gemma(config, Windows::EveryNthFull(2))
        },
        "Gemma3ForCausalLM" => Family {
            attention_scale: number("query_pre_attn_scalar").map(|scalar| scalar.powf(-0.5)),
            attention_cap: number("attn_logit_softcapping"),
            logits_cap: number("final_logit_softcapping"),
            ..gemma(config, Windows::EveryNthFull(6))
        },
        "OlmoForCausalLM" => {
            Family { norm: NormKind::Layer, norms_without_weights: true, qkv_clip: number("clip_qkv"), ..LLAMA }
        }
        "GraniteForCausalLM" => Family {
            embedding_scale: number("embedding_multiplier").unwrap_or(1.0),
            residual_scale: number("residual_multiplier").unwrap_or(1.0),
            attention_scale: number("attention_multiplier"),
            logits_scale: 1.0 / number("logits_scaling").filter(|scale| *scale != 0.0).unwrap_or(1.0),
            ..LLAMA
        },
        "StableLmForCausalLM" => Family { norm: NormKind::Layer, parallel: flag("use_parallel_residual"), ..LLAMA },
        "CohereForCausalLM" => Family {
            norm: NormKind::Layer,
            parallel: true,
            interleaved_rope: true,
            logits_scale: number("logit_scale").unwrap_or(0.0625),
            ..LLAMA
        },
        "HeliumForCausalLM" => Family { interleaved_rope: true, ..LLAMA },
        other => return Err(Refusal::Unsupported(format!("the architecture `{other}` is not supported yet"))),
    })
}

fn gemma(config: &ModelConfig, windows: Windows) -> Family {
    #[expect(clippy::cast_precision_loss, reason = "a width is far below 2^52")]
    let width = config.hidden_size.unwrap_or(1) as f64;
    Family { norm: NormKind::RmsPlusOne, embedding_scale: width.sqrt(), windows, ..LLAMA }
}
