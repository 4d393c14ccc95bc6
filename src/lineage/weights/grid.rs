//! Traces of quantization in values that were written back as floats.

use std::collections::BTreeSet;

/// Values of a run.
const RUN: usize = 32;
/// Runs that are looked at.
const RUNS: usize = 256;
/// Least values of a run that are not zero.
const LEAST: usize = 12;

/// Share of distinct values among the non-zero ones of a run, on average: near 1 for ordinary weights, at most 0.5 where
/// 32 values share 15 levels.
#[expect(clippy::cast_precision_loss, reason = "counts below 33")]
pub(super) fn distinct(rows: &[Vec<f32>]) -> f32 {
    let (mut sum, mut count) = (0.0, 0.0_f32);
    for run in rows.iter().flat_map(|row| row.chunks_exact(RUN)).take(RUNS) {
        let values: Vec<u32> = run.iter().filter(|value| **value != 0.0).map(|value| value.to_bits()).collect();
        if values.len() >= LEAST {
            let levels: BTreeSet<u32> = values.iter().copied().collect();
            sum += levels.len() as f32 / values.len() as f32;
            count += 1.0;
        }
    }
    if count > 0.0 { sum / count } else { 1.0 }
}

/// Mean distance of values to the nearest multiple of a 127th of their group's largest, for the group size that fits
/// best: 0.24 to 0.25 for ordinary weights.
pub(super) fn lattice(rows: &[Vec<f32>]) -> f32 {
    let whole = rows.first().map_or(0, Vec::len);
    [whole, 4, 8, 16, 32, 64, 128]
        .into_iter()
        .filter(|size| *size > 0 && whole.is_multiple_of(*size))
        .filter_map(|size| residue(rows, size))
        .fold(1.0, f32::min)
}

fn residue(rows: &[Vec<f32>], size: usize) -> Option<f32> {
    let (mut sum, mut count) = (0.0_f64, 0.0_f64);
    for group in rows.iter().flat_map(|row| row.chunks_exact(size)) {
        let largest = group.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        if largest == 0.0 || !largest.is_finite() {
            continue;
        }
        let step = largest / 127.0;
        for value in group.iter().map(|value| value.abs()).filter(|value| *value != 0.0 && *value < largest) {
            let steps = value / step;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "steps from 0 to 127, rounded")]
            let nearest = (steps + 0.5) as u8;
            sum += f64::from((steps - f32::from(nearest)).abs());
            count += 1.0;
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "a mean below 1")]
    (count > 0.0).then(|| (sum / count) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::cast_precision_loss, reason = "24 bits")]
    fn ordinary() -> Vec<Vec<f32>> {
        let value = |i: u64| {
            let bits = super::super::sample::splitmix64(i);
            (bits >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
        };
        (0..16).map(|row| (0..128).map(|column| value(row * 128 + column)).collect()).collect()
    }

    #[test]
    fn grids_are_told_from_ordinary_weights() {
        let plain = ordinary();
        assert!(distinct(&plain) > 0.99 && (0.2..0.3).contains(&lattice(&plain)), "{}", lattice(&plain));
        let quantized = |levels: f32, size: usize| -> Vec<Vec<f32>> {
            let group = |group: &[f32]| {
                let step = group.iter().fold(0.0_f32, |a, v| a.max(v.abs())) / levels;
                group.iter().map(|v| (v / step).round() * step).collect::<Vec<_>>()
            };
            plain.iter().map(|row| row.chunks(size).flat_map(group).collect()).collect()
        };
        assert!(distinct(&quantized(7.0, 32)) < 0.6);
        assert!(lattice(&quantized(127.0, 128)) < 0.01);
        assert!(lattice(&quantized(127.0, 4)) < 0.01);
    }
}
