//! Keys under which a model's relatives are found among very many, and a signature that ranks what was found.
//!
//! Signs of weights survive training, rounding and most quantization. A band packs 24 of them into a key; two models
//! that share the key of any band become candidates for each other, and unrelated ones almost never do. What is found is
//! compared in earnest afterwards.

use super::{
    print::{Fingerprint, Invariant, TensorPrint},
    sample::{Axis, SIDE, positions, splitmix64},
    slots::{Role, Slot},
};

/// Bands of each kind.
pub const BANDS: i16 = 32;
/// Rows and columns whose crossings make up a key: few rows, so that an axis that grew mostly keeps them.
const ROWS: usize = 3;
const COLUMNS: usize = 8;
/// Likewise of the tokens of the invariant.
const LEFT: usize = 4;
const RIGHT: usize = 6;
/// Bits of a key.
const BITS: usize = ROWS * COLUMNS;

/// A key of a band.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// 0 for signs of weights, 1 for signs of what survives rewriting.
    pub kind: i16,
    /// Which band, below [`BANDS`].
    pub band: i16,
    /// 24 signs.
    pub key: i32,
}

/// Returns the keys of a fingerprint. A band whose tensor is absent or too small has none.
pub fn keys(print: &Fingerprint) -> Vec<Key> {
    let of_weights = (0..BANDS).filter_map(|band| {
        let tensor = print.tensors.get(&slots(print)[usize::from(band.unsigned_abs()) % SLOTS])?;
        Some(Key { kind: 0, band, key: pack(&crossings(tensor, band)?)? })
    });
    let of_invariant = print.invariant.iter().flat_map(|invariant| {
        (0..BANDS).filter_map(|band| Some(Key { kind: 1, band, key: pack(&token_crossings(invariant, band)?)? }))
    });
    of_weights.chain(of_invariant).collect()
}

/// Slots that have bands: the seven roles at both ends, embedding and head.
const SLOTS: usize = 16;

fn slots(print: &Fingerprint) -> [Slot; SLOTS] {
    let last = print.shape.layers.saturating_sub(1);
    std::array::from_fn(|at| match at {
        14 => Slot::once(Role::Embed),
        15 => Slot::once(Role::Head),
        at => Slot::at(Role::MATRICES[at % 7].clone(), if at < 7 { 0 } else { last }),
    })
}

/// Values where the band's rows and columns cross. Those are chosen by their places in the matrix, not in the sample,
/// which holds other rows in between when a vocabulary grew.
fn crossings(tensor: &TensorPrint, band: i16) -> Option<Vec<f32>> {
    let rows = lowest(&positions(tensor.rows, SIDE, Axis::Rows), ROWS, seed(band, 0))?;
    let columns = lowest(&positions(tensor.columns, SIDE, Axis::Columns), COLUMNS, seed(band, 1))?;
    let value = |row: usize, column: usize| tensor.sample.get(row * tensor.width() + column).copied();
    rows.iter().flat_map(|row| columns.iter().map(|column| value(*row, *column))).collect()
}

/// Products of the tokens that the band chooses by their strings.
fn token_crossings(invariant: &Invariant, band: i16) -> Option<Vec<f32>> {
    let ends = [invariant.depths.first()?, invariant.depths.last()?];
    let number = usize::from(band.unsigned_abs());
    let product = &ends[number / 3 % 2].1[number % 3];
    let left = lowest(&invariant.tokens, LEFT, seed(band, 2))?;
    let right = lowest(&invariant.tokens, RIGHT, seed(band, 3))?;
    let value = |i: usize, j: usize| product.get(i * invariant.tokens.len() + j).copied();
    left.iter().flat_map(|i| right.iter().map(|j| value(*i, *j))).collect()
}

fn seed(band: i16, use_: u64) -> u64 {
    splitmix64(u64::from(band.unsigned_abs()) << 8 | use_)
}

/// Places of the `count` names that a seed puts first; the same names in another list keep their order.
fn lowest(names: &[u64], count: usize, seed: u64) -> Option<Vec<usize>> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_unstable_by_key(|place| splitmix64(names[*place] ^ seed));
    order.truncate(count);
    (order.len() == count).then_some(order)
}

/// Packs signs. What has only one sign says nothing: constants, or what was never trained.
fn pack(values: &[f32]) -> Option<i32> {
    let key = values.iter().fold(0, |key, value| key << 1 | i32::from(*value > 0.0));
    (values.len() == BITS && key != 0 && key != (1 << BITS) - 1).then_some(key)
}

/// Words of a signature.
const WORDS: usize = 512;
/// Words of a slot: a sign for each sampled value.
const SLOT_WORDS: usize = SIDE * SIDE / 64;

/// Signs of the sampled values of thirty matrices: 4 KiB that rank candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Box<[u64; WORDS]>);

/// Returns the signature of a fingerprint. Signs of what it does not have are those of zeros.
pub fn signature(print: &Fingerprint) -> Signature {
    let mut words = Box::new([0; WORDS]);
    let depths = super::invariant::depths_of(print.shape.layers);
    let in_layers = depths.iter().flat_map(|layer| Role::MATRICES.map(|role| Slot::at(role, *layer)));
    let slots = [Role::Embed, Role::Head].map(Slot::once).into_iter().chain(in_layers);
    for (slot, words) in slots.zip(words.chunks_exact_mut(SLOT_WORDS)) {
        let Some(tensor) = print.tensors.get(&slot).filter(|tensor| tensor.is_matrix()) else { continue };
        for (row, values) in tensor.sample.chunks_exact(tensor.width().max(1)).enumerate() {
            let signs = values.iter().enumerate().filter(|(_, value)| **value > 0.0);
            signs.map(|(column, _)| row * SIDE + column).for_each(|bit| words[bit / 64] |= 1 << (bit % 64));
        }
    }
    Signature(words)
}

