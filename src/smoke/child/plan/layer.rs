//! One layer's parts, by the names that decoders of the Llama kind give them.

use serde_json::Value;

use super::{Experts, HeadNorm, Layer, Matrix, Mlp, Qkv, Refusal, builder::Builder, family::Windows};

pub(super) fn plan(builder: &mut Builder<'_>, index: usize) -> Result<Layer, Refusal> {
    let hidden = builder.hidden;
    let attention = builder.heads * builder.head_dim;
    let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, name);
    let has = |builder: &Builder<'_>, name: &str| builder.any_layer_has(&format!("{name}.weight"));
    let norm = |builder: &mut Builder<'_>, name: &str| {
        let name = builder.in_layer(index, name);
        builder.norm(&name, hidden)
    };
    let (before_feedforward, after_feedforward) =
        (has(builder, "pre_feedforward_layernorm"), has(builder, "post_feedforward_layernorm"));
    // Sandwich: four norms. Post: two, behind. Otherwise two, in front; a parallel layer may share the first.
    let (before_attention, after_attention, before_mlp, after_mlp) = match (before_feedforward, after_feedforward) {
        (true, _) => (
            Some(norm(builder, "input_layernorm")),
            Some(norm(builder, "post_attention_layernorm")),
            Some(norm(builder, "pre_feedforward_layernorm")),
            Some(norm(builder, "post_feedforward_layernorm")),
        ),
        (false, true) => (
            None,
            Some(norm(builder, "post_attention_layernorm")),
            None,
            Some(norm(builder, "post_feedforward_layernorm")),
        ),
        (false, false) => {
            let shared = builder.family.parallel && !has(builder, "post_attention_layernorm");
            let second = (!shared).then(|| norm(builder, "post_attention_layernorm"));
            (Some(norm(builder, "input_layernorm")), None, second, None)
        }
    };
    let output = match at(builder, "self_attn.dense") {
        name if builder.tensors.contains(&format!("{name}.weight")) => name,
        _ => at(builder, "self_attn.o_proj"),
    };
    Ok(Layer {
        before_attention,
        qkv: qkv(builder, index),
        q_norm: head_norm(builder, index, "self_attn.q_norm", builder.heads)?,
        k_norm: head_norm(builder, index, "self_attn.k_norm", builder.kv_heads)?,
        output: builder.linear(&output, hidden, attention),
        after_attention,
        before_mlp,
        mlp: mlp(builder, index)?,
        after_mlp,
        window: window(builder, index),
        rope: rope(builder, index),
    })
}

fn qkv(builder: &mut Builder<'_>, index: usize) -> Qkv {
    let hidden = builder.hidden;
    let (q, kv) = (builder.heads * builder.head_dim, builder.kv_heads * builder.head_dim);
    if builder.any_layer_has("self_attn.qkv_proj.weight") {
        let name = builder.in_layer(index, "self_attn.qkv_proj");
        return Qkv::Fused(builder.linear(&name, q + 2 * kv, hidden));
    }
    let mut part = |name: &str, rows: usize| {
        let name = builder.in_layer(index, name);
        builder.linear(&name, rows, hidden)
    };
    Qkv::Separate { q: part("self_attn.q_proj", q), k: part("self_attn.k_proj", kv), v: part("self_attn.v_proj", kv) }
}

/// A norm over queries or keys: its width tells whether it is one for all heads.
fn head_norm(builder: &mut Builder<'_>, index: usize, name: &str, heads: usize) -> Result<Option<HeadNorm>, Refusal> {
    if builder.any_layer_has(&format!("{name}.norms.0.weight")) {
        return Err(Refusal::Unsupported("one norm for each head is not supported yet".into()));
    }
    if !builder.any_layer_has(&format!("{name}.weight")) {
        return Ok(None);
    }
    let name = builder.in_layer(index, name);
    let shape = builder.tensors.get(&format!("{name}.weight")).map(|entry| entry.shape.clone()).unwrap_or_default();
    if shape.len() > 1 {
        return Err(Refusal::Unsupported("one norm for each head is not supported yet".into()));
    }
    let per_head = shape.first().is_none_or(|width| *width == builder.head_dim as u64);
    let width = if per_head { builder.head_dim } else { heads * builder.head_dim };
    Ok(Some(HeadNorm { norm: builder.norm(&name, width), per_head }))
}

