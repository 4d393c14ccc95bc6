//! How the numbers of a tensor are stored, and how they become f32.

use crate::formats::{floats::Float, quants::Quant};

/// Plain floats, or ggml's blocks of small whole numbers with a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    Plain(Float),
    Packed(Quant),
}

impl Stored {
    /// The storage of this name in safetensors or GGUF; `None` for what is not computed with.
    pub(super) fn named(dtype: &str) -> Option<Self> {
        // Eight-bit floats come with scales in tensors of their own: alone they are not the weights.
        let float = Float::named(dtype).filter(|float| float.size() > 1);
        float.map(Self::Plain).or_else(|| Quant::named(dtype).map(Self::Packed))
    }

    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Bytes of a row of so many numbers; 0 when blocks do not fill it.
    pub(super) fn bytes(self, cols: usize) -> usize {
        match self {
            Self::Plain(float) => cols.saturating_mul(float.size()),
            Self::Packed(quant) if cols.is_multiple_of(quant.block()) => {
                (cols / quant.block()).saturating_mul(quant.bytes())
            }
            Self::Packed(_) => 0,
        }
    }

    /// Bytes that cannot be divided: a number's, or a block's.
    pub(super) fn unit(self) -> usize {
        match self {
            Self::Plain(float) => float.size(),
            Self::Packed(quant) => quant.bytes(),
        }
    }

    /// Appends the numbers of whole rows.
    pub(super) fn decode(self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            Self::Plain(float) => float.decode(bytes, values),
            Self::Packed(quant) => quant.decode(bytes, values),
        }
    }
}
