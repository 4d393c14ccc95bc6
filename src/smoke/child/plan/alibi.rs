//! Bloom, MPT and Falcon: a bias that grows with the distance instead of (or, in Falcon, beside) rotation.

use serde_json::Value;

use super::{
    Activation, Attention, Builder, Embedding, Layer, Mixer, Mlp, Norm, NormKind, Order, Plan, Qkv, Refusal,
    gpt::{decoder, plain_attention},
    rope,
    rope::Usual,
};

/// Plans one of these decoders.
pub(super) fn plan(architecture: &str, builder: Builder<'_>) -> Result<Plan, Refusal> {
    match architecture {
        "BloomForCausalLM" => bloom(builder),
        "MptForCausalLM" | "MPTForCausalLM" => mpt(builder),
        _ => falcon(builder),
    }
}

/// Slopes for a number of heads: powers of two, and for what is over, every other one of the next power's.
fn slopes(heads: usize) -> Vec<f32> {
    let whole = 1_usize << heads.max(1).ilog2();
    let of = |count: usize| move |index: usize| (-8.0 * as_f32(index + 1) / as_f32(count)).exp2();
    let mut slopes: Vec<f32> = (0..whole).map(of(whole)).collect();
    slopes.extend((0..heads - whole.min(heads)).map(|index| of(2 * whole)(2 * index)));
    slopes
}

/// MPT rounds up instead, and takes the odd ones first. Transformers has 8 as the largest whatever the config says.
fn mpt_slopes(heads: usize) -> Vec<f32> {
    let whole = heads.max(1).next_power_of_two();
    let all: Vec<f32> = (1..=whole).map(|index| (-8.0 * as_f32(index) / as_f32(whole)).exp2()).collect();
    if whole == heads {
        return all;
    }
    let odd = all.iter().skip(1).step_by(2);
    odd.chain(all.iter().step_by(2)).take(heads).copied().collect()
}

#[expect(clippy::cast_precision_loss, reason = "there are at most 4096 heads")]
fn as_f32(number: usize) -> f32 {
    number as f32
}

fn norm(builder: &mut Builder<'_>, name: &str, width: usize) -> Norm {
    let eps = builder.eps(1e-5);
    builder.norm(NormKind::Layer, eps, name, width)
}

fn bloom(mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("transformer.", "word_embeddings", "h");
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let from_normed = builder.flag("apply_residual_connection_post_layernorm").unwrap_or(false);
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, name);
        let (qkv, dense) = (at(builder, "self_attention.query_key_value"), at(builder, "self_attention.dense"));
        let qkv = Qkv::Fused { matrix: builder.linear(&qkv, 3 * hidden, hidden), groups: heads };
        let output = builder.linear(&dense, hidden, hidden);
        let attention = plain_attention(heads, heads, hidden / heads, qkv, output);
        let (first, second) = (at(builder, "input_layernorm"), at(builder, "post_attention_layernorm"));
        let (up, down) = (at(builder, "mlp.dense_h_to_4h"), at(builder, "mlp.dense_4h_to_h"));
        Layer {
            order: if from_normed { Order::FromNormed } else { Order::Sequential },
            before_mixer: Some(norm(builder, &first, hidden)),
            mixer: Mixer::Attention(Box::new(Attention { slopes: Some(slopes(heads)), ..attention })),
            after_mixer: None,
            before_mlp: Some(norm(builder, &second, hidden)),
            mlp: Some(Mlp::Plain {
                up: builder.linear(&up, 4 * hidden, hidden),
                down: builder.linear(&down, hidden, 4 * hidden),
                activation: Activation::GeluTanh,
            }),
            after_mlp: None,
            residual_scale: 1.0,
        }
    };
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}word_embeddings"), vocabulary, hidden);
    let first = norm(&mut builder, &format!("{prefix}word_embeddings_layernorm"), hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, index)).collect();
    let last = norm(&mut builder, &format!("{prefix}ln_f"), hidden);
    let head = builder.head(&["lm_head"], &tokens, true);
    let embedding = Embedding { norm: Some(first), ..Embedding::plain(tokens) };
    Ok(Plan { layers, ..decoder(embedding, last, head, builder) })
}

