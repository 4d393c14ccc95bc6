//! Embedding rows that two models share exactly, and what that says of a third.
//!
//! A full fine-tune leaves the rows of tokens that did not occur as they were, up to one factor of weight decay. So a
//! descendant keeps what its ancestor changed, and a sibling does not.

use std::{collections::HashMap, ops::RangeInclusive};

use super::{
    print::{Precision, RowPanel},
    sample::{Axis, PANEL_ROWS, positions},
};

/// A set of sampled rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowSet([u64; PANEL_ROWS / 64]);

impl RowSet {
    /// No row.
    pub(super) fn empty() -> Self {
        Self([0; PANEL_ROWS / 64])
    }

    /// Adds a row of the panel by its place.
    pub(super) fn insert(&mut self, place: usize) {
        self.0[place / 64] |= 1 << (place % 64);
    }

    /// Number of rows.
    pub(super) fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Rows that are in either.
    #[must_use]
    pub(super) fn or(&self, other: &Self) -> Self {
        let mut either = self.clone();
        either.0.iter_mut().zip(other.0).for_each(|(word, mask)| *word |= mask);
        either
    }

    /// Rows of this set that are not in the other.
    #[must_use]
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut left = self.clone();
        left.0.iter_mut().zip(other.0).for_each(|(word, mask)| *word &= !mask);
        left
    }

    /// Rows of this set that are in none of the others.
    pub(super) fn without(&self, others: &[&Self]) -> u32 {
        let word = |at: usize| others.iter().fold(self.0[at], |left, other| left & !other.0[at]);
        (0..self.0.len()).map(|at| word(at).count_ones()).sum()
    }

    /// Rows that are in both.
    #[must_use]
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.0.iter_mut().zip(other.0).for_each(|(word, mask)| *word &= mask);
        both
    }
}

impl RowSet {
    /// The same rows by their places in the panel of an embedding of another length.
    #[must_use]
    pub(super) fn translated(&self, from: u64, to: u64) -> Self {
        if from == to {
            return self.clone();
        }
        let (rows, others) = (positions(from, PANEL_ROWS, Axis::Rows), positions(to, PANEL_ROWS, Axis::Rows));
        let at: HashMap<u64, usize> = others.iter().enumerate().map(|(place, row)| (*row, place)).collect();
        let mut set = Self::empty();
        let held = rows.iter().enumerate().filter(|(place, _)| self.0[place / 64] >> (place % 64) & 1 == 1);
        held.filter_map(|(_, row)| at.get(row)).for_each(|place| set.insert(*place));
        set
    }
}

/// Rows that two panels have and rows in which they agree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SharedRows {
    /// Rows that were compared.
    pub(super) compared: RowSet,
    /// Rows whose sampled values are all equal.
    pub(super) equal: RowSet,
    /// The factor between them: 1, or what weight decay left.
    pub(super) factor: f32,
}

/// Share of equal rows below which a common factor is looked for.
const FEW: f64 = 0.02;

/// Compares two panels; `None` where the columns differ or too few rows are in both.
pub(super) fn shared_rows(a: &RowPanel, b: &RowPanel) -> Option<SharedRows> {
    if a.columns != b.columns || a.columns == 0 {
        return None;
    }
    // The panel of a longer embedding holds other rows in between; places are those of the first.
    let (rows_a, rows_b) = (a.rows(), b.rows());
    let places: Vec<(usize, usize)> = if rows_a == rows_b {
        (0..rows_a.len()).map(|place| (place, place)).collect()
    } else {
        let at: HashMap<u64, usize> = rows_b.iter().enumerate().map(|(i, row)| (*row, i)).collect();
        rows_a.iter().enumerate().filter_map(|(i, row)| at.get(row).map(|j| (i, *j))).collect()
    };
    if places.len() < 16 {
        return None;
    }
    let coarser = a.precision.coarser(b.precision);
    let mut shared = SharedRows { compared: RowSet::empty(), equal: RowSet::empty(), factor: 1.0 };
    places.iter().for_each(|(place, _)| shared.compared.insert(*place));
    let equal = equal_rows(a, b, &places, coarser, 1.0);
    if !is_few(equal.len(), places.len()) || a.precision == Precision::Packed || b.precision == Precision::Packed {
        return Some(SharedRows { equal, ..shared });
    }
    let (best, factor) = best_factor(a, b, &places, coarser);
    if best.len() > equal.len()
        && f64::from(best.len()) >= f64::max(8.0, FEW * f64::from(u32::try_from(places.len()).unwrap_or(u32::MAX)))
    {
        return Some(SharedRows { equal: best, factor, ..shared });
    }
    Some(SharedRows { equal, ..shared })
}

