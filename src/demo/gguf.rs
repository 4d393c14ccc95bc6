//! Writes a model as a GGUF file, version 3, with matrices in `Q8_0`, as llama.cpp's converter does.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use tokenizers::Tokenizer;

use super::weights::{
    Array, BEGIN, CONTEXT, END, EPSILON, HEAD, HEADS, HIDDEN, INTERMEDIATE, KV_HEADS, LAYERS, THETA, VOCABULARY,
    Weights,
};

const ALIGNMENT: usize = 32;
/// Values that share a scale in `Q8_0`.
const BLOCK: usize = 32;
const F32: u32 = 0;
const Q8_0: u32 = 8;
const U32: u32 = 4;
const I32: u32 = 5;
const FLOAT: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
/// Token types of llama.cpp.
const NORMAL: u32 = 1;
const CONTROL: u32 = 3;

/// What the file says of the model and of its base.
pub(super) struct About {
    /// The model's title.
    pub(super) title: &'static str,
    /// The base's name without its namespace.
    pub(super) base: &'static str,
    /// The base's namespace.
    pub(super) organization: &'static str,
    /// The license.
    pub(super) license: &'static str,
}

/// Returns the file.
pub(super) fn write(weights: &Weights, tokenizer: &Tokenizer, about: &About) -> Vec<u8> {
    let tensors: Vec<(String, &Array, Vec<u8>)> =
        names().into_iter().filter_map(|(from, to)| convert(weights, &from, to)).collect();
    let metadata = metadata(tokenizer, about);
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    put_length(&mut file, tensors.len());
    put_length(&mut file, metadata.count);
    file.extend(metadata.bytes);
    let mut offset = 0;
    for (name, array, bytes) in &tensors {
        put_string(&mut file, name);
        put_entry(&mut file, array, offset);
        offset += bytes.len().next_multiple_of(ALIGNMENT);
    }
    for (_, _, bytes) in &tensors {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        file.extend(bytes);
    }
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    file
}

/// Names in transformers' words and in ggml's.
fn names() -> Vec<(String, String)> {
    let mut names = vec![("model.embed_tokens".to_owned(), "token_embd".to_owned())];
    for layer in 0..LAYERS {
        for (from, to) in [
            ("input_layernorm", "attn_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("post_attention_layernorm", "ffn_norm"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ] {
            names.push((format!("model.layers.{layer}.{from}"), format!("blk.{layer}.{to}")));
        }
    }
    names.push(("model.norm".to_owned(), "output_norm".to_owned()));
    names.push(("lm_head".to_owned(), "output".to_owned()));
    names.into_iter().map(|(from, to)| (from + ".weight", to + ".weight")).collect()
}

fn convert<'a>(weights: &'a Weights, from: &str, to: String) -> Option<(String, &'a Array, Vec<u8>)> {
    let array = weights.get(from)?;
    let values = match () {
        () if from.contains("q_proj") => interleave(array, HEADS),
        () if from.contains("k_proj") => interleave(array, KV_HEADS),
        () => array.values.clone(),
    };
    let bytes = match array.shape.len() {
        1 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        _ => values.chunks(BLOCK).flat_map(quantize).collect(),
    };
    Some((to, array, bytes))
}

/// Reorders rows for ggml's rotary embedding, which turns neighbors; transformers turns halves of a head.
fn interleave(array: &Array, heads: usize) -> Vec<f32> {
    let columns = array.shape[1];
    let half = HEAD / 2;
    let mut values = Vec::with_capacity(array.values.len());
    for head in 0..heads {
        for row in 0..HEAD {
            let source = head * HEAD + (row % 2) * half + row / 2;
            values.extend_from_slice(&array.values[source * columns..(source + 1) * columns]);
        }
    }
    values
}

/// A block of `Q8_0`: a scale as half, then the values divided by it as signed bytes.
fn quantize(block: &[f32]) -> Vec<u8> {
    let largest = block.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let mut bytes = to_half(scale).to_le_bytes().to_vec();
    #[expect(clippy::cast_possible_truncation, reason = "no quotient is beyond 127")]
    bytes.extend(block.iter().flat_map(|value| ((value * inverse).round() as i8).to_le_bytes()));
    bytes
}

/// Rounds a small positive number to the nearest half.
fn to_half(value: f32) -> u16 {
    /// The smallest normal half.
    const SMALLEST: f32 = 6.103_515_6e-5;
    if value < SMALLEST {
        // Subnormal: a multiple of 2^-24.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 1024")]
        return (value * 16_777_216.0).round() as u16;
    }
    let bits = value.to_bits();
    let rounded = bits + 0x0fff + ((bits >> 13) & 1);
    u16::try_from((rounded >> 13) - (112 << 10)).unwrap_or(0x7bff).min(0x7bff)
}

