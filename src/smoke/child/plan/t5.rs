//! T5: an encoder whose states a decoder looks at; distances are biases from a table.

use super::{Activation, Builder, Embedding, Head, Matrix, Mlp, Norm, NormKind, Plan, Refusal};

/// An encoder, and a decoder where there is one.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct T5 {
    pub(in crate::smoke::child) heads: usize,
    pub(in crate::smoke::child) head_dim: usize,
    /// Buckets of distances, and the distance from which all fall into the last.
    pub(in crate::smoke::child) buckets: usize,
    pub(in crate::smoke::child) farthest: usize,
    pub(in crate::smoke::child) encoder: Stack,
    pub(in crate::smoke::child) decoder: Option<Stack>,
}

/// Blocks on top of each other.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Stack {
    pub(in crate::smoke::child) blocks: Vec<Block>,
    pub(in crate::smoke::child) norm: Norm,
}

/// A block: looking around, in a decoder looking at the encoder's states, and the feed-forward part.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Block {
    pub(in crate::smoke::child) own: Look,
    pub(in crate::smoke::child) cross: Option<Look>,
    pub(in crate::smoke::child) norm: Norm,
    pub(in crate::smoke::child) mlp: Mlp,
}

/// Attention with a norm in front.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Look {
    pub(in crate::smoke::child) norm: Norm,
    pub(in crate::smoke::child) q: Matrix,
    pub(in crate::smoke::child) k: Matrix,
    pub(in crate::smoke::child) v: Matrix,
    pub(in crate::smoke::child) output: Matrix,
    /// The table of distances, `[buckets, heads]`; a block without one uses the first block's.
    pub(in crate::smoke::child) distances: Option<Matrix>,
}

struct Shape {
    hidden: usize,
    heads: usize,
    head_dim: usize,
    width: usize,
    buckets: usize,
    activation: Activation,
    gated: bool,
}

/// Plans one of these.
pub(super) fn plan(architecture: &str, mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    let name = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"];
    let held = name.iter().find(|name| builder.has(&format!("{name}.weight"))).unwrap_or(&name[0]);
    "encoder.block".clone_into(&mut builder.layers_at);
    let shape = shape(&builder)?;
    let vocabulary = builder.vocabulary()?;
    let tokens = builder.table(held, vocabulary, shape.hidden);
    for copy in name.iter().filter(|name| *name != held) {
        let copy = format!("{copy}.weight");
        if builder.has(&copy) {
            builder.expect(&copy, &[vocabulary, shape.hidden]);
        }
    }
    let depth = builder.layers()?;
    let encoder = stack(&mut builder, &shape, "encoder", depth);
    let has_decoder = !architecture.ends_with("EncoderModel");
    let depth = builder.size("num_decoder_layers").unwrap_or(depth).min(1024);
    let decoder = has_decoder.then(|| stack(&mut builder, &shape, "decoder", depth));
    let found = layers_of(&builder, "encoder");
    builder.found.layers = found;
    let head = architecture.ends_with("ForConditionalGeneration").then(|| {
        let tied = builder.flag("tie_word_embeddings").unwrap_or(true);
        let head = builder.head(&["lm_head"], &tokens, tied);
        #[expect(clippy::cast_precision_loss, reason = "a width is at most 65536")]
        let scale = (shape.hidden as f64).powf(-0.5);
        // Tied heads are scaled unless the config says otherwise; MT5's never.
        let scaled = builder.flag("scale_decoder_outputs").unwrap_or(tied) && !architecture.starts_with("MT5");
        Head { scale: if scaled { scale } else { 1.0 }, ..head }
    });
    let t5 = T5 {
        heads: shape.heads,
        head_dim: shape.head_dim,
        buckets: shape.buckets,
        farthest: builder.size("relative_attention_max_distance").unwrap_or(128),
        encoder,
        decoder,
    };
    Ok(Plan {
        architecture: String::new(),
        embedding: Embedding::plain(tokens),
        layers: Vec::new(),
        norm: None,
        bridge: Vec::new(),
        head,
        ropes: Vec::new(),
        is_encoder: true,
        t5: Some(t5),
        found: builder.found,
    })
}

