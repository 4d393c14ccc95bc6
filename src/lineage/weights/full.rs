//! Two models compared value by value: what a contradiction must stand on, and what samples only suggest.
//!
//! Both are read once, in blocks of rows, with a few megabytes of memory. Tensors are compared slot by slot, where they
//! have the same shape; their layers are aligned by their places when both have as many, else as the caller says.

use std::{collections::BTreeMap, io};

use serde::Serialize;

use super::{
    make::{Error, Model, Place, Source, places},
    names,
    shape::Shape,
    slots::Slot,
};

/// Bytes that are read of one tensor at once.
const PIECE: u64 = 8 << 20;

/// What two tensors have in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlotComparison {
    /// The slot in the first model.
    pub slot: String,
    /// The slot in the second, when it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
    /// Values of each.
    pub values: u64,
    /// Cosine of the angle between both; 0 where one is nothing but zeros.
    pub cosine: f64,
    /// Length of the difference over the length of the second.
    pub change: f64,
    /// Rows, and how many of them are identical.
    pub rows: u64,
    /// See `rows`.
    pub identical_rows: u64,
}

/// What two models have in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Full {
    /// Mean cosine of the matrices.
    pub cosine: f64,
    /// Largest cosine of a matrix, by absolute value.
    pub largest_cosine: f64,
    /// Length of the whole difference over the length of the second, where both were compared.
    pub change: f64,
    /// Values that were compared.
    pub values: u64,
    /// Values of the first model.
    pub all_values: u64,
    /// Share of the first model's values that were compared.
    pub covered: f64,
    /// Rows of matrices that were compared.
    pub rows: u64,
    /// How many of them are identical.
    pub identical_rows: u64,
    /// Slot by slot.
    pub slots: Vec<SlotComparison>,
}

/// Compares every value of two models. `alignment` names pairs of layers, for models of different depth; `progress`
/// hears how many bytes have been read.
pub fn compare_full(
    a: &Model,
    a_source: &mut dyn Source,
    b: &Model,
    b_source: &mut dyn Source,
    alignment: &[(u16, u16)],
    progress: &mut dyn FnMut(u64),
) -> Result<Full, Error> {
    let (left, right) = (places(a), places(b));
    let depth = |places: &BTreeMap<Slot, Place>| places.keys().filter_map(|slot| slot.layer).max();
    let in_place = depth(&left) == depth(&right);
    let mut slots = Vec::new();
    let mut totals = Sums::default();
    for (slot, x) in &left {
        for other in partners(slot, in_place, alignment) {
            let Some(y) = right.get(&other).filter(|y| (y.part.rows(), y.columns) == (x.part.rows(), x.columns)) else {
                continue;
            };
            let sums = compare_slot(x, a_source, y, b_source, progress)?;
            slots.push(sums.of_slot(slot, &other, x));
            totals.add(&sums);
        }
    }
    Ok(summary(slots, &totals, all_values(a)))
}

/// The slots of the second model that a slot of the first is compared with.
fn partners(slot: &Slot, in_place: bool, alignment: &[(u16, u16)]) -> Vec<Slot> {
    match slot.layer {
        Some(layer) if !in_place => {
            alignment.iter().filter(|(i, _)| *i == layer).map(|(_, j)| slot.moved(*j)).collect()
        }
        _ => vec![slot.clone()],
    }
}

fn all_values(model: &Model) -> u64 {
    let tensors = model.files.iter().flat_map(|file| &file.tensors);
    let counted = tensors.filter(|tensor| names::layout(&tensor.name, &tensor.shape, &Shape::default()).is_some());
    counted.fold(0, |sum, tensor| sum.saturating_add(tensor.elements()))
}

#[expect(clippy::cast_precision_loss, reason = "shares and means")]
fn summary(slots: Vec<SlotComparison>, totals: &Sums, all_values: u64) -> Full {
    let matrices: Vec<&SlotComparison> = slots.iter().filter(|slot| slot.rows > 1).collect();
    let sum: f64 = matrices.iter().map(|slot| slot.cosine).sum();
    let largest = matrices.iter().map(|slot| slot.cosine).fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
    let values: u64 = slots.iter().map(|slot| slot.values).sum();
    Full {
        cosine: sum / matrices.len().max(1) as f64,
        largest_cosine: largest,
        change: totals.change(),
        values,
        all_values,
        covered: (values as f64 / all_values.max(1) as f64).min(1.0),
        rows: matrices.iter().map(|slot| slot.rows).sum(),
        identical_rows: matrices.iter().map(|slot| slot.identical_rows).sum(),
        slots,
    }
}

