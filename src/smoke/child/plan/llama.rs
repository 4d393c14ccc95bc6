//! Decoders that name their tensors as Llama does: `model.layers.N.self_attn.q_proj`, `model.layers.N.mlp.up_proj`.

use serde_json::Value;

use super::{
    Attention, Builder, Embedding, Form, Head, HeadNorm, Layer, Matrix, Mixer, Mlp, Norm, Order, Plan, Qkv, Refusal,
    Scope, Scoring, experts,
    experts::Style,
    quirks::{self, Norms, Quirks, Turned, Windows},
};

/// Plans a decoder of the Llama kind; an architecture that is not known is refused.
pub(super) fn plan(architecture: &str, mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("model.", "embed_tokens", "layers");
    builder.usual_head_dim = architecture.starts_with("Gemma").then_some(256);
    let quirks = quirks::of(architecture, &builder)?;
    known_layers(&builder)?;
    let hidden = builder.hidden()?;
    let vocabulary = builder.words(&format!("{}embed_tokens", builder.prefix))?;
    let ropes = quirks::ropes(&builder, &quirks, builder.head_dim()?)?;
    let tokens = builder.table(&format!("{}embed_tokens", builder.prefix), vocabulary, hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, &quirks, index)).collect::<Result<_, _>>()?;
    let last = ["norm", "final_layernorm"].iter().map(|name| format!("{}{name}", builder.prefix));
    let last = last.clone().find(|name| builder.has(&format!("{name}.weight"))).or_else(|| last.clone().next());
    let norm = norm(&mut builder, &quirks, &last.unwrap_or_default(), hidden);
    let head = builder.head(&["lm_head"], &tokens, quirks.tied);
    let head = Head { scale: quirks.logits_scale, cap: quirks.logits_cap, ..head };
    Ok(Plan {
        architecture: String::new(),
        embedding: Embedding { scale: quirks.embedding_scale, ..Embedding::plain(tokens) },
        layers,
        norm: Some(norm),
        bridge: Vec::new(),
        head: Some(head),
        ropes,
        is_encoder: false,
        t5: None,
        found: builder.found,
    })
}

/// Refuses layers of a kind that this does not run: linear attention, attention in chunks.
fn known_layers(builder: &Builder<'_>) -> Result<(), Refusal> {
    let types = builder.config.raw.get("layer_types").and_then(Value::as_array).into_iter().flatten();
    let known = ["full_attention", "sliding_attention"];
    match types.filter_map(Value::as_str).find(|name| !known.contains(name)) {
        Some(name) => {
            Refusal::unsupported(format!("layers of the type `{}`", name.chars().take(60).collect::<String>()))
        }
        None => Ok(()),
    }
}

fn norm(builder: &mut Builder<'_>, quirks: &Quirks, name: &str, width: usize) -> Norm {
    let eps = builder.eps(quirks.eps);
    if quirks.affine {
        return builder.norm(quirks.norm, eps, name, width);
    }
    Norm { kind: quirks.norm, eps, weight: None, bias: None }
}

fn layer(builder: &mut Builder<'_>, quirks: &Quirks, index: usize) -> Result<Layer, Refusal> {
    let hidden = builder.hidden()?;
    let names = match quirks.norms {
        Norms::Before => [Some("input_layernorm"), None, Some("post_attention_layernorm"), None],
        Norms::Shared => [Some("input_layernorm"), None, None, None],
        Norms::After => [None, Some("post_attention_layernorm"), None, Some("post_feedforward_layernorm")],
        Norms::Sandwich => [
            Some("input_layernorm"),
            Some("post_attention_layernorm"),
            Some("pre_feedforward_layernorm"),
            Some("post_feedforward_layernorm"),
        ],
        Norms::GlmSandwich => [
            Some("input_layernorm"),
            Some("post_self_attn_layernorm"),
            Some("post_attention_layernorm"),
            Some("post_mlp_layernorm"),
        ],
    };
    let [before_mixer, after_mixer, before_mlp, after_mlp] = names.map(|name| {
        let name = builder.in_layer(index, name?);
        Some(norm(builder, quirks, &name, hidden))
    });
    Ok(Layer {
        order: if quirks.norms == Norms::Shared { Order::Parallel } else { Order::Sequential },
        before_mixer,
        mixer: Mixer::Attention(Box::new(attention(builder, quirks, index)?)),
        after_mixer,
        before_mlp,
        mlp: Some(mlp(builder, quirks, index)?),
        after_mlp,
        residual_scale: quirks.residual_scale,
    })
}

