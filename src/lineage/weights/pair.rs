//! Two fingerprints beside each other.

use nalgebra::DMatrix;

use super::{
    invariant,
    print::{Fingerprint, TensorPrint},
    sample::{Axis, SIDE, positions},
    slots::{Role, Slot},
};

/// How much two models look alike. The first is the one in question, the second a candidate for its relative.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    /// Mean cosine of the sampled matrices, layers aligned; 0 where the widths differ.
    pub similarity: f64,
    /// The cosines, by slot of the first.
    pub cosines: Vec<(Slot, f64)>,
    /// Cosine of the embeddings.
    pub embedding: Option<f64>,
    /// Share of cosines above 0.2.
    pub aligned: f64,
    /// For each layer of the first, the layer of the second that it looks like.
    pub layers: Vec<(u16, u16)>,
    /// Whether layers keep their places.
    pub in_place: bool,
    /// Relative distance of the weights.
    pub distance: f64,
    /// Sum of the squares of their differences.
    pub squares: f64,
    /// Share of sampled values that are equal in the coarser of both precisions, by the size of the tensors.
    pub equal: f64,
    /// Share of the first's values that are not zero and equal the second's.
    pub kept: f64,
    /// Share of the first's values that are not zero and are the second's exactly, in the coarser of both precisions.
    pub untouched: f64,
    /// Share of tensors that are identical as stored.
    pub identical: f64,
    /// Number of sampled values behind the similarity.
    pub coordinates: f64,
    /// Tensors that are equal once rounded to bf16.
    pub equal_tensors: u32,
    /// Tensors that were compared.
    pub compared_tensors: u32,
    /// Share of norm values at the end of the model that are equal.
    pub norm_equal: f64,
}

/// Sampled values of two tensors at the coordinates that both have: rows, columns, and the values of each.
pub(super) struct Shared {
    pub(super) columns: usize,
    pub(super) left: Vec<f64>,
    pub(super) right: Vec<f64>,
}

impl Shared {
    /// The values in the precision that they had.
    #[expect(clippy::cast_possible_truncation, reason = "they were single precision")]
    fn narrow(&self) -> (Vec<f32>, Vec<f32>) {
        let narrow = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
        (narrow(&self.left), narrow(&self.right))
    }

    /// The cosine of the angle between both.
    pub(super) fn cosine(&self) -> f64 {
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(x, y)| x * y).sum() };
        let norms = (dot(&self.left, &self.left) * dot(&self.right, &self.right)).sqrt();
        if norms > 0.0 { dot(&self.left, &self.right) / norms } else { 0.0 }
    }
}

/// The cosine of the angle between two tensors, where they can be compared.
fn cosine(left: &TensorPrint, right: &TensorPrint) -> Option<f64> {
    if !left.same_shape(right) || left.is_matrix() != right.is_matrix() {
        return shared(left, right).map(|both| both.cosine());
    }
    let [dot, own, other] = sums(&left.sample, &right.sample, |x, y| [x * y, x * x, y * y]);
    let norms = (own * other).sqrt();
    Some(if norms > 0.0 { dot / norms } else { 0.0 })
}

/// Values that are summed side by side, so that the processor need not wait for each sum.
const LANES: usize = 8;