/// MPT as transformers runs it: options that only its first home knew are refused.
fn mpt(mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("transformer.", "wte", "blocks");
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let options = builder.config.raw.get("attn_config").cloned().unwrap_or(Value::Null);
    let number = |name: &str| options.get(name).and_then(Value::as_f64).filter(|number| *number != 0.0);
    let is_set = |name: &str| options.get(name).and_then(Value::as_bool) == Some(true);
    if options.get("alibi").and_then(Value::as_bool) == Some(false) || is_set("prefix_lm") || is_set("qk_ln") {
        return Refusal::unsupported("MPT without its distance bias, with prefixes or with normed queries");
    }
    if builder.config.raw.get("logit_scale").is_some_and(|scale| !scale.is_null()) {
        return Refusal::unsupported("MPT with scaled logits");
    }
    let (clip, scale) = (number("clip_qkv"), number("softmax_scale"));
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, name);
        let (qkv, out) = (at(builder, "attn.Wqkv"), at(builder, "attn.out_proj"));
        let qkv = Qkv::Fused { matrix: builder.linear(&qkv, 3 * hidden, hidden), groups: 1 };
        let output = builder.linear(&out, hidden, hidden);
        let mut attention = plain_attention(heads, heads, hidden / heads, qkv, output);
        attention.slopes = Some(mpt_slopes(heads));
        attention.clip = clip;
        attention.scale = scale.unwrap_or(attention.scale);
        let (first, second) = (at(builder, "norm_1"), at(builder, "norm_2"));
        let (up, down) = (at(builder, "ffn.up_proj"), at(builder, "ffn.down_proj"));
        let width = builder.rows_of(&up, 4 * hidden);
        Layer {
            order: Order::Sequential,
            before_mixer: Some(norm(builder, &first, hidden)),
            mixer: Mixer::Attention(Box::new(attention)),
            after_mixer: None,
            before_mlp: Some(norm(builder, &second, hidden)),
            mlp: Some(Mlp::Plain {
                up: builder.linear(&up, width, hidden),
                down: builder.linear(&down, hidden, width),
                activation: Activation::Gelu,
            }),
            after_mlp: None,
            residual_scale: 1.0,
        }
    };
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}wte"), vocabulary, hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, index)).collect();
    let last = norm(&mut builder, &format!("{prefix}norm_f"), hidden);
    let head = builder.head(&["lm_head"], &tokens, true);
    Ok(Plan { layers, ..decoder(Embedding::plain(tokens), last, head, builder) })
}

/// Falcon's three layouts: a key for each head, one for all, or one for each group.
fn falcon(mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("transformer.", "word_embeddings", "h");
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let head_dim = hidden / heads;
    let grouped = builder.flag("new_decoder_architecture").unwrap_or(false);
    let multi_query = builder.flag("multi_query").unwrap_or(true);
    let kv_heads = match (grouped, multi_query) {
        (true, _) => builder.size("num_kv_heads").or(builder.size("n_head_kv")).unwrap_or(heads),
        (false, true) => 1,
        (false, false) => heads,
    };
    if kv_heads == 0 || heads % kv_heads != 0 {
        return Err(Refusal::Wrong(format!("config.json: {heads} heads cannot share {kv_heads} keys")));
    }
    let has_slopes = builder.flag("alibi").unwrap_or(false);
    let parallel = grouped || builder.flag("parallel_attn").unwrap_or(true);
    let two_norms = grouped && builder.size("num_ln_in_parallel_attn").unwrap_or(2) == 2;
    let activation = Activation::named(builder.text("activation").unwrap_or("gelu"))?;
    let width = builder.size("ffn_hidden_size").unwrap_or(4 * hidden);
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, name);
        let (qkv, dense) = (at(builder, "self_attention.query_key_value"), at(builder, "self_attention.dense"));
        let matrix = builder.linear(&qkv, (heads + 2 * kv_heads) * head_dim, hidden);
        let output = builder.linear(&dense, hidden, hidden);
        let attention = Attention {
            rope: (!has_slopes).then_some(0),
            slopes: has_slopes
                .then(|| slopes(heads).into_iter().map(|slope| half::bf16::from_f32(slope).to_f32()).collect()),
            slopes_before_scale: true,
            ..plain_attention(heads, kv_heads, head_dim, Qkv::Fused { matrix, groups: kv_heads }, output)
        };
        let [first, second] = match (two_norms, parallel) {
            (true, _) => [Some("ln_attn"), Some("ln_mlp")],
            (false, true) => [Some("input_layernorm"), None],
            (false, false) => [Some("input_layernorm"), Some("post_attention_layernorm")],
        };
        let mut place = |name: Option<&str>| {
            let name = builder.in_layer(index, name?);
            Some(norm(builder, &name, hidden))
        };
        let (before_mixer, before_mlp) = (place(first), place(second));
        let (up, down) = (at(builder, "mlp.dense_h_to_4h"), at(builder, "mlp.dense_4h_to_h"));
        Layer {
            order: if parallel { Order::Parallel } else { Order::Sequential },
            before_mixer,
            mixer: Mixer::Attention(Box::new(attention)),
            after_mixer: None,
            before_mlp,
            mlp: Some(Mlp::Plain {
                up: builder.linear(&up, width, hidden),
                down: builder.linear(&down, hidden, width),
                activation,
            }),
            after_mlp: None,
            residual_scale: 1.0,
        }
    };
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}word_embeddings"), vocabulary, hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, index)).collect();
    let last = norm(&mut builder, &format!("{prefix}ln_f"), hidden);
    let head = builder.head(&["lm_head"], &tokens, true);
    let ropes = if has_slopes { Vec::new() } else { vec![rope::full(&builder, head_dim, Usual::default())?] };
    Ok(Plan { layers, ropes, ..decoder(Embedding::plain(tokens), last, head, builder) })
}
