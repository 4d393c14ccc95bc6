//! Sums the values of a weight file while its bytes pass once, in the order of the file.

use std::{iter::Peekable, vec::IntoIter};

use super::{CHUNK, OfFile, Stats};
use crate::formats::{
    TensorEntry,
    floats::Float,
    gguf,
    passing::{self, Beginning},
    safetensors,
};

/// Most tensors of a file that are summed.
const MAX_TENSORS: usize = 20_000;

/// A file whose bytes pass.
pub(crate) struct Tap(State);

enum State {
    /// What has come of the header, and how much is worth looking at.
    Header(Vec<u8>, usize),
    Tensors(Box<Tensors>),
    /// Nothing to sum here.
    Idle,
}

impl Default for Tap {
    fn default() -> Self {
        Self(State::Header(Vec::new(), 0))
    }
}

impl Tap {
    /// Takes the next bytes of the file.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Idle => {}
            State::Tensors(tensors) => {
                if tensors.push(bytes).is_none() {
                    self.0 = State::Idle;
                }
            }
            State::Header(buffer, wanted) => {
                buffer.extend_from_slice(bytes);
                if buffer.len() < *wanted {
                    return;
                }
                let buffer = std::mem::take(buffer);
                self.0 = begin(buffer);
            }
        }
    }

    /// Returns the sums of a whole file of `length` bytes; `None` where there are none, or tensors are missing.
    pub(crate) fn finish(self, length: u64) -> Option<OfFile> {
        match self.0 {
            State::Tensors(tensors) => tensors.finish(length),
            _ => None,
        }
    }
}

/// Looks at what has come of a file.
fn begin(buffer: Vec<u8>) -> State {
    let tensors = match passing::recognize(&buffer) {
        Beginning::Wait => return State::Header(buffer, 0),
        Beginning::Other => return State::Idle,
        Beginning::Safetensors { header_end, length } => match safetensors::parse(&buffer[8..header_end], length) {
            Ok(header) => header.tensors,
            Err(_) => return State::Idle,
        },
        Beginning::Gguf => match gguf::parse(&buffer, u64::MAX) {
            Ok(header) => header.tensors,
            // At least twice as much each time, so that long vocabularies are not parsed over and over.
            Err(gguf::Error::NeedMore { at_least }) if at_least <= gguf::MAX_HEADER => {
                let wanted = usize::try_from(at_least).unwrap_or(usize::MAX).max(2 * buffer.len());
                return State::Header(buffer, wanted);
            }
            Err(_) => return State::Idle,
        },
    };
    if tensors.len() > MAX_TENSORS {
        return State::Idle;
    }
    let mut tensors = Tensors::new(tensors);
    match tensors.push(&buffer) {
        Some(()) => State::Tensors(Box::new(tensors)),
        None => State::Idle,
    }
}

/// Tensors of plain floats that are still to come.
struct Tensors {
    rest: Peekable<IntoIter<(TensorEntry, Float)>>,
    /// Where the next bytes lie in the file.
    at: u64,
    stats: Stats,
    /// Bytes that wait until a chunk is whole: sums do not depend on how the file was cut into pieces.
    waiting: Vec<u8>,
    values: Vec<f32>,
    done: OfFile,
}

impl Tensors {
    fn new(tensors: Vec<TensorEntry>) -> Self {
        let plain = tensors.into_iter().filter_map(|entry| Some((Float::named(entry.dtype)?, entry)));
        let mut plain: Vec<(TensorEntry, Float)> = plain.map(|(float, entry)| (entry, float)).collect();
        // Tensors without numbers begin where another does.
        plain.sort_by_key(|(entry, _)| (entry.start, entry.end));
        let (done, rest) = (OfFile::new(), plain.into_iter().peekable());
        Self { rest, at: 0, stats: Stats::default(), waiting: Vec::new(), values: Vec::new(), done }
    }

