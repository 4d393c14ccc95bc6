//! Which license a text is: by the digest of its words, by phrases that only it has, or by likeness to the texts of SPDX.
//!
//! Likeness comes last, and only when it is great: Falcon 2's terms are like Apache-2.0 to 0.83, Kimi's like MIT. The
//! texts of SPDX come with the crate `spdx` (its detection is askalono's, and its store is compiled in), so that nothing
//! is fetched.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};
use spdx::detection::{Store, TextData};
use unicode_normalization::UnicodeNormalization as _;

use super::{catalogue::Catalogue, label::normalize as normalize_label};

/// What is read of a text: no license is nearly as long, and a file of gigabytes must not hold up a server.
pub const READ_LIMIT: usize = 512 * 1024;
/// Likeness is not computed for longer texts.
const LIKENESS_LIMIT: usize = 128 * 1024;
/// Below this likeness a text is another one.
const LIKENESS: f32 = 0.93;

static STORE: LazyLock<Option<Store>> = LazyLock::new(|| Store::load_inline().ok());

/// How a text was recognized, or why not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum How {
    /// Word for word.
    Exact,
    /// By phrases that only this license has.
    Phrases,
    /// By likeness to a text of SPDX.
    Likeness(f32),
    /// It is no license that is known here.
    Unknown,
}

/// What a text was recognized as.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognition {
    /// Key of the license.
    pub key: Option<String>,
    /// How.
    pub how: How,
    /// Whether the text is longer than what was read.
    pub is_cut: bool,
}

/// Recognizes a license text. Linear in the length of what is read.
pub fn recognize(catalogue: &Catalogue, text: &str) -> Recognition {
    let (start, is_cut) = beginning(text);
    let found = |key: &str, how: How| Recognition { key: Some(key.to_owned()), how, is_cut };
    let words = normalize(start);
    if words.is_empty() {
        return Recognition { key: None, how: How::Unknown, is_cut };
    }
    let digest = hex::encode(Sha256::digest(words.as_bytes()));
    let printed = || catalogue.licenses.iter().filter_map(|license| Some((license, license.fingerprint.as_ref()?)));
    if let Some((license, _)) = printed().find(|(_, print)| print.sha256_norm.as_ref() == Some(&digest)) {
        return found(&license.key, How::Exact);
    }
    let has_all =
        |phrases: &[String]| !phrases.is_empty() && phrases.iter().all(|phrase| words.contains(phrase.as_str()));
    // The most telling phrases win: the research variant of a license also has the other's words.
    let by_phrases = printed().filter(|(_, print)| has_all(&print.must));
    if let Some((license, _)) = by_phrases.max_by_key(|(_, print)| print.must.iter().map(String::len).sum::<usize>()) {
        return found(&license.key, How::Phrases);
    }
    if start.len() <= LIKENESS_LIMIT
        && !is_cut
        && let Some(store) = STORE.as_ref()
    {
        let likest = store.analyze(&TextData::new(start));
        let known = catalogue.find(&normalize_label(likest.name));
        if likest.score >= LIKENESS
            && let Some(license) = known
        {
            return found(&catalogue.license(license).key, How::Likeness(likest.score));
        }
    }
    Recognition { key: None, how: How::Unknown, is_cut }
}

/// The part that is read, ending between characters.
fn beginning(text: &str) -> (&str, bool) {
    if text.len() <= READ_LIMIT {
        return (text, false);
    }
    let end = (0..=READ_LIMIT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (&text[..end], true)
}

/// The words of a text: NFKC, small letters, without link targets, addresses and tags, only letters and digits, single
/// spaces. So the catalogue's fingerprints were made.
pub fn normalize(text: &str) -> String {
    let folded: Vec<char> = text.nfkc().flat_map(char::to_lowercase).collect();
    let mut kept: Vec<char> = Vec::with_capacity(folded.len());
    let (mut parenthesis, mut angle) = (Next::new(')'), Next::new('>'));
    let mut at = 0;
    while at < folded.len() {
        let end = match folded[at] {
            ']' if folded.get(at + 1) == Some(&'(') => parenthesis.from(&folded, at + 2),
            '<' => angle.from(&folded, at + 1).filter(|end| *end > at + 1),
            'h' if is_address(&folded[at..]) => {
                let length = folded[at..].iter().position(|character| character.is_whitespace());
                length.map_or(Some(folded.len() - 1), |length| Some(at + length - 1))
            }
            _ => None,
        };
        kept.push(if end.is_some() { ' ' } else { folded[at] });
        at = end.unwrap_or(at) + 1;
    }
    let mut words = String::with_capacity(kept.len());
    for character in kept {
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            words.push(character);
        } else if !words.ends_with(' ') && !words.is_empty() {
            words.push(' ');
        }
    }
    words.truncate(words.trim_end().len());
    words
}

