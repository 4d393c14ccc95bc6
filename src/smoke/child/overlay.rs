//! What is laid over a model's weights while they are read: an adapter, or the base of a difference.
//!
//! Nothing is merged on disk and no merged copy is kept: each block of rows is changed on its way into f32.

use std::{collections::BTreeMap, sync::Mutex};

use candle_core::{Device, Tensor};

use super::{stored::Stored, tensors::Tensors};
use crate::formats::TensorEntry;

/// A factor of a change: `[rows, rank]` or, turned, `[rank, rows]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Factor {
    pub(super) name: String,
    pub(super) turned: bool,
}

/// A change of one tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// Adds `scale · left · right`, then, with a magnitude, gives each row that length.
    LowRank { left: Factor, right: Factor, rank: usize, scale: f64, magnitude: Option<String> },
    /// Adds a list of numbers times a scale.
    Vector { name: String, scale: f64 },
    /// Adds the tensor of the same name; rows that it does not have are as its rows on average, or zero.
    Base { mean_for_new: bool },
}

/// Changes to tensors by name, and the tensors that they are made of.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) parts: Tensors,
    pub(super) changes: BTreeMap<String, Change>,
    /// The factors that were used last: a matrix is changed block by block.
    last: Mutex<Option<(String, Tensor, Tensor)>>,
}

impl Overlay {
    pub(super) fn new(parts: Tensors, changes: BTreeMap<String, Change>) -> Self {
        Self { parts, changes, last: Mutex::default() }
    }

    pub(super) fn touches(&self, name: &str) -> bool {
        self.changes.contains_key(name)
    }

    /// Changes stored rows of `cols` numbers from `row` on.
    pub(super) fn apply(&self, name: &str, row: usize, cols: usize, values: &mut [f32]) -> Result<(), String> {
        match self.changes.get(name) {
            None => Ok(()),
            Some(Change::LowRank { left, right, rank, scale, magnitude }) => {
                self.low_rank(name, (left, right), *rank, *scale, (row, cols), values)?;
                match magnitude {
                    Some(magnitude) => self.stretch(magnitude, row, cols, values),
                    None => Ok(()),
                }
            }
            Some(Change::Vector { name, scale }) => {
                let added = self.numbers(name, 1, values.len())?;
                #[expect(clippy::cast_possible_truncation, reason = "single precision is what is computed in")]
                values.iter_mut().zip(added).for_each(|(value, added)| *value += (*scale * f64::from(added)) as f32);
                Ok(())
            }
            Some(Change::Base { mean_for_new }) => self.add_base(name, row, cols, *mean_for_new, values),
        }
    }

    fn low_rank(
        &self,
        name: &str,
        factors: (&Factor, &Factor),
        rank: usize,
        scale: f64,
        (row, cols): (usize, usize),
        values: &mut [f32],
    ) -> Result<(), String> {
        let rows = values.len() / cols.max(1);
        let mut last = self.last.lock().map_err(|_| "an adapter's factors are not usable".to_owned())?;
        if last.as_ref().is_none_or(|(known, ..)| known != name) {
            let load = |factor: &Factor, turned: bool| self.factor(factor, rank, turned);
            *last = Some((name.to_owned(), load(factors.0, false)?, load(factors.1, true)?));
        }
        let Some((_, left, right)) = last.as_ref() else { return Ok(()) };
        let change = || -> candle_core::Result<Vec<f32>> {
            let product = left.narrow(0, row, rows)?.contiguous()?.matmul(right)?;
            (product * scale)?.flatten_all()?.to_vec1()
        };
        let change = change().map_err(|error| format!("the adapter's change of `{name}`: {error}"))?;
        if change.len() != values.len() {
            return Err(format!("the adapter's change of `{name}` has another shape"));
        }
        values.iter_mut().zip(change).for_each(|(value, change)| *value += change);
        Ok(())
    }