fn attention(builder: &mut Builder<'_>, quirks: &Quirks, index: usize) -> Result<Attention, Refusal> {
    let (heads, kv_heads, head_dim) = (builder.heads()?, builder.kv_heads()?, builder.head_dim()?);
    let hidden = builder.hidden()?;
    let outputs = ["self_attn.o_proj", "self_attn.dense", "self_attn.out_proj"];
    let outputs = outputs.map(|name| builder.in_layer(index, name));
    let output = outputs.iter().find(|name| builder.has(&format!("{name}.weight"))).unwrap_or(&outputs[0]);
    let is_sliding = is_sliding(builder, quirks, index);
    let marked = builder.config.raw.get("no_rope_layers").and_then(|flags| flags.get(index)).and_then(Value::as_u64);
    let turns = match quirks.turned {
        Turned::All => true,
        // Where the config does not mark them, every fourth is left unturned.
        Turned::Marked => marked.map_or(!(index + 1).is_multiple_of(no_rope_interval(builder)), |mark| mark != 0),
        Turned::Windowed => is_sliding,
    };
    let window = builder.config.sliding_window.filter(|width| *width > 0 && is_sliding);
    #[expect(clippy::cast_precision_loss, reason = "a head is at most 1024 wide")]
    let scale = quirks.attention_scale.unwrap_or_else(|| (head_dim as f64).powf(-0.5));
    let sinks = builder.in_layer(index, "self_attn.sinks");
    Ok(Attention {
        heads,
        kv_heads,
        head_dim,
        qkv: qkv(builder, index)?,
        q_norm: head_norm(builder, quirks, index, &["q_norm", "q_layernorm", "query_layernorm"], heads)?,
        k_norm: head_norm(builder, quirks, index, &["k_norm", "k_layernorm", "key_layernorm"], kv_heads)?,
        output: builder.linear(output, hidden, heads * head_dim),
        scale,
        cap: quirks.attention_cap,
        clip: quirks.qkv_clip,
        causal: true,
        window: window.map(|width| usize::try_from(width).unwrap_or(usize::MAX)),
        rope: turns.then_some(usize::from(is_sliding)),
        slopes: None,
        slopes_before_scale: false,
        sinks: builder.optional(&sinks, heads),
    })
}

fn no_rope_interval(builder: &Builder<'_>) -> usize {
    builder.size("no_rope_layer_interval").unwrap_or(4).max(1)
}

fn qkv(builder: &mut Builder<'_>, index: usize) -> Result<Qkv, Refusal> {
    let (hidden, head_dim) = (builder.hidden()?, builder.head_dim()?);
    let (q, kv) = (builder.heads()? * head_dim, builder.kv_heads()? * head_dim);
    if builder.any_layer_has("self_attn.qkv_proj.weight") {
        let name = builder.in_layer(index, "self_attn.qkv_proj");
        return Ok(Qkv::Fused { matrix: builder.linear(&name, q + 2 * kv, hidden), groups: 1 });
    }
    let mut part = |name: &str, rows: usize| {
        let name = builder.in_layer(index, name);
        builder.linear(&name, rows, hidden)
    };
    Ok(Qkv::Separate {
        q: part("self_attn.q_proj", q),
        k: part("self_attn.k_proj", kv),
        v: part("self_attn.v_proj", kv),
    })
}

/// A norm over queries or keys: the shape of its weights tells what it looks at.
fn head_norm(
    builder: &mut Builder<'_>,
    quirks: &Quirks,
    index: usize,
    names: &[&str],
    heads: usize,
) -> Result<Option<HeadNorm>, Refusal> {
    let (eps, head_dim) = (builder.eps(quirks.eps), builder.head_dim()?);
    let norm = |scope, weights, biases| {
        Some(HeadNorm { kind: quirks.norm, eps, scope, weights, biases, after_rope: quirks.norm_after_rope })
    };
    for name in names {
        let each = format!("self_attn.{name}.norms");
        if builder.any_layer_has(&format!("{each}.0.weight")) {
            let place = |head: usize| builder.in_layer(index, &format!("{each}.{head}.weight"));
            let places: Vec<String> = (0..heads).map(place).collect();
            let weights = places.iter().map(|name| builder.vector(name, head_dim)).collect();
            return Ok(norm(Scope::EachHead, weights, Vec::new()));
        }
        if !builder.any_layer_has(&format!("self_attn.{name}.weight")) {
            continue;
        }
        let weight = builder.in_layer(index, &format!("self_attn.{name}.weight"));
        let bias = builder.in_layer(index, &format!("self_attn.{name}.bias"));
        let shape = builder.shape(&weight).unwrap_or_default();
        if shape.len() > 1 {
            return Ok(norm(Scope::EachHead, vec![builder.numbers(&weight, &[heads, head_dim])], Vec::new()));
        }
        let is_whole = shape.first().is_some_and(|width| *width != head_dim);
        let (scope, width) = if is_whole { (Scope::All, heads * head_dim) } else { (Scope::Head, head_dim) };
        let bias = builder.optional(&bias, width).into_iter().collect();
        return Ok(norm(scope, vec![builder.vector(&weight, width)], bias));
    }
    Ok(None)
}

