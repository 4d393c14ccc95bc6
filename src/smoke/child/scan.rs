//! Level 1: every value of every tensor, from the raw bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Run, stored::Stored, tensors::Tensors};
use crate::{
    formats::{TensorEntry, floats::Float},
    smoke::{Status, statistics::Stats},
};

const PIECE: usize = 1 << 20;
/// Bytes of a tensor that tell whether it is a copy of another.
const SAMPLE: u64 = 1 << 16;
/// Most tensors whose numbers are reported one by one.
const MAX_LISTED: usize = 400;
/// Most names in a reason.
const MAX_NAMED: usize = 3;
/// The largest finite half.
const F16_MAX: f32 = 65_504.0;

/// Reads all tensors and judges their values.
///
/// A difference to another model is zero where nothing was changed.
pub(super) fn check(run: &mut Run, tensors: &Tensors, is_difference: bool) {
    let mut scanned: Vec<(&TensorEntry, Stats)> = Vec::new();
    let (mut unread, mut summed_before) = (0_u64, 0_u64);
    for entry in tensors.iter() {
        let stored = Float::named(entry.dtype).map(Stored::Plain).or_else(|| Stored::named(entry.dtype));
        let Some(stored) = stored else {
            unread += 1;
            continue;
        };
        let known = tensors.statistics(entry).filter(|stats| stats.values == entry.elements());
        summed_before += u64::from(known.is_some());
        match known.cloned().map_or_else(|| scan(tensors, entry, stored), Ok) {
            Ok(stats) => scanned.push((entry, stats)),
            Err(error) => {
                run.check("values.readable", Status::Failed, format!("tensor `{}`: {error}", entry.name));
                return;
            }
        }
    }
    finite(run, &scanned, unread);
    if !is_difference {
        zero(run, &scanned);
        duplicates(run, tensors);
    }
    range(run, &scanned);
    report(run, &scanned);
    run.metric("summed_at_upload", summed_before);
}

fn scan(tensors: &Tensors, entry: &TensorEntry, stored: Stored) -> std::io::Result<Stats> {
    let mut stats = Stats::default();
    // A whole number of values, or of blocks, so that none is split.
    let step = PIECE / stored.unit() * stored.unit();
    let (mut bytes, mut values) = (vec![0; PIECE], Vec::with_capacity(PIECE));
    let mut offset = 0;
    let length = entry.end - entry.start;
    while offset < length {
        let piece = usize::try_from(length - offset).unwrap_or(step).min(step);
        tensors.read(entry, offset, &mut bytes[..piece])?;
        match stored {
            Stored::Plain(float) => stats.add_plain(float, &bytes[..piece], &mut values),
            Stored::Packed(_) => {
                values.clear();
                stored.decode(&bytes[..piece], &mut values);
                stats.add(&values);
            }
        }
        offset += piece as u64;
    }
    Ok(stats)
}

/// Mask buffers hold minus infinity on purpose.
fn is_mask(name: &str) -> bool {
    name.ends_with("masked_bias") || name.ends_with(".attn.bias") || name.ends_with("attn_mask")
}

/// Finds layers whose matrices are those of another layer, byte for byte.
fn duplicates(run: &mut Run, tensors: &Tensors) {
    let mut layers: BTreeMap<String, blake3::Hasher> = BTreeMap::new();
    for entry in tensors.iter().filter(|entry| entry.shape.len() >= 2) {
        let Some(layer) = layer_of(&entry.name) else { continue };
        let mut bytes = vec![0; usize::try_from((entry.end - entry.start).min(SAMPLE)).unwrap_or(0)];
        if tensors.read(entry, 0, &mut bytes).is_err() {
            return;
        }
        let hasher = layers.entry(layer.clone()).or_default();
        hasher.update(&entry.name.as_bytes()[layer.len()..]);
        hasher.update(&bytes);
    }
    let mut seen: BTreeMap<[u8; 32], String> = BTreeMap::new();
    for (layer, hasher) in layers {
        if let Some(first) = seen.insert(*hasher.finalize().as_bytes(), layer.clone()) {
            let detail = format!("`{layer}` and `{first}` begin with the same values: a layer was repeated");
            return run.check("layers.duplicate", Status::Warned, detail);
        }
    }
    run.check("layers.duplicate", Status::Passed, "no layer is the copy of another");
}

fn finite(run: &mut Run, scanned: &[(&TensorEntry, Stats)], unread: u64) {
    let bad: Vec<String> = scanned
        .iter()
        .filter(|(entry, stats)| stats.nan + stats.infinite > 0 && !is_mask(&entry.name))
        .map(|(entry, stats)| format!("{} NaN and {} infinite values in `{}`", stats.nan, stats.infinite, entry.name))
        .collect();
    if !bad.is_empty() {
        return run.check("values.finite", Status::Failed, named(&bad));
    }
    if scanned.is_empty() {
        let detail = format!("none of the {unread} tensors has plain floats; packed values are not looked at");
        return run.check("values.finite", Status::Skipped, detail);
    }
    let packed =
        if unread > 0 { format!("; {unread} packed or integer tensors were not looked at") } else { String::new() };
    run.check("values.finite", Status::Passed, format!("all values of {} tensors are finite{packed}", scanned.len()));
}

