//! What only an architecture's name tells, of the decoders that name their tensors as Llama does.

use super::{
    Activation, Builder, NormKind, Origin, Refusal,
    rope::{self, Usual},
};

/// Which layers see only a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Windows {
    /// None, whatever the config says.
    Never,
    /// All of them.
    Always,
    /// As `layer_types` says, else all but every nth.
    EveryNthFull(usize),
    /// Only with `use_sliding_window`: as `layer_types` says, else from `max_window_layers` on.
    Qwen2,
    /// Only with `use_sliding_window`: every other one below `max_window_layers`.
    Qwen2Moe,
    /// Only with `use_sliding_window`: all of them.
    Qwen3Moe,
    /// Only with `use_sliding_window`: as `layer_types` says, else those without position embedding.
    Smol,
}

/// Where a layer's norms stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Norms {
    /// In front of each part.
    Before,
    /// One in front of both parts, which run side by side.
    Shared,
    /// Behind each part.
    After,
    /// In front and behind, as Gemma names them.
    Sandwich,
    /// In front and behind, as GLM 4 names them.
    GlmSandwich,
}

/// Which layers turn queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    All,
    /// All but those that `no_rope_layers` marks with 0.
    Marked,
    /// Those that see only a window.
    Windowed,
}

/// The quirks of an architecture.
#[expect(clippy::struct_excessive_bools, reason = "each is a quirk of its own")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Quirks {
    pub(super) norm: NormKind,
    pub(super) eps: f64,
    /// Norms have weights.
    pub(super) affine: bool,
    pub(super) norms: Norms,
    pub(super) windows: Windows,
    pub(super) turned: Turned,
    pub(super) rope: Usual,
    pub(super) activation: Activation,
    pub(super) embedding_scale: f64,
    pub(super) residual_scale: f64,
    pub(super) logits_scale: f64,
    /// `None`: one over the root of the heads' width.
    pub(super) attention_scale: Option<f64>,
    pub(super) attention_cap: Option<f64>,
    pub(super) logits_cap: Option<f64>,
    pub(super) qkv_clip: Option<f64>,
    /// The head is the embedding where the config does not say.
    pub(super) tied: bool,
    /// Windowed layers do not stretch their position embedding.
    pub(super) plain_windows: bool,
    /// Queries and keys are normed behind the rotation.
    pub(super) norm_after_rope: bool,
}