fn mlp(builder: &mut Builder<'_>, quirks: &Quirks, index: usize) -> Result<Mlp, Refusal> {
    let activation = quirks.activation;
    if let Some(experts) = experts::plan(builder, index, &style(builder, quirks, index))? {
        return Ok(Mlp::Experts(Box::new(experts)));
    }
    let hidden = builder.hidden()?;
    let width = builder.config.intermediate_size.and_then(|width| usize::try_from(width).ok());
    let width = width.ok_or_else(|| Refusal::absent("intermediate_size"))?;
    let linear = |builder: &mut Builder<'_>, name: &str, rows: usize, cols: usize| -> Matrix {
        let name = builder.in_layer(index, &format!("mlp.{name}"));
        builder.linear(&name, rows, cols)
    };
    for (up, down) in [("c_fc", "c_proj"), ("fc1", "fc2")] {
        if builder.any_layer_has(&format!("mlp.{up}.weight")) {
            let (up, down) = (linear(builder, up, width, hidden), linear(builder, down, hidden, width));
            return Ok(Mlp::Plain { up, down, activation });
        }
    }
    let down = linear(builder, "down_proj", hidden, width);
    if builder.any_layer_has("mlp.gate_up_proj.weight") {
        let both = linear(builder, "gate_up_proj", 2 * width, hidden);
        return Ok(Mlp::FusedGated { both, down, form: Form::Halves, activation });
    }
    let up = linear(builder, "up_proj", width, hidden);
    if !builder.any_layer_has("mlp.gate_proj.weight") && builder.any_layer_has("mlp.up_proj.weight") {
        // Nemotron and Arcee have no gate; of all others one is missing.
        let is_plain = matches!(builder.config.architecture(), Some("NemotronForCausalLM" | "ArceeForCausalLM"));
        if is_plain {
            return Ok(Mlp::Plain { up, down, activation });
        }
    }
    Ok(Mlp::Gated { gate: linear(builder, "gate_proj", width, hidden), up, down, activation })
}

/// How a family chooses its experts.
fn style(builder: &Builder<'_>, quirks: &Quirks, index: usize) -> Style {
    let usual = Style::usual(quirks.activation);
    match builder.config.architecture() {
        Some("GptOssForCausalLM") => Style { scoring: Scoring::SoftmaxOfChosen, ..usual },
        Some("PhimoeForCausalLM" | "PhiMoEForCausalLM") => {
            let jitter = builder.number("router_jitter_noise").unwrap_or(0.01);
            Style { scoring: Scoring::Sparsemixer { jitter }, fixed: true, ..usual }
        }
        Some("MixtralForCausalLM") => Style { normalize: true, fixed: true, ..usual },
        _ => {
            let mixtral = builder.has(&builder.in_layer(index, "block_sparse_moe.gate.weight"));
            Style { normalize: mixtral, ..usual }
        }
    }
}

/// Whether a layer is one that sees only a window, by `layer_types` or the family's rule.
fn is_sliding(builder: &Builder<'_>, quirks: &Quirks, index: usize) -> bool {
    let raw = &builder.config.raw;
    let named = raw.get("layer_types").and_then(|types| types.get(index)).and_then(Value::as_str);
    let named = named.map(|name| name == "sliding_attention");
    let used = builder.flag("use_sliding_window").unwrap_or(false);
    let limit = builder.size("max_window_layers").unwrap_or(28);
    match quirks.windows {
        Windows::Never => false,
        Windows::Always => true,
        Windows::EveryNthFull(n) => named.unwrap_or_else(|| {
            let pattern = builder.size("sliding_window_pattern").or(builder.size("_sliding_window_pattern"));
            !(index + 1).is_multiple_of(pattern.unwrap_or(n).max(1))
        }),
        Windows::Qwen2 => used && named.unwrap_or(index >= limit),
        Windows::Qwen2Moe => used && named.unwrap_or(index.is_multiple_of(2) && index < limit),
        Windows::Qwen3Moe => used,
        Windows::Smol => {
            let marks = raw.get("no_rope_layers").and_then(|flags| flags.get(index)).and_then(Value::as_u64);
            let unturned = marks.map_or((index + 1).is_multiple_of(no_rope_interval(builder)), |mark| mark == 0);
            used && named.unwrap_or(unturned)
        }
    }
}
