//! Models that read in both directions: BERT, RoBERTa, DistilBERT, ModernBERT, with or without their guess of words.

use super::{
    Activation, Attention, Builder, Embedding, Form, Head, Layer, Mixer, Mlp, Norm, NormKind, Order, Plan, Positions,
    Projection, Qkv, Refusal, gpt::plain_attention, rope, rope::Usual,
};

const FAMILIES: &[&str] = &["Bert", "Roberta", "XLMRoberta", "Camembert", "DistilBert", "ModernBert"];
/// What a class of these families may be: the bare model, one that guesses words, or one with a head that is not run.
const KINDS: &[&str] = &[
    "Model",
    "ForMaskedLM",
    "ForPreTraining",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
];

fn split(architecture: &str) -> Option<(&'static str, &'static str)> {
    FAMILIES.iter().find_map(|family| {
        let kind = architecture.strip_prefix(family)?;
        KINDS.iter().find(|known| **known == kind).map(|kind| (*family, *kind))
    })
}

/// Tells whether a class is one of these.
pub(super) fn is_one(architecture: &str) -> bool {
    split(architecture).is_some()
}

/// Plans one of these encoders.
pub(super) fn plan(architecture: &str, mut builder: Builder<'_>) -> Result<Plan, Refusal> {
    let Some((family, kind)) = split(architecture) else {
        return Refusal::unsupported(format!("the architecture `{architecture}` is not supported yet"));
    };
    let guesses = matches!(kind, "ForMaskedLM" | "ForPreTraining");
    let mut plan = match family {
        "DistilBert" => distilbert(&mut builder, guesses)?,
        "ModernBert" => modernbert(&mut builder, guesses)?,
        "Bert" => bert(&mut builder, "bert.", false, guesses)?,
        _ => bert(&mut builder, "roberta.", true, guesses)?,
    };
    // Heads that judge texts read the states that are checked here.
    let unread = ["pooler.", "classifier.", "qa_outputs.", "pre_classifier.", "cls.seq_relationship.", "position_ids"];
    let names = builder.tensors.iter().map(|entry| &entry.name);
    let unread = names.filter(|name| unread.iter().any(|part| name.contains(part))).cloned();
    builder.found.used.extend(unread);
    plan.found = builder.found;
    Ok(plan)
}

fn encoder(embedding: Embedding, layers: Vec<Layer>, bridge: Vec<Projection>, head: Option<Head>) -> Plan {
    Plan {
        architecture: String::new(),
        embedding,
        layers,
        norm: None,
        bridge,
        head,
        ropes: Vec::new(),
        is_encoder: true,
        t5: None,
        found: super::Found::default(),
    }
}

fn norm(builder: &mut Builder<'_>, name: &str, width: usize) -> Norm {
    let eps = builder.eps(1e-12);
    builder.norm(NormKind::Layer, eps, name, width)
}

/// The head that guesses words: the embedding unless it has weights of its own, and a bias.
fn guess(builder: &mut Builder<'_>, names: &[&str], biases: &[&str], tokens: &super::Matrix) -> Head {
    let mut head = builder.head(names, tokens, true);
    let biases = biases.iter().filter(|bias| builder.has(bias)).copied().collect::<Vec<_>>();
    for bias in biases {
        // Files may hold the same bias under two names.
        head.matrix.bias = builder.optional(bias, tokens.rows);
    }
    head
}

