//! How the values of a tensor are stored, and how a row of them is read.

use candle_core::{
    Device,
    quantized::{GgmlDType, ggml_file::qtensor_from_ggml},
};

use super::print::Precision;
use crate::formats::floats::Float;

/// Plain floats, or blocks of ggml.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stored {
    Plain(Float),
    Packed(GgmlDType),
}

impl Stored {
    /// The storage of this name in safetensors or GGUF; `None` for what cannot be read.
    pub(super) fn named(dtype: &str) -> Option<Self> {
        if let Some(float) = Float::named(dtype) {
            return Some(Self::Plain(float));
        }
        let packed = match dtype {
            "Q4_0" => GgmlDType::Q4_0,
            "Q4_1" => GgmlDType::Q4_1,
            "Q5_0" => GgmlDType::Q5_0,
            "Q5_1" => GgmlDType::Q5_1,
            "Q8_0" => GgmlDType::Q8_0,
            "Q2_K" => GgmlDType::Q2K,
            "Q3_K" => GgmlDType::Q3K,
            "Q4_K" => GgmlDType::Q4K,
            "Q5_K" => GgmlDType::Q5K,
            "Q6_K" => GgmlDType::Q6K,
            _ => return None,
        };
        Some(Self::Packed(packed))
    }

    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Plain(_))
    }

    pub(super) fn precision(self) -> Precision {
        match self {
            Self::Plain(Float::F64 | Float::F32) => Precision::F32,
            Self::Plain(Float::F16) => Precision::F16,
            Self::Plain(Float::Bf16) => Precision::Bf16,
            Self::Plain(Float::F8E4m3 | Float::F8E5m2) => Precision::F8,
            Self::Packed(_) => Precision::Packed,
        }
    }

    /// Bytes of a row; 0 when blocks do not fill it.
    pub(super) fn bytes(self, columns: usize) -> usize {
        match self {
            Self::Plain(float) => columns * float.size(),
            Self::Packed(kind) if columns.is_multiple_of(kind.block_size()) => {
                columns / kind.block_size() * kind.type_size()
            }
            Self::Packed(_) => 0,
        }
    }

    /// Reads a row of [`bytes`](Self::bytes) bytes into `values`. What does not decode becomes zeros, which relate to
    /// nothing.
    pub(super) fn decode(self, bytes: &[u8], columns: usize, values: &mut Vec<f32>) {
        values.clear();
        match self {
            Self::Plain(float) => float.decode(bytes, values),
            Self::Packed(kind) => *values = unpack(kind, bytes, columns).unwrap_or_default(),
        }
        values.resize(columns, 0.0);
    }
}

fn unpack(kind: GgmlDType, bytes: &[u8], columns: usize) -> candle_core::Result<Vec<f32>> {
    let row = qtensor_from_ggml(kind, bytes, vec![1, columns], &Device::Cpu)?;
    row.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1()
}