    /// A factor as `[rows, rank]`, or as `[rank, cols]` when it stands on the right.
    fn factor(&self, factor: &Factor, rank: usize, on_the_right: bool) -> Result<Tensor, String> {
        let entry = self.entry(&factor.name)?;
        let elements = usize::try_from(entry.elements()).unwrap_or(usize::MAX);
        let other = elements / rank.max(1);
        // On the left, a plain one is [rows, rank]; on the right, a plain one is [rank, cols].
        let stored = if factor.turned == on_the_right { (other, rank) } else { (rank, other) };
        let numbers = self.numbers(&factor.name, stored.0, stored.1)?;
        let shape = |error: candle_core::Error| format!("`{}`: {error}", factor.name);
        let tensor = Tensor::from_vec(numbers, stored, &Device::Cpu).map_err(shape)?;
        if factor.turned { tensor.t().and_then(|t| t.contiguous()).map_err(shape) } else { Ok(tensor) }
    }

    /// Gives each row the length that the adapter learned for it.
    fn stretch(&self, magnitude: &str, row: usize, cols: usize, values: &mut [f32]) -> Result<(), String> {
        let entry = self.entry(magnitude)?;
        let lengths = self.numbers(magnitude, 1, usize::try_from(entry.elements()).unwrap_or(0))?;
        for (index, values) in values.chunks_exact_mut(cols.max(1)).enumerate() {
            let length = lengths.get(row + index).ok_or_else(|| format!("`{magnitude}` is too short"))?;
            let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
            #[expect(clippy::cast_possible_truncation, reason = "single precision is what is computed in")]
            let factor = (f64::from(*length) / norm) as f32;
            values.iter_mut().for_each(|value| *value *= factor);
        }
        Ok(())
    }

    fn add_base(&self, name: &str, row: usize, cols: usize, mean: bool, values: &mut [f32]) -> Result<(), String> {
        let entry = self.entry(name)?;
        let held = usize::try_from(entry.elements()).unwrap_or(0) / cols.max(1);
        let rows = values.len() / cols.max(1);
        let known = held.saturating_sub(row).min(rows);
        if known > 0 {
            let added = self.rows(entry, row, known, cols)?;
            values.iter_mut().zip(added).for_each(|(value, added)| *value += added);
        }
        if known < rows && mean {
            let average = self.average(entry, held, cols)?;
            for new in values.chunks_exact_mut(cols).skip(known) {
                new.iter_mut().zip(&average).for_each(|(value, added)| *value += added);
            }
        }
        Ok(())
    }

    fn average(&self, entry: &TensorEntry, rows: usize, cols: usize) -> Result<Vec<f32>, String> {
        let mut sums = vec![0_f64; cols];
        for first in (0..rows).step_by(256) {
            let part = self.rows(entry, first, 256.min(rows - first), cols)?;
            for row in part.chunks_exact(cols) {
                sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "an average in f32")]
        let average = sums.into_iter().map(|sum| (sum / rows.max(1) as f64) as f32).collect();
        Ok(average)
    }

    /// Reads a whole tensor of so many numbers.
    pub(super) fn read_numbers(tensors: &Tensors, name: &str, count: usize) -> Result<Vec<f32>, String> {
        let entry = tensors.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
        read(tensors, entry, 0, 1, count)
    }

    fn numbers(&self, name: &str, rows: usize, cols: usize) -> Result<Vec<f32>, String> {
        self.rows(self.entry(name)?, 0, rows, cols)
    }

    fn rows(&self, entry: &TensorEntry, row: usize, rows: usize, cols: usize) -> Result<Vec<f32>, String> {
        read(&self.parts, entry, row, rows, cols)
    }

    fn entry(&self, name: &str) -> Result<&TensorEntry, String> {
        self.parts.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))
    }
}

fn read(tensors: &Tensors, entry: &TensorEntry, row: usize, rows: usize, cols: usize) -> Result<Vec<f32>, String> {
    let stored = Stored::named(entry.dtype).ok_or_else(|| format!("`{}` is {}", entry.name, entry.dtype))?;
    let mut bytes = Vec::new();
    let read = tensors.read_rows(entry, stored, row, rows, cols, &mut bytes);
    read.map_err(|error| format!("`{}`: {error}", entry.name))?;
    let mut values = Vec::with_capacity(rows.saturating_mul(cols));
    stored.decode(&bytes, &mut values);
    Ok(values)
}