fn mlp(builder: &mut Builder<'_>, index: usize) -> Result<Mlp, Refusal> {
    let hidden = builder.hidden;
    for part in ["block_sparse_moe", "mlp"] {
        let router = builder.in_layer(index, &format!("{part}.gate"));
        if builder.tensors.contains(&format!("{router}.weight")) {
            return experts(builder, index, part).map(Mlp::Experts);
        }
    }
    let width = builder.config.intermediate_size.and_then(|width| usize::try_from(width).ok());
    let width = width.ok_or_else(|| Refusal::Wrong("config.json has no `intermediate_size`".into()))?;
    let name = |builder: &Builder<'_>, name: &str| builder.in_layer(index, name);
    if builder.any_layer_has("mlp.c_fc.weight") {
        let (up, down) = (name(builder, "mlp.c_fc"), name(builder, "mlp.c_proj"));
        return Ok(Mlp::Plain { up: builder.linear(&up, width, hidden), down: builder.linear(&down, hidden, width) });
    }
    let down = name(builder, "mlp.down_proj");
    let down = builder.linear(&down, hidden, width);
    if builder.any_layer_has("mlp.gate_up_proj.weight") {
        let fused = name(builder, "mlp.gate_up_proj");
        return Ok(Mlp::FusedGated { gate_up: builder.linear(&fused, 2 * width, hidden), down });
    }
    let (gate, up) = (name(builder, "mlp.gate_proj"), name(builder, "mlp.up_proj"));
    Ok(Mlp::Gated { gate: builder.linear(&gate, width, hidden), up: builder.linear(&up, width, hidden), down })
}

fn experts(builder: &mut Builder<'_>, index: usize, part: &str) -> Result<Experts, Refusal> {
    let number =
        |name: &str| builder.config.raw.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let absent = |name: &str| Refusal::Wrong(format!("config.json has no `{name}`"));
    let count = number("num_local_experts").or_else(|| number("num_experts"));
    let count = count.filter(|count| *count <= 1024).ok_or_else(|| absent("num_experts"))?;
    let chosen = number("num_experts_per_tok").filter(|chosen| (1..=count).contains(chosen));
    let chosen = chosen.ok_or_else(|| absent("num_experts_per_tok"))?;
    let width = number("moe_intermediate_size").or_else(|| number("intermediate_size"));
    let width = width.ok_or_else(|| absent("intermediate_size"))?;
    let shared_width = number("shared_expert_intermediate_size");
    let normalize = part == "block_sparse_moe"
        || builder.config.raw.get("norm_topk_prob").and_then(Value::as_bool).unwrap_or(false);
    let names = if part == "mlp" { ["gate_proj", "up_proj", "down_proj"] } else { ["w1", "w3", "w2"] };
    let hidden = builder.hidden;
    let router = builder.in_layer(index, &format!("{part}.gate"));
    let router = builder.linear(&router, count, hidden);
    let gated = |builder: &mut Builder<'_>, place: &str, width: usize| -> [Matrix; 3] {
        let mut linear = |name: &str, rows, cols| {
            let name = builder.in_layer(index, &format!("{part}.{place}.{name}"));
            builder.linear(&name, rows, cols)
        };
        [linear(names[0], width, hidden), linear(names[1], width, hidden), linear(names[2], hidden, width)]
    };
    let each = (0..count).map(|expert| gated(builder, &format!("experts.{expert}"), width)).collect();
    let shared = if builder.any_layer_has(&format!("{part}.shared_expert.{}.weight", names[0])) {
        let expert =
            gated(builder, "shared_expert", shared_width.ok_or_else(|| absent("shared_expert_intermediate_size"))?);
        let gate = builder.in_layer(index, &format!("{part}.shared_expert_gate"));
        let gate = builder.tensors.contains(&format!("{gate}.weight")).then(|| builder.linear(&gate, 1, hidden));
        Some((expert, gate))
    } else {
        None
    };
    Ok(Experts { router, each, chosen, normalize, shared })
}

/// Whether a layer is one that sees only a window, by `layer_types` or the family's rule.
fn is_sliding(builder: &Builder<'_>, index: usize) -> bool {
    let raw = &builder.config.raw;
    let named = raw.get("layer_types").and_then(|types| types.get(index)).and_then(Value::as_str);
    match (builder.family.windows, named) {
        (Windows::Never, _) => false,
        (Windows::Always, _) => true,
        (_, Some(name)) => name == "sliding_attention",
        (Windows::EveryNthFull(n), None) => {
            let pattern = raw.get("sliding_window_pattern").and_then(Value::as_u64);
            !(index as u64 + 1).is_multiple_of(pattern.unwrap_or(n as u64).max(1))
        }
        (Windows::Qwen, None) => {
            let used = raw.get("use_sliding_window").and_then(Value::as_bool).unwrap_or(false);
            let first = raw.get("max_window_layers").and_then(Value::as_u64).unwrap_or(0);
            used && index as u64 >= first
        }
    }
}

fn window(builder: &Builder<'_>, index: usize) -> Option<usize> {
    let width = builder.config.sliding_window.filter(|width| *width > 0)?;
    is_sliding(builder, index).then(|| usize::try_from(width).unwrap_or(usize::MAX))
}

/// Gemma 3's windowed layers have frequencies of their own, which stand second; some layers of `SmolLM` 3 have none.
fn rope(builder: &Builder<'_>, index: usize) -> Option<usize> {
    let flags = builder.config.raw.get("no_rope_layers");
    if flags.and_then(|flags| flags.get(index)).and_then(Value::as_u64) == Some(0) {
        return None;
    }
    let own = super::rope::local_theta(builder.config).is_some() && is_sliding(builder, index);
    Some(usize::from(own))
}
