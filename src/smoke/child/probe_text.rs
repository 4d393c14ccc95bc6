//! The text that every model is asked to read, and what it becomes in tokens.

use super::{headers::Ids, text::Text};

/// Names the text: another text gets another name.
pub(super) const TEXT_ID: &str = "en-v1";
/// Most tokens that are read.
pub(super) const TOKENS: usize = 160;

/// Plain English, simple at first, then less so, and a line of code.
pub(super) const TEXT: &str = "Once upon a time, there was a little girl named Lily. She loved to play outside in the \
    park. One day, she saw a big red ball. She wanted to play with it, but it was too high in the tree. Lily asked her \
    mom for help. Her mom smiled and gave her the ball. They played together and were very happy. The next morning it \
    rained, and the two of them stayed at home. Her mother read to her from an old book about the history of the city: \
    how the river had been crossed first by boats, then by a wooden bridge, and at last by a bridge of stone, which \
    still stands today. In the evening the clouds went away, and from the window they could see the lights on the other \
    side of the water.\n\ndef add(a, b):\n    return a + b\n";

/// The text's tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) ids: Vec<u32>,
    /// Bytes of the text that are predicted: all, or all behind the first token.
    pub(super) bytes: usize,
}

/// Encodes the beginning of the text, behind the token that begins texts where there is one.
pub(super) fn tokens(text: &Text, ids: &Ids, rows: usize, longest: usize) -> Result<Tokens, String> {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    let bos: Vec<u32> = ids.bos.filter(|bos| *bos < rows).into_iter().collect();
    let encoded = text.encode(TEXT)?;
    let room = longest.saturating_sub(bos.len());
    let kept: Vec<(u32, usize)> = encoded.into_iter().filter(|(id, _)| *id < rows).take(room).collect();
    let end = kept.last().map_or(0, |(_, end)| *end);
    let unpredicted = if bos.is_empty() { kept.first().map_or(0, |(_, end)| *end) } else { 0 };
    let ids = bos.into_iter().chain(kept.iter().map(|(id, _)| *id)).collect();
    Ok(Tokens { ids, bytes: end.saturating_sub(unpredicted) })
}

/// Any tokens, spread over the vocabulary, for a model without a tokenizer.
pub(super) fn any(rows: usize, count: usize) -> Vec<u32> {
    let rows = u32::try_from(rows).unwrap_or(u32::MAX).max(1);
    (0..count).filter_map(|index| u32::try_from(index).ok()).map(|i| i.wrapping_mul(2_654_435_761) % rows).collect()
}