/// Returns the quirks of an architecture.
pub(super) fn of(architecture: &str, builder: &Builder<'_>) -> Result<Quirks, Refusal> {
    let number = |name: &str| builder.number(name);
    let flag = |name: &str| builder.flag(name).unwrap_or(false);
    // The converter reorders the rows of what it calls `llama`, so that neighbours are turned.
    let interleaved = builder.origin == Origin::Gguf && builder.config.model_type.as_deref() == Some("llama");
    let base = Quirks {
        norm: NormKind::Rms,
        eps: 1e-6,
        affine: true,
        norms: Norms::Before,
        windows: Windows::Never,
        turned: Turned::All,
        rope: Usual { interleaved, ..Usual::default() },
        activation: activation(architecture, builder)?,
        embedding_scale: 1.0,
        residual_scale: 1.0,
        logits_scale: 1.0,
        attention_scale: None,
        attention_cap: None,
        logits_cap: None,
        qkv_clip: None,
        tied: false,
        plain_windows: false,
        norm_after_rope: false,
    };
    let half = Usual { fraction: 0.5, ..Usual::default() };
    let beside = Usual { interleaved: true, ..Usual::default() };
    Ok(match architecture {
        "LlamaForCausalLM" | "ArceeForCausalLM" | "SeedOssForCausalLM" | "InternLM3ForCausalLM" | "CwmForCausalLM" => {
            let windows = if architecture == "CwmForCausalLM" { Windows::EveryNthFull(4) } else { Windows::Never };
            Quirks { windows, ..base }
        }
        "MistralForCausalLM" | "MixtralForCausalLM" | "Phi3ForCausalLM" => Quirks { windows: Windows::Always, ..base },
        "MinistralForCausalLM" => Quirks { windows: Windows::EveryNthFull(1), ..base },
        "PhimoeForCausalLM" | "PhiMoEForCausalLM" => {
            Quirks { norm: NormKind::Layer, eps: 1e-5, windows: Windows::Always, ..base }
        }
        "Starcoder2ForCausalLM" => {
            Quirks { windows: Windows::Always, norm: NormKind::Layer, eps: 1e-5, tied: true, ..base }
        }
        "Qwen2ForCausalLM" | "Qwen3ForCausalLM" => Quirks { windows: Windows::Qwen2, ..base },
        "Qwen2MoeForCausalLM" => Quirks { windows: Windows::Qwen2Moe, ..base },
        "Qwen3MoeForCausalLM" => Quirks { windows: Windows::Qwen3Moe, ..base },
        "SmolLM3ForCausalLM" => {
            let rope = Usual { theta: 2_000_000.0, ..Usual::default() };
            Quirks { windows: Windows::Smol, turned: Turned::Marked, tied: true, rope, ..base }
        }
        "GemmaForCausalLM" => gemma(builder, base)?,
        "Gemma2ForCausalLM" => {
            let (attention_cap, logits_cap) = (number("attn_logit_softcapping"), number("final_logit_softcapping"));
            let windows = Windows::EveryNthFull(2);
            Quirks {
                attention_cap,
                logits_cap,
                windows,
                norms: Norms::Sandwich,
                ..scaled(builder, gemma(builder, base)?)
            }
        }
        "Gemma3ForCausalLM" | "Gemma3ForConditionalGeneration" | "Gemma3TextModel" => gemma3(builder, base)?,
        "OlmoForCausalLM" => {
            Quirks { norm: NormKind::Layer, eps: 1e-5, affine: false, qkv_clip: number("clip_qkv"), ..base }
        }
        "OlmoeForCausalLM" => Quirks { eps: 1e-5, qkv_clip: number("clip_qkv"), ..base },
        "Olmo2ForCausalLM" => Quirks { eps: 1e-5, norms: Norms::After, ..base },
        "Olmo3ForCausalLM" => {
            Quirks { eps: 1e-5, norms: Norms::After, windows: Windows::EveryNthFull(4), plain_windows: true, ..base }
        }
        "Exaone4ForCausalLM" => exaone4(builder, base),
        "GraniteForCausalLM" => Quirks {
            embedding_scale: number("embedding_multiplier").unwrap_or(1.0),
            residual_scale: number("residual_multiplier").unwrap_or(1.0),
            attention_scale: number("attention_multiplier").or(Some(1.0)),
            logits_scale: 1.0 / number("logits_scaling").filter(|scale| *scale != 0.0).unwrap_or(1.0),
            ..base
        },
        "StableLmForCausalLM" | "StableLMEpochForCausalLM" => Quirks {
            norm: NormKind::Layer,
            eps: 1e-5,
            norms: if flag("use_parallel_residual") { Norms::Shared } else { Norms::Before },
            rope: Usual { fraction: 0.25, ..Usual::default() },
            ..base
        },
        "PhiForCausalLM" => Quirks { norm: NormKind::Layer, eps: 1e-5, norms: Norms::Shared, rope: half, ..base },
        "NemotronForCausalLM" => Quirks { norm: NormKind::LayerPlusOne, eps: 1e-5, rope: half, ..base },
        "CohereForCausalLM" | "Cohere2ForCausalLM" => Quirks {
            norm: NormKind::Layer,
            eps: 1e-5,
            norms: Norms::Shared,
            logits_scale: number("logit_scale").unwrap_or(0.0625),
            rope: beside,
            tied: true,
            windows: if architecture == "Cohere2ForCausalLM" { Windows::EveryNthFull(4) } else { Windows::Never },
            turned: if architecture == "Cohere2ForCausalLM" { Turned::Windowed } else { Turned::All },
            ..base
        },
        "GlmForCausalLM" | "Glm4ForCausalLM" => Quirks {
            eps: if architecture == "GlmForCausalLM" { 1.562_5e-7 } else { 1e-5 },
            norms: if architecture == "Glm4ForCausalLM" { Norms::GlmSandwich } else { Norms::Before },
            rope: Usual { fraction: 0.5, ..beside },
            ..base
        },
        "HeliumForCausalLM" => Quirks { eps: 1e-8, rope: Usual { theta: 100_000.0, ..beside }, ..base },
        "Ernie4_5ForCausalLM" => Quirks { eps: 1e-5, rope: Usual { theta: 500_000.0, ..beside }, tied: true, ..base },
        "HunYuanDenseV1ForCausalLM" => Quirks { eps: 1e-5, norm_after_rope: true, ..base },
        "GptOssForCausalLM" => {
            let rope = Usual { theta: 150_000.0, ..Usual::default() };
            Quirks { eps: 1e-5, windows: Windows::EveryNthFull(2), rope, ..base }
        }
        other => return Refusal::unsupported(format!("the architecture `{other}` is not supported yet")),
    })
}