fn bert(builder: &mut Builder<'_>, own: &str, roberta: bool, guesses: bool) -> Result<Plan, Refusal> {
    builder.locate(own, "embeddings.word_embeddings", "encoder.layer");
    let kind = builder.text("position_embedding_type").unwrap_or("absolute");
    if kind != "absolute" {
        return Refusal::unsupported(format!("the position embedding `{kind}` is not supported for encoders"));
    }
    if builder.flag("is_decoder") == Some(true) || builder.flag("add_cross_attention") == Some(true) {
        return Refusal::unsupported("an encoder that is used as a decoder");
    }
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let width = builder.need_size("intermediate_size")?;
    let activation = builder.activation("gelu")?;
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let linear = |builder: &mut Builder<'_>, name: &str, rows, cols| {
            let name = builder.in_layer(index, name);
            builder.linear(&name, rows, cols)
        };
        let qkv = Qkv::Separate {
            q: linear(builder, "attention.self.query", hidden, hidden),
            k: linear(builder, "attention.self.key", hidden, hidden),
            v: linear(builder, "attention.self.value", hidden, hidden),
        };
        let output = linear(builder, "attention.output.dense", hidden, hidden);
        let attention = Attention { causal: false, ..plain_attention(heads, heads, hidden / heads, qkv, output) };
        let (first, second) =
            (builder.in_layer(index, "attention.output.LayerNorm"), builder.in_layer(index, "output.LayerNorm"));
        let up = linear(builder, "intermediate.dense", width, hidden);
        let down = linear(builder, "output.dense", hidden, width);
        let (first, second) = (norm(builder, &first, hidden), norm(builder, &second, hidden));
        post(attention, first, Mlp::Plain { up, down, activation }, second)
    };
    let at = format!("{}embeddings", builder.prefix);
    let tokens = builder.table(&format!("{at}.word_embeddings"), vocabulary, hidden);
    let longest = builder.config.max_positions.and_then(|n| usize::try_from(n).ok());
    let longest = longest.ok_or_else(|| Refusal::absent("max_position_embeddings"))?;
    let table = builder.table(&format!("{at}.position_embeddings"), longest, hidden);
    let pad = builder.size("pad_token_id").unwrap_or(1);
    let skips = u32::try_from(pad).ok().filter(|_| roberta);
    let types = builder.need_size("type_vocab_size")?;
    let types = builder.table(&format!("{at}.token_type_embeddings"), types, hidden);
    let first = norm(builder, &format!("{at}.LayerNorm"), hidden);
    let layers = (0..builder.layers()?).map(|index| layer(builder, index)).collect();
    let positions = Some(Positions { table, offset: if roberta { pad + 1 } else { 0 }, skips });
    let embedding = Embedding { positions, types: Some(types), norm: Some(first), ..Embedding::plain(tokens.clone()) };
    if !guesses {
        return Ok(encoder(embedding, layers, Vec::new(), None));
    }
    let (dense, last, names, biases) = if roberta {
        ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder", ["lm_head.decoder.bias", "lm_head.bias"])
    } else {
        let decoder = "cls.predictions.decoder";
        let biases = ["cls.predictions.decoder.bias", "cls.predictions.bias"];
        ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", decoder, biases)
    };
    let bridge = vec![
        Projection::Linear(builder.linear(dense, hidden, hidden)),
        Projection::Activation(if roberta { Activation::Gelu } else { activation }),
        Projection::Norm(norm(builder, last, hidden)),
    ];
    let head = guess(builder, &[names], &biases, &tokens);
    Ok(encoder(embedding, layers, bridge, Some(head)))
}

/// A layer with its norms behind each addition.
fn post(attention: Attention, first: Norm, mlp: Mlp, second: Norm) -> Layer {
    Layer {
        order: Order::Post,
        before_mixer: None,
        mixer: Mixer::Attention(Box::new(attention)),
        after_mixer: Some(first),
        before_mlp: None,
        mlp: Some(mlp),
        after_mlp: Some(second),
        residual_scale: 1.0,
    }
}

fn distilbert(builder: &mut Builder<'_>, guesses: bool) -> Result<Plan, Refusal> {
    builder.locate("distilbert.", "embeddings.word_embeddings", "transformer.layer");
    let (hidden, heads, width) =
        (builder.need_size("dim")?, builder.need_size("n_heads")?, builder.need_size("hidden_dim")?);
    let vocabulary = builder.vocabulary()?;
    if hidden % heads != 0 {
        return Err(Refusal::Wrong(format!("config.json: {hidden} cannot be split into {heads} heads")));
    }
    let activation = Activation::named(builder.text("activation").unwrap_or("gelu"))?;
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let linear = |builder: &mut Builder<'_>, name: &str, rows, cols| {
            let name = builder.in_layer(index, name);
            builder.linear(&name, rows, cols)
        };
        let qkv = Qkv::Separate {
            q: linear(builder, "attention.q_lin", hidden, hidden),
            k: linear(builder, "attention.k_lin", hidden, hidden),
            v: linear(builder, "attention.v_lin", hidden, hidden),
        };
        let output = linear(builder, "attention.out_lin", hidden, hidden);
        let attention = Attention { causal: false, ..plain_attention(heads, heads, hidden / heads, qkv, output) };
        let up = linear(builder, "ffn.lin1", width, hidden);
        let down = linear(builder, "ffn.lin2", hidden, width);
        let (first, second) = (builder.in_layer(index, "sa_layer_norm"), builder.in_layer(index, "output_layer_norm"));
        let (first, second) = (norm(builder, &first, hidden), norm(builder, &second, hidden));
        post(attention, first, Mlp::Plain { up, down, activation }, second)
    };
    let at = format!("{}embeddings", builder.prefix);
    let tokens = builder.table(&format!("{at}.word_embeddings"), vocabulary, hidden);
    let longest = builder.need_size("max_position_embeddings")?;
    let table = builder.table(&format!("{at}.position_embeddings"), longest, hidden);
    let first = norm(builder, &format!("{at}.LayerNorm"), hidden);
    let layers = (0..builder.need_size("n_layers")?.min(1024)).map(|index| layer(builder, index)).collect();
    let positions = Some(Positions { table, offset: 0, skips: None });
    let embedding = Embedding { positions, norm: Some(first), ..Embedding::plain(tokens.clone()) };
    if !guesses {
        return Ok(encoder(embedding, layers, Vec::new(), None));
    }
    let bridge = vec![
        Projection::Linear(builder.linear("vocab_transform", hidden, hidden)),
        Projection::Activation(activation),
        Projection::Norm(norm(builder, "vocab_layer_norm", hidden)),
    ];
    let head = guess(builder, &["vocab_projector"], &["vocab_projector.bias"], &tokens);
    Ok(encoder(embedding, layers, bridge, Some(head)))
}

