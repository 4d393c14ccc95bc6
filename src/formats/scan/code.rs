//! Code that is no pickle: names in configurations that loaders import, templates that reach behind Python's objects,
//! Keras layers that hold functions, ONNX files that name other files.

use std::{fmt, io, ops::ControlFlow};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Content, Danger, Look, MAX_WALKED, contains, names};

/// Bytes of a file that are searched for a few words; more than most Keras and ONNX files have.
const MAX_SEARCHED: u64 = 4 << 30;
/// Bytes that are searched at a time, and those that the next piece repeats, so that no word lies between two.
const PIECE: u64 = 4 << 20;
const OVERLAP: u64 = 4 << 10;

/// Words of templates by which they leave their sandbox: attributes that lead from any object to all of Python. Names
/// put together from pieces are not seen; the sandbox of the usual loaders refuses them when they are used.
const ESCAPES: [&str; 9] = [
    "__class__",
    "__globals__",
    "__mro__",
    "__base__",
    "__subclasses__",
    "__builtins__",
    "__import__",
    "__init__",
    "|attr(",
];

/// What a configuration names.
#[derive(Default)]
struct Found {
    custom: Option<&'static str>,
    lambda: bool,
    module: Option<String>,
    escape: Option<&'static str>,
}

impl Look<'_> {
    /// Looks into a configuration in JSON, as its loaders understand it, escapes in names and all.
    pub(super) fn config(&mut self, content: &dyn Content, within: &[String]) -> io::Result<()> {
        let bytes = content.read(0..content.length().min(MAX_WALKED))?;
        let mut found = Found::default();
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let read = Names { found: &mut found, key: None }.deserialize(&mut reader);
        if read.is_err() {
            // Python reads more than JSON: infinities, and deeper nesting.
            for key in ["auto_map", "custom_pipelines"] {
                if contains(&bytes, format!("\"{key}\"").as_bytes()) {
                    found.custom = Some(key);
                }
            }
            found.lambda |= has_lambda(&bytes);
            if contains(&bytes, b"\\u") {
                self.stopped(within, "it is no JSON, and escapes in it may hide names");
            }
        }
        if let Some(key) = found.custom {
            self.code(Danger::CustomCode, within, &format!("`{key}` names code of the repository"));
        }
        if found.lambda {
            self.code(Danger::Dangerous, within, LAMBDA);
        }
        if let Some(module) = found.module {
            self.code(Danger::Dangerous, within, &format!("an object of the module `{module}` is to be made"));
        }
        self.escape(found.escape, within);
        Ok(())
    }

    /// Looks into a template.
    pub(super) fn template(&mut self, text: &str, within: &[String]) {
        self.escape(escape(text), within);
    }

    fn escape(&mut self, word: Option<&str>, within: &[String]) {
        if let Some(word) = word {
            self.code(Danger::Suspicious, within, &format!("a template reaches behind Python's objects with `{word}`"));
        }
    }

    /// Looks for functions in the layers of a Keras model, in HDF5 as in nothing else.
    pub(super) fn keras(&mut self, content: &dyn Content, within: &[String]) -> io::Result<()> {
        let found = self.search(content, within, has_lambda)?;
        if found {
            self.code(Danger::Dangerous, within, LAMBDA);
        }
        Ok(())
    }

    /// Looks for tensors that an ONNX file keeps in files outside its folder (`TensorProto.external_data`).
    pub(super) fn onnx(&mut self, content: &dyn Content, within: &[String]) -> io::Result<()> {
        let found = self.search(content, within, names_other_folder)?;
        if found {
            self.code(Danger::Suspicious, within, "tensors of the ONNX file are to be read from outside its folder");
        }
        Ok(())
    }

    fn search(&mut self, content: &dyn Content, within: &[String], has: impl Fn(&[u8]) -> bool) -> io::Result<bool> {
        let end = content.length().min(MAX_SEARCHED);
        let mut at = 0;
        while at < end {
            let piece = content.read(at..end.min(at + PIECE + OVERLAP))?;
            if has(&piece) {
                return Ok(true);
            }
            at += PIECE;
        }
        if content.length() > end {
            self.stopped(within, "only its first 4 GiB were searched");
        }
        Ok(false)
    }
}

const LAMBDA: &str = "a Keras Lambda layer, which runs code of the file";

fn has_lambda(bytes: &[u8]) -> bool {
    let dense: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    contains(&dense, b"\"class_name\":\"Lambda\"")
}

/// Finds `StringStringEntryProto { key: "location", value: PATH }` whose path leaves the folder.
fn names_other_folder(bytes: &[u8]) -> bool {
    const KEY: &[u8] = b"\x0a\x08location\x12";
    let outside = bytes.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).try_for_each(|(at, _)| {
        let mut rest = &bytes[at + KEY.len()..];
        let mut length = 0_usize;
        for shift in [0, 7, 14] {
            let Some((byte, after)) = rest.split_first() else { break };
            rest = after;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let path = String::from_utf8_lossy(&rest[..length.min(rest.len())]).replace('\\', "/");
        let leaves = path.starts_with('/') || path.split('/').any(|part| part == "..") || path.get(1..2) == Some(":");
        if leaves { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    outside.is_break()
}

fn escape(text: &str) -> Option<&'static str> {
    if !text.contains("{%") && !text.contains("{{") {
        return None;
    }
    let dense: String = text.chars().filter(|char| !char.is_whitespace()).collect();
    ESCAPES.into_iter().find(|word| dense.contains(word))
}

/// Walks JSON without building it.
struct Names<'a> {
    found: &'a mut Found,
    key: Option<&'a str>,
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "auto_map" => self.found.custom = Some("auto_map"),
                "custom_pipelines" => self.found.custom = Some("custom_pipelines"),
                _ => {}
            }
            map.next_value_seed(Names { found: &mut *self.found, key: Some(&key) })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Names { found: &mut *self.found, key: None })?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        match self.key {
            Some("class_name") if text == "Lambda" => self.found.lambda = true,
            // Keras makes what `module` and `class_name` name, whatever they name (CVE-2025-1550).
            Some("module") if !text.starts_with("builtins") && names::is_harmful(text) => {
                self.found.module = Some(text.chars().take(100).collect());
            }
            _ => {}
        }
        if self.found.escape.is_none() {
            self.found.escape = escape(text);
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
