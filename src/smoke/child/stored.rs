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

#[cfg(test)]
mod tests {
    use candle_core::{
        Device,
        quantized::{GgmlDType, ggml_file::qtensor_from_ggml},
    };

    use super::*;

    /// Blocks of noise; the scales are halves, so those must be small numbers.
    fn blocks(quant: Quant, halves: &[usize]) -> Vec<u8> {
        let mut state = 7_u64;
        let mut block = |_| {
            let mut bytes: Vec<u8> = (0..quant.bytes())
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    state.to_be_bytes()[0]
                })
                .collect();
            for (number, at) in halves.iter().enumerate() {
                let scale = half::f16::from_f32(0.01 + f32::from(u8::try_from(number).unwrap()) / 50.0);
                bytes[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
            bytes
        };
        (0..8).flat_map(&mut block).collect()
    }

    #[test]
    fn blocks_decode_to_what_another_implementation_makes_of_them() {
        for (name, other, halves) in [
            ("Q4_0", GgmlDType::Q4_0, &[0][..]),
            ("Q4_1", GgmlDType::Q4_1, &[0, 2]),
            ("Q5_0", GgmlDType::Q5_0, &[0]),
            ("Q5_1", GgmlDType::Q5_1, &[0, 2]),
            ("Q8_0", GgmlDType::Q8_0, &[0]),
            ("Q2_K", GgmlDType::Q2K, &[80, 82]),
            ("Q3_K", GgmlDType::Q3K, &[108]),
            ("Q4_K", GgmlDType::Q4K, &[0, 2]),
            ("Q5_K", GgmlDType::Q5K, &[0, 2]),
            ("Q6_K", GgmlDType::Q6K, &[208]),
        ] {
            let quant = Quant::named(name).unwrap();
            let bytes = blocks(quant, halves);
            let mut values = Vec::new();
            Stored::Packed(quant).decode(&bytes, &mut values);
            let expected = qtensor_from_ggml(other, &bytes, vec![8, quant.block()], &Device::Cpu).unwrap();
            let expected: Vec<f32> =
                expected.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!(values.len(), expected.len());
            for (index, (value, expected)) in values.iter().zip(&expected).enumerate() {
                assert!((value - expected).abs() < 1e-4, "{name}: number {index} is {value}, not {expected}");
            }
        }
    }

    #[test]
    fn eight_bit_blocks_with_sums_decode_to_scaled_bytes() {
        let mut block = half::f16::from_f32(0.5).to_le_bytes().to_vec();
        block.extend([0, 0]);
        block.extend((0..32).map(|i: i8| (i - 16).cast_unsigned()));
        let mut values = Vec::new();
        Quant::Q8_1.decode(&block, &mut values);
        assert_eq!((values[0], values[31]), (-8.0, 7.5));
        let mut large = 0.25_f32.to_le_bytes().to_vec();
        large.extend([4; 256]);
        large.extend([0; 32]);
        values.clear();
        Quant::Q8K.decode(&large, &mut values);
        assert_eq!(values, [1.0; 256]);
    }
}