fn modernbert(builder: &mut Builder<'_>, guesses: bool) -> Result<Plan, Refusal> {
    builder.locate("model.", "embeddings.tok_embeddings", "layers");
    let (hidden, vocabulary, heads) = (builder.hidden()?, builder.vocabulary()?, builder.heads()?);
    let width = builder.need_size("intermediate_size")?;
    let activation = Activation::named(builder.text("hidden_activation").unwrap_or("gelu"))?;
    let head_dim = hidden / heads;
    let full = rope::full(builder, head_dim, Usual { theta: 160_000.0, ..Usual::default() })?;
    let near = match rope::sliding(builder, head_dim, Usual::default())? {
        Some(rope) => rope,
        None => rope::local(builder, head_dim, Usual::default())?,
    };
    let reach = builder.size("local_attention").unwrap_or(128) / 2;
    let every = builder.size("global_attn_every_n_layers").unwrap_or(3).max(1);
    let layer = |builder: &mut Builder<'_>, index: usize| {
        let at = |builder: &Builder<'_>, name: &str| builder.in_layer(index, name);
        let named = builder.config.raw.get("layer_types").and_then(|types| types.get(index)).and_then(|t| t.as_str());
        let is_near = named.map_or(!index.is_multiple_of(every), |name| name == "sliding_attention");
        let (qkv, output) = (at(builder, "attn.Wqkv"), at(builder, "attn.Wo"));
        let qkv = Qkv::Fused { matrix: builder.linear(&qkv, 3 * hidden, hidden), groups: 1 };
        let output = builder.linear(&output, hidden, hidden);
        let attention = Attention {
            causal: false,
            window: is_near.then_some(reach + 1),
            rope: Some(usize::from(is_near)),
            ..plain_attention(heads, heads, head_dim, qkv, output)
        };
        let (first, second) = (at(builder, "attn_norm"), at(builder, "mlp_norm"));
        let (both, down) = (at(builder, "mlp.Wi"), at(builder, "mlp.Wo"));
        Layer {
            order: Order::Sequential,
            before_mixer: (index > 0).then(|| modern_norm(builder, &first, hidden)),
            mixer: Mixer::Attention(Box::new(attention)),
            after_mixer: None,
            before_mlp: Some(modern_norm(builder, &second, hidden)),
            mlp: Some(Mlp::FusedGated {
                both: builder.linear(&both, 2 * width, hidden),
                down: builder.linear(&down, hidden, width),
                form: Form::Halves,
                activation,
            }),
            after_mlp: None,
            residual_scale: 1.0,
        }
    };
    let prefix = builder.prefix.clone();
    let tokens = builder.table(&format!("{prefix}embeddings.tok_embeddings"), vocabulary, hidden);
    let first = modern_norm(builder, &format!("{prefix}embeddings.norm"), hidden);
    let layers = (0..builder.layers()?).map(|index| layer(builder, index)).collect();
    let last = modern_norm(builder, &format!("{prefix}final_norm"), hidden);
    let embedding = Embedding { norm: Some(first), ..Embedding::plain(tokens.clone()) };
    let (mut bridge, mut head) = (Vec::new(), None);
    if guesses {
        bridge.push(Projection::Linear(builder.linear("head.dense", hidden, hidden)));
        let named = builder.text("classifier_activation").unwrap_or("gelu");
        bridge.push(Projection::Activation(Activation::named(named)?));
        bridge.push(Projection::Norm(modern_norm(builder, "head.norm", hidden)));
        head = Some(guess(builder, &["decoder"], &["decoder.bias"], &tokens));
    } else {
        // Heads of other kinds read through these.
        let unread = builder.tensors.iter().filter(|entry| entry.name.starts_with("head.")).map(|e| e.name.clone());
        builder.found.used.extend(unread.collect::<Vec<_>>());
    }
    Ok(Plan { norm: Some(last), ropes: vec![full, near], ..encoder(embedding, layers, bridge, head) })
}

fn modern_norm(builder: &mut Builder<'_>, name: &str, width: usize) -> Norm {
    let eps = builder.eps(1e-5);
    builder.norm(NormKind::Layer, eps, name, width)
}
