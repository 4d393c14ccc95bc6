//! Models that are sums of others: linear and spherical merges, task arithmetic; and those that take single coordinates
//! from them: TIES and DARE.

use nalgebra::{DMatrix, DVector};

use super::herd::{Herd, weight};
use super::slots::Slot;

/// Most models that are tried as parts of a merge.
pub(super) const MOST: usize = 24;

/// A merge that explains a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sum {
    /// Parents with their mean coefficients.
    pub(super) parts: Vec<(usize, f64)>,
    /// What is left, over the rounding noise of the model.
    pub(super) residual: f64,
    /// What the best single candidate leaves, over the same noise.
    pub(super) single: f64,
}

/// The model in question with candidates, sampled in the same slots.
pub(super) struct Space<'a> {
    pub(super) herd: &'a Herd<'a>,
    /// The model.
    pub(super) member: usize,
    /// Its slots.
    pub(super) slots: Vec<Slot>,
    /// Its vector.
    pub(super) own: Vec<f64>,
    /// Candidates with theirs.
    pub(super) others: Vec<(usize, Vec<f64>)>,
}

/// What a sum may leave over the rounding noise of the model.
const MOST_NOISE: f64 = 3.0;
/// The same where each step of the sum was rounded as the model is stored, and every single candidate is this much worse.
const MOST_NOISE_OF_STEPS: f64 = 6.0;
const CLEARLY_WORSE: f64 = 1e5;

impl Space<'_> {
    /// Ends of the tensors within the vectors.
    fn ends(&self) -> Vec<usize> {
        let print = self.herd.print(self.member);
        let mut end = 0;
        self.slots
            .iter()
            .map(|slot| {
                end += print.tensors[slot].sample.len();
                end
            })
            .collect()
    }

    /// Distance of neighboring stored values at each coordinate, weighted as the vectors are.
    fn ulps(&self) -> Vec<f64> {
        let print = self.herd.print(self.member);
        let of = |slot: &Slot| {
            let tensor = &print.tensors[slot];
            let weight = weight(tensor);
            tensor.sample.iter().map(move |value| tensor.precision.ulp(f64::from(*value)) * weight)
        };
        self.slots.iter().flat_map(of).collect()
    }

    /// Finds two or three candidates of which the model is a sum, tensor by tensor, down to rounding noise.
    pub(super) fn find_sum(&self, is_merge: &dyn Fn(usize) -> bool) -> Option<Sum> {
        let count = self.others.len();
        if count < 2 {
            return None;
        }
        let noise: f64 = self.ulps().iter().map(|ulp| ulp * ulp / 12.0).sum();
        let grams = self.grams();
        let single =
            (0..count).map(|i| grams.iter().map(|gram| gram[(i, i)]).sum::<f64>()).fold(f64::INFINITY, f64::min);
        let steps = single > CLEARLY_WORSE * noise;
        let most = noise * if steps { MOST_NOISE_OF_STEPS } else { MOST_NOISE };
        // What all candidates together cannot explain, no few of them can.
        let all: Vec<usize> = (0..count).collect();
        let is_possible = fit(&grams, &all).is_none_or(|(residual, _)| residual <= most);
        if single <= 15.0 * noise || !is_possible {
            return None;
        }
        for size in [2, 3] {
            let mut best: Option<(Rank, Vec<usize>, Vec<f64>)> = None;
            for chosen in combinations(count, size) {
                let Some((residual, coefficients)) = fit(&grams, &chosen) else { continue };
                if residual > most {
                    continue;
                }
                let odd = coefficients.iter().filter(|c| **c < -0.02 || **c > 1.05).count();
                let merges = chosen.iter().filter(|i| is_merge(self.others[**i].0)).count();
                let rank = Rank { odd, merges, residual };
                if best.as_ref().is_none_or(|(known, ..)| rank.is_before(known)) {
                    best = Some((rank, chosen, coefficients));
                }
            }
            if let Some((rank, chosen, coefficients)) = best {
                let parts: Vec<(usize, f64)> =
                    chosen.iter().zip(&coefficients).map(|(i, c)| (self.others[*i].0, *c)).collect();
                let is_sum = parts.iter().filter(|(_, c)| *c > 0.05).count() >= 2 && is_between(&coefficients);
                return is_sum.then(|| Sum { parts, residual: rank.residual / noise, single: single / noise });
            }
        }
        None
    }

    /// For each tensor the inner products of the candidates' differences from the model.
    fn grams(&self) -> Vec<DMatrix<f64>> {
        let mut start = 0;
        let mut grams = Vec::new();
        for end in self.ends() {
            let columns: Vec<f64> =
                self.others.iter().flat_map(|(_, other)| (start..end).map(|at| other[at] - self.own[at])).collect();
            let differences = DMatrix::from_vec(end - start, self.others.len(), columns);
            grams.push(differences.transpose() * &differences);
            start = end;
        }
        grams
    }
}

