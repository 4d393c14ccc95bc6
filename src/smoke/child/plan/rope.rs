//! Frequencies of rotary position embeddings, in all the ways in which configs stretch them.
//!
//! Version 4 of transformers has `rope_theta` and `rope_scaling`, version 5 one `rope_parameters`, for some models one
//! for each type of layer. An unknown way is refused: treating it as the plain one gives wrong logits silently.

use std::{borrow::Cow, f64::consts::PI};

use serde_json::Value;

use super::{Refusal, builder::Builder};

/// Everything about position embeddings that is understood here. What else a config says would be ignored.
const KNOWN: &[&str] = &[
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "factor",
    "original_max_position_embeddings",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "short_factor",
    "long_factor",
    "short_mscale",
    "long_mscale",
    "low_freq_factor",
    "high_freq_factor",
    "mrope_section",
    "finetuned",
    "max_position_embeddings",
    "rope_interleaved",
];

/// A position embedding: angle = position × frequency, for each pair of dimensions.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::smoke::child) struct Rope {
    frequencies: Vec<f64>,
    /// What cosine and sine are multiplied with.
    scale: f64,
    /// Pairs stand beside each other, instead of half a head apart.
    pub(in crate::smoke::child) interleaved: bool,
    longer: Option<Longer>,
}

/// How frequencies change for texts of more than so many tokens.
#[derive(Debug, Clone, PartialEq)]
enum Longer {
    Fixed { beyond: usize, frequencies: Vec<f64>, scale: f64 },
    Growing { beyond: usize, theta: f64, factor: f64 },
}

impl Rope {
    /// Pairs of dimensions that are turned.
    pub(in crate::smoke::child) fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Frequencies and scale for a text of so many tokens.
    pub(in crate::smoke::child) fn at(&self, tokens: usize) -> (Cow<'_, [f64]>, f64) {
        match &self.longer {
            Some(Longer::Fixed { beyond, frequencies, scale }) if tokens > *beyond => {
                (Cow::Borrowed(frequencies), *scale)
            }
            Some(Longer::Growing { beyond, theta, factor }) if tokens > *beyond => {
                let dims = 2.0 * as_f64(self.frequencies.len());
                let growth = factor * as_f64(tokens) / as_f64(*beyond) - (factor - 1.0);
                let theta = theta * growth.powf(dims / (dims - 2.0));
                (Cow::Owned(plain(theta, 2 * self.frequencies.len())), self.scale)
            }
            _ => (Cow::Borrowed(&self.frequencies), self.scale),
        }
    }

    /// Divides each frequency, as GGUF files do that carry their factors as a tensor.
    pub(in crate::smoke::child) fn divide(&mut self, factors: &[f32]) {
        for (frequency, factor) in self.frequencies.iter_mut().zip(factors) {
            *frequency /= f64::from(*factor);
        }
    }
}

/// What a family assumes where its configs are silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usual {
    /// The share of a head's dimensions that is turned.
    pub(super) fraction: f64,
    pub(super) theta: f64,
    pub(super) interleaved: bool,
}

impl Default for Usual {
    fn default() -> Self {
        Self { fraction: 1.0, theta: 10_000.0, interleaved: false }
    }
}

/// Returns the embedding of layers that see everything, for heads of this width.
pub(super) fn full(builder: &Builder<'_>, head_dim: usize, usual: Usual) -> Result<Rope, Refusal> {
    let raw = &builder.config.raw;
    let nested = nested(raw);
    let set = match nested {
        Some(_) => raw.get("rope_parameters").and_then(|all| all.get("full_attention")),
        None => single(raw),
    };
    stretched(builder, set.unwrap_or(&Value::Null), nested.is_some(), head_dim, usual)
}

/// Returns the embedding of windowed layers, where it differs from that of the others.
pub(super) fn sliding(builder: &Builder<'_>, head_dim: usize, usual: Usual) -> Result<Option<Rope>, Refusal> {
    let raw = &builder.config.raw;
    if nested(raw).is_some() {
        let set = raw.get("rope_parameters").and_then(|all| all.get("sliding_attention"));
        return set.filter(|set| set.is_object()).map(|set| stretched(builder, set, true, head_dim, usual)).transpose();
    }
    let local = builder.number("rope_local_base_freq").or_else(|| builder.number("local_rope_theta"));
    local.map(|theta| self::local(builder, head_dim, Usual { theta, ..usual })).transpose()
}

/// A plain embedding by a family's own base.
pub(super) fn local(builder: &Builder<'_>, head_dim: usize, usual: Usual) -> Result<Rope, Refusal> {
    let width = width(builder, &Value::Null, head_dim, usual)?;
    Ok(Rope { frequencies: plain(usual.theta, width), scale: 1.0, interleaved: usual.interleaved, longer: None })
}