/// The activation that the config names, or the family's own.
fn activation(architecture: &str, builder: &Builder<'_>) -> Result<Activation, Refusal> {
    let usual = match architecture {
        "GemmaForCausalLM" | "Gemma2ForCausalLM" | "Starcoder2ForCausalLM" => "gelu_pytorch_tanh",
        name if name.starts_with("Gemma3") => "gelu_pytorch_tanh",
        "PhiForCausalLM" => "gelu_new",
        "NemotronForCausalLM" | "ArceeForCausalLM" => "relu2",
        _ => "silu",
    };
    let named = match architecture {
        // Two fields, of which the newer counts; the older says `gelu` and means the approximation.
        name if name.starts_with("Gemma") => builder.text("hidden_activation").or(builder.text("hidden_act")),
        _ => builder.config.activation.as_deref(),
    };
    match named {
        Some("gelu") if architecture.starts_with("Gemma") => Activation::named("gelu_pytorch_tanh"),
        named => Activation::named(named.unwrap_or(usual)),
    }
}

fn gemma(builder: &Builder<'_>, base: Quirks) -> Result<Quirks, Refusal> {
    if builder.flag("use_bidirectional_attention") == Some(true) {
        return Refusal::unsupported("attention in both directions is not supported for Gemma");
    }
    #[expect(clippy::cast_precision_loss, reason = "a width is far below 2^52")]
    let width = builder.hidden()? as f64;
    let norm = if builder.origin == Origin::Gguf { NormKind::Rms } else { NormKind::RmsPlusOne };
    Ok(Quirks { norm, embedding_scale: width.sqrt(), tied: true, ..base })
}

fn scaled(builder: &Builder<'_>, base: Quirks) -> Quirks {
    let scalar = builder.number("query_pre_attn_scalar").filter(|scalar| *scalar > 0.0).unwrap_or(256.0);
    Quirks { attention_scale: Some(scalar.powf(-0.5)), ..base }
}

fn gemma3(builder: &Builder<'_>, base: Quirks) -> Result<Quirks, Refusal> {
    let (attention_cap, logits_cap) =
        (builder.number("attn_logit_softcapping"), builder.number("final_logit_softcapping"));
    let rope = Usual { theta: 1_000_000.0, ..Usual::default() };
    let windows = Windows::EveryNthFull(6);
    let base = scaled(builder, gemma(builder, base)?);
    Ok(Quirks { attention_cap, logits_cap, rope, windows, norms: Norms::Sandwich, plain_windows: true, ..base })
}

/// The large one has windows in three layers of four and turns only there; the small one turns everywhere.
fn exaone4(builder: &Builder<'_>, base: Quirks) -> Quirks {
    let base = Quirks { eps: 1e-5, norms: Norms::After, ..base };
    match builder.config.sliding_window {
        Some(_) => Quirks { windows: Windows::EveryNthFull(4), turned: Turned::Windowed, ..base },
        None => base,
    }
}

/// Returns the position embeddings of a decoder: of layers that see everything, and of windowed ones.
pub(super) fn ropes(builder: &Builder<'_>, quirks: &Quirks, head_dim: usize) -> Result<Vec<rope::Rope>, Refusal> {
    let full = rope::full(builder, head_dim, quirks.rope)?;
    let sliding = rope::sliding(builder, head_dim, quirks.rope)?;
    let sliding = match sliding {
        Some(sliding) => sliding,
        None if quirks.plain_windows && quirks.norms == Norms::Sandwich => {
            // Gemma 3 turns windowed layers by a base of their own.
            let usual = Usual { theta: 10_000.0, ..quirks.rope };
            rope::local(builder, head_dim, usual)?
        }
        None if quirks.plain_windows => rope::unstretched(builder, head_dim, quirks.rope)?,
        None => full.clone(),
    };
    Ok(vec![full, sliding])
}
