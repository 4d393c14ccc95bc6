//! Takes the print of one stored tensor while its bytes pass.
//!
//! Every byte is digested and looked at for zeros, in runs as long as they come; only the few rows that are sampled are
//! decoded.

use super::{
    digesting::{Digesting, canonical, zeros},
    grid,
    packed::Stored,
    print::{Precision, RowPanel, TensorPrint, VECTOR},
    sample::{Axis, PANEL_COLUMNS, PANEL_ROWS, SIDE, positions},
    slots::{Layout, Part, Role, Slot},
};

/// Rows at the beginning of a matrix in which grids are looked for, columns of each, and values that are enough.
const GRID_ROWS: usize = 64;
const GRID_COLUMNS: usize = 8192;
const GRID_VALUES: usize = 1 << 16;
/// Bytes that are rounded at once.
const PIECE: usize = 64 << 10;

/// A stored tensor on its way into prints.
pub(super) struct Taking {
    stored: Stored,
    columns: usize,
    /// Bytes of a row.
    width: usize,
    /// In the order of the stored rows.
    runs: Vec<Run>,
    run: usize,
    row: u64,
    parts: Vec<Taken>,
    rest: Vec<u8>,
    scratch: Scratch,
}

/// Stored rows that are consecutive rows of a part.
struct Run {
    start: u64,
    end: u64,
    part: usize,
    row: u64,
}

/// Memory that is used again for every row.
#[derive(Default)]
struct Scratch {
    values: Vec<f32>,
    rounded: Vec<u8>,
}

/// A slot that fills.
struct Taken {
    slot: Slot,
    rows: u64,
    /// Rows that are decoded, in order.
    looked_at: Vec<u64>,
    sampled: Sampled,
    panel: Option<Sampled>,
    exact: Digesting,
    /// For values that can be rounded and are not yet.
    canonical: Option<Digesting>,
    zeros: u64,
    /// Values that were looked at for zeros.
    counted: u64,
    /// The first rows until all of them are there, and what they tell of grids then: share of distinct values, distance
    /// to the nearest grid.
    head: Vec<Vec<f32>>,
    missing: usize,
    grids: (f32, f32),
}

/// Values at some rows and columns.
struct Sampled {
    /// Rows with their places in the sample, by row.
    rows: Vec<(u64, usize)>,
    columns: Vec<usize>,
    values: Vec<f32>,
}

impl Sampled {
    fn new(rows: u64, columns: usize, height: usize, width: usize) -> Self {
        let places = positions(rows, height, Axis::Rows);
        let mut rows: Vec<(u64, usize)> = places.iter().enumerate().map(|(place, row)| (*row, place)).collect();
        rows.sort_unstable();
        let columns: Vec<usize> =
            positions(columns as u64, width, Axis::Columns).iter().map(|column| index(*column)).collect();
        Self { values: vec![0.0; rows.len() * columns.len()], rows, columns }
    }

