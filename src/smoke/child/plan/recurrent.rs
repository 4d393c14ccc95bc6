//! Models that carry a state along instead of looking back: Mamba, Mamba 2, and LFM2's short convolutions.

use serde_json::Value;

use super::{
    Attention, Builder, Conv, Embedding, HeadNorm, Layer, Mamba, Mamba2, Mixer, Mlp, Norm, NormKind, Order, Plan, Qkv,
    Refusal, Scope,
    gpt::{decoder, plain_attention},
    rope,
    rope::Usual,
};

/// Plans one of these models.
pub(super) fn plan(architecture: &str, builder: Builder<'_>) -> Result<Plan, Refusal> {
    if architecture == "Lfm2ForCausalLM" { lfm2(builder) } else { mamba(architecture, builder) }
}

fn rms(builder: &mut Builder<'_>, name: &str, width: usize) -> Norm {
    let eps = builder.eps(1e-5);
    builder.norm(NormKind::Rms, eps, name, width)
}

fn mamba(architecture: &str, mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("backbone.", "embeddings", "layers");
    let (hidden, vocabulary) = (builder.hidden()?, builder.vocabulary()?);
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}embeddings"), vocabulary, hidden);
    let mut layers = Vec::new();
    for index in 0..builder.layers()? {
        let norm = builder.in_layer(index, "norm");
        let mixer = match architecture {
            "Mamba2ForCausalLM" => Mixer::Mamba2(Box::new(second(&mut builder, index)?)),
            _ => Mixer::Mamba(Box::new(first(&mut builder, index, architecture == "FalconMambaForCausalLM")?)),
        };
        layers.push(Layer {
            order: Order::Sequential,
            before_mixer: Some(rms(&mut builder, &norm, hidden)),
            mixer,
            after_mixer: None,
            before_mlp: None,
            mlp: None,
            after_mlp: None,
            residual_scale: 1.0,
        });
    }
    let last = rms(&mut builder, &format!("{prefix}norm_f"), hidden);
    // The second one's configs say that head and embedding differ unless they say otherwise.
    let head = builder.head(&["lm_head"], &tokens, architecture != "Mamba2ForCausalLM");
    Ok(Plan { layers, ..decoder(Embedding::plain(tokens), last, head, builder) })
}

/// The width inside a mixer: as written, or the hidden size times `expand`.
fn inner(builder: &Builder<'_>) -> Result<usize, Refusal> {
    let hidden = builder.hidden()?;
    let expand = builder.number("expand").unwrap_or(2.0).clamp(0.0, 64.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "both factors are capped and positive"
    )]
    let width = (hidden as f64 * expand) as usize;
    Ok(width)
}

fn first(builder: &mut Builder<'_>, index: usize, falcon: bool) -> Result<Mamba, Refusal> {
    let hidden = builder.hidden()?;
    let inner = builder.size("intermediate_size").map_or_else(|| self::inner(builder), Ok)?;
    let state = builder.size("state_size").unwrap_or(16);
    let rank = builder.size("time_step_rank").unwrap_or(hidden.div_ceil(16));
    let kernel = builder.size("conv_kernel").unwrap_or(4);
    let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, &format!("mixer.{name}"));
    let names = ["in_proj", "conv1d", "x_proj", "dt_proj", "A_log", "D", "out_proj"].map(|name| at(builder, name));
    let [input, conv, select, step, a_log, d, output] = names;
    Ok(Mamba {
        inner,
        state,
        rank,
        input: builder.linear(&input, 2 * inner, hidden),
        conv: builder.convolution(&conv, inner, kernel),
        select: builder.linear(&select, rank + 2 * state, inner),
        step: builder.linear(&step, inner, rank),
        a_log: builder.numbers(&a_log, &[inner, state]),
        d: builder.vector(&d, inner),
        output: builder.linear(&output, hidden, inner),
        activation: builder.activation("silu")?,
        select_eps: falcon.then(|| builder.number("mixer_rms_eps").unwrap_or(1e-6)),
    })
}

fn second(builder: &mut Builder<'_>, index: usize) -> Result<Mamba2, Refusal> {
    let hidden = builder.hidden()?;
    let inner = inner(builder)?;
    let (heads, head_dim) = (builder.need_size("num_heads")?, builder.need_size("head_dim")?);
    if heads * head_dim != inner {
        return Err(Refusal::Wrong(format!("config.json: {heads} heads of {head_dim} are not {inner} wide")));
    }
    let state = builder.size("state_size").unwrap_or(128);
    let groups = builder.size("n_groups").unwrap_or(8).max(1);
    if heads % groups != 0 || inner % groups != 0 {
        return Err(Refusal::Wrong(format!("config.json: {heads} heads cannot form {groups} groups")));
    }
    let kernel = builder.size("conv_kernel").unwrap_or(4);
    let mixed = inner + 2 * groups * state;
    let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, &format!("mixer.{name}"));
    let names = ["in_proj", "conv1d", "dt_bias", "A_log", "D", "norm", "out_proj"].map(|name| at(builder, name));
    let [input, conv, step_bias, a_log, d, norm, output] = names;
    Ok(Mamba2 {
        heads,
        head_dim,
        state,
        groups,
        input: builder.linear(&input, inner + mixed + heads, hidden),
        conv: builder.convolution(&conv, mixed, kernel),
        step_bias: builder.vector(&step_bias, heads),
        a_log: builder.vector(&a_log, heads),
        d: builder.vector(&d, heads),
        norm: rms(builder, &norm, inner),
        output: builder.linear(&output, hidden, inner),
        activation: builder.activation("silu")?,
        step_limits: step_limits(builder),
    })
}

