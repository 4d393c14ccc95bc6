//! GPT-2 and those near it: tables of positions (OPT, BigCode), matrices stored sideways (GPT-2), or rotation between
//! neighbours (GPT-J).

use super::{
    Attention, Builder, Embedding, Layer, Matrix, Mixer, Mlp, Norm, NormKind, Order, Plan, Positions, Projection, Qkv,
    Refusal, rope, rope::Usual,
};

/// Plans one of these decoders.
pub(super) fn plan(architecture: &str, builder: Builder<'_>) -> Result<Plan, Refusal> {
    match architecture {
        "OPTForCausalLM" => opt(builder),
        "GPTJForCausalLM" => gptj(builder),
        _ => gpt2(architecture == "GPT2LMHeadModel", builder),
    }
}

fn layer_norm(builder: &mut Builder<'_>, name: &str, width: usize) -> Norm {
    let eps = builder.eps(1e-5);
    builder.norm(NormKind::Layer, eps, name, width)
}

#[expect(clippy::cast_precision_loss, reason = "a head is at most 65536 wide")]
fn root(head_dim: usize) -> f64 {
    (head_dim as f64).powf(-0.5)
}

/// Attention without any of the options that later families have.
pub(super) fn plain_attention(heads: usize, kv_heads: usize, head_dim: usize, qkv: Qkv, output: Matrix) -> Attention {
    Attention {
        heads,
        kv_heads,
        head_dim,
        qkv,
        q_norm: None,
        k_norm: None,
        output,
        scale: root(head_dim),
        cap: None,
        clip: None,
        causal: true,
        window: None,
        rope: None,
        slopes: None,
        slopes_before_scale: false,
        sinks: None,
    }
}

/// GPT-2, whose matrices are stored as inputs by outputs, and BigCode, whose heads may share one key.
fn gpt2(sideways: bool, mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("transformer.", "wte", "h");
    if builder.flag("add_cross_attention") == Some(true) {
        return Refusal::unsupported("attention to another model's states is not supported");
    }
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let multi_query = !sideways && builder.flag("multi_query").unwrap_or(true);
    let head_dim = hidden / heads;
    let kv_heads = if multi_query { 1 } else { heads };
    let width = builder.size("n_inner").or(builder.size("intermediate_size")).unwrap_or(4 * hidden);
    let activation = builder.activation(if sideways { "gelu_new" } else { "gelu_pytorch_tanh" })?;
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let linear = |builder: &mut Builder<'_>, name: &str, rows, cols| {
            let name = builder.in_layer(index, name);
            if sideways { builder.transposed(&name, rows, cols) } else { builder.linear(&name, rows, cols) }
        };
        let matrix = linear(builder, "attn.c_attn", hidden + 2 * kv_heads * head_dim, hidden);
        // With a key for each head, BigCode puts a head's query, key and value together.
        let groups = if sideways || multi_query { 1 } else { heads };
        let output = linear(builder, "attn.c_proj", hidden, hidden);
        let mut attention = plain_attention(heads, kv_heads, head_dim, Qkv::Fused { matrix, groups }, output);
        if builder.flag("scale_attn_weights") == Some(false) {
            attention.scale = 1.0;
        }
        if builder.flag("scale_attn_by_inverse_layer_idx") == Some(true) {
            #[expect(clippy::cast_precision_loss, reason = "there are at most 1024 layers")]
            let depth = (index + 1) as f64;
            attention.scale /= depth;
        }
        let (first, second) = (builder.in_layer(index, "ln_1"), builder.in_layer(index, "ln_2"));
        Layer {
            order: Order::Sequential,
            before_mixer: Some(layer_norm(builder, &first, hidden)),
            mixer: Mixer::Attention(Box::new(attention)),
            after_mixer: None,
            before_mlp: Some(layer_norm(builder, &second, hidden)),
            mlp: Some(Mlp::Plain {
                up: linear(builder, "mlp.c_fc", width, hidden),
                down: linear(builder, "mlp.c_proj", hidden, width),
                activation,
            }),
            after_mlp: None,
            residual_scale: 1.0,
        }
    };
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}wte"), vocabulary, hidden);
    let longest = builder.config.max_positions.and_then(|n| usize::try_from(n).ok());
    let longest = longest.ok_or_else(|| Refusal::absent("n_positions"))?;
    let positions = builder.table(&format!("{prefix}wpe"), longest, hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, index)).collect();
    let norm = layer_norm(&mut builder, &format!("{prefix}ln_f"), hidden);
    let head = builder.head(&["lm_head"], &tokens, true);
    let positions = Some(Positions { table: positions, offset: 0, skips: None });
    Ok(Plan { layers, ..decoder(Embedding { positions, ..Embedding::plain(tokens) }, norm, head, builder) })
}

/// What all of these end in.
pub(super) fn decoder(embedding: Embedding, norm: Norm, head: super::Head, builder: Builder<'_>) -> Plan {
    Plan {
        architecture: String::new(),
        embedding,
        layers: Vec::new(),
        norm: Some(norm),
        bridge: Vec::new(),
        head: Some(head),
        ropes: Vec::new(),
        is_encoder: false,
        t5: None,
        found: builder.found,
    }
}