/// Sums over pairs of values.
#[inline]
fn sums<const N: usize>(left: &[f32], right: &[f32], terms: impl Fn(f64, f64) -> [f64; N]) -> [f64; N] {
    let mut lanes = [[0.0; LANES]; N];
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    for (x, y) in left.iter().zip(right) {
        for lane in 0..LANES {
            let terms = terms(f64::from(x[lane]), f64::from(y[lane]));
            (0..N).for_each(|sum| lanes[sum][lane] += terms[sum]);
        }
    }
    for (x, y) in left_rest.iter().zip(right_rest) {
        let terms = terms(f64::from(*x), f64::from(*y));
        (0..N).for_each(|sum| lanes[sum][0] += terms[sum]);
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// Least rows that two tensors of other lengths must share.
const LEAST_ROWS: usize = 4;

/// Returns what two tensors share. `None` where their columns differ or too few rows are left.
pub(super) fn shared(left: &TensorPrint, right: &TensorPrint) -> Option<Shared> {
    if left.columns != right.columns || left.is_matrix() != right.is_matrix() {
        return None;
    }
    let wide = |values: &[f32]| -> Vec<f64> { values.iter().map(|value| f64::from(*value)).collect() };
    let columns = left.width();
    if left.rows == right.rows {
        return Some(Shared { columns, left: wide(&left.sample), right: wide(&right.sample) });
    }
    let (rows_left, rows_right) = (positions(left.rows, SIDE, Axis::Rows), positions(right.rows, SIDE, Axis::Rows));
    let both: Vec<(usize, usize)> = rows_left
        .iter()
        .enumerate()
        .filter_map(|(i, row)| rows_right.iter().position(|other| other == row).map(|j| (i, j)))
        .collect();
    if both.len() < LEAST_ROWS {
        return None;
    }
    let pick = |sample: &[f32], rows: Vec<usize>| -> Vec<f64> {
        rows.into_iter().flat_map(|row| wide(&sample[row * columns..(row + 1) * columns])).collect()
    };
    let (i, j): (Vec<usize>, Vec<usize>) = both.into_iter().unzip();
    Some(Shared { columns, left: pick(&left.sample, i), right: pick(&right.sample, j) })
}

/// How far another layer must be ahead of a layer's own place to count as moved.
const MOVED: f64 = 0.05;

/// Cosine with the layer in the same place above which no other layer is tried.
const IN_PLACE: f64 = 0.5;

/// Compares a model with a candidate.
pub fn compare(a: &Fingerprint, b: &Fingerprint) -> Comparison {
    let mut comparison = Comparison::default();
    if a.shape.hidden != b.shape.hidden || a.shape.hidden == 0 {
        return comparison;
    }
    align(a, b, &mut comparison);
    let embed = Slot::once(Role::Embed);
    comparison.embedding = a.tensors.get(&embed).zip(b.tensors.get(&embed)).and_then(|(x, y)| cosine(x, y));
    for (layer, other) in comparison.layers.clone() {
        for slot in layer_slots(a, layer) {
            let Some(cosine) = b.tensors.get(&slot.moved(other)).and_then(|y| cosine(&a.tensors[&slot], y)) else {
                continue;
            };
            comparison.cosines.push((slot, cosine));
        }
    }
    let all: Vec<f64> = comparison.cosines.iter().map(|(_, c)| *c).chain(comparison.embedding).collect();
    comparison.similarity = mean(&all);
    comparison.aligned = share(&all, |cosine| cosine > 0.2);
    measure(a, b, &mut comparison);
    comparison
}

/// Slots of a layer that hold matrices.
fn layer_slots(print: &Fingerprint, layer: u16) -> Vec<Slot> {
    let of_layer = print.tensors.iter().filter(|(slot, tensor)| slot.layer == Some(layer) && tensor.is_matrix());
    of_layer.map(|(slot, _)| slot.clone()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a count of tensors")]
fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "a count of tensors")]
fn share(values: &[f64], holds: impl Fn(f64) -> bool) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().filter(|v| holds(**v)).count() as f64 / values.len() as f64 }
}

/// Finds for each layer the layer that it looks like.
fn align(a: &Fingerprint, b: &Fingerprint, comparison: &mut Comparison) {
    let (rows, columns) = (a.shape.layers, b.shape.layers);
    if rows == 0 || columns == 0 {
        return;
    }
    let score = |i: u16, j: u16| -> f64 {
        let slots = Role::MATRICES.iter().filter_map(|role| a.get(role.clone(), i).zip(b.get(role.clone(), j)));
        let cosines: Vec<f64> = slots.filter_map(|(x, y)| cosine(x, y)).collect();
        if cosines.is_empty() { other_score(a, b, i, j) } else { mean(&cosines) }
    };
    // Layers of one model are unlike each other: one that looks like the layer in its own place looks like no other.
    let mut ahead: f64 = 0.0;
    let mut best = Vec::with_capacity(usize::from(rows));
    for i in 0..rows {
        let own = if i < columns { score(i, i) } else { f64::NEG_INFINITY };
        let (mut at, mut highest) = (i.min(columns - 1), own);
        if own < IN_PLACE || rows != columns {
            for j in (0..columns).filter(|j| *j != i) {
                let score = score(i, j);
                if score > highest || (score == highest && j < at) {
                    (at, highest) = (j, score);
                }
            }
        }
        ahead = ahead.max(highest - own);
        best.push((i, at));
    }
    comparison.in_place = rows == columns && ahead < MOVED;
    comparison.layers = if comparison.in_place { (0..rows).map(|i| (i, i)).collect() } else { best };
}

/// For architectures without the seven matrices: whatever both have under the same name.
fn other_score(a: &Fingerprint, b: &Fingerprint, i: u16, j: u16) -> f64 {
    let slots = layer_slots(a, i);
    let cosines: Vec<f64> = slots
        .iter()
        .filter_map(|slot| b.tensors.get(&slot.moved(j)).and_then(|y| cosine(&a.tensors[slot], y)))
        .collect();
    mean(&cosines)
}

