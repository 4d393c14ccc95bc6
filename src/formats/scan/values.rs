//! What lies on the stack of a pickle that is walked, as far as a scan must know it, and how its texts are read.

use std::borrow::Cow;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Value {
    Text {
        start: u32,
        length: u32,
        escaped: bool,
    },
    /// A tuple that begins with a text.
    TextTuple {
        start: u32,
        length: u32,
    },
    Number(u32),
    /// A tuple of numbers, and their product.
    Shape(u64),
    Global(Known),
    /// joblib's array, whose raw bytes follow its BUILD.
    Wrapper,
    /// An array's element, and its length in bytes; none for Python objects and what is not known.
    Dtype(Option<u32>),
    Nothing,
    Other,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Known {
    Wrapper,
    Dtype,
    Other,
}

/// Ranges fit: no more bytes than fit are ever walked.
pub(super) fn value_at(start: usize, end: usize, escaped: bool) -> Value {
    match (u32::try_from(start), u32::try_from(end - start)) {
        (Ok(start), Ok(length)) => Value::Text { start, length, escaped },
        _ => Value::Other,
    }
}

pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    // A name longer than this is none that is known, and need not be copied.
    String::from_utf8_lossy(&bytes[..bytes.len().min(4096)])
}

/// The length of numpy's `f8`, `<i4`, `b1`; none for objects and compound types.
pub(super) fn element_length(code: &[u8]) -> Option<u32> {
    let code = std::str::from_utf8(code).ok()?.trim_start_matches(['<', '>', '=', '|']);
    let (kind, length) = code.split_at_checked(1)?;
    let length: u32 = length.parse().ok()?;
    match kind {
        "b" | "i" | "u" | "f" | "c" | "S" | "V" | "M" | "m" => Some(length),
        "U" => length.checked_mul(4),
        _ => None,
    }
}

/// Undoes `\x6f`, `\u006f`, `\157` and `\\`: names are hidden that way in texts of protocol 0.
pub(super) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let (skip, digits, radix) = match tail.as_bytes().first() {
            Some(b'x') => (1, 2, 16),
            Some(b'u') => (1, 4, 16),
            Some(b'U') => (1, 8, 16),
            Some(b'0'..=b'7') => (0, tail.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count(), 8),
            _ => (0, 0, 10),
        };
        let code = tail.get(skip..skip + digits).and_then(|code| u32::from_str_radix(code, radix).ok());
        if let Some(letter) = code.and_then(char::from_u32) {
            out.push(letter);
            rest = &tail[skip + digits..];
        } else {
            rest = tail;
            if let Some(letter) = tail.chars().next() {
                out.push(letter);
                rest = &tail[letter.len_utf8()..];
            }
        }
    }
    out + rest
}