/// Whether a sum lies between its parts: of models of which each is a sum of the others, the one with the smallest
/// coefficients was made of them.
fn is_between(coefficients: &[f64]) -> bool {
    let total: f64 = coefficients.iter().map(|c| c.abs()).sum();
    coefficients.iter().all(|c| total <= (1.0 + total - c.abs()) / c.abs().max(1e-9))
}

struct Rank {
    odd: usize,
    merges: usize,
    residual: f64,
}

impl Rank {
    fn is_before(&self, other: &Self) -> bool {
        (self.odd, self.merges) < (other.odd, other.merges)
            || (self.odd, self.merges) == (other.odd, other.merges) && self.residual < other.residual
    }
}

/// Every choice of `size` numbers below `count`, in order.
pub(super) fn combinations(count: usize, size: usize) -> Vec<Vec<usize>> {
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..size {
        chosen = chosen
            .into_iter()
            .flat_map(|begun| {
                let from = begun.last().map_or(0, |last| last + 1);
                (from..count).map(move |next| begun.iter().copied().chain([next]).collect())
            })
            .collect();
    }
    chosen
}

/// Fits per tensor `min |Σ aᵢ Dᵢ|²` under `Σ aᵢ = 1`; returns the residual and the mean coefficients.
#[expect(clippy::cast_precision_loss, reason = "a count of tensors")]
fn fit(grams: &[DMatrix<f64>], chosen: &[usize]) -> Option<(f64, Vec<f64>)> {
    let size = chosen.len();
    let (mut residual, mut sums) = (0.0, vec![0.0; size]);
    for gram in grams {
        let part = DMatrix::from_fn(size, size, |i, j| gram[(chosen[i], chosen[j])]);
        let ridge = 1e-12 * (part.trace() + 1e-30);
        let solvable = &part + DMatrix::identity(size, size) * ridge;
        let solved = solvable.lu().solve(&DVector::from_element(size, 1.0))?;
        let total = solved.sum();
        let coefficients = solved / total;
        residual += (coefficients.transpose() * &part * &coefficients)[(0, 0)];
        sums.iter_mut().zip(coefficients.iter()).for_each(|(sum, c)| *sum += c);
    }
    let mean: Vec<f64> = sums.iter().map(|sum| sum / grams.len() as f64).collect();
    (residual.is_finite() && mean.iter().all(|c| c.is_finite())).then_some((residual, mean))
}

/// A merge whose coordinates come from one parent or another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sparse {
    /// What the parents were taken relative to.
    pub(super) base: usize,
    /// Parents with the factor of their changes.
    pub(super) parts: Vec<(usize, f64)>,
    /// Share of changed coordinates that the parents explain.
    pub(super) explained: f64,
    /// Share of coordinates that equal the base.
    pub(super) unchanged: f64,
}

/// Candidates that are combined.
const TOP: usize = 6;
/// Share of coordinates that must equal the base.
const LEAST_UNCHANGED: f64 = 0.05;
/// Share of its own large changes that each parent must explain alone.
const LEAST_ALONE: f64 = 0.12;

impl Space<'_> {
    /// Finds two or three candidates whose changes from a base reappear coordinate by coordinate.
    pub(super) fn find_sparse(&self, bases: &[(usize, Vec<f64>)]) -> Option<Sparse> {
        let tolerance: Vec<f64> = self.ulps().iter().map(|ulp| ulp * 0.76).collect();
        let mut best: Option<(f64, Sparse)> = None;
        for (base, origin) in bases {
            let own: Vec<f64> = self.own.iter().zip(origin).map(|(x, b)| x - b).collect();
            self.try_base(*base, origin, &own, &tolerance, &mut best);
        }
        best.map(|(_, sparse)| sparse).filter(|sparse| sparse.explained > 0.8)
    }

    fn try_base(&self, base: usize, origin: &[f64], own: &[f64], tolerance: &[f64], best: &mut Option<(f64, Sparse)>) {
        let still: Vec<bool> = own.iter().zip(tolerance).map(|(d, t)| d.abs() <= *t).collect();
        let changed = still.iter().filter(|still| !**still).count();
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let unchanged = 1.0 - changed as f64 / own.len().max(1) as f64;
        // Changes of a unit in the last place or two are explained by anything.
        let mut steps: Vec<f64> =
            (0..own.len()).filter(|at| !still[*at]).map(|at| own[at].abs() * 0.76 / tolerance[at]).collect();
        if changed == 0 || unchanged <= LEAST_UNCHANGED || super::pair::median(&mut steps) < 2.0 {
            return;
        }
        let mut changes: Vec<Change> = self
            .others
            .iter()
            .filter(|(other, _)| *other != base)
            .filter_map(|(other, vector)| Change::of(*other, vector, origin, own, &still, tolerance))
            .collect();
        changes.sort_by(|a, b| b.share.total_cmp(&a.share));
        changes.truncate(TOP);
        changes.retain(|change| change.alone(own, &still, tolerance) > LEAST_ALONE);
        for size in [2, 3] {
            for chosen in combinations(changes.len(), size) {
                let parts: Vec<&Change> = chosen.iter().map(|i| &changes[*i]).collect();
                let explained = explain(&parts, own, &still, tolerance, changed);
                #[expect(clippy::cast_precision_loss, reason = "2 or 3")]
                let score = explained - 0.04 * size as f64;
                if best.as_ref().is_none_or(|(known, _)| score > *known) {
                    let parts = parts.iter().map(|part| (part.member, part.factor)).collect();
                    *best = Some((score, Sparse { base, parts, explained, unchanged }));
                }
            }
        }
    }
}