/// Slots of the first with those of the second that they are compared with: layers as aligned, and what is there once.
fn pairs<'a>(a: &'a Fingerprint, b: &'a Fingerprint, layers: &[(u16, u16)]) -> Vec<(&'a TensorPrint, &'a TensorPrint)> {
    let in_layers = layers.iter().flat_map(|(i, j)| {
        let of_layer = a.tensors.iter().filter(move |(slot, _)| slot.layer == Some(*i));
        of_layer.filter_map(|(slot, x)| b.tensors.get(&slot.moved(*j)).map(|y| (x, y)))
    });
    let once = a.tensors.iter().filter(|(slot, _)| slot.layer.is_none());
    in_layers.chain(once.filter_map(|(slot, x)| b.tensors.get(slot).map(|y| (x, y)))).collect()
}

/// Of the sampled values of two tensors: how many are equal after rounding, squares of differences and of the second's
/// values, how many of the first's are not zero, and how many of these were kept, nearly and exactly.
fn agreement(left: &[f32], right: &[f32], near: f64, round: impl Fn(f64) -> f64) -> [f64; 6] {
    let count = |holds: bool| f64::from(u8::from(holds));
    sums(left, right, |p, q| {
        let (rounded, other) = (round(p), round(q));
        let (is_alive, is_equal) = (p != 0.0, rounded == other);
        let is_near = (rounded - other).abs() <= near * other.abs();
        let kept = [count(is_alive), count(is_alive && is_near), count(is_alive && is_equal)];
        [count(is_equal), (p - q) * (p - q), q * q, kept[0], kept[1], kept[2]]
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn measure(a: &Fingerprint, b: &Fingerprint, comparison: &mut Comparison) {
    let coarser = a.precision().coarser(b.precision());
    let (mut tensors, mut identical) = (0.0, 0.0);
    let (mut equal, mut compared, mut squares, mut norm) = (0.0, 0.0, 0.0, 0.0);
    let (mut kept, mut untouched, mut alive) = (0.0, 0.0, 0.0);
    for (x, y) in pairs(a, b, &comparison.layers) {
        tensors += 1.0;
        identical += f64::from(u8::from(x.exact.is_some() && x.exact == y.exact));
        comparison.compared_tensors += 1;
        comparison.equal_tensors += u32::from(x.canonical.is_some() && x.canonical == y.canonical);
        if !x.is_matrix() {
            continue;
        }
        let both;
        let (left, right) = if x.same_shape(y) {
            (&x.sample, &y.sample)
        } else {
            let Some(found) = shared(x, y) else { continue };
            both = found.narrow();
            (&both.0, &both.1)
        };
        let near = 2.0 * coarser.epsilon();
        let is_rounded = |tensor: &TensorPrint| tensor.precision == coarser || coarser.is_wide();
        #[expect(clippy::cast_possible_truncation, reason = "they were single precision")]
        let [same, apart, own, nonzero, near_nonzero, same_nonzero] = if is_rounded(x) && is_rounded(y) {
            agreement(left, right, near, |value| value)
        } else {
            agreement(left, right, near, |value| f64::from(coarser.round(value as f32)))
        };
        let count = left.len() as f64;
        let weight = x.size() / count;
        equal += same * weight;
        squares += apart * weight;
        norm += own * weight;
        alive += nonzero;
        kept += near_nonzero;
        untouched += same_nonzero;
        compared += count * weight;
        comparison.coordinates += count;
    }
    let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
    comparison.identical = ratio(identical, tensors);
    comparison.equal = ratio(equal, compared);
    comparison.kept = ratio(kept, alive);
    comparison.untouched = ratio(untouched, alive);
    comparison.squares = squares;
    comparison.distance = (squares / f64::max(norm, 1e-30)).sqrt();
    let last = Slot::once(Role::FinalNorm);
    if let Some(both) = a.tensors.get(&last).zip(b.tensors.get(&last)).and_then(|(x, y)| shared(x, y)) {
        let same = both.left.iter().zip(&both.right).filter(|(x, y)| x == y).count();
        comparison.norm_equal = ratio(same as f64, both.left.len() as f64);
    }
}

/// Similarity of what survives rewriting.
pub fn invariant_similarity(a: &Fingerprint, b: &Fingerprint) -> Option<f64> {
    invariant::similarity(a.invariant.as_ref()?, b.invariant.as_ref()?)
}

/// Share of changed matrices whose change has low rank, the median rank as a share of the sample's side, and the median
/// energy of the change over rounding noise (section "low rank").
pub(super) struct LowRank {
    pub(super) share: f64,
    pub(super) rank: f64,
    pub(super) energy: f64,
}

/// Looks for a change of low rank from `b` to `a`.
#[expect(clippy::cast_precision_loss, reason = "ranks up to 32")]
pub(super) fn low_rank(a: &Fingerprint, b: &Fingerprint) -> Option<LowRank> {
    let (mut ranks, mut energies) = (Vec::new(), Vec::new());
    for (slot, x) in a.layer_matrices() {
        let Some(both) = b.tensors.get(slot).filter(|y| y.same_shape(x)).and_then(|y| shared(x, y)) else { continue };
        let change: Vec<f64> = both.left.iter().zip(&both.right).map(|(p, q)| p - q).collect();
        let total: f64 = change.iter().map(|d| d * d).sum();
        if total == 0.0 || change.is_empty() {
            continue;
        }
        let noise: f64 = both.left.iter().map(|value| x.precision.ulp(*value).powi(2) / 12.0).sum();
        energies.push(total / noise.max(1e-30));
        let matrix = DMatrix::from_row_slice(change.len() / both.columns, both.columns, &change);
        let mut values: Vec<f64> = matrix.singular_values().iter().copied().collect();
        values.sort_by(|x, y| y.total_cmp(x));
        let side = values.len();
        let rank = (0..=side)
            .find(|rank| {
                let tail: f64 = values[*rank..].iter().map(|value| value * value).sum();
                let free = (side - rank) as f64 / side as f64;
                tail <= 1.6 * noise * free * free + 1e-10 * total
            })
            .unwrap_or(side);
        ranks.push(rank as f64 / side as f64);
    }
    if ranks.is_empty() {
        return None;
    }
    Some(LowRank { share: share(&ranks, |rank| rank <= 0.6), rank: median(&mut ranks), energy: median(&mut energies) })
}

/// The middle value; 0 when there is none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// How well a change is explained by scaling rows and columns: the median share of the logarithms' variance, and of how
/// many matrices.
pub(super) fn rescaled(a: &Fingerprint, b: &Fingerprint) -> (f64, usize) {
    let mut shares = Vec::new();
    for (slot, x) in a.layer_matrices() {
        let Some(both) = b.tensors.get(slot).filter(|y| y.same_shape(x)).and_then(|y| shared(x, y)) else { continue };
        if both.left == both.right || both.left.is_empty() {
            continue;
        }
        shares.push(explained_by_scales(&both));
    }
    let count = shares.len();
    (median(&mut shares), count)
}

#[expect(clippy::cast_precision_loss, reason = "counts of samples")]
fn explained_by_scales(both: &Shared) -> f64 {
    let typical = 0.2 * both.right.iter().map(|value| value.abs()).sum::<f64>() / both.right.len() as f64;
    let logs: Vec<Option<f64>> = both
        .left
        .iter()
        .zip(&both.right)
        .map(|(x, y)| (x * y > 0.0 && y.abs() > typical).then(|| (x / y).ln()))
        .collect();
    let known: Vec<f64> = logs.iter().flatten().copied().collect();
    if (known.len() as f64) < 0.6 * logs.len() as f64 {
        return 0.0;
    }
    let before = known.iter().map(|v| v * v).sum::<f64>() / known.len() as f64;
    let (rows, columns) = (logs.len() / both.columns, both.columns);
    let mut left = logs;
    for _ in 0..3 {
        for row in 0..rows {
            subtract_median(&mut left, (0..columns).map(|column| row * columns + column));
        }
        for column in 0..columns {
            subtract_median(&mut left, (0..rows).map(|row| row * columns + column));
        }
    }
    let rest: Vec<f64> = left.iter().flatten().copied().collect();
    let average = rest.iter().sum::<f64>() / rest.len() as f64;
    let after = rest.iter().map(|v| (v - average).powi(2)).sum::<f64>() / rest.len() as f64;
    if before > 0.0 { 1.0 - after / before } else { 0.0 }
}

fn subtract_median(values: &mut [Option<f64>], places: impl Iterator<Item = usize> + Clone) {
    let mut known: Vec<f64> = places.clone().filter_map(|place| values[place]).collect();
    if known.is_empty() {
        return;
    }
    let middle = median(&mut known);
    for place in places {
        values[place] = values[place].map(|value| value - middle);
    }
}
