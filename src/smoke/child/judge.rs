//! What tokenizer and logits say about a model: they fit, are finite, spread, better than chance.

use super::{
    Run,
    decoder::{Position, Trace},
    folder::Folder,
    headers::Ids,
    probe_text::{TEXT, TEXT_ID, Tokens},
    text::Text,
};
use crate::smoke::Status;

/// The largest finite half.
const F16_MAX: f32 = 65_504.0;
/// Share of the largest possible entropy above which a model knows nothing.
const UNIFORM: f64 = 0.98;
const NEARLY_UNIFORM: f64 = 0.95;
/// Fewest predictions that a likelihood is judged by.
const MIN_PREDICTIONS: usize = 8;
/// Perplexity that any model of plain English stays below.
pub(super) const PERPLEXED: f64 = 100.0;

/// Judges whether every token has a row of the embedding, and special tokens exist.
pub(super) fn vocabulary(run: &mut Run, text: &Text, ids: &Ids, rows: usize) {
    let Some((id, token)) = text.largest() else {
        return run.check("tokenizer.vocab_fits", Status::Failed, "the tokenizer has no tokens");
    };
    let largest = usize::try_from(id).unwrap_or(usize::MAX);
    if largest >= rows {
        let detail = format!("token `{token}` has id {id}, the embedding has {rows} rows");
        return run.check("tokenizer.vocab_fits", Status::Failed, detail);
    }
    let special =
        ids.bos.iter().chain(&ids.eos).chain(&ids.pad).find(|id| usize::try_from(**id).is_ok_and(|id| id >= rows));
    if let Some(special) = special {
        let detail = format!("a special token has id {special}, the embedding has {rows} rows");
        return run.check("tokenizer.vocab_fits", Status::Warned, detail);
    }
    if is_surplus(rows, largest) {
        let detail = format!("the embedding has {} rows more than there are tokens", rows - 1 - largest);
        return run.check("tokenizer.vocab_fits", Status::Warned, detail);
    }
    run.check("tokenizer.vocab_fits", Status::Passed, format!("every token has one of the {rows} rows"));
}

/// Whether a tokenizer has about as many tokens as there are rows of the embedding.
pub(super) fn fits(text: &Text, rows: usize) -> bool {
    let largest = text.largest().and_then(|(id, _)| usize::try_from(id).ok());
    largest.is_some_and(|largest| largest < rows && !is_surplus(rows, largest))
}

/// Embeddings are rounded up; more rows than that have no token.
fn is_surplus(rows: usize, largest: usize) -> bool {
    rows - 1 - largest > 1024.max(rows / 50)
}

/// Judges whether text comes back from its tokens.
pub(super) fn roundtrip(run: &mut Run, text: &Text) {
    let encoded = match text.encode(TEXT) {
        Ok(encoded) if !encoded.is_empty() => encoded,
        Ok(_) => return run.check("tokenizer.roundtrip", Status::Failed, "it makes no tokens of plain English"),
        Err(reason) => return run.check("tokenizer.roundtrip", Status::Failed, reason),
    };
    let ids: Vec<u32> = encoded.iter().map(|(id, _)| *id).collect();
    let unknown = text.unknown().map_or(0, |unknown| ids.iter().filter(|id| **id == unknown).count());
    if unknown * 20 > ids.len() {
        let detail = format!("{unknown} of the {} tokens of plain English are the unknown token", ids.len());
        return run.check("tokenizer.roundtrip", Status::Failed, detail);
    }
    let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    match text.decode(&ids) {
        Ok(decoded) if plain(&decoded) == plain(TEXT) => {
            run.check("tokenizer.roundtrip", Status::Passed, "text comes back from its tokens");
        }
        Ok(decoded) if plain(&decoded).eq_ignore_ascii_case(&plain(TEXT)) => {
            run.check("tokenizer.roundtrip", Status::Passed, "text comes back from its tokens but for capitals");
        }
        Ok(_) => run.check("tokenizer.roundtrip", Status::Warned, "text does not come back from its tokens as it was"),
        Err(reason) => run.check("tokenizer.roundtrip", Status::Failed, reason),
    }
}