    fn row(&mut self, row: u64, values: &[f32]) {
        let Ok(found) = self.rows.binary_search_by_key(&row, |(row, _)| *row) else { return };
        let start = self.rows[found].1 * self.columns.len();
        for (to, column) in self.values[start..].iter_mut().zip(&self.columns) {
            // Infinities and what is no number relate to nothing.
            *to = if values[*column].is_finite() { values[*column] } else { 0.0 };
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Taking {
    /// Begins with a tensor that is laid out like this.
    pub(super) fn new(stored: Stored, layout: Layout) -> Self {
        let columns = index(layout.columns);
        let mut runs = Vec::new();
        let mut parts = Vec::new();
        for (number, part) in layout.parts.into_iter().enumerate() {
            let mut row = 0;
            for run in &part.runs {
                runs.push(Run { start: run.start, end: run.end, part: number, row });
                row += run.end - run.start;
            }
            parts.push(Taken::new(part, columns, stored));
        }
        runs.sort_unstable_by_key(|run| run.start);
        let (rest, scratch) = (Vec::new(), Scratch::default());
        Self { stored, columns, width: stored.bytes(columns), runs, run: 0, row: 0, parts, rest, scratch }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        if self.width == 0 {
            return;
        }
        if !self.rest.is_empty() {
            let missing = (self.width - self.rest.len()).min(bytes.len());
            self.rest.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.rest.len() < self.width {
                return;
            }
            let row = std::mem::take(&mut self.rest);
            self.rows(&row);
            self.rest = row;
            self.rest.clear();
        }
        let whole = bytes.len() - bytes.len() % self.width;
        self.rows(&bytes[..whole]);
        self.rest.extend_from_slice(&bytes[whole..]);
    }

    /// Takes whole rows.
    fn rows(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(run) = self.runs.get(self.run) else { return };
            let left = (bytes.len() / self.width) as u64;
            if self.row < run.start {
                let skipped = left.min(run.start - self.row);
                self.row += skipped;
                bytes = &bytes[index(skipped) * self.width..];
                continue;
            }
            let count = left.min(run.end - self.row);
            let (taken, rest) = bytes.split_at(index(count) * self.width);
            let first = run.row + (self.row - run.start);
            self.parts[run.part].rows(first, taken, self.stored, self.columns, &mut self.scratch);
            self.row += count;
            bytes = rest;
            if self.row >= run.end {
                self.run += 1;
            }
        }
    }

    /// Returns the prints, and the panel when the embedding was among them.
    pub(super) fn finish(self) -> Vec<(Slot, TensorPrint, Option<RowPanel>)> {
        let (precision, columns) = (self.stored.precision(), self.columns as u64);
        self.parts.into_iter().map(|part| part.finish(precision, columns)).collect()
    }
}

impl Taken {
    fn new(part: Part, columns: usize, stored: Stored) -> Self {
        let (rows, slot) = (part.rows(), part.slot);
        let is_matrix = rows > 1;
        let (height, width) = if is_matrix { (SIDE, SIDE) } else { (1, VECTOR) };
        let sampled = Sampled::new(rows, columns, height, width);
        let has_panel = slot.role == Role::Embed && is_matrix;
        let panel = has_panel.then(|| Sampled::new(rows, columns, PANEL_ROWS, PANEL_COLUMNS));
        let enough = (GRID_VALUES / columns.clamp(1, GRID_COLUMNS)).min(GRID_ROWS);
        let head = if is_matrix { rows.min(enough as u64) } else { 0 };
        let of_panel = panel.iter().flat_map(|panel| &panel.rows);
        let mut looked_at: Vec<u64> = sampled.rows.iter().chain(of_panel).map(|(row, _)| *row).chain(0..head).collect();
        looked_at.sort_unstable();
        looked_at.dedup();
        let rounds = stored.is_plain() && stored.precision() != Precision::Bf16;
        Self {
            exact: Digesting::new(&slot.role, rows),
            canonical: rounds.then(|| Digesting::new(&slot.role, rows)),
            head: vec![Vec::new(); index(head)],
            missing: index(head),
            grids: (1.0, 1.0),
            zeros: 0,
            counted: 0,
            rows,
            looked_at,
            sampled,
            panel,
            slot,
        }
    }

    /// Takes consecutive rows of the slot.
    fn rows(&mut self, first: u64, bytes: &[u8], stored: Stored, columns: usize, scratch: &mut Scratch) {
        let width = stored.bytes(columns);
        let end = first + (bytes.len() / width) as u64;
        self.exact.rows(first, bytes, width);
        if let Stored::Plain(float) = stored {
            self.zeros += zeros(float, bytes);
            self.counted += (bytes.len() / float.size()) as u64;
            if let Some(digesting) = &mut self.canonical {
                let narrow = columns * 2;
                let rows = (PIECE / width).max(1);
                for (number, piece) in bytes.chunks(rows * width).enumerate() {
                    scratch.rounded.clear();
                    canonical(float, piece, &mut scratch.rounded);
                    digesting.rows(first + (number * rows) as u64, &scratch.rounded, narrow);
                }
            }
        }
        let from = self.looked_at.partition_point(|row| *row < first);
        for place in from..self.looked_at.len() {
            let row = self.looked_at[place];
            if row >= end {
                break;
            }
            let start = index(row - first) * width;
            stored.decode(&bytes[start..start + width], columns, &mut scratch.values);
            self.look(row, &scratch.values, stored);
        }
    }

    fn look(&mut self, row: u64, values: &[f32], stored: Stored) {
        self.sampled.row(row, values);
        if let Some(panel) = &mut self.panel {
            panel.row(row, values);
        }
        if let Some(head) = self.head.get_mut(index(row)) {
            *head = values[..values.len().min(GRID_COLUMNS)].to_vec();
            self.missing -= 1;
            if self.missing == 0 {
                // A tensor of many experts would hold the first rows of each.
                let rows = std::mem::take(&mut self.head);
                self.grids = (grid::distinct(&rows), grid::lattice(&rows));
            }
        }
        if !stored.is_plain() {
            self.zeros += values.iter().filter(|value| **value == 0.0).count() as u64;
            self.counted += values.len() as u64;
        }
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a share")]
    fn finish(self, precision: Precision, columns: u64) -> (Slot, TensorPrint, Option<RowPanel>) {
        let exact = self.exact.finish(precision, self.rows, columns);
        let of_values = match self.canonical {
            Some(digesting) => Some(digesting.finish(Precision::Bf16, self.rows, columns)),
            None => (precision == Precision::Bf16).then_some(exact),
        };
        let print = TensorPrint {
            rows: self.rows,
            columns,
            precision,
            exact: Some(exact),
            canonical: of_values,
            zeros: rounded((self.zeros as f64 / self.counted.max(1) as f64) as f32, 1e6),
            distinct: rounded(self.grids.0, 1e4),
            lattice: rounded(self.grids.1, 1e4),
            sample: self.sampled.values,
        };
        let panel = self.panel.map(|panel| RowPanel {
            precision,
            vocabulary: self.rows,
            columns: panel.columns.len(),
            values: panel.values,
        });
        (self.slot, print, panel)
    }
}

/// A share in as many decimals as matter, which a fingerprint file repeats exactly.
fn rounded(share: f32, unit: f32) -> f32 {
    if share.is_finite() { (share.clamp(0.0, 1.0) * unit).round() / unit } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::floats::Float;

    fn take(bytes: &[u8], float: Float, dimensions: [u64; 2], role: Role, piece: usize) -> TensorPrint {
        let [rows, columns] = dimensions;
        let parts = vec![Part { slot: Slot::once(role), runs: vec![0..rows] }];
        let mut taking = Taking::new(Stored::Plain(float), Layout { rows, columns, parts });
        bytes.chunks(piece).for_each(|piece| taking.push(piece));
        taking.finish().remove(0).1
    }

    fn singles(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn pieces_of_any_size_give_the_same_print() {
        let values: Vec<f32> = (0..40 * 48_u16).map(|i| (f32::from(i) * 0.37).sin()).collect();
        for role in [Role::Embed, Role::Query] {
            let whole = take(&singles(&values), Float::F32, [40, 48], role.clone(), usize::MAX);
            for piece in [1, 7, 192, 1000] {
                assert_eq!(take(&singles(&values), Float::F32, [40, 48], role.clone(), piece), whole);
            }
            let (rows, columns) = (positions(40, 32, Axis::Rows), positions(48, 32, Axis::Columns));
            assert_eq!(whole.sample[5 * 32 + 9], values[index(rows[5] * 48 + columns[9])]);
        }
    }

    #[test]
    fn a_cast_keeps_the_canonical_digest() {
        let exact: Vec<f32> = (0..64_u8).map(|i| half::bf16::from_f32((f32::from(i) * 0.37).sin()).to_f32()).collect();
        let brains: Vec<u8> = exact.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        for role in [Role::Head, Role::Key] {
            let wide = take(&singles(&exact), Float::F32, [8, 8], role.clone(), 64);
            let narrow = take(&brains, Float::Bf16, [8, 8], role, usize::MAX);
            assert_eq!(wide.canonical, narrow.canonical);
            assert_ne!(wide.exact, narrow.exact);
        }
    }

    #[test]
    fn what_is_no_number_is_left_out_of_samples() {
        let values = [f32::NAN, f32::INFINITY, 0.0, -0.0, 1.0, 2.0, 3.0, 4.0];
        let print = take(&singles(&values), Float::F32, [2, 4], Role::Up, 64);
        assert!(print.sample.iter().all(|value| value.is_finite()));
        assert_eq!(print.zeros, 0.25);
    }
}
