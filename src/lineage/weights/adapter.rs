//! Low-rank adapters, and the family that they were trained on.
//!
//! Training moves an adapter's directions to where the base's matrices are strong. So the base couples the adapter's
//! rows and columns more than other models of the same shape do, and more than random directions. Descendants of a base
//! couple like the base itself: what is found is a family.

use std::{collections::BTreeMap, io};

use nalgebra::DMatrix;
use serde::Serialize;

use super::{
    make::{Model, Source},
    names,
    packed::Stored,
    sample::splitmix64,
    shape::Shape,
    slots::Slot,
};

/// A matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Its values.
    pub values: Vec<f32>,
}

impl Matrix {
    fn wide(&self) -> Option<DMatrix<f64>> {
        let is_whole = self.rows * self.columns == self.values.len() && self.rows > 0 && self.columns > 0;
        let values = || self.values.iter().map(|value| f64::from(*value));
        is_whole.then(|| DMatrix::from_row_iterator(self.rows, self.columns, values()))
    }
}

/// What an adapter adds to one matrix: `up · down`.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The matrix it is added to.
    pub slot: Slot,
    /// Rank × columns of the matrix.
    pub down: DMatrix<f64>,
    /// Rows of the matrix × rank.
    pub up: DMatrix<f64>,
}

/// Takes an adapter's tensors apart by their names: those of PEFT, and those of MLX, which are transposed. Tensors that
/// are no such pair are left out.
pub fn targets(tensors: impl IntoIterator<Item = (String, Matrix)>) -> Vec<Target> {
    let mut halves: BTreeMap<Slot, [Option<DMatrix<f64>>; 2]> = BTreeMap::new();
    for (name, matrix) in tensors {
        let Some((slot, half, is_transposed)) = half(&name) else { continue };
        let Some(wide) = matrix.wide() else { continue };
        halves.entry(slot).or_default()[half] = Some(if is_transposed { wide.transpose() } else { wide });
    }
    let pair = |(slot, [down, up]): (Slot, [Option<DMatrix<f64>>; 2])| {
        let (down, up) = (down?, up?);
        (down.nrows() == up.ncols()).then_some(Target { slot, down, up })
    };
    halves.into_iter().filter_map(pair).collect()
}

/// Reads the low-rank pairs of an adapter's files.
pub fn read(model: &Model, source: &mut dyn Source) -> io::Result<Vec<Target>> {
    let mut tensors = Vec::new();
    for (file, weights) in model.files.iter().enumerate() {
        for tensor in weights.tensors.iter().filter(|tensor| half(&tensor.name).is_some()) {
            let (Some(stored), [rows, columns]) = (Stored::named(tensor.dtype), &tensor.shape[..]) else { continue };
            let (Ok(rows), Ok(columns)) = (usize::try_from(*rows), usize::try_from(*columns)) else { continue };
            let width = stored.bytes(columns);
            let bytes = source.read(file, tensor.start..tensor.end)?;
            if width == 0 || bytes.len() != rows * width {
                continue;
            }
            let (mut values, mut row) = (Vec::with_capacity(rows * columns), Vec::new());
            for bytes in bytes.chunks_exact(width) {
                stored.decode(bytes, columns, &mut row);
                values.extend_from_slice(&row);
            }
            // What is not finite would make everything so.
            values.iter_mut().filter(|value| !value.is_finite()).for_each(|value| *value = 0.0);
            tensors.push((tensor.name.clone(), Matrix { rows, columns, values }));
        }
    }
    Ok(targets(tensors))
}

/// The slot that a tensor belongs to, which half of the pair it is, and whether it is stored transposed.
fn half(name: &str) -> Option<(Slot, usize, bool)> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    let kinds = [(".lora_A", 0, false), (".lora_B", 1, false), (".lora_a", 0, true), (".lora_b", 1, true)];
    let (stem, half, is_transposed) =
        kinds.into_iter().find_map(|(mark, half, is_mlx)| Some((name.split_once(mark)?.0, half, is_mlx)))?;
    let layout = names::layout(&format!("{stem}.weight"), &[2, 2], &Shape::default())?;
    let [part] = &layout.parts[..] else { return None };
    Some((part.slot.clone(), half, is_transposed))
}

/// How strongly a candidate couples an adapter's directions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Coupling {
    /// Mean logarithm over the targets of the strength over that of random directions.
    pub value: f64,
    /// The same with directions drawn at random.
    pub rotated: f64,
    /// Standard deviation of the latter.
    pub rotated_deviation: f64,
    /// Matrices that were looked at.
    pub targets: usize,
}