#[expect(clippy::cast_precision_loss, reason = "at most 1024 rows")]
fn is_few(equal: u32, all: usize) -> bool {
    f64::from(equal) < FEW * all as f64
}

/// Rows that are equal once the second's are multiplied by a factor.
fn equal_rows(a: &RowPanel, b: &RowPanel, places: &[(usize, usize)], coarser: Precision, factor: f32) -> RowSet {
    let width = a.columns;
    let mut equal = RowSet::empty();
    for (i, j) in places {
        let (left, right) = (&a.values[i * width..(i + 1) * width], &b.values[j * width..(j + 1) * width]);
        // Rows of zeros say nothing.
        let says_something = left.iter().any(|value| *value != 0.0);
        if says_something && left.iter().zip(right).all(|(x, y)| coarser.round(*x) == coarser.round(*y * factor)) {
            equal.insert(*i);
        }
    }
    equal
}

/// Looks for the one factor that makes most rows equal: near the median ratio, or a little below 1.
fn best_factor(a: &RowPanel, b: &RowPanel, places: &[(usize, usize)], coarser: Precision) -> (RowSet, f32) {
    let width = a.columns;
    let mut ratios: Vec<f64> = places
        .iter()
        .flat_map(|(i, j)| (0..width).map(move |at| (a.values[i * width + at], b.values[j * width + at])))
        .filter(|(_, y)| y.abs() > 1e-4)
        .map(|(x, y)| f64::from(x / y))
        .collect();
    let middle = super::pair::median(&mut ratios);
    // Every row holds for the factors of an interval: where most intervals meet is the best factor.
    let mut ends: Vec<(f64, i32)> = Vec::new();
    for (i, j) in places {
        let (left, right) = (&a.values[i * width..(i + 1) * width], &b.values[j * width..(j + 1) * width]);
        for near in [middle - NEAR..=middle + NEAR, DECAY] {
            let interval = factors(left, right, coarser, near);
            if let Some((low, high)) = interval {
                ends.extend([(low, 1), (high, -1)]);
            }
        }
    }
    ends.sort_by(|x, y| x.0.total_cmp(&y.0).then(y.1.cmp(&x.1)));
    let (mut open, mut most, mut factor) = (0, 0, 1.0);
    for (at, (end, step)) in ends.iter().enumerate() {
        open += step;
        if open > most {
            most = open;
            factor = ends.get(at + 1).map_or(*end, |next| f64::midpoint(*end, next.0));
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "a factor near 1")]
    let factor = factor as f32;
    (equal_rows(a, b, places, coarser, factor), factor)
}

/// How far from the median ratio a factor may be.
const NEAR: f64 = 0.02;
/// Factors of a mild weight decay.
const DECAY: RangeInclusive<f64> = 0.97..=1.0;

/// The factors by which all values of a row become those of another, within limits.
fn factors(left: &[f32], right: &[f32], coarser: Precision, limits: RangeInclusive<f64>) -> Option<(f64, f64)> {
    let (mut low, mut high) = limits.into_inner();
    let mut says_something = false;
    for (x, y) in left.iter().zip(right) {
        let (x, y) = (f64::from(coarser.round(*x)), f64::from(*y));
        if y == 0.0 || x == 0.0 {
            if x != y {
                return None;
            }
            continue;
        }
        says_something = true;
        let half = coarser.ulp(x) / 2.0;
        let (from, to) = ((x - half) / y, (x + half) / y);
        low = low.max(from.min(to));
        high = high.min(from.max(to));
        if low > high {
            return None;
        }
    }
    says_something.then_some((low, high))
}
