//! Where a tensor belongs: its role and layer, whatever the architecture calls it, fused matrices taken apart.

use std::{fmt, ops::Range};

use super::{print::MAX_LAYERS, shape::Shape};

/// What a matrix or vector does in a layer, or for the whole model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Token embedding, a row per token.
    Embed,
    /// Attention: queries.
    Query,
    /// Attention: keys.
    Key,
    /// Attention: values.
    Value,
    /// Attention: back to the residual stream.
    Output,
    /// Feed-forward: gate.
    Gate,
    /// Feed-forward: up.
    Up,
    /// Feed-forward: down.
    Down,
    /// Norm before attention.
    AttentionNorm,
    /// Norm before the feed-forward part.
    FeedNorm,
    /// Norm after the last layer.
    FinalNorm,
    /// From the residual stream to tokens.
    Head,
    /// Anything else, by the end of its name.
    Other(String),
}

impl Role {
    /// The seven matrices that every layer of a Llama has.
    pub const MATRICES: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The short word of this role in a fingerprint and in evidence.
    pub fn word(&self) -> &str {
        match self {
            Self::Embed => "embed",
            Self::Query => "q",
            Self::Key => "k",
            Self::Value => "v",
            Self::Output => "o",
            Self::Gate => "gate",
            Self::Up => "up",
            Self::Down => "down",
            Self::AttentionNorm => "ln1",
            Self::FeedNorm => "ln2",
            Self::FinalNorm => "norm",
            Self::Head => "head",
            Self::Other(name) => name,
        }
    }

    /// The role of this word.
    pub fn named(word: &str) -> Self {
        let known = [Self::Embed, Self::AttentionNorm, Self::FeedNorm, Self::FinalNorm, Self::Head];
        let found = Self::MATRICES.into_iter().chain(known).find(|role| role.word() == word);
        found.unwrap_or_else(|| Self::Other(word.to_owned()))
    }
}

/// A role at a place: a layer, or none, and an expert where there are several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// What it does.
    pub role: Role,
    /// In which layer; `None` for what the whole model has once.
    pub layer: Option<u16>,
    /// Of which expert.
    pub expert: Option<u16>,
}

impl Slot {
    /// A slot of a layer.
    pub fn at(role: Role, layer: u16) -> Self {
        Self { role, layer: Some(layer), expert: None }
    }

    /// A slot that the model has once.
    pub fn once(role: Role) -> Self {
        Self { role, layer: None, expert: None }
    }

    /// The same slot in another layer.
    #[must_use]
    pub fn moved(&self, layer: u16) -> Self {
        Self { layer: self.layer.map(|_| layer), ..self.clone() }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.word())?;
        if let Some(layer) = self.layer {
            write!(f, ".{layer}")?;
        }
        if let Some(expert) = self.expert {
            write!(f, ".e{expert}")?;
        }
        Ok(())
    }
}

/// Rows of a stored matrix that make up a slot, in the slot's own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The slot.
    pub slot: Slot,
    /// Runs of stored rows.
    pub runs: Vec<Range<u64>>,
}

impl Part {
    fn whole(slot: Slot, rows: u64) -> Self {
        Self { slot, runs: vec![0..rows] }
    }

    /// Rows of the slot.
    pub fn rows(&self) -> u64 {
        self.runs.iter().map(|run| run.end - run.start).sum()
    }
}

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
    // llama.cpp
    ("attn_q", Role::Query),
    ("attn_k", Role::Key),
    ("attn_v", Role::Value),
    ("attn_output", Role::Output),
    ("ffn_gate", Role::Gate),
    ("ffn_up", Role::Up),
    ("ffn_down", Role::Down),
    ("attn_norm", Role::AttentionNorm),
];

