//! GPT-NeoX and Persimmon: query, key and value of a head stand together in one matrix.

use super::{
    Attention, Builder, Embedding, HeadNorm, Layer, Mixer, Mlp, Norm, NormKind, Order, Plan, Qkv, Refusal, Scope,
    gpt::{decoder, plain_attention},
    rope,
    rope::Usual,
};

/// The names in which the two differ.
struct Names {
    prefix: &'static str,
    tokens: &'static str,
    attention: &'static str,
    last: &'static str,
    head: &'static str,
}

/// Plans one of these decoders.
pub(super) fn plan(architecture: &str, mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    let is_neox = architecture == "GPTNeoXForCausalLM";
    let names = if is_neox {
        let (prefix, tokens, last) = ("gpt_neox.", "embed_in", "final_layer_norm");
        Names { prefix, tokens, attention: "attention", last, head: "embed_out" }
    } else {
        let (prefix, tokens, last) = ("model.", "embed_tokens", "final_layernorm");
        Names { prefix, tokens, attention: "self_attn", last, head: "lm_head" }
    };
    builder.locate(names.prefix, names.tokens, "layers");
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let head_dim = hidden / heads;
    let fraction = if is_neox { 0.25 } else { 0.5 };
    let theta = if is_neox { 10_000.0 } else { 25_000.0 };
    let ropes = vec![rope::full(&builder, head_dim, Usual { fraction, theta, interleaved: false })?];
    let parallel = is_neox && builder.flag("use_parallel_residual").unwrap_or(true);
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}{}", names.tokens), vocabulary, hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, &names, parallel, index));
    let layers = layers.collect::<Result<_, _>>()?;
    let norm = norm(&mut builder, &format!("{prefix}{}", names.last), hidden);
    let head = builder.head(&[names.head], &tokens, false);
    Ok(Plan { layers, ropes, ..decoder(Embedding::plain(tokens), norm, head, builder) })
}

fn norm(builder: &mut Builder<'_>, name: &str, width: usize) -> Norm {
    let eps = builder.eps(1e-5);
    builder.norm(NormKind::Layer, eps, name, width)
}

fn layer(builder: &mut Builder<'_>, names: &Names, parallel: bool, index: usize) -> Result<Layer, Refusal> {
    let (hidden, heads) = (builder.hidden()?, builder.heads()?);
    let width = builder.config.intermediate_size.and_then(|width| usize::try_from(width).ok());
    let width = width.ok_or_else(|| Refusal::absent("intermediate_size"))?;
    let head_dim = hidden / heads;
    let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, &format!("{}.{name}", names.attention));
    let (qkv, dense) = (at(builder, "query_key_value"), at(builder, "dense"));
    let qkv = Qkv::Fused { matrix: builder.linear(&qkv, 3 * hidden, hidden), groups: heads };
    let output = builder.linear(&dense, hidden, hidden);
    let (q_norm, k_norm) = (at(builder, "q_layernorm"), at(builder, "k_layernorm"));
    let attention = Attention {
        rope: Some(0),
        q_norm: head_norm(builder, &q_norm, head_dim),
        k_norm: head_norm(builder, &k_norm, head_dim),
        ..plain_attention(heads, heads, head_dim, qkv, output)
    };
    let place = |builder: &Builder<'_>, name: &str| builder.in_layer(index, name);
    let (first, second) = (place(builder, "input_layernorm"), place(builder, "post_attention_layernorm"));
    let (up, down) = (place(builder, "mlp.dense_h_to_4h"), place(builder, "mlp.dense_4h_to_h"));
    let activation = builder.activation(if parallel { "gelu" } else { "relu2" })?;
    Ok(Layer {
        order: if parallel { Order::Parallel } else { Order::Sequential },
        before_mixer: Some(norm(builder, &first, hidden)),
        mixer: Mixer::Attention(Box::new(attention)),
        after_mixer: None,
        before_mlp: Some(norm(builder, &second, hidden)),
        mlp: Some(Mlp::Plain {
            up: builder.linear(&up, width, hidden),
            down: builder.linear(&down, hidden, width),
            activation,
        }),
        after_mlp: None,
        residual_scale: 1.0,
    })
}

fn head_norm(builder: &mut Builder<'_>, name: &str, width: usize) -> Option<HeadNorm> {
    let weight = builder.optional(&format!("{name}.weight"), width)?;
    let bias = builder.optional(&format!("{name}.bias"), width);
    let (eps, kind) = (builder.eps(1e-5), NormKind::Layer);
    let biases = bias.into_iter().collect();
    Some(HeadNorm { kind, eps, scope: Scope::Head, weights: vec![weight], biases, after_rope: false })
}
