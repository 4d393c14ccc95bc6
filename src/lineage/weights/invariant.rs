//! Products of weights that stay the same when a model is rewritten without changing what it computes: permuted or
//! rotated hidden units, scaled channels, norms folded into the matrices behind them.
//!
//! After HuRef (Zeng et al., NeurIPS 2024, arXiv 2312.04828), with the norms' weights folded in.

use std::{collections::BTreeMap, io, ops::Range};

use half::f16;

use super::{
    make::{Place, Source, Token},
    print::Invariant,
    shape::Shape,
    slots::{Role, Slot},
};

/// Tokens whose embeddings probe the weights.
pub(super) const TOKENS: usize = 48;
/// Layers that are probed.
pub(super) const DEPTHS: u16 = 4;
/// Bytes read at once.
const PIECE: u64 = 4 << 20;
/// Least tokens that two models must share to be compared.
const LEAST_SHARED: usize = 24;

/// Rows of 48 products.
type Probe = Vec<Vec<f32>>;

/// Makes the invariant; `None` where the matrices it needs are missing or the widths do not fit.
pub(super) fn make(
    shape: &Shape,
    places: &BTreeMap<Slot, Place>,
    tokens: &[Token],
    source: &mut dyn Source,
) -> io::Result<Option<Invariant>> {
    let tokens: Vec<Token> = tokens.iter().copied().filter(|token| token.row < shape.vocabulary).collect();
    let Some(embed) = places.get(&Slot::once(Role::Embed)) else { return Ok(None) };
    if tokens.len() < LEAST_SHARED || shape.layers == 0 || shape.head_dim == 0 || shape.kv_heads == 0 {
        return Ok(None);
    }
    let Some(mut probes) = read_rows(embed, &tokens, source)? else { return Ok(None) };
    for probe in &mut probes {
        let norm = probe.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
        #[expect(clippy::cast_precision_loss, reason = "a width")]
        let scale = (probe.len() as f32).sqrt() / norm;
        probe.iter_mut().for_each(|value| *value *= scale);
    }
    let mut depths = Vec::new();
    for layer in depths_of(shape.layers) {
        if let Some(products) = layer_products(shape, places, layer, &probes, source)? {
            depths.push((layer, products));
        }
    }
    if depths.is_empty() {
        return Ok(None);
    }
    Ok(Some(Invariant { tokens: tokens.iter().map(|token| token.digest).collect(), depths }))
}

/// Layers spread over the model, the first and the last among them.
pub(super) fn depths_of(layers: u16) -> Vec<u16> {
    let count = DEPTHS.min(layers);
    let mut chosen: Vec<u16> = (0..count).map(|at| at * (layers - 1) / (count - 1).max(1)).collect();
    chosen.dedup();
    chosen
}

fn layer_products(
    shape: &Shape,
    places: &BTreeMap<Slot, Place>,
    layer: u16,
    probes: &Probe,
    source: &mut dyn Source,
) -> io::Result<Option<[Vec<f32>; 3]>> {
    let find = |role: Role| places.get(&Slot::at(role, layer));
    let (Some(query), Some(key), Some(value), Some(output)) =
        (find(Role::Query), find(Role::Key), find(Role::Value), find(Role::Output))
    else {
        return Ok(None);
    };
    let (Some(up), Some(down)) = (find(Role::Up), find(Role::Down)) else { return Ok(None) };
    let attention_norm = read_vector(find(Role::AttentionNorm), source)?;
    let feed_norm = read_vector(find(Role::FeedNorm), source)?;
    let scaled = |norm: &Option<Vec<f32>>| -> Probe {
        let Some(norm) = norm else { return probes.clone() };
        probes.iter().map(|probe| probe.iter().zip(norm).map(|(a, b)| a * b).collect()).collect()
    };
    let (for_attention, for_feed) = (scaled(&attention_norm), scaled(&feed_norm));
    let queries = through(query, &for_attention, source)?;
    let keys = through(key, &for_attention, source)?;
    let values = through(value, &for_attention, source)?;
    let outputs = back_through(output, probes, source)?;
    let ups = through(up, &for_feed, source)?;
    let downs = back_through(down, probes, source)?;
    let (Some(queries), Some(keys), Some(values), Some(outputs), Some(ups), Some(downs)) =
        (queries, keys, values, outputs, ups, downs)
    else {
        return Ok(None);
    };
    let (Some(keys), Some(values)) = (repeat(shape, &keys), repeat(shape, &values)) else { return Ok(None) };
    let products = all([product(&queries, &keys), product(&values, &outputs), product(&ups, &downs)]);
    Ok(products.map(|products| products.each_ref().map(|product| halves(product, probes.len()))))
}

