//! What logits say about a model: finite, spread, better than chance.

use super::{Run, decoder::Pass};
use crate::smoke::Status;

/// The largest finite half.
const F16_MAX: f32 = 65_504.0;
/// Share of the largest possible entropy above which a model knows nothing.
const UNIFORM: f64 = 0.98;
const NEARLY_UNIFORM: f64 = 0.95;
/// Fewest predictions that a likelihood is judged by.
const MIN_PREDICTIONS: usize = 8;

/// Judges whether every activation and every logit is finite.
pub(super) fn finite(run: &mut Run, pass: &Pass) -> bool {
    if let Some(layer) = pass.absmax.iter().position(|size| !size.is_finite()) {
        run.check("forward.finite", Status::Failed, format!("layer {layer} is the first to give NaN or infinity"));
        return false;
    }
    if pass.logits.iter().flatten().any(|logit| !logit.is_finite()) {
        run.check("forward.finite", Status::Failed, "the layers are finite, the logits are not");
        return false;
    }
    let largest = pass.absmax.iter().copied().fold(0.0, f32::max);
    if largest > F16_MAX {
        let detail = format!("activations reach {largest}: they overflow in half precision");
        run.check("forward.finite", Status::Warned, detail);
    } else {
        run.check("forward.finite", Status::Passed, format!("all activations are finite, the largest is {largest}"));
    }
    true
}

/// Judges whether the model prefers some tokens to others at all.
pub(super) fn spread(run: &mut Run, pass: &Pass) {
    let entropy = mean(pass.logits.iter().map(|row| normalized_entropy(row)));
    let deviation = mean(pass.logits.iter().map(|row| deviation(row)));
    run.metric("entropy_normalized", entropy);
    run.metric("logits_deviation", deviation);
    let (status, comment) = if deviation <= 0.05 || entropy > UNIFORM {
        (Status::Failed, "it prefers no word to another and looks untrained")
    } else if entropy > NEARLY_UNIFORM {
        (Status::Warned, "it hardly prefers any word to another")
    } else {
        (Status::Passed, "it has preferences")
    };
    let detail = format!("the next word's entropy is {:.1} % of the largest possible: {comment}", entropy * 100.0);
    run.check("logits.spread", status, detail);
}

/// Judges whether plain English is likelier to the model than random tokens.
pub(super) fn likelihood(run: &mut Run, pass: &Pass, ids: &[u32]) {
    let predictions: Vec<f64> =
        pass.logits.iter().zip(ids.iter().skip(1)).filter_map(|(row, next)| surprise(row, *next)).collect();
    let Some(words) = pass.logits.first().map(Vec::len).filter(|_| predictions.len() >= MIN_PREDICTIONS) else {
        return run.check("text.likelihood", Status::Skipped, "the text makes too few tokens to judge by");
    };
    let chance = as_f64(words).ln();
    let surprise = mean(predictions.into_iter());
    run.metric("surprise", surprise);
    let detail = format!("plain English surprises it by {surprise:.2} nats a token, chance would by {chance:.2}");
    if surprise < chance {
        return run.check("text.likelihood", Status::Passed, detail);
    }
    let comment = "untrained, damaged, another tokenizer, or no English";
    run.check("text.likelihood", Status::Warned, format!("{detail}: {comment}"));
}

fn normalized_entropy(row: &[f32]) -> f64 {
    if row.len() < 2 {
        return 1.0;
    }
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for logit in row {
        let shifted = f64::from(logit - largest);
        sum += shifted.exp();
        weighted += shifted.exp() * shifted;
    }
    (sum.ln() - weighted / sum) / as_f64(row.len()).ln()
}

fn deviation(row: &[f32]) -> f64 {
    let average = mean(row.iter().map(|logit| f64::from(*logit)));
    mean(row.iter().map(|logit| (f64::from(*logit) - average).powi(2))).sqrt()
}

/// Minus the logarithm of a token's probability.
fn surprise(row: &[f32], token: u32) -> Option<f64> {
    let logit = f64::from(*row.get(usize::try_from(token).ok()?)?);
    let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = row.iter().map(|l| (f64::from(*l) - largest).exp()).sum();
    Some(largest + sum.ln() - logit)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "vocabularies are far below 2^52")]
fn as_f64(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_have_all_the_entropy_and_one_peak_has_none() {
        assert!((normalized_entropy(&[0.5; 100]) - 1.0).abs() < 1e-9);
        let mut peak = [0.0; 100];
        peak[3] = 100.0;
        assert!(normalized_entropy(&peak) < 1e-9);
    }

    #[test]
    fn surprise_is_the_logarithm_of_the_odds() {
        let row = [0.0, 0.0, 0.0, 0.0];
        assert!((surprise(&row, 2).unwrap() - 4_f64.ln()).abs() < 1e-9);
        assert_eq!(surprise(&row, 4), None);
    }
}