/// Why a candidate cannot be the base.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The adapter has no pair that is understood.
    #[error("the adapter has no low-rank pair that is understood")]
    NoTargets,
    /// A matrix is missing.
    #[error("the base has no matrix `{0}`")]
    Missing(String),
    /// A matrix has other dimensions.
    #[error("`{slot}` is {rows} × {columns} in the base, the adapter fits {fits_rows} × {fits_columns}")]
    Shape {
        /// Which.
        slot: String,
        /// Rows in the base.
        rows: usize,
        /// Columns in the base.
        columns: usize,
        /// Rows that the adapter fits.
        fits_rows: usize,
        /// Columns that it fits.
        fits_columns: usize,
    },
}

/// Random directions that are drawn for a matrix, and matrices for which they are.
const DRAWS: u64 = 8;
const DRAWN: usize = 8;

/// Measures how a candidate couples an adapter. `read` returns the candidate's matrices, dequantized.
#[expect(clippy::cast_precision_loss, reason = "counts of matrices")]
pub fn coupling(adapter: &[Target], read: &mut dyn FnMut(&Slot) -> Option<Matrix>) -> Result<Coupling, Mismatch> {
    if adapter.is_empty() {
        return Err(Mismatch::NoTargets);
    }
    let (mut values, mut drawn) = (Vec::new(), Vec::new());
    for (number, target) in adapter.iter().enumerate() {
        let weights = fitting(target, read(&target.slot))?;
        values.push(strength(&weights, target.up.clone(), target.down.transpose()));
        for draw in 0..if number < DRAWN { DRAWS } else { 0 } {
            let seed = splitmix64(number as u64 * DRAWS + draw);
            let (rows, columns) = (random(target.up.shape(), seed), random(target.down.transpose().shape(), !seed));
            drawn.push(strength(&weights, rows, columns));
        }
    }
    let (value, _) = mean_and_deviation(&values);
    let (rotated, deviation) = mean_and_deviation(&drawn);
    let rotated_deviation = deviation / (values.len() as f64).sqrt();
    Ok(Coupling { value, rotated, rotated_deviation, targets: values.len() })
}

fn fitting(target: &Target, found: Option<Matrix>) -> Result<DMatrix<f64>, Mismatch> {
    let weights = found.and_then(|matrix| matrix.wide()).ok_or_else(|| Mismatch::Missing(target.slot.to_string()))?;
    let fits = (target.up.nrows(), target.down.ncols());
    if weights.shape() == fits {
        return Ok(weights);
    }
    let (rows, columns) = weights.shape();
    Err(Mismatch::Shape { slot: target.slot.to_string(), rows, columns, fits_rows: fits.0, fits_columns: fits.1 })
}

/// Logarithm of `|Uᵀ W V|` over what it is for random directions, `|W| · r / √(mn)`.
#[expect(clippy::cast_precision_loss, reason = "widths")]
fn strength(weights: &DMatrix<f64>, rows: DMatrix<f64>, columns: DMatrix<f64>) -> f64 {
    let (left, right) = (rows.qr().q(), columns.qr().q());
    let coupled = (left.transpose() * weights * &right).norm();
    let rank = ((left.ncols() * right.ncols()) as f64).sqrt();
    let expected = weights.norm() * rank / ((weights.nrows() * weights.ncols()) as f64).sqrt();
    (coupled.max(1e-30) / expected.max(1e-30)).ln()
}

/// Roughly normal values: sums of four uniform ones.
fn random((rows, columns): (usize, usize), seed: u64) -> DMatrix<f64> {
    let mut state = seed;
    DMatrix::from_fn(rows, columns, |_, _| {
        state = splitmix64(state);
        (0..4).map(|at| f64::from(u16::try_from(state >> (16 * at) & 0xFFFF).unwrap_or(0)) / 65536.0 - 0.5).sum::<f64>()
    })
}

#[expect(clippy::cast_precision_loss, reason = "a handful")]
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

/// A candidate that was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its number.
    pub member: usize,
    /// The root of its family.
    pub family: usize,
    /// How it couples the adapter.
    pub coupling: Coupling,
}

/// Whose adapter it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Attribution {
    /// It was trained on a member of this family.
    Family {
        /// The family's root.
        family: usize,
        /// The member that couples most; any other of the family may be the base.
        nearest: usize,
        /// Standard deviations above what is not the base.
        z: f64,
        /// Unrelated models behind the scale; 0 where random directions are.
        compared: usize,
    },
    /// Nobody here stands out enough.
    Unverifiable,
}

/// Deviations above which an adapter belongs to a family.
const ATTRIBUTED: f64 = 6.0;
/// Unrelated models that give a scale of their own.
const ENOUGH: usize = 5;
/// The least deviation assumed: that of unrelated models is no smaller, and random directions know nothing of models
/// that were trained alike.
const LEAST_DEVIATION: f64 = 0.05;

