//! Multiplication of few tokens with weights as they lie in the file.
//!
//! A general matrix multiplication is made for many tokens, and needs its weights widened first. For a handful it waits
//! for memory most of the time; here weights are widened a few at a time, in the nearest cache, and multiplied at once. The
//! processor's wide registers are chosen when the program runs.

#![expect(clippy::inline_always, reason = "inlined into code for wider registers, which a call would leave")]

use pulp::Simd;
use rayon::prelude::*;

use crate::formats::floats::{brain, half};

/// Most tokens for which this is faster than a general multiplication.
pub(super) const FEW: usize = 40;
/// Rows of weights that share what was loaded of the tokens.
const ROWS: usize = 4;
/// Numbers of a row that are widened at a time: with those of the other rows, few enough for the nearest cache.
const CHUNK: usize = 1024;
/// Rows of weights for one thread.
const PART: usize = 32;

/// How weights lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    F32,
    Bf16,
    F16,
}

impl Width {
    pub(super) fn named(dtype: &str) -> Option<Self> {
        Some(match dtype {
            "F32" => Self::F32,
            "BF16" => Self::Bf16,
            "F16" => Self::F16,
            _ => return None,
        })
    }

    pub(super) fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }
}

/// Multiplies `x`, of `cols` numbers a token, with rows of weights; returns `[tokens, rows]`.
///
/// Whole rows only: what is left over at the end of either is ignored.
pub(super) fn multiply(width: Width, weights: &[u8], x: &[f32], cols: usize) -> Vec<f32> {
    if cols == 0 {
        return Vec::new();
    }
    let (rows, tokens) = (weights.len() / (width.bytes() * cols), x.len() / cols);
    let part = |bytes: &[u8]| {
        let count = bytes.len() / (width.bytes() * cols);
        let mut sums = vec![0.0; count * tokens];
        let arch = pulp::Arch::new();
        let sums_of = &mut sums;
        match width {
            Width::F32 => arch.dispatch(Product { bytes, x, cols, sums: sums_of, decode: f32::from_le_bytes }),
            Width::Bf16 => arch.dispatch(Product { bytes, x, cols, sums: sums_of, decode: brain }),
            Width::F16 => arch.dispatch(Product { bytes, x, cols, sums: sums_of, decode: half }),
        }
        sums
    };
    let parts: Vec<Vec<f32>> = weights.par_chunks(PART * width.bytes() * cols).map(part).collect();
    let mut result = vec![0.0; rows * tokens];
    let mut row = 0;
    for part in parts {
        for sums in part.chunks_exact(tokens.max(1)) {
            for (token, sum) in sums.iter().enumerate() {
                if let Some(place) = result.get_mut(token * rows + row) {
                    *place = *sum;
                }
            }
            row += 1;
        }
    }
    result
}

/// The work of one thread, compiled for each width of registers.
struct Product<'a, const N: usize, D: Fn([u8; N]) -> f32 + Copy> {
    bytes: &'a [u8],
    x: &'a [f32],
    cols: usize,
    sums: &'a mut [f32],
    decode: D,
}

impl<const N: usize, D: Fn([u8; N]) -> f32 + Copy> pulp::WithSimd for Product<'_, N, D> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { bytes, x, cols, sums, decode } = self;
        let tokens = x.len() / cols;
        let mut wide = [[0_f32; CHUNK]; ROWS];
        for (row, block) in bytes.chunks(ROWS * N * cols).enumerate() {
            let rows = block.len() / (N * cols);
            let sums = &mut sums[row * ROWS * tokens..];
            for start in (0..cols).step_by(CHUNK) {
                let width = CHUNK.min(cols - start);
                for (r, wide) in wide.iter_mut().enumerate().take(rows) {
                    let bytes = &block[(r * cols + start) * N..(r * cols + start + width) * N];
                    for (wide, bytes) in wide.iter_mut().zip(bytes.as_chunks::<N>().0) {
                        *wide = decode(*bytes);
                    }
                }
                for token in (0..tokens).step_by(2) {
                    // The last one of an odd number is computed twice.
                    let other = (token + 1).min(tokens - 1);
                    let part = |token: usize| &x[token * cols + start..token * cols + start + width];
                    let dots = dots(simd, &wide, [part(token), part(other)], width);
                    for (r, [first, second]) in dots.iter().enumerate().take(rows) {
                        sums[r * tokens + token] += first;
                        if other > token {
                            sums[r * tokens + other] += second;
                        }
                    }
                }
            }
        }
    }
}

/// The products of four rows with two tokens.
#[inline(always)]
fn dots<S: Simd>(simd: S, rows: &[[f32; CHUNK]; ROWS], xs: [&[f32]; 2], width: usize) -> [[f32; 2]; ROWS] {
    let split = |row: &'_ [f32]| -> usize { S::as_simd_f32s(&row[..width]).0.len() };
    let lanes = split(&rows[0]);
    let [w0, w1, w2, w3] = rows.each_ref().map(|row| &S::as_simd_f32s(&row[..width]).0[..lanes]);
    let [x, y] = xs.map(|x| &S::as_simd_f32s(&x[..width]).0[..lanes]);
    let zero = simd.splat_f32s(0.0);
    let (mut a, mut b) = ([zero; ROWS], [zero; ROWS]);
    for lane in 0..lanes {
        let (x, y) = (x[lane], y[lane]);
        a[0] = simd.mul_add_f32s(w0[lane], x, a[0]);
        a[1] = simd.mul_add_f32s(w1[lane], x, a[1]);
        a[2] = simd.mul_add_f32s(w2[lane], x, a[2]);
        a[3] = simd.mul_add_f32s(w3[lane], x, a[3]);
        b[0] = simd.mul_add_f32s(w0[lane], y, b[0]);
        b[1] = simd.mul_add_f32s(w1[lane], y, b[1]);
        b[2] = simd.mul_add_f32s(w2[lane], y, b[2]);
        b[3] = simd.mul_add_f32s(w3[lane], y, b[3]);
    }
    let whole = lanes * (size_of::<S::f32s>() / size_of::<f32>());
    let mut sums = [[0.0; 2]; ROWS];
    for r in 0..ROWS {
        sums[r] = [simd.reduce_sum_f32s(a[r]), simd.reduce_sum_f32s(b[r])];
        for col in whole..width {
            sums[r][0] += rows[r][col] * xs[0][col];
            sums[r][1] += rows[r][col] * xs[1][col];
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition_whatever_the_shape() {
        for (rows, cols, tokens) in [(1, 1, 1), (5, 7, 3), (33, 64, 2), (70, 19, 5), (4, 8, 1)] {
            let weights: Vec<f32> =
                (0..rows * cols).map(|i: usize| (f32::from(u8::try_from(i * 7 % 11).unwrap()) - 5.0) / 4.0).collect();
            let x: Vec<f32> =
                (0..tokens * cols).map(|i: usize| (f32::from(u8::try_from(i * 5 % 13).unwrap()) - 6.0) / 2.0).collect();
            let wide: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
            let narrow: Vec<u8> =
                weights.iter().flat_map(|w| (w.to_bits() >> 16).to_le_bytes()[..2].to_vec()).collect();
            for (width, bytes) in [(Width::F32, &wide), (Width::Bf16, &narrow)] {
                let product = multiply(width, bytes, &x, cols);
                for token in 0..tokens {
                    for row in 0..rows {
                        let expected: f32 = (0..cols).map(|c| weights[row * cols + c] * x[token * cols + c]).sum();
                        assert!((product[token * rows + row] - expected).abs() < 1e-3, "{width:?} {rows}x{cols}");
                    }
                }
            }
        }
    }
}
