//! The blocks in which ggml stores small whole numbers with a scale, and the numbers that they stand for.
//!
//! Layouts are those of `ggml-common.h`, formulas those of `dequantize_row_*` in `ggml-quants.c`. The types of the `IQ`
//! and `TQ` families and MXFP4 are not decoded.

/// Numbers in a block of the `K` types.
const SUPER: usize = 256;

/// A type of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quant {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Q8K,
}

impl Quant {
    /// The type of this name in [`super::dtype::ggml`].
    pub fn named(dtype: &str) -> Option<Self> {
        Some(match dtype {
            "Q4_0" => Self::Q4_0,
            "Q4_1" => Self::Q4_1,
            "Q5_0" => Self::Q5_0,
            "Q5_1" => Self::Q5_1,
            "Q8_0" => Self::Q8_0,
            "Q8_1" => Self::Q8_1,
            "Q2_K" => Self::Q2K,
            "Q3_K" => Self::Q3K,
            "Q4_K" => Self::Q4K,
            "Q5_K" => Self::Q5K,
            "Q6_K" => Self::Q6K,
            "Q8_K" => Self::Q8K,
            _ => return None,
        })
    }

    /// Numbers of a block.
    pub fn block(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Q8_1 => 32,
            _ => SUPER,
        }
    }

    /// Bytes of a block.
    pub fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q8_1 => 36,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
            Self::Q8K => 292,
        }
    }

    /// Appends the numbers of whole blocks to `values`; bytes that fill no block are ignored.
    pub fn decode(self, bytes: &[u8], values: &mut Vec<f32>) {
        let decode: fn(&[u8], &mut Vec<f32>) = match self {
            Self::Q4_0 => q4_0,
            Self::Q4_1 => q4_1,
            Self::Q5_0 => q5_0,
            Self::Q5_1 => q5_1,
            Self::Q8_0 => |b, out| q8(&b[2..], half(b, 0), out),
            Self::Q8_1 => |b, out| q8(&b[4..], half(b, 0), out),
            Self::Q2K => q2k,
            Self::Q3K => q3k,
            Self::Q4K => |b, out| q45k(b, None, &b[16..144], out),
            Self::Q5K => |b, out| q45k(b, Some(&b[16..48]), &b[48..176], out),
            Self::Q6K => q6k,
            Self::Q8K => |b, out| q8(&b[4..260], f32::from_le_bytes([b[0], b[1], b[2], b[3]]), out),
        };
        values.reserve(bytes.len() / self.bytes() * self.block());
        bytes.chunks_exact(self.bytes()).for_each(|block| decode(block, values));
    }
}