/// What a candidate changed from the base.
struct Change {
    member: usize,
    difference: Vec<f64>,
    is_large: Vec<bool>,
    /// By which its changes were multiplied, read off the commonest ratio.
    factor: f64,
    /// Share of coordinates with that ratio.
    share: f64,
}

/// Bins of the ratio's histogram, from 0.2 to 4.
const BINS: usize = 190;
const BIN: f64 = 3.8 / 190.0;

impl Change {
    #[expect(clippy::cast_precision_loss, reason = "counts of coordinates")]
    fn of(
        member: usize,
        vector: &[f64],
        origin: &[f64],
        own: &[f64],
        still: &[bool],
        tolerance: &[f64],
    ) -> Option<Self> {
        let difference: Vec<f64> = vector.iter().zip(origin).map(|(c, b)| c - b).collect();
        let is_large: Vec<bool> = difference.iter().zip(tolerance).map(|(d, t)| d.abs() > 6.0 * t).collect();
        let ratios: Vec<f64> =
            (0..own.len()).filter(|at| is_large[*at] && !still[*at]).map(|at| own[at] / difference[at]).collect();
        if ratios.len() < 50 {
            return None;
        }
        let mut histogram = [0_u32; BINS];
        let bin = |ratio: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
            ((0.2..=4.0).contains(&ratio)).then(|| (((ratio - 0.2) / BIN) as usize).min(BINS - 1))
        };
        ratios.iter().filter_map(|ratio| bin(*ratio)).for_each(|at| histogram[at] += 1);
        // The first of the highest, as a stable choice.
        let highest = (0..BINS).fold(0, |best, at| if histogram[at] > histogram[best] { at } else { best });
        let mut within: Vec<f64> = ratios.iter().copied().filter(|ratio| bin(*ratio) == Some(highest)).collect();
        let factor = super::pair::median(&mut within);
        let share = f64::from(histogram[highest]) / ratios.len() as f64;
        Some(Self { member, difference, is_large, factor, share })
    }

    /// Share of its large changes that reappear, multiplied by its factor.
    fn alone(&self, own: &[f64], still: &[bool], tolerance: &[f64]) -> f64 {
        let (mut all, mut hit) = (0.0, 0.0);
        for at in (0..own.len()).filter(|at| self.is_large[*at] && !still[*at]) {
            all += 1.0;
            let off = (own[at] - self.factor * self.difference[at]).abs();
            hit += if off <= tolerance[at] * self.factor.max(1.0) { 1.0 } else { 0.0 };
        }
        if all > 0.0 { hit / all } else { 0.0 }
    }
}

/// Share of changed coordinates that equal a parent's change, or the mean or sum of several.
#[expect(clippy::cast_precision_loss, reason = "counts of coordinates")]
fn explain(parts: &[&Change], own: &[f64], still: &[bool], tolerance: &[f64], changed: usize) -> f64 {
    let mut explained = still.to_vec();
    for part in parts {
        let width = part.factor.max(1.0);
        for at in 0..own.len() {
            explained[at] |= (own[at] - part.factor * part.difference[at]).abs() <= tolerance[at] * width;
        }
    }
    let first = parts[0].factor;
    for size in 2..=parts.len() {
        for chosen in combinations(parts.len(), size) {
            let count = size as f64;
            for at in 0..own.len() {
                let mean = chosen.iter().map(|i| parts[*i].difference[at]).sum::<f64>() / count;
                let sum: f64 = chosen.iter().map(|i| parts[*i].factor * parts[*i].difference[at]).sum();
                explained[at] |= (own[at] - first * mean).abs() <= tolerance[at] * first.max(1.0)
                    || (own[at] - sum).abs() <= tolerance[at] * 2.0
                    || (own[at] - sum / count).abs() <= tolerance[at] * 2.0;
            }
        }
    }
    let hits = explained.iter().zip(still).filter(|(explained, still)| **explained && !**still).count();
    hits as f64 / changed as f64
}
