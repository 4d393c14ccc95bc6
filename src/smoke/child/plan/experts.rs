//! Mixtures of experts: their names, their routers, and who is chosen.

use super::{Activation, Builder, Experts, Form, Matrix, Mlp, Refusal, Router, Scoring, Vector};

/// How a family names and chooses its experts.
pub(super) struct Style {
    pub(super) activation: Activation,
    pub(super) scoring: Scoring,
    /// Weights of the chosen sum to one where the config does not say.
    pub(super) normalize: bool,
    /// The config has no say in that.
    pub(super) fixed: bool,
    pub(super) scale: f64,
    pub(super) groups: Option<(usize, usize)>,
    pub(super) groups_by_two: bool,
}

impl Style {
    pub(super) fn usual(activation: Activation) -> Self {
        Self {
            activation,
            scoring: Scoring::Softmax,
            normalize: false,
            fixed: false,
            scale: 1.0,
            groups: None,
            groups_by_two: false,
        }
    }
}

/// Places of a layer's mixture, and of its router in it.
const PLACES: &[(&str, &str)] = &[("block_sparse_moe", "gate"), ("mlp", "gate"), ("mlp", "router")];

/// Plans a layer's mixture of experts; `None` when the layer has none.
pub(super) fn plan(builder: &mut Builder<'_>, index: usize, style: &Style) -> Result<Option<Experts>, Refusal> {
    let router = |(place, name): &(&str, &str)| builder.in_layer(index, &format!("{place}.{name}"));
    let Some((place, _)) = PLACES.iter().find(|place| builder.has(&format!("{}.weight", router(place)))) else {
        return Ok(None);
    };
    let router = PLACES.iter().map(router).find(|name| builder.has(&format!("{name}.weight"))).unwrap_or_default();
    let hidden = builder.hidden()?;
    let counts = ["num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"];
    let count = counts.iter().find_map(|name| builder.size(name)).filter(|count| (1..=1024).contains(count));
    let count = count.ok_or_else(|| Refusal::absent("num_experts"))?;
    let chosen = builder.need_size("num_experts_per_tok")?;
    if chosen > count {
        return Err(Refusal::Wrong(format!("config.json: a token chooses {chosen} of {count} experts")));
    }
    let normalize =
        if style.fixed { style.normalize } else { builder.flag("norm_topk_prob").unwrap_or(style.normalize) };
    let matrix = builder.linear(&router, count, hidden);
    let correction = builder.optional(&format!("{router}.e_score_correction_bias"), count);
    let router = Router {
        matrix,
        scoring: style.scoring,
        chosen,
        normalize,
        scale: style.scale,
        correction,
        groups: style.groups,
        groups_by_two: style.groups_by_two,
    };
    let widths = ["moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size"];
    let width =
        widths.iter().find_map(|name| builder.size(name)).ok_or_else(|| Refusal::absent("intermediate_size"))?;
    let at = builder.in_layer(index, place);
    // GGUF files may leave the width out, and hold it in their shapes.
    let stacked = builder.shape(&format!("{at}.experts.gate_proj")).and_then(|shape| shape.get(1).copied());
    let width = stacked.unwrap_or(width);
    let each = each(builder, &at, count, width, hidden, style.activation)?;
    let (shared, shared_gate) = shared(builder, &at, width, hidden, style.activation)?;
    Ok(Some(Experts { router, each, shared, shared_gate }))
}

