//! From a tensor's name to its slot, whatever the architecture calls it, fused matrices taken apart.

use std::ops::Range;

use super::{
    print::MAX_LAYERS,
    shape::Shape,
    slots::{Layout, MAX_PERMUTED, Part, Role, Slot},
};

/// Names of one role's tensor within a layer, as the architectures write them.
const IN_LAYERS: &[(&str, Role)] = &[
    ("self_attn.q_proj", Role::Query),
    ("self_attn.k_proj", Role::Key),
    ("self_attn.v_proj", Role::Value),
    ("self_attn.o_proj", Role::Output),
    ("self_attn.out_proj", Role::Output),
    ("self_attn.dense", Role::Output),
    ("attn.q_proj", Role::Query),
    ("attn.k_proj", Role::Key),
    ("attn.v_proj", Role::Value),
    ("attn.out_proj", Role::Output),
    ("attn.c_proj", Role::Output),
    ("attention.wq", Role::Query),
    ("attention.wk", Role::Key),
    ("attention.wv", Role::Value),
    ("attention.wo", Role::Output),
    ("attention.dense", Role::Output),
    ("self_attention.dense", Role::Output),
    ("mlp.gate_proj", Role::Gate),
    ("mlp.up_proj", Role::Up),
    ("mlp.down_proj", Role::Down),
    ("feed_forward.w1", Role::Gate),
    ("feed_forward.w3", Role::Up),
    ("feed_forward.w2", Role::Down),
    ("mlp.fc1", Role::Up),
    ("mlp.fc2", Role::Down),
    ("mlp.c_fc", Role::Up),
    ("mlp.c_proj", Role::Down),
    ("mlp.fc_in", Role::Up),
    ("mlp.fc_out", Role::Down),
    ("mlp.dense_h_to_4h", Role::Up),
    ("mlp.dense_4h_to_h", Role::Down),
    ("ffn.up_proj", Role::Up),
    ("ffn.down_proj", Role::Down),
    ("fc1", Role::Up),
    ("fc2", Role::Down),
    ("w1", Role::Gate),
    ("w3", Role::Up),
    ("w2", Role::Down),
    ("gate_proj", Role::Gate),
    ("up_proj", Role::Up),
    ("down_proj", Role::Down),
    ("input_layernorm", Role::AttentionNorm),
    ("attention_norm", Role::AttentionNorm),
    ("ln_1", Role::AttentionNorm),
    ("norm_1", Role::AttentionNorm),
    ("self_attn_layer_norm", Role::AttentionNorm),
    ("post_attention_layernorm", Role::FeedNorm),
    ("ffn_norm", Role::FeedNorm),
    ("ln_2", Role::FeedNorm),
    ("norm_2", Role::FeedNorm),
    ("final_layer_norm", Role::FeedNorm),
    // BERT and its like
    ("attention.self.query", Role::Query),
    ("attention.self.key", Role::Key),
    ("attention.self.value", Role::Value),
    ("attention.output.dense", Role::Output),
    ("intermediate.dense", Role::Up),
    ("output.dense", Role::Down),
    ("attention.q_lin", Role::Query),
    ("attention.k_lin", Role::Key),
    ("attention.v_lin", Role::Value),
    ("attention.out_lin", Role::Output),
    ("ffn.lin1", Role::Up),
    ("ffn.lin2", Role::Down),
    // T5
    ("layer.0.SelfAttention.q", Role::Query),
    ("layer.0.SelfAttention.k", Role::Key),
    ("layer.0.SelfAttention.v", Role::Value),
    ("layer.0.SelfAttention.o", Role::Output),
    ("layer.0.layer_norm", Role::AttentionNorm),
    ("layer.2.DenseReluDense.wi", Role::Up),
    ("layer.2.DenseReluDense.wi_0", Role::Gate),
    ("layer.2.DenseReluDense.wi_1", Role::Up),
    ("layer.2.DenseReluDense.wo", Role::Down),
    ("layer.2.layer_norm", Role::FeedNorm),
    // llama.cpp
    ("attn_q", Role::Query),
    ("attn_k", Role::Key),
    ("attn_v", Role::Value),
    ("attn_output", Role::Output),
    ("ffn_gate", Role::Gate),
    ("ffn_up", Role::Up),
    ("ffn_down", Role::Down),
    ("attn_norm", Role::AttentionNorm),
    ("ffn_gate_exps", Role::Gate),
    ("ffn_up_exps", Role::Up),
    ("ffn_down_exps", Role::Down),
];

