//! Small models for tests: random bases, and what is made of them.

use std::{io, ops::Range};

use half::bf16;

use super::{
    Fingerprint,
    make::{self, Model, Source, WeightFile},
    sample::splitmix64,
};
use crate::formats::{TensorEntry, config};

const HIDDEN: usize = 64;
const FEED: usize = 128;
const WORDS: usize = 512;
const LAYERS: usize = 2;

/// Tensors of a model by name, with their rows; all values can be stored as bf16.
#[derive(Clone)]
pub(super) struct Weights(Vec<(String, usize, Vec<f32>)>);

struct Random(u64);

impl Random {
    /// Roughly normal, with standard deviation 1.
    fn next(&mut self) -> f32 {
        self.0 = splitmix64(self.0);
        let parts = (0..4).map(|at| f32::from(u16::try_from(self.0 >> (16 * at) & 0xFFFF).unwrap()) / 65536.0 - 0.5);
        parts.sum::<f32>() * 1.732
    }
}

fn rounded(value: f32) -> f32 {
    bf16::from_f32(value).to_f32()
}

impl Weights {
    /// A base with random values.
    pub(super) fn base(seed: u64) -> Self {
        let mut random = Random(splitmix64(seed));
        let mut tensors = vec![("model.embed_tokens.weight".to_owned(), WORDS, HIDDEN)];
        for layer in 0..LAYERS {
            for (name, rows, columns) in [
                ("self_attn.q_proj", HIDDEN, HIDDEN),
                ("self_attn.k_proj", HIDDEN, HIDDEN),
                ("self_attn.v_proj", HIDDEN, HIDDEN),
                ("self_attn.o_proj", HIDDEN, HIDDEN),
                ("mlp.gate_proj", FEED, HIDDEN),
                ("mlp.up_proj", FEED, HIDDEN),
                ("mlp.down_proj", HIDDEN, FEED),
            ] {
                tensors.push((format!("model.layers.{layer}.{name}.weight"), rows, columns));
            }
        }
        let mut fill =
            |(name, rows, columns)| (name, rows, (0..rows * columns).map(|_| rounded(random.next() * 0.05)).collect());
        Self(tensors.into_iter().map(&mut fill).collect())
    }

    /// The same with every value changed by a function of its tensor's number and itself.
    fn map(&self, mut change: impl FnMut(usize, f32) -> f32) -> Self {
        let tensors = self.0.iter().enumerate();
        Self(
            tensors
                .map(|(at, (name, rows, values))| {
                    (name.clone(), *rows, values.iter().map(|value| rounded(change(at, *value))).collect())
                })
                .collect(),
        )
    }

    /// Trained further: all matrices change a little, and one in `one_in` embedding rows.
    pub(super) fn tuned(&self, seed: u64, one_in: u64) -> Self {
        let mut random = Random(splitmix64(seed));
        let mut tuned = self.map(|at, value| if at == 0 { value } else { value + random.next() * 0.004 });
        for row in (0..WORDS).filter(|row| splitmix64(seed ^ *row as u64).is_multiple_of(one_in)) {
            for value in &mut tuned.0[0].2[row * HIDDEN..(row + 1) * HIDDEN] {
                *value = rounded(*value + random.next() * 0.01);
            }
        }
        tuned
    }

    /// The mean of two.
    pub(super) fn merged(&self, other: &Self) -> Self {
        let mut at = other.0.iter().flat_map(|(_, _, values)| values.iter());
        self.map(|_, value| value.mul_add(0.5, 0.5 * at.next().unwrap()))
    }

    /// Rounded to 15 levels.
    pub(super) fn quantized(&self) -> Self {
        let mut quantized = self.clone();
        for (_, _, values) in quantized.0.iter_mut().skip(1) {
            for group in values.chunks_mut(32) {
                let step = group.iter().fold(0.0, |most: f32, value| most.max(value.abs())) / 7.0;
                group.iter_mut().for_each(|value| *value = rounded((*value / step).round() * step));
            }
        }
        quantized
    }

    /// The smaller half of the weights left out.
    pub(super) fn pruned(&self) -> Self {
        self.map(|at, value| if at > 0 && value.abs() < 0.033 { 0.0 } else { value })
    }

    /// This model with embedding rows of another.
    pub(super) fn with_rows_of(&self, other: &Self, count: usize) -> Self {
        let mut planted = self.clone();
        planted.0[0].2[..count * HIDDEN].copy_from_slice(&other.0[0].2[..count * HIDDEN]);
        planted
    }

    pub(super) fn print(&self) -> Fingerprint {
        let (mut bytes, mut tensors) = (Vec::new(), Vec::new());
        for (name, rows, values) in &self.0 {
            let start = bytes.len() as u64;
            bytes.extend(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()));
            let shape = vec![*rows as u64, (values.len() / rows) as u64];
            tensors.push(TensorEntry { name: name.clone(), dtype: "BF16", shape, start, end: bytes.len() as u64 });
        }
        let config = config::parse(
            br#"{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_size":64,"num_attention_heads":4,
                "num_key_value_heads":4,"num_hidden_layers":2,"intermediate_size":128,"vocab_size":512}"#,
        );
        let model = Model {
            files: vec![WeightFile { tensors, shape: None }],
            config: config.ok(),
            tokens: make::choose_rows(WORDS as u64),
        };
        make::make(&model, &mut Memory(bytes), &mut |_| ()).unwrap()
    }
}

struct Memory(Vec<u8>);

impl Source for Memory {
    fn read(&mut self, _: usize, range: Range<u64>) -> io::Result<Vec<u8>> {
        Ok(self.0[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec())
    }
}
