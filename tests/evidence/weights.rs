//! Derivatives of the fixture's model, made by changing its values.

use std::collections::BTreeMap;

use safetensors::{
    SafeTensors,
    tensor::{Dtype, TensorView, serialize},
};

use crate::support::{Files, files};

const WEIGHTS: &str = "model.safetensors";
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";

/// A tensor's shape and values.
type Tensor = (Vec<usize>, Vec<f32>);

/// A model whose values can be changed.
#[derive(Clone)]
pub(super) struct Weights(BTreeMap<String, Tensor>);

/// Roughly normal numbers, the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            sum += (self.0 >> 40) as f32 / (1_u64 << 24) as f32 - 0.5;
        }
        sum * 1.7
    }
}

fn random(seed: u64) -> Random {
    Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
}

impl Weights {
    /// The trained model of the fixtures.
    pub(super) fn base() -> Self {
        let files = files::stories();
        let bytes = &files.iter().find(|(name, _)| name == WEIGHTS).unwrap().1;
        let read = |view: &TensorView<'_>| {
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            (view.shape().to_vec(), values)
        };
        Self(
            SafeTensors::deserialize(bytes)
                .unwrap()
                .iter()
                .map(|(name, view)| (name.to_owned(), read(&view)))
                .collect(),
        )
    }

    /// Trained further, as far as weights can tell: every matrix moves a little, of the embedding only the rows of tokens
    /// that occurred.
    pub(super) fn tuned(&self, seed: u64) -> Self {
        let (mut tuned, mut random) = (self.clone(), random(seed));
        for (name, (shape, values)) in &mut tuned.0 {
            let width = shape.last().copied().unwrap();
            let typical = values.iter().map(|value| value.abs()).sum::<f32>() / values.len() as f32;
            for (at, value) in values.iter_mut().enumerate() {
                let draw = (at / width + 1).wrapping_mul(2_654_435_761).wrapping_mul(seed as usize * 2 + 1) >> 7;
                let did_occur = name != EMBEDDING || draw % 16 < 7;
                let step = random.next() * typical * 0.1;
                *value += if did_occur && shape.len() == 2 { step } else { 0.0 };
            }
        }
        tuned
    }

    /// Another model of the same shape: nothing of the values is left.
    pub(super) fn unrelated(&self, seed: u64) -> Self {
        let (mut other, mut random) = (self.clone(), random(seed));
        for (shape, values) in other.0.values_mut().filter(|(shape, _)| shape.len() == 2) {
            let scale = 1.0 / (shape[1] as f32).sqrt();
            values.iter_mut().for_each(|value| *value = random.next() * scale);
        }
        other
    }

    /// The mean of two models.
    pub(super) fn merged(&self, other: &Self, share: f32) -> Self {
        let mut merged = self.clone();
        for (name, (_, values)) in &mut merged.0 {
            let others = &other.0[name].1;
            values.iter_mut().zip(others).for_each(|(value, other)| *value = *value * share + other * (1.0 - share));
        }
        merged
    }

    /// With the first rows of another model's embedding.
    pub(super) fn with_rows_of(&self, other: &Self, rows: usize) -> Self {
        let mut planted = self.clone();
        let (shape, values) = planted.0.get_mut(EMBEDDING).unwrap();
        let count = rows * shape[1];
        values[..count].copy_from_slice(&other.0[EMBEDDING].1[..count]);
        planted
    }

    /// The safetensors file.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = self
            .0
            .iter()
            .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let views = bytes
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap()));
        serialize(views, None).unwrap()
    }

    /// A whole revision with these weights; `front_matter` is the card's.
    pub(super) fn files(&self, front_matter: &str) -> Files {
        let mut files = files::stories();
        files.iter_mut().find(|(name, _)| name == WEIGHTS).unwrap().1 = self.to_bytes();
        files.extend(files::card(front_matter));
        files
    }
}
