//! Raw little-endian floats to f32, without a tensor library: the scan reads every byte of a model.

/// A float type whose values the scan looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Float {
    F64,
    F32,
    F16,
    Bf16,
    F8E4m3,
    F8E5m2,
}

impl Float {
    /// The type of this name in safetensors and GGUF; `None` for integers and packed types.
    pub fn named(dtype: &str) -> Option<Self> {
        Some(match dtype {
            "F64" => Self::F64,
            "F32" => Self::F32,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "F8_E4M3" => Self::F8E4m3,
            "F8_E5M2" => Self::F8E5m2,
            _ => return None,
        })
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::F8E4m3 | Self::F8E5m2 => 1,
        }
    }

    /// Appends the values of `bytes`, a whole number of them, to `values`.
    ///
    /// What a double holds beyond the range of f32 becomes infinite.
    pub fn decode(self, bytes: &[u8], values: &mut Vec<f32>) {
        match self {
            #[expect(clippy::cast_possible_truncation, reason = "single precision is what is computed in")]
            Self::F64 => values.extend(bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32)),
            Self::F32 => values.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Self::F16 => values.extend(bytes.as_chunks().0.iter().map(|b| half(*b))),
            Self::Bf16 => values.extend(bytes.as_chunks().0.iter().map(|b| brain(*b))),
            Self::F8E4m3 => values.extend(bytes.iter().map(|b| e4m3(*b))),
            // The upper byte of a half.
            Self::F8E5m2 => values.extend(bytes.iter().map(|b| half([0, *b]))),
        }
    }
}

/// Widens a brain float: the upper half of a single.
#[expect(clippy::inline_always, reason = "inlined into code for wider registers, which a call would leave")]
#[inline(always)]
pub fn brain(bytes: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)
}

/// Widens a half by moving its bits and adding to its exponent; infinities and NaN have an exponent of their own.
#[expect(clippy::inline_always, reason = "inlined into code for wider registers, which a call would leave")]
#[inline(always)]
pub fn half(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let sign = (bits & 0x8000) << 16;
    // 2^112, the difference of the two formats' biases: a multiplication, so that subnormal halves come out right.
    let finite = (f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000)).to_bits();
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(sign | finite | special)
}

/// The variant without infinities (`e4m3fn`).
fn e4m3(bits: u8) -> f32 {
    let sign = if bits >> 7 == 1 { -1.0 } else { 1.0 };
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    match exponent {
        0 => sign * mantissa * (-9_f32).exp2(),
        15 if bits & 7 == 7 => f32::NAN,
        _ => sign * (8.0 + mantissa) * 2_f32.powi(exponent - 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_decode_to_their_values() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65_504.0),
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(half(u16::to_le_bytes(bits)), value, "{bits:#06x}");
        }
        assert!(half([1, 0x7c]).is_nan() && half([0, 0xfe]).is_nan());
    }

    #[test]
    fn brain_floats_and_eighths_decode_to_their_values() {
        assert_eq!(brain([0x80, 0x3f]), 1.0);
        assert_eq!(brain([0x80, 0xff]), f32::NEG_INFINITY);
        assert_eq!([e4m3(0x38), e4m3(0x7e), e4m3(0x01), e4m3(0xb8)], [1.0, 448.0, 0.001_953_125, -1.0]);
        assert!(e4m3(0x7f).is_nan());
        let mut values = Vec::new();
        Float::F8E5m2.decode(&[0x3c, 0x7c], &mut values);
        assert_eq!(values, [1.0, f32::INFINITY]);
    }

    #[test]
    fn every_size_matches_what_is_decoded() {
        for kind in [Float::F64, Float::F32, Float::F16, Float::Bf16, Float::F8E4m3, Float::F8E5m2] {
            let mut values = Vec::new();
            kind.decode(&[0; 64], &mut values);
            assert_eq!(values.len() * kind.size(), 64, "{kind:?}");
        }
    }
}