/// Names of what a model has once.
const ONCE: &[(&str, Role)] = &[
    ("embed_tokens", Role::Embed),
    ("tok_embeddings", Role::Embed),
    ("word_embeddings", Role::Embed),
    ("embed_in", Role::Embed),
    ("wte", Role::Embed),
    ("shared", Role::Embed),
    ("embeddings", Role::Embed),
    ("token_embd", Role::Embed),
    ("lm_head", Role::Head),
    ("embed_out", Role::Head),
    ("output", Role::Head),
    ("norm", Role::FinalNorm),
    ("ln_f", Role::FinalNorm),
    ("norm_f", Role::FinalNorm),
    ("final_layernorm", Role::FinalNorm),
    ("final_layer_norm", Role::FinalNorm),
    ("output_norm", Role::FinalNorm),
];

/// Words before the number of a layer.
const LAYERS: [&str; 6] = ["layers", "h", "blocks", "layer", "block", "blk"];

/// Parts of a name that say that it belongs beside the language model: its layers have numbers of their own.
const BESIDE: [&str; 6] = ["vision", "visual", "image", "audio", "speech", "cross_attention"];
/// Most experts whose matrices may be stored as one tensor.
const MAX_EXPERTS: u64 = 1024;

/// Returns how a tensor is seen. `None` for biases and buffers, which carry no evidence of their own, and for what has
/// no values.
pub fn layout(name: &str, dimensions: &[u64], shape: &Shape) -> Option<Layout> {
    let name = Name::of(name)?;
    if dimensions.contains(&0) {
        return None;
    }
    let (&last, front) = dimensions.split_last()?;
    let (mut rows, mut columns) = match front {
        [] => (1, last),
        [rows, between @ ..] => (*rows, between.iter().fold(last, |columns, side| columns.saturating_mul(*side))),
    };
    let Some(layer) = name.layer else {
        let parts = vec![Part::whole(Slot::once(name.role()), rows)];
        return Some(Layout { rows, columns, parts });
    };
    if let ([experts, each], true) = (front, name.has_stacked_experts())
        && (1..=MAX_EXPERTS).contains(experts)
    {
        (rows, columns) = (experts * each, last);
        let part = |(number, expert): (u64, u16)| Part {
            slot: Slot { role: name.role(), layer: Some(layer), expert: Some(expert) },
            runs: vec![number * each..(number + 1) * each],
        };
        let parts = (0..*experts).zip(0..).map(part).collect();
        return Some(Layout { rows, columns, parts });
    }
    let parts = fused(&name, layer, rows, shape).unwrap_or_else(|| {
        let role = name.role();
        let is_interleaved = shape.has_permuted_heads || ["attention.wq", "attention.wk"].contains(&&*name.end);
        let runs = match role {
            Role::Query if is_interleaved => halves_apart(rows, shape.heads),
            Role::Key if is_interleaved => halves_apart(rows, shape.kv_heads),
            _ => vec![0..rows],
        };
        vec![Part { slot: Slot { role, layer: Some(layer), expert: name.expert }, runs }]
    });
    Some(Layout { rows, columns, parts })
}

/// Whether how a tensor of this name is seen depends on the model's heads, which only a config or a GGUF header knows.
pub fn needs_shape(name: &str) -> bool {
    let known = Name::of(name).filter(|name| name.layer.is_some() && !name.is_beside);
    known.is_some_and(|name| {
        IN_TURN.contains(&&*name.end) || BY_HEAD.contains(&&*name.end) || HEADS.contains(&&*name.end)
    })
}

fn is_layer(number: &str) -> bool {
    number.parse::<u16>().is_ok_and(|number| number < MAX_LAYERS)
}

/// Query, key and value below each other.
const IN_TURN: [&str; 4] = ["self_attn.qkv_proj", "attn.Wqkv", "attn.c_attn", "attn_qkv"];
/// GPT-NeoX and Bloom: query, key and value of each head in turn. Falcon and InternLM: of each group.
const BY_HEAD: [&str; 3] = ["attention.query_key_value", "self_attention.query_key_value", "attention.wqkv"];
/// Names in files of Meta and Mistral, which have the halves of each head interleaved, as llama.cpp has them.
const HEADS: [&str; 2] = ["attention.wq", "attention.wk"];