    /// Takes the next bytes of the file; `None`: tensors lie over each other.
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let mut bytes = bytes;
        while let Some((entry, float)) = self.rest.peek() {
            let (start, end, float) = (entry.start, entry.end, *float);
            let skipped = start.saturating_sub(self.at).min(bytes.len() as u64);
            bytes = &bytes[usize::try_from(skipped).ok()?..];
            self.at += skipped;
            if self.at < start {
                return Some(());
            }
            let left = end.checked_sub(self.at)?;
            let taken = usize::try_from(left.min(bytes.len() as u64)).ok()?;
            self.sum(float, &bytes[..taken]);
            bytes = &bytes[taken..];
            self.at += taken as u64;
            if self.at < end {
                return Some(());
            }
            let waiting = std::mem::take(&mut self.waiting);
            self.stats.add_plain(float, &waiting, &mut self.values);
            self.done.insert(start, std::mem::take(&mut self.stats));
            self.rest.next();
        }
        self.at += bytes.len() as u64;
        Some(())
    }

    fn sum(&mut self, float: Float, bytes: &[u8]) {
        let chunk = CHUNK * float.size();
        let mut bytes = bytes;
        if !self.waiting.is_empty() {
            let (more, rest) = bytes.split_at(bytes.len().min(chunk - self.waiting.len()));
            self.waiting.extend_from_slice(more);
            bytes = rest;
            if self.waiting.len() < chunk {
                return;
            }
            self.stats.add_plain(float, &self.waiting, &mut self.values);
            self.waiting.clear();
        }
        let (whole, rest) = bytes.split_at(bytes.len() / chunk * chunk);
        self.stats.add_plain(float, whole, &mut self.values);
        self.waiting.extend_from_slice(rest);
    }

    fn finish(mut self, length: u64) -> Option<OfFile> {
        // Tensors without numbers may stand at the very end.
        self.push(&[])?;
        (self.at == length && self.rest.peek().is_none()).then_some(self.done)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file with tensors of these types and lengths, and noise in them.
    fn file(tensors: &[(&str, usize, usize)]) -> Vec<u8> {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (i, (dtype, size, count)) in tensors.iter().enumerate() {
            let begin = data.len();
            data.extend((0_u32..).take(size * count).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]));
            let entry = serde_json::json!({ "dtype": dtype, "shape": [count], "data_offsets": [begin, data.len()] });
            header.insert(format!("t{i}"), entry);
        }
        let header = serde_json::Value::Object(header).to_string();
        [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &data].concat()
    }

    fn summed(bytes: &[u8], piece: usize) -> Option<OfFile> {
        let mut tap = Tap::default();
        bytes.chunks(piece).for_each(|piece| tap.push(piece));
        tap.finish(bytes.len() as u64)
    }

    #[test]
    fn sums_are_those_of_the_numbers_one_by_one() {
        let bytes = file(&[("F32", 4, 9001), ("I64", 8, 3), ("BF16", 2, 0), ("F16", 2, 5000), ("BF16", 2, 4097)]);
        let header = safetensors::parse(
            &bytes[8..8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap()],
            bytes.len() as u64,
        )
        .unwrap();
        let found = summed(&bytes, 1 << 20).unwrap();
        assert_eq!(found.len(), 4 - 1, "the empty tensor begins where the next one does");
        for entry in header.tensors.iter().filter(|entry| entry.dtype != "I64" && entry.elements() > 0) {
            let (start, end) = (usize::try_from(entry.start).unwrap(), usize::try_from(entry.end).unwrap());
            let mut values = Vec::new();
            Float::named(entry.dtype).unwrap().decode(&bytes[start..end], &mut values);
            let stats = &found[&entry.start];
            let finite = || values.iter().copied().filter(|value| value.is_finite());
            assert_eq!(stats.values, values.len() as u64);
            assert_eq!(stats.nan, values.iter().filter(|value| value.is_nan()).count() as u64);
            assert_eq!(stats.infinite, values.iter().filter(|value| value.is_infinite()).count() as u64);
            assert_eq!(stats.zeros, values.iter().filter(|value| **value == 0.0).count() as u64);
            assert_eq!(stats.absmax, finite().map(f32::abs).fold(0.0, f32::max));
            let squares: f64 = finite().map(|value| f64::from(value).powi(2)).sum();
            assert!((stats.squares / squares - 1.0).abs() < 1e-4, "{} {squares}", stats.squares);
        }
    }

    #[test]
    fn what_is_no_weight_file_or_ends_early_has_no_sums() {
        let bytes = file(&[("F32", 4, 900)]);
        assert!(summed(&bytes, 100).is_some());
        assert!(summed(&bytes[..bytes.len() - 1], 100).is_none());
        assert!(summed(b"# A card that is longer than eight bytes", 7).is_none());
        assert!(summed(b"GGUF and no more", 3).is_none());
        assert!(summed(b"", 3).is_none());
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(piece in 1_usize..20_000, counts in prop::collection::vec(0_usize..9000, 1..4)) {
            let tensors: Vec<(&str, usize, usize)> = counts.iter().map(|count| ("BF16", 2, *count)).collect();
            let bytes = file(&tensors);
            prop_assert_eq!(summed(&bytes, piece), summed(&bytes, usize::MAX));
        }

        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
            if magic {
                bytes.splice(0..0, *b"GGUF\x03\0\0\0");
            }
            let _ = summed(&bytes, 17);
        }
    }
}
