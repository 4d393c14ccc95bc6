//! Takes the print of one stored tensor while its bytes pass, row by row.

use super::{
    grid,
    packed::Stored,
    print::{Precision, RowPanel, TensorDigest, TensorPrint, VECTOR},
    sample::{Axis, PANEL_COLUMNS, PANEL_ROWS, SIDE, positions},
    slots::{Part, Role, Slot},
};

/// Rows at the beginning of a matrix in which grids are looked for, and columns of each.
const GRID_ROWS: usize = 64;
const GRID_COLUMNS: usize = 8192;

/// A stored tensor on its way into prints.
pub(super) struct Taking {
    stored: Stored,
    columns: usize,
    /// Which part each stored row belongs to, and which row of it it is.
    places: Vec<Option<(usize, usize)>>,
    parts: Vec<Taken>,
    rows_seen: usize,
    rest: Vec<u8>,
}

/// A slot that fills.
struct Taken {
    slot: Slot,
    rows: usize,
    wanted: Vec<Option<usize>>,
    sampled_columns: Vec<usize>,
    sample: Vec<f32>,
    exact: Vec<TensorDigest>,
    canonical: Vec<TensorDigest>,
    zeros: u64,
    head: Vec<Vec<f32>>,
    panel: Option<Panel>,
}

/// Rows of an embedding that fill.
struct Panel {
    wanted: Vec<Option<usize>>,
    columns: Vec<usize>,
    values: Vec<f32>,
}

impl Panel {
    fn new(rows: usize, columns: usize) -> Self {
        let columns = sampled_columns(columns, PANEL_COLUMNS);
        Self { wanted: wanted(rows, PANEL_ROWS), values: vec![0.0; rows.min(PANEL_ROWS) * columns.len()], columns }
    }

    fn row(&mut self, row: usize, values: &[f32]) {
        let Some(place) = self.wanted[row] else { return };
        for (at, column) in self.columns.iter().enumerate() {
            self.values[place * self.columns.len() + at] = finite(values[*column]);
        }
    }
}

/// Infinities and what is no number relate to nothing.
fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

/// A share in as many decimals as matter, which a fingerprint file repeats exactly.
fn rounded(share: f32, unit: f32) -> f32 {
    if share.is_finite() { (share.clamp(0.0, 1.0) * unit).round() / unit } else { 1.0 }
}

fn sampled_columns(columns: usize, count: usize) -> Vec<usize> {
    positions(columns as u64, count, Axis::Columns).iter().map(|column| index(*column)).collect()
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Where each row of an axis stands among the sampled ones.
fn wanted(rows: usize, count: usize) -> Vec<Option<usize>> {
    let mut wanted = vec![None; rows];
    for (place, row) in positions(rows as u64, count, Axis::Rows).iter().enumerate() {
        wanted[index(*row)] = Some(place);
    }
    wanted
}

impl Taking {
    /// Begins with a tensor of these dimensions, which fills these parts.
    pub(super) fn new(stored: Stored, dimensions: &[u64], parts: Vec<Part>) -> Self {
        let has_rows = dimensions.len() > 1;
        let rows = if has_rows { index(dimensions[0]) } else { 1 };
        let columns = index(dimensions.iter().skip(usize::from(has_rows)).product());
        let mut places = vec![None; rows];
        let mut taken = Vec::new();
        for (number, part) in parts.into_iter().enumerate() {
            let rows_of_part = index(part.rows());
            let stored = part.runs.iter().cloned().flatten();
            for (row, stored) in stored.enumerate() {
                if let Some(place) = places.get_mut(index(stored)) {
                    *place = Some((number, row));
                }
            }
            taken.push(Taken::new(part.slot, rows_of_part, columns));
        }
        Self { stored, columns, places, parts: taken, rows_seen: 0, rest: Vec::new() }
    }

    /// Takes the next bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let width = self.stored.bytes(self.columns);
        if width == 0 {
            return;
        }
        if !self.rest.is_empty() {
            let missing = (width - self.rest.len()).min(bytes.len());
            self.rest.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.rest.len() == width {
                let row = std::mem::take(&mut self.rest);
                self.row(&row);
            }
        }
        let whole = bytes.chunks_exact(width);
        let left = whole.remainder();
        whole.for_each(|row| self.row(row));
        self.rest.extend_from_slice(left);
    }

    fn row(&mut self, bytes: &[u8]) {
        let place = self.places.get(self.rows_seen).copied().flatten();
        self.rows_seen += 1;
        let Some((part, row)) = place else { return };
        let part = &mut self.parts[part];
        // Packed rows are unpacked only where somebody looks.
        if self.stored.is_plain() || part.looks_at(row) {
            let values = self.stored.decode(bytes, self.columns);
            part.row(row, bytes, &values, self.stored.precision());
        } else {
            part.exact[row] = short(&blake3::hash(bytes));
        }
    }

    /// Returns the prints, and the panel when the embedding was among them.
    pub(super) fn finish(self) -> Vec<(Slot, TensorPrint, Option<RowPanel>)> {
        let (precision, columns) = (self.stored.precision(), self.columns);
        self.parts.into_iter().map(|part| part.finish(precision, columns)).collect()
    }
}