/// A name taken apart.
struct Name {
    layer: Option<u16>,
    expert: Option<u16>,
    /// What is left: within the layer, or all of it.
    end: String,
    /// Whether it belongs to an encoder or a tower beside the language model.
    is_beside: bool,
}

impl Name {
    fn of(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".weight").unwrap_or(name);
        if stem.ends_with(".bias") || stem.ends_with("inv_freq") {
            return None;
        }
        let words: Vec<&str> = stem.split('.').collect();
        let numbered = words.windows(2).position(|pair| LAYERS.contains(&pair[0]) && is_layer(pair[1]));
        let place = numbered.unwrap_or(words.len());
        let has_encoder = words[..place].contains(&"encoder") && words.get(place) != Some(&"layer");
        let is_beside = has_encoder || BESIDE.iter().any(|beside| words[..place].iter().any(|w| w.contains(beside)));
        if numbered.is_none() {
            return Some(Self { layer: None, expert: None, end: stem.to_owned(), is_beside });
        }
        let layer = words[place + 1].parse().ok()?;
        let mut rest = &words[place + 2..];
        let mut expert = None;
        if let Some(at) = rest.iter().position(|word| *word == "experts") {
            expert = rest.get(at + 1).and_then(|number| number.parse().ok());
            if expert.is_some() {
                rest = &rest[at + 2..];
            }
        }
        let beside = if is_beside { format!("{}.", words[..place].join(".")) } else { String::new() };
        Some(Self { layer: Some(layer), expert, end: beside + &rest.join("."), is_beside })
    }

    fn role(&self) -> Role {
        let last = self.end.rsplit('.').next().unwrap_or_default();
        let found = match self.layer {
            _ if self.is_beside => None,
            Some(_) => IN_LAYERS.iter().find(|(name, _)| *name == self.end),
            None => ONCE.iter().find(|(name, _)| *name == last),
        };
        found.map_or_else(|| Role::named(&self.end), |(_, role)| role.clone())
    }

    /// Whether it holds the matrices of all experts, one after the other.
    fn has_stacked_experts(&self) -> bool {
        self.end.ends_with("_exps") || self.end.contains("experts.")
    }
}

/// Takes fused matrices apart.
fn fused(name: &Name, layer: u16, rows: u64, shape: &Shape) -> Option<Vec<Part>> {
    let part = |role: Role, runs: Vec<Range<u64>>| Part { slot: Slot::at(role, layer), runs };
    let (query, keys) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    match &*name.end {
        end if IN_TURN.contains(&end) && rows == query + 2 * keys && query > 0 => Some(vec![
            part(Role::Query, vec![0..query]),
            part(Role::Key, vec![query..query + keys]),
            part(Role::Value, vec![query + keys..rows]),
        ]),
        "mlp.gate_up_proj" if name.expert.is_none() && rows.is_multiple_of(2) => {
            Some(vec![part(Role::Gate, vec![0..rows / 2]), part(Role::Up, vec![rows / 2..rows])])
        }

        // llama.cpp keeps the fused matrix of Phi-3 and GLM under the name of one half.
        "ffn_up" if shape.feed_forward > 0 && rows == 2 * shape.feed_forward => {
            Some(vec![part(Role::Gate, vec![0..rows / 2]), part(Role::Up, vec![rows / 2..rows])])
        }
        end if BY_HEAD.contains(&end)
            && rows == query + 2 * keys
            && shape.kv_heads > 0
            && shape.heads.is_multiple_of(shape.kv_heads) =>
        {
            let group = shape.heads / shape.kv_heads;
            let stride = (group + 2) * shape.head_dim;
            let runs = |from: u64, heads: u64| {
                let begin = |at: u64| at * stride + from * shape.head_dim;
                (0..shape.kv_heads).map(|at| begin(at)..begin(at) + heads * shape.head_dim).collect()
            };
            Some(vec![
                part(Role::Query, runs(0, group)),
                part(Role::Key, runs(group, 1)),
                part(Role::Value, runs(group + 1, 1)),
            ])
        }
        _ => None,
    }
}