/// Products with mean 0 and standard deviation 1, rounded to halves, as they are written.
fn halves(product: &[f32], tokens: usize) -> Vec<f32> {
    let all: Vec<usize> = (0..tokens).collect();
    let standard = standardized(product, tokens, &all);
    let is_finite = standard.iter().all(|value| value.is_finite());
    standard.iter().map(|value| if is_finite { f16::from_f64(*value).to_f32() } else { 0.0 }).collect()
}

fn all(products: [Option<Vec<f32>>; 3]) -> Option<[Vec<f32>; 3]> {
    let [a, b, c] = products;
    Some([a?, b?, c?])
}

/// Repeats each group's head for the query heads that share it.
fn repeat(shape: &Shape, probes: &Probe) -> Option<Probe> {
    let (width, groups) = (usize::try_from(shape.head_dim).ok()?, shape.kv_heads);
    let times = usize::try_from(shape.heads / groups).ok()?;
    let widen = |probe: &Vec<f32>| probe.chunks(width).flat_map(|head| head.repeat(times)).collect();
    Some(probes.iter().map(widen).collect())
}

/// Rows of one probe against rows of the other.
fn product(left: &Probe, right: &Probe) -> Option<Vec<f32>> {
    if left[0].len() != right[0].len() {
        return None;
    }
    Some(left.iter().flat_map(|a| right.iter().map(|b| dot(a, b))).collect())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Runs in the order of the file, neighbors as one. llama.cpp reorders rows within heads, of queries as of keys, which
/// products do not see: nothing is gained by reading them one by one.
fn joined(runs: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = runs.to_vec();
    sorted.sort_unstable_by_key(|run| run.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for run in sorted {
        match joined.last_mut() {
            Some(last) if last.end == run.start => last.end = run.end,
            _ => joined.push(run),
        }
    }
    joined
}

/// Reads a matrix in pieces of whole rows and hands each row to `each`, with its number.
pub(super) fn each_row(
    place: &Place,
    source: &mut dyn Source,
    mut each: impl FnMut(usize, &[f32]),
) -> io::Result<Option<usize>> {
    let Ok(columns) = usize::try_from(place.columns) else { return Ok(None) };
    let width = place.stored.bytes(columns) as u64;
    if place.part.rows() < 2 {
        return Ok(None);
    }
    let mut values = Vec::new();
    let mut number = 0;
    for run in joined(&place.part.runs) {
        let mut row = run.start;
        while row < run.end {
            let rows = (PIECE / width).max(1).min(run.end - row);
            let start = place.start + row * width;
            let bytes = source.read(place.file, start..start + rows * width)?;
            for bytes in bytes.chunks_exact(usize::try_from(width).unwrap_or(usize::MAX)) {
                place.stored.decode(bytes, columns, &mut values);
                each(number, &values);
                number += 1;
            }
            row += rows;
        }
    }
    Ok(Some(number))
}

/// `probe · Wᵀ`: tokens × rows.
fn through(place: &Place, probes: &Probe, source: &mut dyn Source) -> io::Result<Option<Probe>> {
    let mut products: Probe = vec![Vec::new(); probes.len()];
    let mut fits = true;
    each_row(place, source, |_, row| {
        fits &= row.len() == probes[0].len();
        products.iter_mut().zip(probes).for_each(|(product, probe)| product.push(dot(probe, row)));
    })?;
    Ok((fits && !products[0].is_empty()).then_some(products))
}

/// `probe · W`: tokens × columns.
fn back_through(place: &Place, probes: &Probe, source: &mut dyn Source) -> io::Result<Option<Probe>> {
    let mut products: Probe = Vec::new();
    let mut fits = true;
    let rows = each_row(place, source, |number, row| {
        if products.is_empty() {
            products = vec![vec![0.0; row.len()]; probes.len()];
        }
        fits &= number < probes[0].len();
        for (product, probe) in products.iter_mut().zip(probes) {
            let weight = probe.get(number).copied().unwrap_or(0.0);
            product.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
    })?;
    Ok((fits && rows == Some(probes[0].len())).then_some(products))
}

fn read_vector(place: Option<&Place>, source: &mut dyn Source) -> io::Result<Option<Vec<f32>>> {
    let Some(place) = place.filter(|place| place.part.rows() == 1) else { return Ok(None) };
    let Ok(columns) = usize::try_from(place.columns) else { return Ok(None) };
    let end = place.start + place.stored.bytes(columns) as u64;
    let mut values = Vec::new();
    place.stored.decode(&source.read(place.file, place.start..end)?, columns, &mut values);
    Ok(Some(values))
}

fn read_rows(place: &Place, tokens: &[Token], source: &mut dyn Source) -> io::Result<Option<Probe>> {
    let Ok(columns) = usize::try_from(place.columns) else { return Ok(None) };
    let width = place.stored.bytes(columns) as u64;
    let mut rows = Vec::new();
    for token in tokens {
        if token.row >= place.part.rows() {
            return Ok(None);
        }
        let start = place.start + token.row * width;
        let mut values = Vec::new();
        place.stored.decode(&source.read(place.file, start..start + width)?, columns, &mut values);
        rows.push(values);
    }
    Ok(Some(rows))
}

/// How alike two invariants are: the mean over depths of the median correlation of the three products. `None` when they
/// share too few tokens.
pub(super) fn similarity(a: &Invariant, b: &Invariant) -> Option<f64> {
    let shared: Vec<(usize, usize)> = a
        .tokens
        .iter()
        .enumerate()
        .filter_map(|(i, token)| b.tokens.iter().position(|other| other == token).map(|j| (i, j)))
        .collect();
    if shared.len() < LEAST_SHARED {
        return None;
    }
    let (rows_a, rows_b): (Vec<usize>, Vec<usize>) = shared.into_iter().unzip();
    let standard = |depths: &[(u16, [Vec<f32>; 3])], tokens: usize, rows: &[usize]| -> Vec<[Vec<f64>; 3]> {
        depths.iter().map(|(_, products)| products.each_ref().map(|p| standardized(p, tokens, rows))).collect()
    };
    let left = standard(&a.depths, a.tokens.len(), &rows_a);
    let right = standard(&b.depths, b.tokens.len(), &rows_b);
    let score = |x: &[Vec<f64>; 3], y: &[Vec<f64>; 3]| {
        let mut scores = [0, 1, 2].map(|at| correlation(&x[at], &y[at]));
        scores.sort_by(f64::total_cmp);
        scores[1]
    };
    let same_depth = a.depths.iter().map(|d| d.0).eq(b.depths.iter().map(|d| d.0));
    let scores: Vec<f64> = left
        .iter()
        .enumerate()
        .map(|(at, x)| {
            if same_depth {
                return score(x, &right[at]);
            }
            right.iter().map(|y| score(x, y)).fold(f64::NEG_INFINITY, f64::max)
        })
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    Some(scores.iter().sum::<f64>() / scores.len() as f64)
}

/// The products among some tokens, with mean 0 and standard deviation 1.
#[expect(clippy::cast_precision_loss, reason = "at most 2,304 values")]
fn standardized(product: &[f32], tokens: usize, rows: &[usize]) -> Vec<f64> {
    let value = |i: usize, j: usize| product.get(i * tokens + j).copied().map_or(0.0, f64::from);
    let mut values: Vec<f64> = rows.iter().flat_map(|i| rows.iter().map(move |j| value(*i, *j))).collect();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-30);
    values.iter_mut().for_each(|v| *v = (*v - mean) / deviation);
    values
}

#[expect(clippy::cast_precision_loss, reason = "at most 2,304 values")]
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>() / a.len() as f64
}
