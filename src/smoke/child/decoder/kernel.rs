//! Multiplication of few tokens with weights as they lie in the file.
//!
//! A general matrix multiplication is made for many tokens, and needs its weights widened first. For a handful it waits
//! for memory most of the time; here each weight is widened in a register on its way into the sum. The processor's wide
//! registers are chosen when the program runs.

#![expect(clippy::inline_always, reason = "inlined into code for wider registers, which a call would leave")]

use rayon::prelude::*;

use crate::formats::floats::{brain, half};

/// Most tokens for which this is faster than a general multiplication.
pub(super) const FEW: usize = 40;
/// Numbers that are computed side by side.
const LANES: usize = 8;
/// Rows of weights and tokens that share what was loaded.
const ROWS: usize = 4;
const TOKENS: usize = 2;
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
        match width {
            Width::F32 => arch.dispatch(|| run::<4>(bytes, x, cols, &mut sums, f32::from_le_bytes)),
            Width::Bf16 => arch.dispatch(|| run::<2>(bytes, x, cols, &mut sums, brain)),
            Width::F16 => arch.dispatch(|| run::<2>(bytes, x, cols, &mut sums, half)),
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

/// Sums `[rows, tokens]`.
#[inline(always)]
fn run<const N: usize>(bytes: &[u8], x: &[f32], cols: usize, sums: &mut [f32], decode: impl Fn([u8; N]) -> f32 + Copy) {
    let tokens = x.len() / cols;
    let mut blocks = bytes.chunks_exact(ROWS * N * cols);
    let mut row = 0;
    for block in blocks.by_ref() {
        let rows: [&[u8]; ROWS] = std::array::from_fn(|r| &block[r * N * cols..(r + 1) * N * cols]);
        let mut token = 0;
        while token + TOKENS <= tokens {
            let xs: [&[f32]; TOKENS] = std::array::from_fn(|t| &x[(token + t) * cols..(token + t + 1) * cols]);
            store(&dots(rows, xs, decode), sums, row, token, tokens);
            token += TOKENS;
        }
        while token < tokens {
            store(&dots(rows, [&x[token * cols..(token + 1) * cols]], decode), sums, row, token, tokens);
            token += 1;
        }
        row += ROWS;
    }
    for rest in blocks.remainder().chunks_exact(N * cols) {
        for token in 0..tokens {
            store(&dots([rest], [&x[token * cols..(token + 1) * cols]], decode), sums, row, token, tokens);
        }
        row += 1;
    }
}

#[inline(always)]
fn store<const R: usize, const T: usize>(
    dots: &[[f32; T]; R],
    sums: &mut [f32],
    row: usize,
    token: usize,
    tokens: usize,
) {
    for (r, dots) in dots.iter().enumerate() {
        sums[(row + r) * tokens + token..][..T].copy_from_slice(dots);
    }
}

/// The products of some rows with some tokens.
#[inline(always)]
fn dots<const R: usize, const T: usize, const N: usize>(
    rows: [&[u8]; R],
    xs: [&[f32]; T],
    decode: impl Fn([u8; N]) -> f32 + Copy,
) -> [[f32; T]; R] {
    let mut sums = [[[0.0_f32; LANES]; T]; R];
    let cols = xs.first().map_or(0, |x| x.len());
    let whole = cols / LANES;
    for lane in 0..whole {
        let x: [&[f32]; T] = std::array::from_fn(|t| &xs[t][lane * LANES..(lane + 1) * LANES]);
        for r in 0..R {
            let row = rows[r][lane * LANES * N..(lane + 1) * LANES * N].as_chunks::<N>().0;
            let weights: [f32; LANES] = std::array::from_fn(|l| decode(row[l]));
            for t in 0..T {
                for l in 0..LANES {
                    sums[r][t][l] = weights[l].mul_add(x[t][l], sums[r][t][l]);
                }
            }
        }
    }
    let mut result: [[f32; T]; R] = std::array::from_fn(|r| std::array::from_fn(|t| sums[r][t].iter().sum()));
    for col in whole * LANES..cols {
        for r in 0..R {
            let weight = decode(std::array::from_fn(|byte| rows[r][col * N + byte]));
            for t in 0..T {
                result[r][t] += weight * xs[t][col];
            }
        }
    }
    result
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
