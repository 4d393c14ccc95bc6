//! Digests of a slot's values while they pass, as they are stored and rounded to bf16.

use std::sync::LazyLock;

use half::bf16;

use super::{
    print::{Precision, TensorDigest},
    slots::{MAX_PERMUTED, Role},
};
use crate::formats::floats::Float;

/// A digest of rows in the slot's own order.
pub(super) enum Digesting {
    /// Rows come in that order.
    Running(Box<blake3::Hasher>),
    /// Rows of queries and keys are digested one by one: llama.cpp stores them in another order.
    ByRow(Vec<TensorDigest>),
}

impl Digesting {
    pub(super) fn new(role: &Role, rows: u64) -> Self {
        match usize::try_from(rows) {
            Ok(count) if matches!(role, Role::Query | Role::Key) && rows <= MAX_PERMUTED => {
                Self::ByRow(vec![[0; 16]; count])
            }
            _ => Self::Running(Box::new(blake3::Hasher::new())),
        }
    }

    /// Takes whole rows of `width` bytes, the first of which has this number.
    pub(super) fn rows(&mut self, first: u64, bytes: &[u8], width: usize) {
        match self {
            Self::Running(hasher) => {
                hasher.update(bytes);
            }
            Self::ByRow(digests) => {
                let first = usize::try_from(first).unwrap_or(usize::MAX);
                for (digest, row) in digests.iter_mut().skip(first).zip(bytes.chunks_exact(width)) {
                    *digest = short(&blake3::hash(row));
                }
            }
        }
    }

    pub(super) fn finish(self, precision: Precision, rows: u64, columns: u64) -> TensorDigest {
        let mut hasher = match self {
            Self::Running(hasher) => hasher,
            Self::ByRow(digests) => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(digests.as_flattened());
                Box::new(hasher)
            }
        };
        hasher.update(format!("{precision:?} {rows} {columns}\n").as_bytes());
        short(&hasher.finalize())
    }
}

fn short(hash: &blake3::Hash) -> TensorDigest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.as_bytes()[..16]);
    digest
}

/// Counts the zeros among values.
pub(super) fn zeros(float: Float, bytes: &[u8]) -> u64 {
    // Sums of a block fit in 16 bits, which keeps the loop in narrow lanes.
    let narrow = |words: &[[u8; 2]]| -> u64 {
        let block =
            |block: &[[u8; 2]]| -> u16 { block.iter().map(|b| u16::from(u16::from_le_bytes(*b) << 1 == 0)).sum() };
        words.chunks(4096).map(|words| u64::from(block(words))).sum()
    };
    let count = |zeros: usize| zeros as u64;
    match float {
        Float::Bf16 | Float::F16 => narrow(bytes.as_chunks().0),
        Float::F32 => count(bytes.as_chunks().0.iter().filter(|b| u32::from_le_bytes(**b) << 1 == 0).count()),
        Float::F64 => count(bytes.as_chunks().0.iter().filter(|b| u64::from_le_bytes(**b) << 1 == 0).count()),
        Float::F8E4m3 | Float::F8E5m2 => count(bytes.iter().filter(|byte| **byte << 1 == 0).count()),
    }
}

static OF_HALVES: LazyLock<Vec<[u8; 2]>> = LazyLock::new(|| table(Float::F16, |bits| bits.to_le_bytes().to_vec()));
static OF_E4M3: LazyLock<Vec<[u8; 2]>> = LazyLock::new(|| table(Float::F8E4m3, |bits| vec![bits.to_le_bytes()[0]]));
static OF_E5M2: LazyLock<Vec<[u8; 2]>> = LazyLock::new(|| table(Float::F8E5m2, |bits| vec![bits.to_le_bytes()[0]]));

fn table(float: Float, bytes: impl Fn(u16) -> Vec<u8>) -> Vec<[u8; 2]> {
    let mut values = Vec::new();
    let last = if float.size() == 1 { 255 } else { u16::MAX };
    (0..=last).for_each(|bits| float.decode(&bytes(bits), &mut values));
    values.iter().map(|value| bf16::from_f32(*value).to_le_bytes()).collect()
}

/// Appends values rounded to bf16.
pub(super) fn canonical(float: Float, bytes: &[u8], rounded: &mut Vec<u8>) {
    let before = rounded.len();
    rounded.resize(before + bytes.len() / float.size() * 2, 0);
    let to = rounded[before..].as_chunks_mut().0.iter_mut();
    match float {
        Float::F32 => to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = nearest(u32::from_le_bytes(*b))),
        Float::F16 => {
            let table = &**OF_HALVES;
            to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = table[usize::from(u16::from_le_bytes(*b))]);
        }
        Float::Bf16 => to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = *b),
        Float::F8E4m3 => to.zip(bytes).for_each(|(to, b)| *to = OF_E4M3[usize::from(*b)]),
        Float::F8E5m2 => to.zip(bytes).for_each(|(to, b)| *to = OF_E5M2[usize::from(*b)]),
        #[expect(clippy::cast_possible_truncation, reason = "single precision is what is computed in")]
        Float::F64 => {
            to.zip(bytes.as_chunks().0).for_each(|(to, b)| *to = nearest((f64::from_le_bytes(*b) as f32).to_bits()));
        }
    }
}

/// The nearest bf16 of an f32, ties to even, without a branch.
fn nearest(bits: u32) -> [u8; 2] {
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    let is_number = bits & 0x7fff_ffff <= 0x7f80_0000;
    let [low, high, ..] = if is_number { rounded } else { bits >> 16 | 0x40 }.to_le_bytes();
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_half() {
        let edges = [0, 1, 0x7fff, 0x8000, 0x8001, 0x1_8000, 0x3f80_8000, 0x7f7f_ffff, 0x7f80_0000, 0x7f80_0001];
        let bits =
            (0..1 << 16).map(|i: u32| i.wrapping_mul(0x9e37_79b9)).chain(edges).chain(edges.map(|b| b | 1 << 31));
        for bits in bits {
            assert_eq!(nearest(bits), bf16::from_f32(f32::from_bits(bits)).to_le_bytes(), "{bits:#x}");
        }
    }

    #[test]
    fn every_type_is_rounded_and_counted() {
        for float in [Float::F64, Float::F32, Float::F16, Float::Bf16, Float::F8E4m3, Float::F8E5m2] {
            let bytes: Vec<u8> = (0..80_u8).map(|i| if i < 16 { 0 } else { i.wrapping_mul(37) % 120 }).collect();
            let (mut values, mut rounded) = (Vec::new(), Vec::new());
            float.decode(&bytes, &mut values);
            canonical(float, &bytes, &mut rounded);
            let expected: Vec<u8> = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
            assert_eq!(rounded, expected, "{float:?}");
            let count = values.iter().filter(|value| **value == 0.0).count();
            assert!(zeros(float, &bytes) <= count as u64 && zeros(float, &bytes) >= (16 / float.size()) as u64);
        }
    }
}