fn put_entry(file: &mut Vec<u8>, array: &Array, offset: usize) {
    let rank = u32::try_from(array.shape.len()).unwrap_or(0);
    file.extend(rank.to_le_bytes());
    // Innermost first.
    for size in array.shape.iter().rev() {
        put_length(file, *size);
    }
    file.extend(if rank == 1 { F32 } else { Q8_0 }.to_le_bytes());
    put_length(file, offset);
}

#[derive(Default)]
struct Metadata {
    count: usize,
    bytes: Vec<u8>,
}

impl Metadata {
    fn key(&mut self, key: &str, kind: u32) {
        self.count += 1;
        put_string(&mut self.bytes, key);
        self.bytes.extend(kind.to_le_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, STRING);
        put_string(&mut self.bytes, value);
    }

    fn number(&mut self, key: &str, value: usize) {
        self.key(key, U32);
        self.bytes.extend(u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn float(&mut self, key: &str, value: f32) {
        self.key(key, FLOAT);
        self.bytes.extend(value.to_le_bytes());
    }

    fn texts(&mut self, key: &str, values: &[String]) {
        self.key(key, ARRAY);
        self.bytes.extend(STRING.to_le_bytes());
        put_length(&mut self.bytes, values.len());
        for value in values {
            put_string(&mut self.bytes, value);
        }
    }

    fn numbers(&mut self, key: &str, values: &[u32]) {
        self.key(key, ARRAY);
        self.bytes.extend(I32.to_le_bytes());
        put_length(&mut self.bytes, values.len());
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
}

fn metadata(tokenizer: &Tokenizer, about: &About) -> Metadata {
    let mut metadata = Metadata::default();
    metadata.text("general.architecture", "llama");
    metadata.text("general.type", "model");
    metadata.text("general.name", about.title);
    metadata.text("general.license", about.license);
    metadata.number("general.base_model.count", 1);
    metadata.text("general.base_model.0.name", about.base);
    metadata.text("general.base_model.0.organization", about.organization);
    metadata.number("general.file_type", 7);
    metadata.number("general.quantization_version", 2);
    metadata.number("general.alignment", ALIGNMENT);
    metadata.number("llama.vocab_size", VOCABULARY);
    metadata.number("llama.context_length", CONTEXT);
    metadata.number("llama.embedding_length", HIDDEN);
    metadata.number("llama.block_count", LAYERS);
    metadata.number("llama.feed_forward_length", INTERMEDIATE);
    metadata.number("llama.rope.dimension_count", HEAD);
    metadata.float("llama.rope.freq_base", THETA);
    metadata.number("llama.attention.head_count", HEADS);
    metadata.number("llama.attention.head_count_kv", KV_HEADS);
    #[expect(clippy::cast_possible_truncation, reason = "the file has it as a single")]
    metadata.float("llama.attention.layer_norm_rms_epsilon", EPSILON as f32);
    add_tokenizer(&mut metadata, tokenizer);
    metadata
}

fn add_tokenizer(metadata: &mut Metadata, tokenizer: &Tokenizer) {
    let ids = 0..u32::try_from(VOCABULARY).unwrap_or(0);
    let tokens: Vec<String> = ids.clone().map(|id| tokenizer.id_to_token(id).unwrap_or_default()).collect();
    let types: Vec<u32> = ids.map(|id| if [BEGIN, END].contains(&id) { CONTROL } else { NORMAL }).collect();
    metadata.text("tokenizer.ggml.model", "gpt2");
    metadata.text("tokenizer.ggml.pre", "gpt-2");
    metadata.texts("tokenizer.ggml.tokens", &tokens);
    metadata.numbers("tokenizer.ggml.token_type", &types);
    metadata.texts("tokenizer.ggml.merges", &super::text::merges(tokenizer));
    metadata.number("tokenizer.ggml.bos_token_id", BEGIN as usize);
    metadata.number("tokenizer.ggml.eos_token_id", END as usize);
}

fn put_length(file: &mut Vec<u8>, length: usize) {
    file.extend((length as u64).to_le_bytes());
}

fn put_string(file: &mut Vec<u8>, text: &str) {
    put_length(file, text.len());
    file.extend_from_slice(text.as_bytes());
}