fn zero(run: &mut Run, scanned: &[(&TensorEntry, Stats)]) {
    let matrices = || scanned.iter().filter(|(entry, stats)| entry.shape.len() >= 2 && stats.values > 1);
    let zero: Vec<&str> =
        matrices().filter(|(_, stats)| stats.zeros == stats.values).map(|(entry, _)| entry.name.as_str()).collect();
    let vital = |name: &&&str| {
        name.contains("embed_tokens")
            || name.contains("wte")
            || name.contains("lm_head")
            || name.contains("embed_in")
            || name.contains("word_embeddings")
            || name.contains("token_embd")
    };
    if let Some(name) = zero.iter().find(vital) {
        return run.check("values.zero", Status::Failed, format!("`{name}` is all zero: the model knows no words"));
    }
    if let Some(layer) = zero_layer(scanned) {
        return run.check("values.zero", Status::Failed, format!("all matrices of `{layer}` are zero"));
    }
    let untrained = zero.iter().filter(|name| name.contains("lora_B")).count();
    if untrained > 0 {
        let detail = format!("{untrained} adapter matrices `lora_B` are all zero: they change nothing");
        return run.check("values.zero", Status::Warned, detail);
    }
    let sparse: Vec<String> = matrices()
        .filter(|(_, stats)| u128::from(stats.zeros) * 1000 > u128::from(stats.values) * 999)
        .map(|(entry, _)| format!("`{}` is (nearly) all zero", entry.name))
        .collect();
    if !sparse.is_empty() {
        return run.check("values.zero", Status::Warned, named(&sparse));
    }
    run.check("values.zero", Status::Passed, "no matrix is all zero");
}

/// Finds a layer whose matrices are all zero.
fn zero_layer(scanned: &[(&TensorEntry, Stats)]) -> Option<String> {
    let mut layers: BTreeMap<String, bool> = BTreeMap::new();
    for (entry, stats) in scanned.iter().filter(|(entry, _)| entry.shape.len() >= 2) {
        if let Some(layer) = layer_of(&entry.name) {
            *layers.entry(layer).or_insert(true) &= stats.zeros == stats.values;
        }
    }
    layers.into_iter().find(|(_, zero)| *zero).map(|(layer, _)| layer)
}

/// `model.layers.3.mlp.up_proj.weight` → `model.layers.3`.
fn layer_of(name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    let number = parts.iter().position(|part| part.parse::<u32>().is_ok())?;
    (number > 0 && !name.contains("lora_")).then(|| parts[..=number].join("."))
}

fn range(run: &mut Run, scanned: &[(&TensorEntry, Stats)]) {
    let largest = scanned.iter().max_by(|a, b| a.1.absmax.total_cmp(&b.1.absmax));
    let Some((entry, values)) = largest else {
        return run.check("values.range", Status::Skipped, "there are no plain floats");
    };
    let (status, comment) = match values.absmax {
        size if size > 1e6 => (Status::Failed, ": no trained weight is that large, the file looks damaged"),
        size if size > F16_MAX => (Status::Warned, ": not safe in half precision"),
        size if size > 1e3 => (Status::Warned, ": unusually large"),
        _ => (Status::Passed, ""),
    };
    run.check("values.range", status, format!("the largest value is {} in `{}`{comment}", values.absmax, entry.name));
}

fn report(run: &mut Run, scanned: &[(&TensorEntry, Stats)]) {
    let listed: Vec<Value> = scanned.iter().take(MAX_LISTED).map(|(entry, stats)| describe(entry, stats)).collect();
    let total = |count: fn(&Stats) -> u64| scanned.iter().map(|(_, stats)| count(stats)).sum::<u64>();
    run.metric("values", total(|stats| stats.values));
    run.metric("nan", total(|stats| stats.nan));
    run.metric("infinite", total(|stats| stats.infinite));
    run.metric("zeros", total(|stats| stats.zeros));
    run.metric("tensor_stats", listed);
}

fn describe(entry: &TensorEntry, stats: &Stats) -> Value {
    let (mean, deviation) = stats.mean_and_deviation();
    let round = |value: f64| format!("{value:.4e}").parse::<f64>().unwrap_or(value);
    json!({
        "name": entry.name, "absmax": round(stats.absmax.into()), "mean": round(mean),
        "deviation": round(deviation), "zeros": stats.zeros,
    })
}

/// Joins reasons, the first few of them.
pub(super) fn named(reasons: &[String]) -> String {
    let first = reasons.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match reasons.len().saturating_sub(MAX_NAMED) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}