/// Finds the family that an adapter belongs to, among candidates that it fits.
pub fn attribute(candidates: &[Candidate]) -> Attribution {
    let Some(best) = candidates.iter().max_by(|a, b| a.coupling.value.total_cmp(&b.coupling.value)) else {
        return Attribution::Unverifiable;
    };
    // One of each other family, so that a large one does not make the scale.
    let mut unrelated: BTreeMap<usize, f64> = BTreeMap::new();
    for candidate in candidates.iter().filter(|candidate| candidate.family != best.family) {
        let highest = unrelated.entry(candidate.family).or_insert(f64::NEG_INFINITY);
        *highest = highest.max(candidate.coupling.value);
    }
    let values: Vec<f64> = unrelated.into_values().collect();
    let is_enough = values.len() >= ENOUGH;
    let (mean, deviation) =
        if is_enough { mean_and_deviation(&values) } else { (best.coupling.rotated, best.coupling.rotated_deviation) };
    let z = (best.coupling.value - mean) / deviation.max(LEAST_DEVIATION);
    if z < ATTRIBUTED {
        return Attribution::Unverifiable;
    }
    let compared = if is_enough { values.len() } else { 0 };
    Attribution::Family { family: best.family, nearest: best.member, z, compared }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A matrix with one strong direction, as training makes them.
    fn trained(seed: u64) -> Matrix {
        let strong = random((48, 2), seed) * random((2, 40), !seed) * 2.0 + random((48, 40), seed ^ 7);
        let values = strong.transpose().iter().map(|value| half::bf16::from_f64(*value).to_f32()).collect();
        Matrix { rows: 48, columns: 40, values }
    }

    /// An adapter whose directions are the strong ones of a base, with noise.
    fn adapter_of(base: &Matrix) -> Vec<Target> {
        let svd = base.wide().unwrap().svd(true, true);
        let (u, v) = (svd.u.unwrap(), svd.v_t.unwrap());
        let narrow = |matrix: DMatrix<f64>| Matrix {
            rows: matrix.nrows(),
            columns: matrix.ncols(),
            #[expect(clippy::cast_possible_truncation, reason = "test values")]
            values: matrix.transpose().iter().map(|value| *value as f32).collect(),
        };
        let up = u.columns(0, 2) + random((48, 2), 5) * 0.05;
        let down = v.rows(0, 2) + random((2, 40), 6) * 0.05;
        let name = |half: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight");
        targets([(name("A"), narrow(down)), (name("B"), narrow(up))])
    }

    fn candidate(member: usize, adapter: &[Target], base: &Matrix) -> Candidate {
        let coupling = coupling(adapter, &mut |_| Some(base.clone())).unwrap();
        Candidate { member, family: member, coupling }
    }

    #[test]
    fn an_adapter_is_attributed_to_the_base_whose_directions_it_has() {
        let bases: Vec<Matrix> = (0..7).map(|seed| trained(100 + seed)).collect();
        let adapter = adapter_of(&bases[3]);
        let candidates: Vec<Candidate> =
            bases.iter().enumerate().map(|(at, base)| candidate(at, &adapter, base)).collect();
        let found = attribute(&candidates);
        assert!(matches!(found, Attribution::Family { family: 3, compared: 6, .. }), "{found:?}");
        let without: Vec<Candidate> = candidates.iter().copied().filter(|c| c.member != 3).collect();
        assert_eq!(attribute(&without), Attribution::Unverifiable);
    }

    #[test]
    fn a_lone_base_is_told_by_random_directions() {
        let base = trained(100);
        let found = attribute(&[candidate(0, &adapter_of(&base), &base)]);
        assert!(matches!(found, Attribution::Family { family: 0, compared: 0, .. }), "{found:?}");
        assert_eq!(attribute(&[candidate(0, &adapter_of(&trained(200)), &base)]), Attribution::Unverifiable);
    }

    #[test]
    fn other_dimensions_decide_first() {
        let adapter = adapter_of(&trained(100));
        let wide = Matrix { rows: 40, columns: 48, values: vec![1.0; 40 * 48] };
        let error = coupling(&adapter, &mut |_| Some(wide.clone())).unwrap_err();
        assert!(matches!(error, Mismatch::Shape { rows: 40, fits_rows: 48, .. }), "{error}");
        assert!(matches!(coupling(&adapter, &mut |_| None), Err(Mismatch::Missing(_))));
    }

    #[test]
    fn pairs_of_mlx_are_transposed() {
        let matrix = |rows, columns| Matrix { rows, columns, values: vec![1.0; rows * columns] };
        let name = |half: &str| format!("model.layers.4.mlp.down_proj.lora_{half}");
        let found = targets([(name("a"), matrix(40, 2)), (name("b"), matrix(2, 48))]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].slot.to_string(), "down.4");
        assert_eq!((found[0].down.shape(), found[0].up.shape()), ((2, 40), (48, 2)));
    }
}
