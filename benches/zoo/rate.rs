//! Successes of trials, with the interval that they leave open.

use std::fmt;

/// Two-sided 95 %.
const Z: f64 = 1.96;

/// Successes of trials.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Rate {
    pub(super) hits: u32,
    pub(super) count: u32,
}

impl Rate {
    pub(super) fn add(&mut self, is_hit: bool) {
        self.hits += u32::from(is_hit);
        self.count += 1;
    }
}

impl fmt::Display for Rate {
    /// The share with its Wilson interval.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return write!(f, "none");
        }
        let (hits, count) = (f64::from(self.hits), f64::from(self.count));
        let (share, square) = (hits / count, Z * Z);
        let middle = (share + square / (2.0 * count)) / (1.0 + square / count);
        let spread = (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
        let half = Z / (1.0 + square / count) * spread;
        let (low, high) = ((middle - half).max(0.0), (middle + half).min(1.0));
        write!(f, "{}/{} = {share:.3} [{low:.3}, {high:.3}]", self.hits, self.count)
    }
}