/// The plain embedding, whatever the config says of stretching: of layers that Olmo 3 leaves unstretched.
pub(super) fn unstretched(builder: &Builder<'_>, head_dim: usize, usual: Usual) -> Result<Rope, Refusal> {
    let set = single(&builder.config.raw).cloned().unwrap_or(Value::Null);
    let width = width(builder, &set, head_dim, usual)?;
    let frequencies = plain(theta(builder, &set, usual), width);
    Ok(Rope { frequencies, scale: 1.0, interleaved: usual.interleaved, longer: None })
}

/// What softmax scores are multiplied with once more: DeepSeek's correction for stretched positions.
pub(super) fn score_factor(builder: &Builder<'_>) -> f64 {
    let Some(set) = single(&builder.config.raw) else { return 1.0 };
    let factor = number(set, "factor").unwrap_or(1.0);
    match number(set, "mscale_all_dim") {
        Some(all) if all != 0.0 && kind(set) != "default" => magnitude(factor, all).powi(2),
        _ => 1.0,
    }
}

pub(super) fn nested(raw: &Value) -> Option<&Value> {
    let sets = raw.get("rope_parameters")?;
    ["full_attention", "sliding_attention"].iter().any(|name| sets.get(name).is_some()).then_some(sets)
}

fn single(raw: &Value) -> Option<&Value> {
    [raw.get("rope_parameters"), raw.get("rope_scaling")].into_iter().flatten().find(|set| set.is_object())
}

fn kind(set: &Value) -> &str {
    let named = set.get("rope_type").or_else(|| set.get("type")).and_then(Value::as_str);
    named.unwrap_or("default")
}

fn theta(builder: &Builder<'_>, set: &Value, usual: Usual) -> f64 {
    let outer = ["rope_theta", "rotary_emb_base", "rope_embedding_base", "global_rope_theta"];
    let outer = || outer.iter().find_map(|name| builder.number(name));
    number(set, "rope_theta").or_else(outer).unwrap_or(usual.theta)
}

/// Dimensions of a head that are turned.
fn width(builder: &Builder<'_>, set: &Value, head_dim: usize, usual: Usual) -> Result<usize, Refusal> {
    let outer = ["partial_rotary_factor", "rotary_pct", "rope_pct"];
    let outer = || outer.iter().find_map(|name| builder.number(name));
    let fraction = number(set, "partial_rotary_factor").or_else(outer).unwrap_or(usual.fraction);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a head is at most 1024 wide and the fraction is clamped"
    )]
    let width = (as_f64(head_dim) * fraction.clamp(0.0, 1.0)) as usize;
    if width % 2 == 1 {
        return Refusal::unsupported(format!("a position embedding of {width} dimensions, which is odd"));
    }
    Ok(width)
}

fn plain(theta: f64, width: usize) -> Vec<f64> {
    let exponent = |pair: usize| 2.0 * as_f64(pair) / as_f64(width);
    (0..width / 2).map(|pair| theta.powf(-exponent(pair))).collect()
}

fn stretched(
    builder: &Builder<'_>,
    set: &Value,
    is_nested: bool,
    head_dim: usize,
    usual: Usual,
) -> Result<Rope, Refusal> {
    known(set)?;
    let width = width(builder, set, head_dim, usual)?;
    let theta = theta(builder, set, usual);
    let base = plain(theta, width);
    let kind = kind(set);
    let longest = builder.config.max_positions.map(wide);
    let outer = builder.number("original_max_position_embeddings").filter(|_| !is_nested);
    let original = outer.or_else(|| number(set, "original_max_position_embeddings")).or(longest);
    let need = |name: &str, value: Option<f64>| {
        let absent = || Refusal::Wrong(format!("config.json: the position embedding `{kind}` has no `{name}`"));
        value.filter(|value| *value > 0.0).ok_or_else(absent)
    };
    let ratio = || longest.zip(original).map(|(longest, original)| longest / original);
    let factor = || need("factor", number(set, "factor").or_else(ratio));
    let rope = |frequencies, scale| Rope { frequencies, scale, interleaved: usual.interleaved, longer: None };
    Ok(match kind {
        "default" | "mrope" => rope(base, 1.0),
        "linear" => {
            let factor = need("factor", number(set, "factor"))?;
            rope(base.into_iter().map(|f| f / factor).collect(), 1.0)
        }
        "dynamic" => {
            let factor = need("factor", number(set, "factor"))?;
            let beyond = whole(need("max_position_embeddings", longest)?);
            Rope { longer: Some(Longer::Growing { beyond, theta, factor }), ..rope(base, 1.0) }
        }
        "llama3" => {
            let (low, high) = (number(set, "low_freq_factor"), number(set, "high_freq_factor"));
            let (low, high) = (need("low_freq_factor", low)?, need("high_freq_factor", high)?);
            let original = need("original_max_position_embeddings", original)?;
            let factor = need("factor", number(set, "factor"))?;
            rope(base.into_iter().map(|f| llama3(f, factor, low, high, original)).collect(), 1.0)
        }
        "yarn" => {
            let original = need("original_max_position_embeddings", original)?;
            let (frequencies, scale) = yarn(set, &base, theta, factor()?, original);
            rope(frequencies, scale)
        }
        "longrope" | "su" => {
            let original = need("original_max_position_embeddings", original)?;
            longrope(set, &base, factor()?, original, usual)?
        }
        other => return Refusal::unsupported(format!("the position embedding `{other}` is not supported")),
    })
}