/// Judges whether every activation and every logit is finite.
pub(super) fn finite(run: &mut Run, trace: &Trace, positions: &[Position]) -> bool {
    if let Some(layer) = trace.absmax.iter().position(|size| !size.is_finite()) {
        run.check("forward.finite", Status::Failed, format!("layer {layer} is the first to give NaN or infinity"));
        return false;
    }
    if positions.iter().any(|position| !position.finite) {
        run.check("forward.finite", Status::Failed, "the layers are finite, the logits are not");
        return false;
    }
    let largest = trace.absmax.iter().copied().fold(0.0, f32::max);
    if largest > F16_MAX {
        let detail = format!("activations reach {largest}: they overflow in half precision");
        run.check("forward.finite", Status::Warned, detail);
    } else {
        run.check("forward.finite", Status::Passed, format!("all activations are finite, the largest is {largest}"));
    }
    true
}

/// Tells whether a card or a config says that the model is a tiny one for tests, which nobody trained.
pub(super) fn is_for_tests(dir: &Folder) -> bool {
    let says = |name: &str, words: &[&str]| {
        let text = dir.read_capped(name, 1 << 20).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&text).to_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    says("README.md", &["tiny-random", "tiny random", "for testing", "test model"])
        || says("config.json", &["tiny-random", "hf-internal-testing"])
}

/// Judges whether the model prefers some words to others at all.
pub(super) fn spread(run: &mut Run, positions: &[Position], words: usize, for_tests: bool) {
    let entropy = mean(positions.iter().map(|position| position.entropy)) / as_f64(words.max(2)).ln();
    let deviation = mean(positions.iter().map(|position| position.deviation));
    run.metric("entropy_normalized", entropy);
    run.metric("logits_deviation", deviation);
    let (status, comment) = if deviation <= 0.05 || entropy > UNIFORM {
        let status = if for_tests { Status::Warned } else { Status::Failed };
        (status, "it prefers no word to another and looks untrained")
    } else if entropy > NEARLY_UNIFORM {
        (Status::Warned, "it hardly prefers any word to another")
    } else {
        (Status::Passed, "it has preferences")
    };
    let detail = format!("the next word's entropy is {:.1} % of the largest possible: {comment}", entropy * 100.0);
    run.check("logits.spread", status, detail);
}

/// How likely the text is to a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    /// Nats a token.
    pub(super) surprise: f64,
}

/// Judges how likely plain English is to the model.
pub(super) fn likelihood(run: &mut Run, positions: &[Position], tokens: &Tokens, words: usize) -> Option<Measured> {
    let predictions: Vec<f64> = positions.iter().filter_map(|position| position.surprise).collect();
    if predictions.len() < MIN_PREDICTIONS {
        run.check("ppl.absolute", Status::Skipped, "the text makes too few tokens to judge by");
        return None;
    }
    let total: f64 = predictions.iter().sum();
    let surprise = total / as_f64(predictions.len());
    let perplexity = surprise.exp();
    run.metric("text_id", TEXT_ID);
    run.metric("text_tokens", tokens.ids.len() as u64);
    run.metric("ppl", perplexity);
    run.metric("surprise", surprise);
    run.metric("bits_per_byte", total / std::f64::consts::LN_2 / as_f64(tokens.bytes.max(1)));
    let half = as_f64(words) / 2.0;
    let detail = format!("plain English has a perplexity of {perplexity:.1} to it, among {words} words");
    let (status, comment) = match perplexity {
        value if value > half && value > as_f64(words) * 2.0 => {
            (Status::Failed, ": it is sure of what is wrong; another tokenizer, rows in another order, or an outlier")
        }
        value if value > half => (Status::Failed, ": no better than chance; untrained or damaged"),
        value if value >= PERPLEXED => (Status::Warned, ": damaged, or trained on something else"),
        _ => (Status::Passed, ""),
    };
    run.check("ppl.absolute", status, format!("{detail}{comment}"));
    Some(Measured { surprise })
}

pub(super) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "vocabularies are far below 2^52")]
fn as_f64(number: usize) -> f64 {
    number as f64
}