/// Where a character comes next; remembered, so that text full of openings stays linear.
struct Next {
    character: char,
    place: Option<usize>,
    searched: usize,
}

impl Next {
    fn new(character: char) -> Self {
        Self { character, place: None, searched: 0 }
    }

    fn from(&mut self, text: &[char], at: usize) -> Option<usize> {
        if self.place.is_some_and(|place| place >= at) {
            return self.place;
        }
        let start = self.searched.max(at);
        let found = text.get(start..).and_then(|rest| rest.iter().position(|character| *character == self.character));
        self.place = found.map(|length| start + length);
        self.searched = self.place.map_or(text.len(), |place| place + 1);
        self.place
    }
}

fn is_address(text: &[char]) -> bool {
    let starts = |prefix: &str| prefix.chars().enumerate().all(|(place, letter)| text.get(place) == Some(&letter));
    starts("http://") || starts("https://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::catalogue::CATALOGUE;

    fn key(text: &str) -> Option<String> {
        recognize(&CATALOGUE, text).key
    }

    #[test]
    fn markup_and_spelling_do_not_change_the_words() {
        let words = normalize("# The “ﬁrst” **License**\n<b>see</b> [terms](https://a.b/c) at https://x.y/z. Now");
        assert_eq!(words, "the first license see terms at now");
        assert_eq!(normalize("< a ] b"), "a b");
    }

    #[test]
    fn a_llama_license_is_recognized_however_it_is_wrapped() {
        let text = include_str!("../../tests/fixtures/licenses/llama3.1.txt");
        assert_eq!(recognize(&CATALOGUE, text).how, How::Exact);
        let wrapped = format!("<pre>{}</pre>", text.replace(". ", ".\n\n"));
        assert_eq!(recognize(&CATALOGUE, &wrapped).key.as_deref(), Some("llama3.1"));
        let with_policy = format!("{text}\n\nAcceptable Use Policy\n…");
        assert_eq!(recognize(&CATALOGUE, &with_policy).how, How::Phrases);
    }

    #[test]
    fn texts_of_spdx_are_recognized_and_texts_like_them_are_not_mistaken() {
        let mit = include_str!("../../tests/fixtures/licenses/mit.txt");
        assert!(matches!(recognize(&CATALOGUE, mit).how, How::Likeness(_)));
        assert_eq!(key(mit).as_deref(), Some("mit"));
        let kimi =
            format!("Modified MIT License\n{mit}\nOur only modification part is that, if the Software is used …");
        assert_eq!(key(&kimi).as_deref(), Some("kimi-modified-mit"));
        let limited = format!(
            "{mit}\nThe Software may not be used for commercial purposes, for weapons, or in hospitals, \
            and nobody may sell it, rent it, or offer it as a service, without asking the authors for their consent before."
        );
        assert_eq!(key(&limited), None);
        assert_eq!(key("All rights reserved."), None);
        assert_eq!(key(""), None);
    }

    #[test]
    fn a_long_file_is_read_as_far_as_a_license_reaches() {
        let text = include_str!("../../tests/fixtures/licenses/llama3.1.txt");
        for filler in ["<", "](", "é ", "https://"] {
            let long = format!("{text}\n{}", filler.repeat(10_000_000 / filler.len()));
            let found = recognize(&CATALOGUE, &long);
            assert_eq!((found.key.as_deref(), found.is_cut), (Some("llama3.1"), true), "{filler}");
        }
    }
}
