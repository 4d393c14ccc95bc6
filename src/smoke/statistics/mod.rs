//! What the values of tensors look like, summed from the raw bytes: beside the digest of an upload, and by the child for
//! what was not seen there.

mod tap;
mod taps;

use serde::{Deserialize, Serialize};

use crate::formats::floats::{Float, brain, half};
pub(crate) use tap::Tap;
pub use taps::Statistics;

/// What the values of a tensor look like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Numbers.
    pub(super) values: u64,
    /// NaN among them.
    pub(super) nan: u64,
    /// Infinite ones among them.
    pub(super) infinite: u64,
    /// Zeros among them.
    pub(super) zeros: u64,
    /// The largest absolute value of the finite ones.
    pub(super) absmax: f32,
    /// Sum of the finite ones.
    pub(super) sum: f64,
    /// Sum of their squares.
    pub(super) squares: f64,
}

/// Numbers that are summed up in single precision before they are added to the whole.
pub(super) const CHUNK: usize = 4096;
const LANES: usize = 16;

impl Stats {
    /// Adds plain floats as they lie in the file.
    pub(super) fn add_plain(&mut self, float: Float, bytes: &[u8], values: &mut Vec<f32>) {
        let arch = pulp::Arch::new();
        for bytes in bytes.chunks(CHUNK * float.size()) {
            let sums = match float {
                Float::F32 => arch.dispatch(Summed { bytes, decode: f32::from_le_bytes }),
                Float::Bf16 => arch.dispatch(Summed { bytes, decode: brain }),
                Float::F16 => arch.dispatch(Summed { bytes, decode: half }),
                _ => None,
            };
            match sums {
                Some((zeros, absmax, sum, squares)) => {
                    self.values += (bytes.len() / float.size()) as u64;
                    self.zeros += zeros;
                    self.absmax = self.absmax.max(absmax);
                    self.sum += f64::from(sum);
                    self.squares += f64::from(squares);
                }
                None => {
                    values.clear();
                    float.decode(bytes, values);
                    self.add(values);
                }
            }
        }
    }

    /// Tells NaN from infinity, and sums what single precision cannot hold.
    pub(super) fn add(&mut self, values: &[f32]) {
        self.values += values.len() as u64;
        for value in values {
            if !value.is_finite() {
                *if value.is_nan() { &mut self.nan } else { &mut self.infinite } += 1;
                continue;
            }
            self.zeros += u64::from(*value == 0.0);
            self.absmax = self.absmax.max(value.abs());
            let wide = f64::from(*value);
            self.sum += wide;
            self.squares += wide * wide;
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a statistic, not an account")]
    pub(super) fn mean_and_deviation(&self) -> (f64, f64) {
        let count = (self.values - self.nan - self.infinite).max(1) as f64;
        let mean = self.sum / count;
        (mean, (self.squares / count - mean * mean).max(0.0).sqrt())
    }
}

/// Some floats to sum up, compiled for each width of registers.
struct Summed<'a, const N: usize, D: Fn([u8; N]) -> f32 + Copy> {
    bytes: &'a [u8],
    decode: D,
}

/// Zeros, largest absolute value, sum and sum of squares; `None` where a sum is not finite, as NaN and infinity make it.
impl<const N: usize, D: Fn([u8; N]) -> f32 + Copy> pulp::WithSimd for Summed<'_, N, D> {
    type Output = Option<(u64, f32, f32, f32)>;

    #[expect(clippy::inline_always, reason = "inlined into code for wider registers, which a call would leave")]
    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> Self::Output {
        let (chunks, rest) = self.bytes.as_chunks::<N>().0.as_chunks::<LANES>();
        let (mut zeros, mut absmax) = ([0_u32; LANES], [0_f32; LANES]);
        let (mut sums, mut squares) = ([0_f32; LANES], [0_f32; LANES]);
        for chunk in chunks {
            for lane in 0..LANES {
                let value = (self.decode)(chunk[lane]);
                zeros[lane] += u32::from(value == 0.0);
                absmax[lane] = absmax[lane].max(value.abs());
                sums[lane] += value;
                squares[lane] += value * value;
            }
        }
        for bytes in rest {
            let value = (self.decode)(*bytes);
            zeros[0] += u32::from(value == 0.0);
            absmax[0] = absmax[0].max(value.abs());
            sums[0] += value;
            squares[0] += value * value;
        }
        let (sum, squares) = (sums.iter().sum::<f32>(), squares.iter().sum::<f32>());
        let zeros = zeros.iter().map(|zeros| u64::from(*zeros)).sum();
        let absmax = absmax.iter().copied().fold(0.0, f32::max);
        (sum.is_finite() && squares.is_finite()).then_some((zeros, absmax, sum, squares))
    }
}

/// What the values of a file's tensors look like, by where a tensor begins in the file.
pub type OfFile = std::collections::BTreeMap<u64, Stats>;