/// Two numbers, of which the second may be infinite, which JSON has no number for.
fn step_limits(builder: &Builder<'_>) -> (f64, f64) {
    let limits = builder.config.raw.get("time_step_limit");
    let number = |index: usize| limits.and_then(|limits| limits.get(index)).and_then(Value::as_f64);
    (number(0).unwrap_or(0.0), number(1).unwrap_or(f64::INFINITY))
}

fn lfm2(mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("model.", "embed_tokens", "layers");
    let (hidden, vocabulary) = (builder.hidden()?, builder.vocabulary()?);
    let ropes = vec![rope::full(&builder, builder.head_dim()?, Usual { theta: 1_000_000.0, ..Usual::default() })?];
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}embed_tokens"), vocabulary, hidden);
    let layers = (0..builder.layers()?).map(|index| lfm2_layer(&mut builder, index)).collect::<Result<_, _>>()?;
    let last = rms(&mut builder, &format!("{prefix}embedding_norm"), hidden);
    let head = builder.head(&["lm_head"], &tokens, true);
    Ok(Plan { layers, ropes, ..decoder(Embedding::plain(tokens), last, head, builder) })
}

fn lfm2_layer(builder: &mut Builder<'_>, index: usize) -> Result<Layer, Refusal> {
    let hidden = builder.hidden()?;
    let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, name);
    let types = builder.config.raw.get("layer_types").and_then(|types| types.get(index)).and_then(Value::as_str);
    let listed = builder.config.raw.get("full_attn_idxs").and_then(Value::as_array);
    let is_listed = |list: &Vec<Value>| list.iter().any(|entry| entry.as_u64() == Some(index as u64));
    let attends = match (types, listed) {
        (Some(name), _) => name != "conv",
        (None, Some(list)) => is_listed(list),
        (None, None) => return Err(Refusal::absent("layer_types")),
    };
    let mixer = if attends {
        Mixer::Attention(Box::new(lfm2_attention(builder, index)?))
    } else {
        let (input, conv, output) =
            (at(builder, "conv.in_proj"), at(builder, "conv.conv"), at(builder, "conv.out_proj"));
        let width = builder.size("conv_L_cache").unwrap_or(3);
        Mixer::Conv(Box::new(Conv {
            input: builder.linear(&input, 3 * hidden, hidden),
            kernel: builder.convolution(&conv, hidden, width),
            output: builder.linear(&output, hidden, hidden),
        }))
    };
    let (first, second) = (at(builder, "operator_norm"), at(builder, "ffn_norm"));
    let names = ["w1", "w3", "w2"].map(|name| at(builder, &format!("feed_forward.{name}")));
    let [gate, up, down] = names;
    // The width that configs give is rounded by a rule of several options: the files tell.
    let width = builder.rows_of(&gate, builder.size("intermediate_size").or(builder.size("block_ff_dim")).unwrap_or(0));
    Ok(Layer {
        order: Order::Sequential,
        before_mixer: Some(rms(builder, &first, hidden)),
        mixer,
        after_mixer: None,
        before_mlp: Some(rms(builder, &second, hidden)),
        mlp: Some(Mlp::Gated {
            gate: builder.linear(&gate, width, hidden),
            up: builder.linear(&up, width, hidden),
            down: builder.linear(&down, hidden, width),
            activation: super::Activation::Silu,
        }),
        after_mlp: None,
        residual_scale: 1.0,
    })
}

fn lfm2_attention(builder: &mut Builder<'_>, index: usize) -> Result<Attention, Refusal> {
    let (hidden, heads, kv_heads, head_dim) =
        (builder.hidden()?, builder.heads()?, builder.kv_heads()?, builder.head_dim()?);
    let names = ["q_proj", "k_proj", "v_proj", "out_proj", "q_layernorm.weight", "k_layernorm.weight"];
    let [q, k, v, output, q_norm, k_norm] = names.map(|name| builder.in_layer(index, &format!("self_attn.{name}")));
    let qkv = Qkv::Separate {
        q: builder.linear(&q, heads * head_dim, hidden),
        k: builder.linear(&k, kv_heads * head_dim, hidden),
        v: builder.linear(&v, kv_heads * head_dim, hidden),
    };
    let output = builder.linear(&output, hidden, heads * head_dim);
    let eps = builder.eps(1e-5);
    let mut norm = |name: &str| {
        let weights = vec![builder.vector(name, head_dim)];
        Some(HeadNorm { kind: NormKind::Rms, eps, scope: Scope::Head, weights, biases: Vec::new(), after_rope: false })
    };
    let (q_norm, k_norm) = (norm(&q_norm), norm(&k_norm));
    Ok(Attention { q_norm, k_norm, rope: Some(0), ..plain_attention(heads, kv_heads, head_dim, qkv, output) })
}