/// Names of what a model has once.
const ONCE: &[(&str, Role)] = &[
    ("embed_tokens", Role::Embed),
    ("tok_embeddings", Role::Embed),
    ("word_embeddings", Role::Embed),
    ("embed_in", Role::Embed),
    ("wte", Role::Embed),
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

/// Returns the slots that a tensor fills. `None` for biases and buffers, which carry no evidence of their own.
pub fn parts(name: &str, dimensions: &[u64], shape: &Shape, is_gguf: bool) -> Option<Vec<Part>> {
    let stem = name.strip_suffix(".weight").unwrap_or(name);
    if stem.ends_with(".bias") || stem.ends_with("inv_freq") || dimensions.is_empty() {
        return None;
    }
    let rows = if dimensions.len() == 1 { 1 } else { dimensions[0] };
    let words: Vec<&str> = stem.split('.').collect();
    let numbered = words.windows(2).position(|pair| LAYERS.contains(&pair[0]) && is_layer(pair[1]));
    let Some(place) = numbered else {
        let last = words.last().copied().unwrap_or_default();
        let role = ONCE.iter().find(|(name, _)| *name == last).map(|(_, role)| role.clone());
        return Some(vec![Part::whole(Slot::once(role.unwrap_or_else(|| Role::named(stem))), rows)]);
    };
    let layer: u16 = words[place + 1].parse().ok()?;
    let mut rest = &words[place + 2..];
    let mut expert = None;
    if let Some(at) = rest.iter().position(|word| *word == "experts") {
        expert = rest.get(at + 1).and_then(|number| number.parse().ok());
        if expert.is_some() {
            rest = &rest[at + 2..];
        }
    }
    let end = rest.join(".");
    if let Some(parts) = fused(&end, layer, rows, shape) {
        return Some(parts);
    }
    let known = IN_LAYERS.iter().find(|(name, _)| *name == end).map(|(_, role)| role.clone());
    let role = known.unwrap_or_else(|| Role::named(&end));
    let runs = match role {
        // llama.cpp stores the halves of each head interleaved.
        Role::Query if is_gguf && shape.has_permuted_heads => halves_apart(rows, shape.heads),
        Role::Key if is_gguf && shape.has_permuted_heads => halves_apart(rows, shape.kv_heads),
        _ => vec![0..rows],
    };
    Some(vec![Part { slot: Slot { role, layer: Some(layer), expert }, runs }])
}

fn is_layer(number: &str) -> bool {
    number.parse::<u16>().is_ok_and(|number| number < MAX_LAYERS)
}

/// Takes fused matrices apart.
fn fused(end: &str, layer: u16, rows: u64, shape: &Shape) -> Option<Vec<Part>> {
    let part = |role: Role, runs: Vec<Range<u64>>| Part { slot: Slot::at(role, layer), runs };
    let (query, keys) = (shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    match end {
        "self_attn.qkv_proj" | "attn.Wqkv" | "attn_qkv" if rows == query + 2 * keys && query > 0 => Some(vec![
            part(Role::Query, vec![0..query]),
            part(Role::Key, vec![query..query + keys]),
            part(Role::Value, vec![query + keys..rows]),
        ]),
        "mlp.gate_up_proj" if rows.is_multiple_of(2) => {
            Some(vec![part(Role::Gate, vec![0..rows / 2]), part(Role::Up, vec![rows / 2..rows])])
        }
        // GPT-NeoX and Bloom: query, key and value of each head in turn. Falcon: of each group.
        "attention.query_key_value" | "self_attention.query_key_value"
            if rows == query + 2 * keys && shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads) =>
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
    if heads == 0 || !rows.is_multiple_of(heads) || !(rows / heads).is_multiple_of(2) {
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
        Shape { heads: 4, kv_heads: 2, head_dim: 4, has_permuted_heads: true, ..Shape::default() }
    }

    fn slots(name: &str, dimensions: &[u64]) -> Vec<String> {
        let parts = parts(name, dimensions, &shape(), false).unwrap_or_default();
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
        ] {
            assert_eq!(slots(name, dimensions), expected, "{name}");
        }
    }

    #[test]
    fn grouped_heads_are_taken_apart() {
        let parts = parts("transformer.h.0.self_attention.query_key_value.weight", &[32, 16], &shape(), false).unwrap();
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