impl Taken {
    fn new(slot: Slot, rows: usize, columns: usize) -> Self {
        let is_vector = rows == 1;
        let (height, width) = if is_vector { (1, VECTOR) } else { (SIDE, SIDE) };
        let sampled_columns = sampled_columns(columns, width);
        Self {
            sample: vec![0.0; rows.min(height) * sampled_columns.len()],
            wanted: wanted(rows, height),
            sampled_columns,
            exact: vec![[0; 16]; rows],
            canonical: vec![[0; 16]; rows],
            zeros: 0,
            head: Vec::new(),
            panel: (slot.role == Role::Embed && !is_vector).then(|| Panel::new(rows, columns)),
            rows,
            slot,
        }
    }

    fn looks_at(&self, row: usize) -> bool {
        let in_panel = self.panel.as_ref().is_some_and(|panel| panel.wanted[row].is_some());
        in_panel || self.wanted[row].is_some() || row < GRID_ROWS
    }

    fn row(&mut self, row: usize, bytes: &[u8], values: &[f32], precision: Precision) {
        self.exact[row] = short(&blake3::hash(bytes));
        self.canonical[row] = if precision == Precision::Bf16 {
            self.exact[row]
        } else {
            let rounded: Vec<u8> = values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
            short(&blake3::hash(&rounded))
        };
        self.zeros += values.iter().filter(|value| **value == 0.0).count() as u64;
        if let Some(place) = self.wanted[row] {
            let width = self.sampled_columns.len();
            for (at, column) in self.sampled_columns.iter().enumerate() {
                self.sample[place * width + at] = finite(values[*column]);
            }
        }
        if row < GRID_ROWS && self.rows > 1 {
            self.head.push(values[..values.len().min(GRID_COLUMNS)].to_vec());
        }
        if let Some(panel) = &mut self.panel {
            panel.row(row, values);
        }
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a share")]
    fn finish(self, precision: Precision, columns: usize) -> (Slot, TensorPrint, Option<RowPanel>) {
        let size = (self.rows * columns).max(1);
        let print = TensorPrint {
            rows: self.rows as u64,
            columns: columns as u64,
            precision,
            exact: Some(digest(&self.exact, precision, columns)),
            canonical: (precision != Precision::Packed).then(|| digest(&self.canonical, Precision::Bf16, columns)),
            zeros: rounded((self.zeros as f64 / size as f64) as f32, 1e6),
            distinct: rounded(grid::distinct(&self.head), 1e4),
            lattice: rounded(grid::lattice(&self.head), 1e4),
            sample: self.sample,
        };
        let panel = self.panel.map(|panel| RowPanel {
            precision,
            vocabulary: self.rows as u64,
            columns: panel.columns.len(),
            values: panel.values,
        });
        (self.slot, print, panel)
    }
}

fn short(hash: &blake3::Hash) -> TensorDigest {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.as_bytes()[..16]);
    digest
}

fn digest(rows: &[TensorDigest], precision: Precision, columns: usize) -> TensorDigest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{precision:?} {} {columns}\n", rows.len()).as_bytes());
    rows.iter().for_each(|row| {
        hasher.update(row);
    });
    short(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::floats::Float;

    fn take(values: &[f32], dimensions: &[u64], piece: usize) -> TensorPrint {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let part = Part { slot: Slot::once(Role::Embed), runs: vec![0..dimensions[0]] };
        let mut taking = Taking::new(Stored::Plain(Float::F32), dimensions, vec![part]);
        bytes.chunks(piece).for_each(|piece| taking.push(piece));
        taking.finish().remove(0).1
    }

    #[test]
    fn pieces_of_any_size_give_the_same_print() {
        let values: Vec<f32> = (0..40 * 48_u16).map(|i| (f32::from(i) * 0.37).sin()).collect();
        let whole = take(&values, &[40, 48], usize::MAX);
        for piece in [1, 7, 192, 1000] {
            assert_eq!(take(&values, &[40, 48], piece), whole);
        }
        let (rows, columns) = (positions(40, 32, Axis::Rows), positions(48, 32, Axis::Columns));
        assert_eq!(whole.sample[5 * 32 + 9], values[index(rows[5] * 48 + columns[9])]);
    }

    #[test]
    fn a_cast_keeps_the_canonical_digest() {
        let values: Vec<f32> = (0..64_u8).map(|i| half::bf16::from_f32((f32::from(i) * 0.37).sin()).to_f32()).collect();
        let wide = take(&values, &[8, 8], 64);
        let bytes: Vec<u8> = values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect();
        let part = Part { slot: Slot::once(Role::Head), runs: vec![0..8] };
        let mut taking = Taking::new(Stored::Plain(Float::Bf16), &[8, 8], vec![part]);
        taking.push(&bytes);
        let narrow = taking.finish().remove(0).1;
        assert_eq!(wide.canonical, narrow.canonical);
        assert_ne!(wide.exact, narrow.exact);
    }
}