/// The experts, each with tensors of its own or all in a few.
fn each(
    builder: &mut Builder<'_>,
    at: &str,
    count: usize,
    width: usize,
    hidden: usize,
    activation: Activation,
) -> Result<Vec<Mlp>, Refusal> {
    if builder.has(&format!("{at}.experts.gate_up_proj_bias")) {
        return Ok(alternating(builder, at, count, width, hidden));
    }
    if builder.has(&format!("{at}.experts.gate_up_proj")) {
        let both = stacked(builder, &format!("{at}.experts.gate_up_proj"), count, 2 * width, hidden);
        let down = stacked(builder, &format!("{at}.experts.down_proj"), count, hidden, width);
        let fused = |(both, down)| Mlp::FusedGated { both, down, form: Form::Halves, activation };
        return Ok(both.into_iter().zip(down).map(fused).collect());
    }
    if builder.has(&format!("{at}.experts.gate_proj")) {
        let gate = stacked(builder, &format!("{at}.experts.gate_proj"), count, width, hidden);
        let up = stacked(builder, &format!("{at}.experts.up_proj"), count, width, hidden);
        let down = stacked(builder, &format!("{at}.experts.down_proj"), count, hidden, width);
        let gated = |((gate, up), down)| Mlp::Gated { gate, up, down, activation };
        return Ok(gate.into_iter().zip(up).zip(down).map(gated).collect());
    }
    let short = builder.has(&format!("{at}.experts.0.w1.weight"));
    let names = if short { ["w1", "w3", "w2"] } else { ["gate_proj", "up_proj", "down_proj"] };
    let gated = |expert| Ok(gated(builder, &format!("{at}.experts.{expert}"), names, width, hidden, activation));
    (0..count).map(gated).collect()
}

fn gated(
    builder: &mut Builder<'_>,
    at: &str,
    [gate, up, down]: [&str; 3],
    width: usize,
    hidden: usize,
    activation: Activation,
) -> Mlp {
    Mlp::Gated {
        gate: builder.linear(&format!("{at}.{gate}"), width, hidden),
        up: builder.linear(&format!("{at}.{up}"), width, hidden),
        down: builder.linear(&format!("{at}.{down}"), hidden, width),
        activation,
    }
}

/// One tensor for all experts, `[experts, rows, cols]`.
fn stacked(builder: &mut Builder<'_>, name: &str, count: usize, rows: usize, cols: usize) -> Vec<Matrix> {
    builder.expect(name, &[count, rows, cols]);
    let one =
        |expert| Matrix { name: name.to_owned(), first: expert * rows, rows, cols, transposed: false, bias: None };
    (0..count).map(one).collect()
}

/// gpt-oss: inputs by outputs, gate and what it opens in turn, and biases.
fn alternating(builder: &mut Builder<'_>, at: &str, count: usize, width: usize, hidden: usize) -> Vec<Mlp> {
    let mut part = |name: &str, rows: usize, cols: usize| -> Vec<Matrix> {
        let (name, bias) = (format!("{at}.experts.{name}"), format!("{at}.experts.{name}_bias"));
        builder.expect(&name, &[count, cols, rows]);
        builder.expect(&bias, &[count, rows]);
        let one = |expert| {
            let bias = Some(Vector { name: bias.clone(), start: expert * rows, length: rows });
            Matrix { name: name.clone(), first: expert * cols, rows, cols, transposed: true, bias }
        };
        (0..count).map(one).collect()
    };
    let (both, down) = (part("gate_up_proj", 2 * width, hidden), part("down_proj", hidden, width));
    let (limit, alpha) =
        (builder.number("swiglu_limit").unwrap_or(7.0), builder.number("swiglu_alpha").unwrap_or(1.702));
    let form = Form::Alternating { limit, alpha };
    let fused = |(both, down)| Mlp::FusedGated { both, down, form, activation: Activation::Silu };
    both.into_iter().zip(down).map(fused).collect()
}

/// Experts that always run: Qwen has one with a gate, DeepSeek several as one.
fn shared(
    builder: &mut Builder<'_>,
    at: &str,
    width: usize,
    hidden: usize,
    activation: Activation,
) -> Result<(Option<Mlp>, Option<Matrix>), Refusal> {
    let names = ["gate_proj", "up_proj", "down_proj"];
    let several = format!("{at}.shared_experts");
    if builder.has(&format!("{several}.gate_proj.weight")) {
        let count = builder.need_size("n_shared_experts")?;
        return Ok((Some(gated(builder, &several, names, count * width, hidden, activation)), None));
    }
    let one = format!("{at}.shared_expert");
    if builder.has(&format!("{one}.gate_proj.weight")) {
        let width = builder.need_size("shared_expert_intermediate_size")?;
        let expert = gated(builder, &one, names, width, hidden, activation);
        let gate = format!("{at}.shared_expert_gate");
        let gate = builder.has(&format!("{gate}.weight")).then(|| builder.linear(&gate, 1, hidden));
        return Ok((Some(expert), gate));
    }
    Ok((None, None))
}
