//! A fingerprint: what is kept of a model's weights to find its relatives.

use std::collections::BTreeMap;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use super::{
    sample::{Axis, PANEL_ROWS, SIDE, positions},
    shape::Shape,
    slots::{Role, Slot},
};

/// Changes whenever a fingerprint of the same weights would differ.
pub const VERSION: u32 = 2;
/// Most layers that a model may have.
pub const MAX_LAYERS: u16 = 1024;
/// Longest axis that a tensor may have; more than any vocabulary.
pub const MAX_SIDE: u64 = 16 << 20;
/// Values of a vector that are kept.
pub const VECTOR: usize = 256;

/// How finely values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precision {
    /// 24 bits of significand.
    F32,
    /// 11 bits.
    F16,
    /// 8 bits.
    Bf16,
    /// 4 bits or fewer, no blocks.
    F8,
    /// Blocks with a scale: quantized.
    Packed,
}

impl Precision {
    /// Bits behind the point of the significand.
    fn bits(self) -> i32 {
        match self {
            Self::F32 | Self::Packed => 23,
            Self::F16 => 10,
            Self::Bf16 => 7,
            Self::F8 => 3,
        }
    }

    /// Distance of neighboring values at 1.
    pub fn epsilon(self) -> f64 {
        f64::from(-self.bits() - 1).exp2()
    }

    /// Distance of neighboring values at `value`.
    pub fn ulp(self, value: f64) -> f64 {
        (value.abs().max(1e-30).log2().floor() - f64::from(self.bits())).exp2()
    }

    /// The nearest value that can be stored.
    pub fn round(self, value: f32) -> f32 {
        match self {
            Self::F16 => f16::from_f32(value).to_f32(),
            Self::Bf16 | Self::F8 => bf16::from_f32(value).to_f32(),
            Self::F32 | Self::Packed => value,
        }
    }

    /// Whether every value of single precision can be stored.
    pub(super) fn is_wide(self) -> bool {
        matches!(self, Self::F32 | Self::Packed)
    }

    /// The coarser of two.
    #[must_use]
    pub fn coarser(self, other: Self) -> Self {
        if self.bits() <= other.bits() { self } else { other }
    }
}

/// A digest of a tensor's values.
pub type TensorDigest = [u8; 16];

/// What is kept of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorPrint {
    /// Rows; 1 for vectors.
    pub rows: u64,
    /// Columns; the length of vectors.
    pub columns: u64,
    /// How its values are stored.
    pub precision: Precision,
    /// Digest of the values as they are stored, in the slot's own order of rows.
    pub exact: Option<TensorDigest>,
    /// Digest of the values rounded to bf16: equal for casts of the same tensor. `None` for packed values.
    pub canonical: Option<TensorDigest>,
    /// Share of values that are zero.
    pub zeros: f32,
    /// Share of distinct values among the non-zero ones of a run of 32; low for 4-bit grids.
    pub distinct: f32,
    /// Mean distance to the nearest 8-bit grid, over the best group size; 0.25 without a grid.
    pub lattice: f32,
    /// The sampled values: for matrices `SIDE × SIDE` at most, row by row; for vectors those at [`VECTOR`] positions.
    pub sample: Vec<f32>,
}

impl TensorPrint {
    /// Whether it is a matrix.
    pub fn is_matrix(&self) -> bool {
        self.rows > 1
    }

    /// How many values are sampled of a tensor of these dimensions.
    pub fn sampled(rows: u64, columns: u64) -> usize {
        let length = |side: u64, most: usize| usize::try_from(side).unwrap_or(usize::MAX).min(most);
        if rows == 1 { length(columns, VECTOR) } else { length(rows, SIDE) * length(columns, SIDE) }
    }

    /// Number of values in the tensor.
    #[expect(clippy::cast_precision_loss, reason = "a weight, not a count")]
    pub fn size(&self) -> f64 {
        (self.rows * self.columns) as f64
    }

