//! Frequencies of rotary position embeddings, in all the ways in which configs stretch them.
//!
//! An unknown way is refused: treating it as the plain one gives wrong logits silently.

use std::f64::consts::PI;

use serde_json::Value;

use super::Refusal;
use crate::formats::config::{ModelConfig, Rope as Config};

/// A position embedding: angle = position × frequency, for each pair of dimensions.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Rope {
    pub(in crate::smoke::child) frequencies: Vec<f64>,
    /// What cosine and sine are multiplied with.
    pub(in crate::smoke::child) scale: f64,
}

/// Returns the embeddings that a config describes: the usual one, then the one of windowed layers if it differs.
pub(super) fn all(config: &ModelConfig, head_dim: usize) -> Result<Vec<Rope>, Refusal> {
    let fraction = number(&config.rope.parameters, "partial_rotary_factor");
    let fraction = fraction.or_else(|| number(&config.raw, "partial_rotary_factor")).unwrap_or(1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a head is at most 1024 wide and the fraction is clamped"
    )]
    let width = (head_dim as f64 * fraction.clamp(0.0, 1.0)) as usize / 2 * 2;
    let mut ropes = vec![stretched(&config.rope, config, width)?];
    if let Some(theta) = local_theta(config) {
        ropes.push(Rope { frequencies: plain(theta, width), scale: 1.0 });
    }
    Ok(ropes)
}

/// The base of windowed layers' frequencies: `rope_local_base_freq`, or the nested set of version 5.
pub(super) fn local_theta(config: &ModelConfig) -> Option<f64> {
    let nested = config.raw.get("rope_parameters").and_then(|p| p.get("sliding_attention"));
    nested.and_then(|set| number(set, "rope_theta")).or_else(|| number(&config.raw, "rope_local_base_freq"))
}

fn plain(theta: f64, width: usize) -> Vec<f64> {
    let exponent = |pair: usize| 2.0 * as_f64(pair) / as_f64(width);
    (0..width / 2).map(|pair| theta.powf(-exponent(pair))).collect()
}

fn stretched(rope: &Config, config: &ModelConfig, width: usize) -> Result<Rope, Refusal> {
    let base = plain(rope.theta, width);
    let set = &rope.parameters;
    let need = |name: &str| {
        number(set, name).filter(|n| *n > 0.0).ok_or_else(|| {
            Refusal::Wrong(format!("config.json: the position embedding `{}` has no `{name}`", rope.kind))
        })
    };
    match rope.kind.as_str() {
        // Up to the trained length, which a test stays within, the dynamic one is the plain one.
        "default" | "dynamic" | "mrope" => Ok(Rope { frequencies: base, scale: 1.0 }),
        "linear" => {
            let factor = need("factor")?;
            Ok(Rope { frequencies: base.into_iter().map(|f| f / factor).collect(), scale: 1.0 })
        }
        "llama3" => {
            let (factor, low, high) = (need("factor")?, need("low_freq_factor")?, need("high_freq_factor")?);
            let original = need("original_max_position_embeddings")?;
            let bend = |f| llama3(f, factor, low, high, original);
            Ok(Rope { frequencies: base.into_iter().map(bend).collect(), scale: 1.0 })
        }
        "yarn" => yarn(rope, config, width, need("factor")?),
        "longrope" | "su" => longrope(rope, config, &base),
        other => Err(Refusal::Unsupported(format!("the position embedding `{other}` is not supported"))),
    }
}

fn llama3(frequency: f64, factor: f64, low: f64, high: f64, original: f64) -> f64 {
    let wavelength = 2.0 * PI / frequency;
    if wavelength < original / high {
        return frequency;
    }
    if wavelength > original / low {
        return frequency / factor;
    }
    let smooth = (original / wavelength - low) / (high - low);
    (1.0 - smooth) * frequency / factor + smooth * frequency
}

fn yarn(rope: &Config, config: &ModelConfig, width: usize, factor: f64) -> Result<Rope, Refusal> {
    let set = &rope.parameters;
    let original = number(set, "original_max_position_embeddings").or_else(|| config.max_positions.map(wide));
    let original = original.ok_or_else(|| Refusal::Wrong("config.json has no `max_position_embeddings`".into()))?;
    let (fast, slow) = (number(set, "beta_fast").unwrap_or(32.0), number(set, "beta_slow").unwrap_or(1.0));
    let dims = as_f64(width);
    let dimension = |turns: f64| dims * (original / (turns * 2.0 * PI)).ln() / (2.0 * rope.theta.ln());
    let round = set.get("truncate").and_then(Value::as_bool).unwrap_or(true);
    let (mut low, mut high) = (dimension(fast), dimension(slow));
    if round {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dims - 1.0));
    let span = if (high - low).abs() < f64::EPSILON { 0.001 } else { high - low };
    let base = plain(rope.theta, width);
    let bend = |(pair, f): (usize, f64)| {
        let interpolated = ((as_f64(pair) - low) / span).clamp(0.0, 1.0);
        f / factor * interpolated + f * (1.0 - interpolated)
    };
    let frequencies = base.into_iter().enumerate().map(bend).collect();
    let mscale = |scale: f64, m: f64| if scale <= 1.0 { 1.0 } else { 0.1 * m * scale.ln() + 1.0 };
    let scale = number(set, "attention_factor").unwrap_or_else(|| {
        match (number(set, "mscale"), number(set, "mscale_all_dim")) {
            (Some(m), Some(all)) if m != 0.0 && all != 0.0 => mscale(factor, m) / mscale(factor, all),
            _ => mscale(factor, 1.0),
        }
    });
    Ok(Rope { frequencies, scale })
}

fn longrope(rope: &Config, config: &ModelConfig, base: &[f64]) -> Result<Rope, Refusal> {
    let set = &rope.parameters;
    let wrong = |what: &str| Refusal::Wrong(format!("config.json: the position embedding `longrope` has {what}"));
    let factors = set.get("short_factor").and_then(Value::as_array).ok_or_else(|| wrong("no `short_factor`"))?;
    let factors: Vec<f64> = factors.iter().filter_map(Value::as_f64).filter(|f| *f > 0.0).collect();
    if factors.len() != base.len() {
        return Err(wrong("a `short_factor` of another length than the frequencies"));
    }
    let named = number(set, "original_max_position_embeddings");
    let original = named.or_else(|| number(&config.raw, "original_max_position_embeddings"));
    let longest = config.max_positions.map(wide);
    let ratio = match (original, longest) {
        (Some(original), Some(longest)) if original > 1.0 => longest / original,
        _ => number(set, "factor").unwrap_or(1.0),
    };
    let derived = match original.or(longest) {
        Some(length) if ratio > 1.0 && length > 1.0 => (1.0 + ratio.ln() / length.ln()).sqrt(),
        _ => 1.0,
    };
    let scale = number(set, "attention_factor").unwrap_or(derived);
    Ok(Rope { frequencies: base.iter().zip(&factors).map(|(f, factor)| f / factor).collect(), scale })
}

fn number(set: &Value, name: &str) -> Option<f64> {
    set.get(name).and_then(Value::as_f64).filter(|n| n.is_finite())
}

#[expect(clippy::cast_precision_loss, reason = "dimensions are far below 2^52")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "positions are capped at 2^40")]
fn wide(number: u64) -> f64 {
    number as f64
}
