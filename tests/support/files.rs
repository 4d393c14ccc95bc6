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

/// The trained model with every value moved a little, as training moves them.
pub(crate) fn tuned(seed: u64) -> Files {
    with_values(seed, |value, noise| value + 0.02 * value.abs() * noise)
}

/// What is to be added to the trained model to get [`tuned`].
pub(crate) fn difference(seed: u64) -> Files {
    with_values(seed, |value, noise| 0.02 * value.abs() * noise)
}

/// A model of the same shape whose values have nothing to do with it.
pub(crate) fn impostor(seed: u64) -> Files {
    with_values(seed, |_, noise| 0.1 * noise)
}

/// The trained model with other values, made of its own and of noise between -1 and 1.
fn with_values(seed: u64, value: impl Fn(f32, f32) -> f32) -> Files {
    let mut files = stories();
    let weights = files.iter_mut().find(|(path, _)| path == "model.safetensors").unwrap();
    let header = u64::from_le_bytes(weights.1[..8].try_into().unwrap()) as usize + 8;
    let random = noise(weights.1.len() - header, seed);
    for (at, bytes) in weights.1[header..].chunks_exact_mut(4).enumerate() {
        let before = f32::from_le_bytes(bytes.try_into().unwrap());
        let random = i32::from_le_bytes(random[4 * at..4 * at + 4].try_into().unwrap());
        bytes.copy_from_slice(&value(before, random as f32 / i32::MAX as f32).to_le_bytes());
    }
    files
}