/// Stored rows in the order of transformers, for a matrix whose heads have their halves interleaved.
fn halves_apart(rows: u64, heads: u64) -> Vec<Range<u64>> {
    if heads == 0 || rows > MAX_PERMUTED || !rows.is_multiple_of(heads) || !(rows / heads).is_multiple_of(2) {
        return vec![0..rows];
    }
    let (width, half) = (rows / heads, rows / heads / 2);
    let source = |row: u64| {
        let (head, within) = (row / width, row % width);
        head * width + (within % half) * 2 + within / half
    };
    (0..rows).map(|row| source(row)..source(row) + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> Shape {
        Shape { heads: 4, kv_heads: 2, head_dim: 4, ..Shape::default() }
    }

    fn slots(name: &str, dimensions: &[u64]) -> Vec<String> {
        let layout = layout(name, dimensions, &shape());
        let parts = layout.map(|layout| layout.parts).unwrap_or_default();
        parts.iter().map(|part| format!("{} {}", part.slot, part.rows())).collect()
    }

    #[test]
    fn tensors_of_many_architectures_find_their_slot() {
        for (name, dimensions, expected) in [
            ("model.embed_tokens.weight", &[100, 16][..], &["embed 100"][..]),
            ("language_model.model.layers.3.self_attn.q_proj.weight", &[16, 16], &["q.3 16"]),
            ("model.layers.11.mlp.down_proj.weight", &[16, 64], &["down.11 16"]),
            ("model.layers.0.block_sparse_moe.experts.5.w2.weight", &[16, 64], &["down.0.e5 16"]),
            ("model.layers.0.mlp.experts.7.up_proj.weight", &[64, 16], &["up.0.e7 64"]),
            ("model.layers.2.self_attn.qkv_proj.weight", &[32, 16], &["q.2 16", "k.2 8", "v.2 8"]),
            ("model.layers.2.mlp.gate_up_proj.weight", &[128, 16], &["gate.2 64", "up.2 64"]),
            ("gpt_neox.layers.1.input_layernorm.weight", &[16], &["ln1.1 1"]),
            ("blk.4.ffn_norm.weight", &[16], &["ln2.4 1"]),
            ("output.weight", &[100, 16], &["head 100"]),
            ("model.norm.weight", &[16], &["norm 1"]),
            ("model.layers.0.self_attn.k_norm.weight", &[4], &["self_attn.k_norm.0 1"]),
            ("model.layers.0.self_attn.q_proj.bias", &[16], &[]),
            ("model.layers.0.mlp.up_proj.weight", &[0, 16], &[]),
            ("model.layers.0.mlp.up_proj.weight", &[16, 0], &[]),
            ("model.layers.0.scale", &[], &[]),
            ("decoder.block.1.layer.0.SelfAttention.q.weight", &[16, 16], &["q.1 16"]),
            ("encoder.block.1.layer.0.SelfAttention.q.weight", &[16, 16], &["encoder.layer.0.SelfAttention.q.1 16"]),
            ("encoder.layer.3.attention.self.query.weight", &[16, 16], &["q.3 16"]),
            (
                "vision_tower.encoder.layers.0.self_attn.q_proj.weight",
                &[16, 16],
                &["vision_tower.encoder.self_attn.q_proj.0 16"],
            ),
            ("transformer.h.0.attn.c_attn.weight", &[16, 48], &["attn.c_attn.0 16"]),
            ("transformer.h.0.attn.c_attn.weight", &[32, 16], &["q.0 16", "k.0 8", "v.0 8"]),
            ("blk.0.ffn_up_exps.weight", &[2, 64, 16], &["up.0.e0 64", "up.0.e1 64"]),
            ("model.layers.1024.mlp.up_proj.weight", &[64, 16], &["model.layers.1024.mlp.up_proj 64"]),
        ] {
            assert_eq!(slots(name, dimensions), expected, "{name}");
        }
    }

    #[test]
    fn grouped_heads_are_taken_apart() {
        let layout = layout("transformer.h.0.self_attention.query_key_value.weight", &[32, 16], &shape()).unwrap();
        let parts = layout.parts;
        assert_eq!(parts[0].runs, [0..8, 16..24]);
        assert_eq!(parts[1].runs, [8..12, 24..28]);
        assert_eq!(parts[2].runs, [12..16, 28..32]);
    }

    #[test]
    fn halves_of_heads_are_put_back() {
        let rows: Vec<u64> = halves_apart(8, 1).into_iter().map(|run| run.start).collect();
        assert_eq!(rows, [0, 2, 4, 6, 1, 3, 5, 7]);
    }
}
