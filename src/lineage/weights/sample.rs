//! Which coordinates of an axis are looked at.
//!
//! Positions depend on the length of an axis alone, never on a tensor's name or layer, and they nest: the positions of
//! a longer axis, in order, contain those of a shorter one that it still has. So any two tensors of the same role can be
//! compared, whatever layer they are in, and an extended vocabulary keeps its old samples.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

/// Rows and columns that are looked at in each matrix.
pub const SIDE: usize = 32;
/// Embedding rows that are looked at, and the columns of each.
pub const PANEL_ROWS: usize = 1024;
/// See [`PANEL_ROWS`].
pub const PANEL_COLUMNS: usize = 8;

/// An axis of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Axis {
    /// The first.
    Rows = 1,
    /// The second.
    Columns = 2,
}

/// One step of the splitmix64 generator (Steele, Lea, Flood 2014).
pub fn splitmix64(state: u64) -> u64 {
    let state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

type Key = (u64, usize, Axis);
static KEPT: LazyLock<Mutex<HashMap<Key, Arc<[u64]>>>> = LazyLock::new(Mutex::default);
/// Samples that are kept; axes of other lengths than these are rare, and computed again.
const MOST_KEPT: usize = 4096;

/// Returns the first `count` accepted positions below `length`, in the order of their acceptance.
pub fn positions(length: u64, count: usize, axis: Axis) -> Arc<[u64]> {
    let key = (length, count, axis);
    if let Some(known) = KEPT.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return known.clone();
    }
    let drawn: Arc<[u64]> = draw(length, count, axis).into();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() < MOST_KEPT {
        kept.insert(key, drawn.clone());
    }
    drawn
}

fn draw(length: u64, count: usize, axis: Axis) -> Vec<u64> {
    // Axes beyond 2^20 are sampled in their first 2^20 positions.
    let span: u64 = if length > 1 << 18 { 1 << 20 } else { 1 << 18 };
    let length = length.min(span);
    let count = count.min(usize::try_from(length).unwrap_or(usize::MAX));
    let mut seen = HashSet::with_capacity(count);
    let mut accepted = Vec::with_capacity(count);
    for step in 0_u64.. {
        if accepted.len() == count {
            break;
        }
        let position = splitmix64(((axis as u64) << 40) + step) % span;
        if position < length && seen.insert(position) {
            accepted.push(position);
        }
    }
    accepted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_nest() {
        let short = positions(1024, 64, Axis::Rows);
        let long = positions(1088, 64, Axis::Rows);
        let shared: Vec<u64> = long.iter().copied().filter(|p| *p < 1024).collect();
        assert_eq!(shared, short[..shared.len()]);
        assert!(shared.len() > 50);
    }

    #[test]
    fn short_axes_are_taken_whole() {
        let mut all = positions(7, 32, Axis::Columns).to_vec();
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
        assert!(positions(0, 32, Axis::Rows).is_empty());
    }

    #[test]
    fn the_stream_is_that_of_the_specification() {
        // The reference's first accepted rows and columns of an axis of 96.
        assert_eq!(positions(96, 4, Axis::Rows)[..], REFERENCE_ROWS);
        assert_eq!(positions(96, 4, Axis::Columns)[..], REFERENCE_COLUMNS);
    }

    const REFERENCE_ROWS: [u64; 4] = [1, 64, 53, 32];
    const REFERENCE_COLUMNS: [u64; 4] = [16, 9, 43, 42];
}