fn layers_of(builder: &Builder<'_>, stack: &str) -> usize {
    let start = format!("{stack}.block.");
    let number = |name: &str| name.strip_prefix(&start)?.split('.').next()?.parse::<usize>().ok();
    builder.tensors.iter().filter_map(|e| number(&e.name)).max().map_or(0, |last| last.saturating_add(1))
}

fn shape(builder: &Builder<'_>) -> Result<Shape, Refusal> {
    let buckets = builder.size("relative_attention_num_buckets").unwrap_or(32);
    if !(4..=4096).contains(&buckets) {
        return Err(Refusal::Wrong(format!("config.json: {buckets} buckets of distances")));
    }
    let projection = builder.text("feed_forward_proj").unwrap_or("relu");
    let gated = projection.strip_prefix("gated-");
    // A name of old: gated means the approximation.
    let usual = match gated {
        Some("gelu") => "gelu_new",
        Some(name) => name,
        None => projection,
    };
    Ok(Shape {
        hidden: builder.hidden()?,
        heads: builder.need_size("num_heads")?,
        head_dim: builder.need_size("d_kv")?,
        width: builder.need_size("d_ff")?,
        buckets,
        activation: Activation::named(usual)?,
        gated: gated.is_some(),
    })
}

fn stack(builder: &mut Builder<'_>, shape: &Shape, name: &str, depth: usize) -> Stack {
    let blocks = (0..depth).map(|index| block(builder, shape, name, index)).collect();
    Stack { blocks, norm: norm(builder, &format!("{name}.final_layer_norm"), shape.hidden) }
}

fn norm(builder: &mut Builder<'_>, name: &str, width: usize) -> Norm {
    let eps = builder.eps(1e-6);
    builder.norm(NormKind::Rms, eps, name, width)
}

fn block(builder: &mut Builder<'_>, shape: &Shape, stack: &str, index: usize) -> Block {
    let at = |layer: usize| format!("{stack}.block.{index}.layer.{layer}");
    let own = look(builder, shape, &at(0), "SelfAttention", index == 0);
    let cross = (stack == "decoder").then(|| look(builder, shape, &at(1), "EncDecAttention", false));
    let last = at(if cross.is_some() { 2 } else { 1 });
    let (hidden, width, activation) = (shape.hidden, shape.width, shape.activation);
    let dense = |name: &str| format!("{last}.DenseReluDense.{name}");
    let mlp = if shape.gated {
        Mlp::Gated {
            gate: builder.linear(&dense("wi_0"), width, hidden),
            up: builder.linear(&dense("wi_1"), width, hidden),
            down: builder.linear(&dense("wo"), hidden, width),
            activation,
        }
    } else {
        Mlp::Plain {
            up: builder.linear(&dense("wi"), width, hidden),
            down: builder.linear(&dense("wo"), hidden, width),
            activation,
        }
    };
    Block { own, cross, norm: norm(builder, &format!("{last}.layer_norm"), hidden), mlp }
}

fn look(builder: &mut Builder<'_>, shape: &Shape, at: &str, name: &str, first: bool) -> Look {
    let (hidden, inner) = (shape.hidden, shape.heads * shape.head_dim);
    let table = format!("{at}.{name}.relative_attention_bias");
    let has_table = first || builder.has(&format!("{table}.weight"));
    Look {
        norm: norm(builder, &format!("{at}.layer_norm"), hidden),
        q: builder.linear(&format!("{at}.{name}.q"), inner, hidden),
        k: builder.linear(&format!("{at}.{name}.k"), inner, hidden),
        v: builder.linear(&format!("{at}.{name}.v"), inner, hidden),
        output: builder.linear(&format!("{at}.{name}.o"), hidden, inner),
        distances: has_table.then(|| builder.table(&table, shape.buckets, shape.heads)),
    }
}
