//! Text to tokens and back, with a stranger's `tokenizer.json`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokenizers::Tokenizer;

use super::folder::Folder;

const MAX_TOKENIZER: u64 = 64 * 1024 * 1024;
/// Most steps of a normalizer.
const MAX_STEPS: usize = 32;
/// How many times longer a normalizer may make a text.
const MAX_GROWTH: usize = 4096;

/// A tokenizer that was read and may be trusted not to pad, not to cut, and not to grow its input much.
pub(super) struct Text(Tokenizer);

/// Reads `tokenizer.json`; `None` when there is none.
pub(super) fn load(dir: &Folder) -> Result<Option<Text>, String> {
    let Some(bytes) = dir.read_capped("tokenizer.json", MAX_TOKENIZER)? else { return Ok(None) };
    let mut value: Value = serde_json::from_slice(&bytes).map_err(|error| format!("`tokenizer.json`: {error}"))?;
    drop(bytes);
    if let Some(object) = value.as_object_mut() {
        object.remove("padding");
        object.remove("truncation");
        // Adds special tokens, which are not asked for; one of a few megabytes takes gigabytes.
        object.remove("post_processor");
    }
    check_steps(value.get("normalizer").unwrap_or(&Value::Null), &mut 0, &mut 1)?;
    let text = value.to_string();
    drop(value);
    let parse = || Tokenizer::from_str(&text).map_err(|error| format!("`tokenizer.json`: {error}"));
    guarded(parse).map(|tokenizer| Some(Text(tokenizer)))
}

impl Text {
    /// Encodes a short text without special tokens: tokens, and the byte of the text where each ends.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<(u32, usize)>, String> {
        guarded(|| {
            let encoding = self.0.encode(text, false).map_err(|error| format!("`tokenizer.json`: {error}"))?;
            let ends = encoding.get_offsets().iter().map(|(_, end)| *end);
            Ok(encoding.get_ids().iter().copied().zip(ends).collect())
        })
    }

    /// The token that stands for what has none.
    pub(super) fn unknown(&self) -> Option<u32> {
        ["<unk>", "[UNK]"].iter().find_map(|token| self.0.token_to_id(token))
    }

    /// Decodes tokens, leaving special ones out.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, String> {
        guarded(|| self.0.decode(ids, true).map_err(|error| format!("`tokenizer.json`: {error}")))
    }

    /// The largest token and what it stands for.
    pub(super) fn largest(&self) -> Option<(u32, String)> {
        let vocabulary = self.0.get_vocab(true);
        vocabulary.into_iter().map(|(token, id)| (id, token)).max_by_key(|(id, _)| *id)
    }
}

/// Begins with the length of its table in bytes, which the library allocates before it looks whether they are there.
fn check_character_map(base64: &str) -> Result<(), String> {
    let bytes =
        STANDARD.decode(base64).map_err(|error| format!("`tokenizer.json`: `precompiled_charsmap`: {error}"))?;
    let claimed = bytes.first_chunk().map(|length| u32::from_le_bytes(*length));
    let held = bytes.len().saturating_sub(4);
    match claimed {
        Some(claimed) if usize::try_from(claimed).is_ok_and(|claimed| claimed <= held) => Ok(()),
        _ => Err("`tokenizer.json`: `precompiled_charsmap` claims more bytes than it has".to_owned()),
    }
}

/// The library panics on some hostile files; that is the file's fault and shall be said so.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("`tokenizer.json` makes the tokenizer library panic".to_owned()))
}

/// Counts the steps of a normalizer and multiplies what each may add: ten short replacements make gigabytes of a word.
fn check_steps(normalizer: &Value, steps: &mut usize, growth: &mut usize) -> Result<(), String> {
    *steps += 1;
    let replacement = normalizer.get("content").and_then(Value::as_str).map_or(0, str::len);
    let pattern = normalizer.get("pattern").and_then(|p| p.get("String")).and_then(Value::as_str).map_or(1, str::len);
    *growth = growth.saturating_mul(replacement.div_ceil(pattern.max(1)).max(1));
    if *steps > MAX_STEPS || *growth > MAX_GROWTH {
        return Err("`tokenizer.json`: the normalizer makes text too much longer".to_owned());
    }
    if let Some(map) = normalizer.get("precompiled_charsmap").and_then(Value::as_str) {
        check_character_map(map)?;
    }
    for step in normalizer.get("normalizers").and_then(Value::as_array).into_iter().flatten() {
        check_steps(step, steps, growth)?;
    }
    Ok(())
}
