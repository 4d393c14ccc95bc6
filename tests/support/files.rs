//! Small models to publish.

use std::{fs, path::Path};

use serde_json::json;

use super::http::Files;

/// The trained model of the fixtures.
pub(crate) fn stories() -> Files {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stories260K");
    let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Files = names.map(|name| (name.clone(), fs::read(folder.join(&name)).unwrap())).collect();
    files.sort();
    files
}

/// A model that consists of a card with this front matter.
pub(crate) fn card(front_matter: &str) -> Files {
    vec![file("README.md", format!("---\n{front_matter}\n---\n# A model\n"))]
}

/// One file.
pub(crate) fn file(path: &str, content: impl Into<Vec<u8>>) -> (String, Vec<u8>) {
    (path.to_owned(), content.into())
}

/// A safetensors file with one tensor of F32 zeros that says to have this shape.
pub(crate) fn safetensors(shape: &[u64], data: &[u8]) -> Vec<u8> {
    let elements: u64 = shape.iter().product();
    let header = json!({ "w": { "dtype": "F32", "shape": shape, "data_offsets": [0, elements * 4] } }).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// Bytes that do not repeat and do not compress; the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}