fn known(set: &Value) -> Result<(), Refusal> {
    let fields = set.as_object().into_iter().flatten();
    let unknown = fields.filter(|(_, value)| !value.is_null()).find(|(name, _)| !KNOWN.contains(&name.as_str()));
    match unknown {
        Some((name, _)) => {
            let name: String = name.chars().take(60).collect();
            Refusal::unsupported(format!("the position embedding's option `{name}` is not known"))
        }
        None => Ok(()),
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

fn yarn(set: &Value, base: &[f64], theta: f64, factor: f64, original: f64) -> (Vec<f64>, f64) {
    let given = |name: &str| number(set, name).filter(|value| *value != 0.0);
    let (fast, slow) = (given("beta_fast").unwrap_or(32.0), given("beta_slow").unwrap_or(1.0));
    let dims = 2.0 * as_f64(base.len());
    let dimension = |turns: f64| dims * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let round = set.get("truncate").and_then(Value::as_bool).unwrap_or(true);
    let (mut low, mut high) = (dimension(fast), dimension(slow));
    if round {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dims - 1.0));
    let span = if (high - low).abs() < f64::EPSILON { 0.001 } else { high - low };
    let bend = |(pair, f): (usize, &f64)| {
        let interpolated = ((as_f64(pair) - low) / span).clamp(0.0, 1.0);
        f / factor * interpolated + f * (1.0 - interpolated)
    };
    let scale = number(set, "attention_factor").unwrap_or_else(|| match (given("mscale"), given("mscale_all_dim")) {
        (Some(scale), Some(all)) => magnitude(factor, scale) / magnitude(factor, all),
        _ => magnitude(factor, 1.0),
    });
    (base.iter().enumerate().map(bend).collect(), scale)
}

fn magnitude(factor: f64, scale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 }
}

fn longrope(set: &Value, base: &[f64], factor: f64, original: f64, usual: Usual) -> Result<Rope, Refusal> {
    let divided = |name: &str| {
        let wrong = |what: &str| Refusal::Wrong(format!("config.json: the position embedding's `{name}` {what}"));
        let factors = set.get(name).and_then(Value::as_array).ok_or_else(|| wrong("is missing"))?;
        let factors: Vec<f64> = factors.iter().filter_map(Value::as_f64).filter(|f| *f > 0.0).collect();
        if factors.len() != base.len() {
            return Err(wrong(&format!("has {} usable factors for {} frequencies", factors.len(), base.len())));
        }
        Ok(base.iter().zip(&factors).map(|(f, factor)| f / factor).collect::<Vec<f64>>())
    };
    let (short, long) = (divided("short_factor")?, divided("long_factor")?);
    let derived = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
    let usual_scale = number(set, "attention_factor").unwrap_or(derived);
    // PhiMoE gives the scales themselves, and turns by the short factors whatever the length.
    let own = (number(set, "short_mscale"), number(set, "long_mscale"));
    let (scale, long, long_scale) = match own {
        (Some(scale), Some(longer)) => (scale, short.clone(), longer),
        _ => (usual_scale, long, usual_scale),
    };
    let longer = Longer::Fixed { beyond: whole(original), frequencies: long, scale: long_scale };
    Ok(Rope { frequencies: short, scale, interleaved: usual.interleaved, longer: Some(longer) })
}

fn number(set: &Value, name: &str) -> Option<f64> {
    set.get(name).and_then(Value::as_f64).filter(|n| n.is_finite())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what the type holds")]
fn whole(number: f64) -> usize {
    number.clamp(0.0, 1e15) as usize
}

#[expect(clippy::cast_precision_loss, reason = "dimensions and positions are far below 2^52")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "positions are capped at 2^40")]
fn wide(number: u64) -> f64 {
    number as f64
}
