//! Models of any size that nobody trained: a header, and the same noise over and over.

use std::{io, ops::Range};

use anyhow::Context as _;
use herdbook::{
    formats::{config, safetensors},
    lineage::weights::make::{self, Model, Source},
};
use serde_json::{Map, Value, json};

use crate::support::noise;

/// Bytes of noise; odd, so that tensors do not repeat each other.
const BLOCK: usize = (4 << 20) + 6;

/// How large a model is.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) hidden: u64,
    pub(super) feed_forward: u64,
    pub(super) keys: u64,
    pub(super) layers: u64,
    pub(super) vocabulary: u64,
}

/// As Llama 3 8B.
pub(super) const EIGHT_BILLION: Size =
    Size { hidden: 4096, feed_forward: 14_336, keys: 1024, layers: 32, vocabulary: 128_256 };

/// A safetensors file that is made while it is read.
pub(super) struct Synthetic {
    /// The length of the header and the header.
    pub(super) head: Vec<u8>,
    /// Bytes of the whole file.
    pub(super) length: u64,
    pub(super) config: String,
    block: Vec<u8>,
    vocabulary: u64,
}

impl Synthetic {
    /// A model of bf16 values with as many heads as fit; another one for each seed.
    pub(super) fn new(size: Size, seed: u64) -> Self {
        let Size { hidden, feed_forward, keys, layers, vocabulary } = size;
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vocabulary)];
        for layer in 0..layers {
            let parts = [("self_attn.q_proj", hidden), ("self_attn.k_proj", keys), ("self_attn.v_proj", keys)];
            let rest = [("self_attn.o_proj", hidden), ("mlp.gate_proj", feed_forward), ("mlp.up_proj", feed_forward)];
            let all = parts.into_iter().chain(rest).chain([("mlp.down_proj", hidden)]);
            tensors.extend(all.map(|(name, rows)| (format!("model.layers.{layer}.{name}.weight"), rows)));
        }
        tensors.push(("lm_head.weight".to_owned(), vocabulary));
        let (mut header, mut end) = (Map::new(), 0);
        header.insert("__metadata__".to_owned(), json!({ "seed": seed.to_string() }));
        for (name, rows) in tensors {
            let columns = if name.contains("down_proj") { feed_forward } else { hidden };
            let begin = end;
            end += 2 * rows * columns;
            let entry = json!({ "dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end] });
            header.insert(name, entry);
        }
        let header = Value::Object(header).to_string();
        let mut head = (header.len() as u64).to_le_bytes().to_vec();
        head.extend(header.as_bytes());
        let length = head.len() as u64 + end;
        let heads = hidden / 64;
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden,
            "intermediate_size": feed_forward, "num_attention_heads": heads, "num_hidden_layers": layers,
            "num_key_value_heads": keys / 64, "vocab_size": vocabulary,
        });
        Self { head, length, config: config.to_string(), block: weights(BLOCK, seed), vocabulary }
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        let (mut at, end) = (place(range.start), place(range.end.min(self.length)));
        let mut bytes = Vec::with_capacity(end.saturating_sub(at));
        while at < end {
            let rest = match self.head.get(at..) {
                Some(rest) if !rest.is_empty() => rest,
                _ => &self.block[(at - self.head.len()) % self.block.len()..],
            };
            let taken = rest.len().min(end - at);
            bytes.extend_from_slice(&rest[..taken]);
            at += taken;
        }
        bytes
    }

    /// What the program makes of the file's header.
    pub(super) fn model(&self) -> anyhow::Result<Model> {
        let header = self.head.get(8..).context("there is no header")?;
        Ok(Model {
            files: vec![safetensors::parse(header, self.length)?.into()],
            config: config::parse(self.config.as_bytes()).ok(),
            tokens: make::choose_rows(self.vocabulary),
        })
    }
}

impl Source for &Synthetic {
    fn read(&mut self, _: usize, range: Range<u64>) -> io::Result<Vec<u8>> {
        Ok(self.bytes(range))
    }
}

fn place(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// Noise whose exponents are those of weights.
fn weights(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = noise(length, seed + 1);
    for pair in bytes.chunks_exact_mut(2) {
        let raw = u16::from_le_bytes([pair[0], pair[1]]);
        let exponent = 118 + (raw >> 7 & 3);
        pair.copy_from_slice(&(raw & 0x807F | exponent << 7).to_le_bytes());
    }
    bytes
}