/// What is added up over values.
#[derive(Default)]
struct Sums {
    product: f64,
    left: f64,
    right: f64,
    difference: f64,
    identical_rows: u64,
}

impl Sums {
    /// Adds two rows. Infinities and what is no number count as zeros, as in samples.
    fn row(&mut self, x: &[f32], y: &[f32]) {
        let finite = |value: f32| f64::from(if value.is_finite() { value } else { 0.0 });
        for (x, y) in x.iter().zip(y) {
            let (x, y) = (finite(*x), finite(*y));
            self.product += x * y;
            self.left += x * x;
            self.right += y * y;
            self.difference += (x - y) * (x - y);
        }
        self.identical_rows += u64::from(x == y);
    }

    fn add(&mut self, other: &Self) {
        self.product += other.product;
        self.left += other.left;
        self.right += other.right;
        self.difference += other.difference;
        self.identical_rows += other.identical_rows;
    }

    fn change(&self) -> f64 {
        if self.right > 0.0 { (self.difference / self.right).sqrt() } else { 0.0 }
    }

    fn of_slot(&self, slot: &Slot, other: &Slot, place: &Place) -> SlotComparison {
        let norms = (self.left * self.right).sqrt();
        SlotComparison {
            slot: slot.to_string(),
            other: (slot != other).then(|| other.to_string()),
            values: place.part.rows() * place.columns,
            cosine: if norms > 0.0 { self.product / norms } else { 0.0 },
            change: self.change(),
            rows: place.part.rows(),
            identical_rows: self.identical_rows,
        }
    }
}

fn compare_slot(
    x: &Place,
    a: &mut dyn Source,
    y: &Place,
    b: &mut dyn Source,
    progress: &mut dyn FnMut(u64),
) -> Result<Sums, Error> {
    let Ok(columns) = usize::try_from(x.columns) else { return Ok(Sums::default()) };
    let (mut left, mut right) = (Rows::new(x, columns), Rows::new(y, columns));
    let mut sums = Sums::default();
    for _ in 0..x.part.rows() {
        left.next(a, progress)?;
        right.next(b, progress)?;
        sums.row(&left.values, &right.values);
    }
    Ok(sums)
}

/// Rows of a slot in its own order, a block of the file at a time.
struct Rows<'a> {
    place: &'a Place,
    columns: usize,
    width: u64,
    run: usize,
    row: u64,
    /// Bytes that have been read, and where they begin, in rows.
    block: Vec<u8>,
    start: u64,
    values: Vec<f32>,
}

impl<'a> Rows<'a> {
    fn new(place: &'a Place, columns: usize) -> Self {
        let width = place.stored.bytes(columns) as u64;
        let row = place.part.runs.first().map_or(0, |run| run.start);
        Self { place, columns, width, run: 0, row, block: Vec::new(), start: 0, values: Vec::new() }
    }

    /// Decodes the next row into `values`.
    fn next(&mut self, source: &mut dyn Source, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let width = usize::try_from(self.width).unwrap_or(usize::MAX);
        let held = (self.block.len() / width) as u64;
        if !(self.start..self.start + held).contains(&self.row) {
            let end = self.place.part.runs.iter().map(|run| run.end).max().unwrap_or(self.row + 1);
            let rows = (PIECE / self.width).max(1).min(end - self.row);
            let (at, length) = (self.place.start + self.row * self.width, rows * self.width);
            self.start = self.row;
            self.block = source.read(self.place.file, at..at + length)?;
            if self.block.len() as u64 != length {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            progress(self.block.len() as u64);
        }
        let offset = usize::try_from(self.row - self.start).unwrap_or(usize::MAX) * width;
        self.place.stored.decode(&self.block[offset..offset + width], self.columns, &mut self.values);
        self.row += 1;
        if self.row == self.place.part.runs[self.run].end {
            self.run += 1;
            self.row = self.place.part.runs.get(self.run).map_or(0, |run| run.start);
        }
        Ok(())
    }
}