fn half(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q8(numbers: &[u8], scale: f32, out: &mut Vec<f32>) {
    out.extend(numbers.iter().map(|n| f32::from(n.cast_signed()) * scale));
}

fn q4_0(b: &[u8], out: &mut Vec<f32>) {
    let d = half(b, 0);
    out.extend(b[2..].iter().map(|n| (f32::from(n & 15) - 8.0) * d));
    out.extend(b[2..].iter().map(|n| (f32::from(n >> 4) - 8.0) * d));
}

fn q4_1(b: &[u8], out: &mut Vec<f32>) {
    let (d, m) = (half(b, 0), half(b, 2));
    out.extend(b[4..].iter().map(|n| f32::from(n & 15) * d + m));
    out.extend(b[4..].iter().map(|n| f32::from(n >> 4) * d + m));
}

/// The fifth bits of 32 numbers.
fn fifth(b: &[u8], at: usize) -> impl Fn(usize) -> u8 {
    let bits = u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
    move |index| u8::from(bits >> index & 1 == 1) << 4
}

fn q5_0(b: &[u8], out: &mut Vec<f32>) {
    let (d, high) = (half(b, 0), fifth(b, 2));
    out.extend(b[6..].iter().enumerate().map(|(i, n)| (f32::from(n & 15 | high(i)) - 16.0) * d));
    out.extend(b[6..].iter().enumerate().map(|(i, n)| (f32::from(n >> 4 | high(i + 16)) - 16.0) * d));
}

fn q5_1(b: &[u8], out: &mut Vec<f32>) {
    let (d, m, high) = (half(b, 0), half(b, 2), fifth(b, 4));
    out.extend(b[8..].iter().enumerate().map(|(i, n)| f32::from(n & 15 | high(i)) * d + m));
    out.extend(b[8..].iter().enumerate().map(|(i, n)| f32::from(n >> 4 | high(i + 16)) * d + m));
}

/// 16 scales and minima of four bits, 64 bytes of two-bit numbers, the scales' scale and the minima's.
fn q2k(b: &[u8], out: &mut Vec<f32>) {
    let (d, dmin) = (half(b, 80), half(b, 82));
    let mut scales = b[..16].iter();
    for numbers in b[16..80].chunks_exact(32) {
        for shift in [0, 2, 4, 6] {
            for part in numbers.chunks_exact(16) {
                let scale = scales.next().copied().unwrap_or(0);
                let (dl, ml) = (d * f32::from(scale & 15), dmin * f32::from(scale >> 4));
                out.extend(part.iter().map(|n| dl * f32::from(n >> shift & 3) - ml));
            }
        }
    }
}

/// 32 bytes of third bits, 64 bytes of two lower bits, 12 bytes with 16 scales of six bits, their scale.
fn q3k(b: &[u8], out: &mut Vec<f32>) {
    let d = half(b, 108);
    let packed = &b[96..108];
    let scale = |index: usize| {
        let low = packed[index % 8] >> (index / 8 * 4) & 15;
        let high = packed[8 + index % 4] >> (index / 4 * 2) & 3;
        f32::from(low | high << 4) - 32.0
    };
    let mut index = 0;
    for (half, numbers) in b[32..96].chunks_exact(32).enumerate() {
        for quarter in 0..4 {
            let bit = 1_u8 << (half * 4 + quarter);
            for (part, highs) in numbers.chunks_exact(16).zip(b[..32].chunks_exact(16)) {
                let dl = d * scale(index);
                index += 1;
                out.extend(part.iter().zip(highs).map(|(n, high)| {
                    let missing = if high & bit == 0 { 4.0 } else { 0.0 };
                    dl * (f32::from(n >> (2 * quarter) & 3) - missing)
                }));
            }
        }
    }
}

/// Scale and minimum of the `index`th of eight parts, from twelve bytes of six-bit numbers.
fn scale_and_minimum(packed: &[u8], index: usize) -> (f32, f32) {
    let (scale, minimum) = if index < 4 {
        (packed[index] & 63, packed[index + 4] & 63)
    } else {
        let (low, upper) = (packed[index + 4], index - 4);
        (low & 15 | packed[upper] >> 6 << 4, low >> 4 | packed[index] >> 6 << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// Q4_K and Q5_K: the same but for a fifth bit.
fn q45k(b: &[u8], highs: Option<&[u8]>, numbers: &[u8], out: &mut Vec<f32>) {
    let (d, dmin, packed) = (half(b, 0), half(b, 2), &b[4..16]);
    for (pair, part) in numbers.chunks_exact(32).enumerate() {
        for (index, shift) in [(2 * pair, 0), (2 * pair + 1, 4)] {
            let (scale, minimum) = scale_and_minimum(packed, index);
            let (dl, ml) = (d * scale, dmin * minimum);
            let high = |i: usize| highs.map_or(0, |highs| (highs[i] >> index & 1) << 4);
            out.extend(part.iter().enumerate().map(|(i, n)| dl * f32::from(n >> shift & 15 | high(i)) - ml));
        }
    }
}

/// 128 bytes of four lower bits, 64 of two upper bits, 16 scales, their scale.
fn q6k(b: &[u8], out: &mut Vec<f32>) {
    let d = half(b, 208);
    for half in 0..2 {
        let (low, high, scales) = (&b[64 * half..], &b[128 + 32 * half..], &b[192 + 8 * half..]);
        for quarter in 0..4 {
            out.extend((0..32).map(|i| {
                let nibble = low[i + 32 * (quarter % 2)] >> (4 * (quarter / 2)) & 15;
                let number = nibble | (high[i] >> (2 * quarter) & 3) << 4;
                let scale = f32::from(scales[2 * quarter + i / 16].cast_signed());
                d * scale * (f32::from(number) - 32.0)
            }));
        }
    }
}