impl Signature {
    /// Reads the bytes that [`to_bytes`](Self::to_bytes) wrote; `None` where there are more or fewer.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (chunks, rest) = bytes.as_chunks();
        let words: Vec<u64> = chunks.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        let words = words.try_into().ok().filter(|_| rest.is_empty())?;
        Some(Self(Box::new(words)))
    }

    /// The signature as 4096 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// In how many signs two signatures differ; about half of them where models are unrelated.
    pub fn hamming(&self, other: &Self) -> u32 {
        self.0.iter().zip(other.0.iter()).map(|(a, b)| (a ^ b).count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::lineage::weights::{
        print::{Precision, VERSION},
        shape::Shape,
    };

    fn noise(number: u64) -> f32 {
        if splitmix64(number) & 1 == 1 { 0.5 } else { -0.5 }
    }

    fn matrix(rows: u64, columns: u64, seed: u64) -> TensorPrint {
        let place = |row: u64, column: u64| noise(seed << 40 | row << 20 | column);
        let columns_of = positions(columns, SIDE, Axis::Columns);
        let rows_of = positions(rows, SIDE, Axis::Rows);
        let sample = rows_of.iter().flat_map(|row| columns_of.iter().map(|column| place(*row, *column))).collect();
        let (zeros, distinct, lattice) = (0.0, 1.0, 0.25);
        TensorPrint {
            rows,
            columns,
            precision: Precision::F32,
            exact: None,
            canonical: None,
            zeros,
            distinct,
            lattice,
            sample,
        }
    }

    fn print(vocabulary: u64, seed: u64) -> Fingerprint {
        let mut tensors = BTreeMap::from([(Slot::once(Role::Embed), matrix(vocabulary, 64, seed))]);
        for layer in 0..2 {
            for (number, role) in (1..).zip(Role::MATRICES) {
                tensors.insert(Slot::at(role, layer), matrix(64, 64, seed + number + 10 * u64::from(layer)));
            }
        }
        let mut shape = Shape::default();
        shape.measure(&tensors);
        let tokens: Vec<u64> = (0..48).map(|token| splitmix64(token + 7)).collect();
        let pairs = |kind: u64| {
            let pair = |i: &u64, j: &u64| noise(seed << 50 ^ kind << 40 ^ i >> 30 ^ j >> 20);
            tokens.iter().flat_map(|i| tokens.iter().map(move |j| pair(i, j))).collect()
        };
        let depths = vec![(0, [pairs(0), pairs(1), pairs(2)]), (1, [pairs(3), pairs(4), pairs(5)])];
        let invariant = Some(Invariant { tokens: tokens.clone(), depths });
        let (panel, covered, skipped) = (None, (1, 1), Vec::new());
        Fingerprint { version: VERSION, shape, tensors, panel, invariant, covered, skipped }
    }

    #[test]
    fn a_model_shares_every_key_with_itself_and_none_with_another() {
        let one = keys(&print(1000, 100));
        assert_eq!(one.len(), 62, "all but those of the head");
        assert_eq!(one, keys(&print(1000, 100)));
        assert!(keys(&print(1000, 300)).iter().all(|key| !one.contains(key)));
        assert!(one.iter().all(|key| (0..1 << 24).contains(&key.key) && (0..BANDS).contains(&key.band)));
    }

    #[test]
    fn keys_survive_a_vocabulary_that_grew_and_tokens_in_another_order() {
        let (short, mut long) = (print(1000, 100), print(1008, 100));
        if let Some(invariant) = &mut long.invariant {
            invariant.tokens.reverse();
            invariant.depths.iter_mut().flat_map(|(_, products)| products).for_each(|product| product.reverse());
        }
        let (short, long) = (keys(&short), keys(&long));
        assert!(short.iter().filter(|key| long.contains(key)).count() >= 61);
    }

    #[test]
    fn what_has_no_signs_has_no_keys() {
        let mut empty = print(1000, 100);
        empty.tensors.values_mut().for_each(|tensor| tensor.sample.fill(0.0));
        empty.invariant = None;
        assert!(keys(&empty).is_empty());
        assert_eq!(signature(&empty).hamming(&signature(&empty)), 0);
    }

    #[test]
    fn signatures_rank() {
        let (one, other) = (print(1000, 100), print(1000, 300));
        let mut near = one.clone();
        near.tensors.values_mut().for_each(|tensor| tensor.sample[5] *= -1.0);
        let [one, near, other] = [one, near, other].map(|print| signature(&print));
        assert_eq!(one.hamming(&near), 15);
        assert!((7000..8400).contains(&one.hamming(&other)), "{}", one.hamming(&other));
        assert_eq!(Signature::from_bytes(&one.to_bytes()), Some(one.clone()));
        assert_eq!(Signature::from_bytes(&one.to_bytes()[1..]), None);
    }
}