    /// Sampled columns.
    pub fn width(&self) -> usize {
        usize::try_from(self.columns).unwrap_or(usize::MAX).min(SIDE)
    }

    /// Sampled rows.
    pub fn height(&self) -> usize {
        usize::try_from(self.rows).unwrap_or(usize::MAX).min(SIDE)
    }

    /// Whether two tensors have the same dimensions.
    pub fn same_shape(&self, other: &Self) -> bool {
        (self.rows, self.columns) == (other.rows, other.columns)
    }
}

/// Embedding rows: what training on other tokens leaves exactly as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct RowPanel {
    /// How the values are stored.
    pub precision: Precision,
    /// Rows of the embedding; which of them are sampled follows.
    pub vocabulary: u64,
    /// Sampled columns of each.
    pub columns: usize,
    /// Row by row.
    pub values: Vec<f32>,
}

impl RowPanel {
    /// The sampled rows, in order.
    pub fn rows(&self) -> std::sync::Arc<[u64]> {
        positions(self.vocabulary, PANEL_ROWS, Axis::Rows)
    }
}

/// Products that stay the same when a model is rewritten without changing what it computes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Invariant {
    /// Digests of the tokens, in order; the same string has the same digest in every tokenizer.
    pub tokens: Vec<u64>,
    /// For each depth: query-key, value-output and up-down products, each tokens × tokens.
    pub depths: Vec<(u16, [Vec<f32>; 3])>,
}

/// A fingerprint.
#[derive(Debug, Clone, PartialEq)]
pub struct Fingerprint {
    /// [`VERSION`] when it was made.
    pub version: u32,
    /// Widths and counts.
    pub shape: Shape,
    /// Tensors by slot.
    pub tensors: BTreeMap<Slot, TensorPrint>,
    /// Embedding rows.
    pub panel: Option<RowPanel>,
    /// What survives rewriting.
    pub invariant: Option<Invariant>,
    /// Parameters that were looked at, and all.
    pub covered: (u64, u64),
    /// What was left out, and why.
    pub skipped: Vec<(String, String)>,
}

impl Fingerprint {
    /// The tensor of a slot.
    pub fn get(&self, role: Role, layer: u16) -> Option<&TensorPrint> {
        self.tensors.get(&Slot::at(role, layer))
    }

    /// The precision of most of the model: that of its embedding, or of its first matrix.
    pub fn precision(&self) -> Precision {
        let embed = self.tensors.get(&Slot::once(Role::Embed));
        embed.or_else(|| self.tensors.values().find(|t| t.is_matrix())).map_or(Precision::F32, |t| t.precision)
    }

    /// The matrices of its layers that have one of the seven roles.
    pub fn layer_matrices(&self) -> impl Iterator<Item = (&Slot, &TensorPrint)> {
        self.tensors
            .iter()
            .filter(|(slot, tensor)| slot.layer.is_some() && tensor.is_matrix() && Role::MATRICES.contains(&slot.role))
    }

    /// Mean of a figure over the matrices of its layers.
    pub fn mean(&self, figure: impl Fn(&TensorPrint) -> f32) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for (_, tensor) in self.layer_matrices() {
            sum += f64::from(figure(tensor));
            count += 1.0;
        }
        if count > 0.0 { sum / count } else { 0.0 }
    }

    /// The grid that the weights lie on, when they do: `4-bit`, `8-bit`, or the packed format.
    pub fn grid(&self) -> Option<&'static str> {
        if self.layer_matrices().any(|(_, tensor)| tensor.precision == Precision::Packed) {
            return Some("packed");
        }
        if self.mean(|tensor| tensor.distinct) < 0.75 {
            return Some("4-bit");
        }
        let is_sparse = self.mean(|tensor| tensor.zeros) > 0.1;
        (!is_sparse && self.mean(|tensor| tensor.lattice) < 0.12).then_some("8-bit")
    }
}
