//! What a model found likely at each position of the text that all models are asked to read.
//!
//! Kept with a report, so that a model made of this one can be compared with it without running it again: about half a
//! kilobyte a position.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// Most positions of a record that are read.
const MAX_POSITIONS: usize = 4096;
/// Most words of a position.
const MAX_WORDS: usize = 256;

/// What a model found likely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The text that was read: `en-v1`.
    pub text_id: String,
    /// The tokens that were read; only a model that reads the same ones can be compared.
    pub tokens: Vec<u32>,
    /// Words that the model knows.
    pub vocabulary: u64,
    /// One entry for each token that was predicted: the best words and what they got.
    pub positions: Vec<Kept>,
    /// Nats by which the text surprised it, for each token that was predicted.
    pub surprise: f64,
}

/// The best words at a position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Their numbers, little-endian u32 as base64.
    words: String,
    /// Logarithms of their probabilities, little-endian f32 as base64.
    log_probabilities: String,
}

impl Kept {
    /// Packs words and the logarithms of their probabilities, the best first.
    pub fn new(best: &[(u32, f32)]) -> Self {
        let words: Vec<u8> = best.iter().flat_map(|(word, _)| word.to_le_bytes()).collect();
        let logarithms: Vec<u8> = best.iter().flat_map(|(_, logarithm)| logarithm.to_le_bytes()).collect();
        Self { words: STANDARD.encode(words), log_probabilities: STANDARD.encode(logarithms) }
    }

    /// Unpacks them; what does not decode is left out.
    pub fn best(&self) -> Vec<(u32, f32)> {
        let decode = |text: &str| STANDARD.decode(text).unwrap_or_default();
        let (words, logarithms) = (decode(&self.words), decode(&self.log_probabilities));
        let words = words.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        let logarithms = logarithms.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        words.zip(logarithms).take(MAX_WORDS).collect()
    }
}

impl Record {
    /// Tells whether the record can be what it claims to be: it may come from another version.
    pub fn is_usable(&self) -> bool {
        let predicted = self.tokens.len().saturating_sub(1);
        self.positions.len() <= MAX_POSITIONS && self.positions.len() == predicted && self.surprise.is_finite()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back() {
        let best = [(7, -0.25), (400_000, -3.5)];
        assert_eq!(Kept::new(&best).best(), best);
        let broken = Kept { words: "not base64!".to_owned(), log_probabilities: String::new() };
        assert!(broken.best().is_empty());
    }
}
