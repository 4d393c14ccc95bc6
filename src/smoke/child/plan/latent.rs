//! DeepSeek V2 and V3: keys and values are unfolded from a narrow latent state.

use super::{
    Builder, Embedding, Latent, Layer, Mixer, Mlp, Norm, NormKind, Order, Plan, Refusal, Scoring,
    experts::{self, Style},
    gpt::decoder,
    rope,
    rope::Usual,
};

/// Plans one of these decoders.
pub(super) fn plan(architecture: &str, mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("model.", "embed_tokens", "layers");
    let third = architecture == "DeepseekV3ForCausalLM";
    let (hidden, vocabulary) = (builder.hidden()?, builder.vocabulary()?);
    let interleaved = !third || builder.flag("rope_interleave").unwrap_or(true);
    let turned = builder.need_size("qk_rope_head_dim")?;
    let ropes = vec![rope::full(&builder, turned, Usual { interleaved, ..Usual::default() })?];
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}embed_tokens"), vocabulary, hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, third, index)).collect::<Result<_, _>>()?;
    drop_predictors(&mut builder)?;
    let last = norm(&mut builder, &format!("{prefix}norm"), hidden);
    let head = builder.head(&["lm_head"], &tokens, false);
    Ok(Plan { layers, ropes, ..decoder(Embedding::plain(tokens), last, head, builder) })
}

/// Files may hold further layers, that guess several tokens ahead, which nobody runs by default.
fn drop_predictors(builder: &mut Builder<'_>) -> Result<(), Refusal> {
    let (depth, more) = (builder.layers()?, builder.size("num_nextn_predict_layers").unwrap_or(0));
    if more == 0 || builder.found.layers != depth + more {
        return Ok(());
    }
    builder.found.layers = depth;
    for index in depth..depth + more {
        let start = builder.in_layer(index, "");
        let names =
            builder.tensors.iter().filter(|entry| entry.name.starts_with(&start)).map(|entry| entry.name.clone());
        builder.found.used.extend(names);
    }
    Ok(())
}

fn norm(builder: &mut Builder<'_>, name: &str, width: usize) -> Norm {
    let eps = builder.eps(1e-6);
    builder.norm(NormKind::Rms, eps, name, width)
}

fn layer(builder: &mut Builder<'_>, third: bool, index: usize) -> Result<Layer, Refusal> {
    let hidden = builder.hidden()?;
    let (first, second) =
        (builder.in_layer(index, "input_layernorm"), builder.in_layer(index, "post_attention_layernorm"));
    Ok(Layer {
        order: Order::Sequential,
        before_mixer: Some(norm(builder, &first, hidden)),
        mixer: Mixer::Latent(Box::new(attention(builder, index)?)),
        after_mixer: None,
        before_mlp: Some(norm(builder, &second, hidden)),
        mlp: Some(mlp(builder, third, index)?),
        after_mlp: None,
        residual_scale: 1.0,
    })
}

fn attention(builder: &mut Builder<'_>, index: usize) -> Result<Latent, Refusal> {
    let (hidden, heads) = (builder.hidden()?, builder.heads()?);
    let [plain, turned, value, narrow] =
        ["qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank"].map(|name| builder.need_size(name));
    let (plain, turned, value, narrow) = (plain?, turned?, value?, narrow?);
    let rank = builder.size("q_lora_rank").filter(|rank| *rank > 0);
    let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, &format!("self_attn.{name}"));
    // The norms inside attention have an epsilon of their own, whatever the config says.
    let inner = |builder: &mut Builder<'_>, name: &str, width| builder.norm(NormKind::Rms, 1e-6, name, width);
    let outputs = heads * (plain + turned);
    let query = match rank {
        Some(rank) => {
            let (down, middle, up) = (at(builder, "q_a_proj"), at(builder, "q_a_layernorm"), at(builder, "q_b_proj"));
            let down = builder.linear(&down, rank, hidden);
            let middle = inner(builder, &middle, rank);
            (Some((down, middle)), builder.linear(&up, outputs, rank))
        }
        None => {
            let name = at(builder, "q_proj");
            (None, builder.linear(&name, outputs, hidden))
        }
    };
    let (down, middle) = (at(builder, "kv_a_proj_with_mqa"), at(builder, "kv_a_layernorm"));
    let (up, output) = (at(builder, "kv_b_proj"), at(builder, "o_proj"));
    #[expect(clippy::cast_precision_loss, reason = "widths are at most a million")]
    let scale = ((plain + turned) as f64).powf(-0.5) * rope::score_factor(builder);
    Ok(Latent {
        heads,
        plain,
        turned,
        value,
        query,
        down: builder.linear(&down, narrow + turned, hidden),
        norm: inner(builder, &middle, narrow),
        up: builder.linear(&up, heads * (plain + value), narrow),
        output: builder.linear(&output, hidden, heads * value),
        scale,
        rope: 0,
    })
}

fn mlp(builder: &mut Builder<'_>, third: bool, index: usize) -> Result<Mlp, Refusal> {
    let activation = builder.activation("silu")?;
    let groups = builder.size("n_group").zip(builder.size("topk_group"));
    let groups = groups.filter(|(count, chosen)| *count > 1 && *chosen > 0);
    let limited = match builder.text("topk_method") {
        _ if third => true,
        None | Some("greedy") => false,
        Some("group_limited_greedy") => true,
        Some(other) => return Refusal::unsupported(format!("the choice of experts `{other}` is not supported")),
    };
    let style = Style {
        scoring: if third { Scoring::Sigmoid } else { Scoring::Softmax },
        normalize: third && builder.flag("norm_topk_prob").unwrap_or(true),
        fixed: true,
        scale: builder.number("routed_scaling_factor").unwrap_or(1.0),
        groups: groups.filter(|_| limited),
        groups_by_two: third,
        ..Style::usual(activation)
    };
    if let Some(experts) = experts::plan(builder, index, &style)? {
        return Ok(Mlp::Experts(Box::new(experts)));
    }
    let hidden = builder.hidden()?;
    let width = builder.need_size("intermediate_size")?;
    let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, &format!("mlp.{name}"));
    let (gate, up, down) = (at(builder, "gate_proj"), at(builder, "up_proj"), at(builder, "down_proj"));
    Ok(Mlp::Gated {
        gate: builder.linear(&gate, width, hidden),
        up: builder.linear(&up, width, hidden),
        down: builder.linear(&down, hidden, width),
        activation,
    })
}