fn gptj(mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("transformer.", "wte", "h");
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let head_dim = hidden / heads;
    let turned = builder.size("rotary_dim").unwrap_or(head_dim).min(head_dim);
    let width = builder.size("n_inner").unwrap_or(4 * hidden);
    let activation = builder.activation("gelu_new")?;
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let linear = |builder: &mut Builder<'_>, name: &str, rows, cols| {
            let name = builder.in_layer(index, name);
            builder.linear(&name, rows, cols)
        };
        let qkv = Qkv::Separate {
            q: linear(builder, "attn.q_proj", hidden, hidden),
            k: linear(builder, "attn.k_proj", hidden, hidden),
            v: linear(builder, "attn.v_proj", hidden, hidden),
        };
        let output = linear(builder, "attn.out_proj", hidden, hidden);
        let attention = Attention { rope: Some(0), ..plain_attention(heads, heads, head_dim, qkv, output) };
        let norm = builder.in_layer(index, "ln_1");
        Layer {
            order: Order::Parallel,
            before_mixer: Some(layer_norm(builder, &norm, hidden)),
            mixer: Mixer::Attention(Box::new(attention)),
            after_mixer: None,
            before_mlp: None,
            mlp: Some(Mlp::Plain {
                up: linear(builder, "mlp.fc_in", width, hidden),
                down: linear(builder, "mlp.fc_out", hidden, width),
                activation,
            }),
            after_mlp: None,
            residual_scale: 1.0,
        }
    };
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}wte"), vocabulary, hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, index)).collect();
    let norm = layer_norm(&mut builder, &format!("{prefix}ln_f"), hidden);
    let head = builder.head(&["lm_head"], &tokens, false);
    let rope = rope::full(&builder, turned, Usual { interleaved: true, ..Usual::default() })?;
    Ok(Plan { layers, ropes: vec![rope], ..decoder(Embedding::plain(tokens), norm, head, builder) })
}

/// OPT: positions begin at the table's third row; the smallest but one has its norms behind, and narrower words.
fn opt(mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    builder.locate("model.decoder.", "embed_tokens", "layers");
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let words = builder.size("word_embed_proj_dim").unwrap_or(hidden);
    let width = builder.need_size("ffn_dim")?;
    let activation = builder.activation("relu")?;
    let before = builder.flag("do_layer_norm_before").unwrap_or(true);
    let affine = builder.flag("layer_norm_elementwise_affine").unwrap_or(true);
    let norm = |builder: &mut Builder<'_>, name: &str| {
        if affine {
            return layer_norm(builder, name, hidden);
        }
        Norm { kind: NormKind::Layer, eps: builder.eps(1e-5), weight: None, bias: None }
    };
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let linear = |builder: &mut Builder<'_>, name: &str, rows, cols| {
            let name = builder.in_layer(index, name);
            builder.linear(&name, rows, cols)
        };
        let qkv = Qkv::Separate {
            q: linear(builder, "self_attn.q_proj", hidden, hidden),
            k: linear(builder, "self_attn.k_proj", hidden, hidden),
            v: linear(builder, "self_attn.v_proj", hidden, hidden),
        };
        let output = linear(builder, "self_attn.out_proj", hidden, hidden);
        let attention = plain_attention(heads, heads, head_dim(hidden, heads), qkv, output);
        let (first, second) =
            (builder.in_layer(index, "self_attn_layer_norm"), builder.in_layer(index, "final_layer_norm"));
        let (first, second) = (norm(builder, &first), norm(builder, &second));
        let [before_mixer, after_mixer, before_mlp, after_mlp] =
            if before { [Some(first), None, Some(second), None] } else { [None, Some(first), None, Some(second)] };
        Layer {
            order: if before { Order::Sequential } else { Order::Post },
            before_mixer,
            mixer: Mixer::Attention(Box::new(attention)),
            after_mixer,
            before_mlp,
            mlp: Some(Mlp::Plain {
                up: linear(builder, "fc1", width, hidden),
                down: linear(builder, "fc2", hidden, width),
                activation,
            }),
            after_mlp,
            residual_scale: 1.0,
        }
    };
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}embed_tokens"), vocabulary, words);
    let longest = builder.config.max_positions.and_then(|n| usize::try_from(n).ok());
    let longest = longest.ok_or_else(|| Refusal::absent("max_position_embeddings"))?;
    let table = builder.table(&format!("{prefix}embed_positions"), longest.saturating_add(2), hidden);
    let layers = (0..builder.layers()?).map(|index| layer(&mut builder, index)).collect();
    let has_last = before && builder.flag("_remove_final_layer_norm") != Some(true);
    let last = has_last.then(|| norm(&mut builder, &format!("{prefix}final_layer_norm")));
    let (mut projection, mut bridge) = (None, Vec::new());
    if words != hidden {
        projection = Some(builder.linear(&format!("{prefix}project_in"), hidden, words));
        bridge.push(Projection::Linear(builder.linear(&format!("{prefix}project_out"), words, hidden)));
    }
    let head = builder.head(&["lm_head"], &tokens, true);
    let positions = Some(Positions { table, offset: 2, skips: None });
    let embedding = Embedding { positions, projection, ..Embedding::plain(tokens) };
    Ok(Plan {
        architecture: String::new(),
        embedding,
        layers,
        norm: last,
        bridge,
        head: Some(head),
        ropes: Vec::new(),
        is_encoder: false,
        t5: None,
        found: builder.found,
    })
}

fn head_dim(hidden: usize, heads: usize) -> usize {
    hidden / heads.max(1)
}
