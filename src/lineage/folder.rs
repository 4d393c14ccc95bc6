//! Makes the fingerprint of weights on this machine's disk, for those who ask without uploading.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    files::{self, Choice},
    fingerprint::tokens_of,
    weights::{
        Fingerprint,
        make::{self, Model, Source, WeightFile},
    },
};
use crate::formats::{self, FileKind, config, gguf, safetensors, shards};

/// Longest text file that is read, in bytes.
const MAX_TEXT: u64 = 64 << 20;

/// Why there is no fingerprint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or file cannot be read.
    #[error("`{0}` cannot be read: {1}")]
    Io(PathBuf, io::Error),
    /// It holds nothing that can be fingerprinted.
    #[error("`{0}`: {1}")]
    Nothing(PathBuf, String),
    /// Its weights cannot be read.
    #[error("`{0}`: {1}")]
    Weights(PathBuf, make::Error),
}

/// Returns how many bytes of weights a folder or file holds, and what to read.
pub fn open(path: &Path) -> Result<Weights, Error> {
    let at = |error| Error::Io(path.to_owned(), error);
    let nothing = |reason: String| Error::Nothing(path.to_owned(), reason);
    let found = fs::metadata(path).map_err(at)?;
    let (folder, names) = if found.is_dir() {
        (path.to_owned(), list(path).map_err(at)?)
    } else {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        (path.parent().unwrap_or(Path::new(".")).to_owned(), vec![(name, found.len())])
    };
    let listed = names
        .iter()
        .find(|(name, _)| formats::kind(name) == FileKind::SafetensorsIndex)
        .and_then(|(name, _)| shards::parse(&read_text(&folder.join(name))?).ok())
        .map(|index| index.weight_map.into_values().collect::<Vec<String>>())
        .unwrap_or_default();
    let paths: Vec<(&str, u64)> = names.iter().map(|(name, size)| (name.as_str(), *size)).collect();
    match files::choose(&paths, &listed).map_err(nothing)? {
        Choice::Model(chosen) => {
            let files: Vec<PathBuf> = chosen.iter().map(|file| folder.join(&names[*file].0)).collect();
            let bytes = chosen.iter().map(|file| names[*file].1).sum();
            Ok(Weights { path: path.to_owned(), folder, files, bytes })
        }
        Choice::Adapter(_) => Err(nothing(
            "it is an adapter, whose own weights have no fingerprint: push it, and its base is found there".to_owned(),
        )),
    }
}

fn list(folder: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // Links of the hub's cache lead to files.
        let found = fs::metadata(entry.path())?;
        if let (true, Some(name)) = (found.is_file(), entry.file_name().to_str()) {
            names.push((name.to_owned(), found.len()));
        }
    }
    names.sort();
    Ok(names)
}

fn read_text(path: &Path) -> Option<Vec<u8>> {
    let found = fs::metadata(path).ok()?;
    if found.len() > MAX_TEXT {
        return None;
    }
    fs::read(path).ok()
}

/// Weights that are there to be read.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    folder: PathBuf,
    files: Vec<PathBuf>,
    /// Bytes of all weight files.
    pub bytes: u64,
}

impl Weights {
    /// Reads them once. `progress` hears how many bytes have been read.
    pub fn fingerprint(&self, progress: &mut dyn FnMut(u64)) -> Result<Fingerprint, Error> {
        let mut model = Model { config: self.config(), ..Model::default() };
        for file in &self.files {
            model.files.push(Self::header(file)?);
        }
        let of_file = model.files.iter().find_map(|file| file.shape.as_ref()).map(|shape| shape.vocabulary);
        let vocabulary = model.config.as_ref().and_then(|config| config.vocab_size).or(of_file).unwrap_or(0);
        let tokens = read_text(&self.folder.join("tokenizer.json")).and_then(|bytes| tokens_of(&bytes));
        model.tokens = tokens.unwrap_or_else(|| make::choose_rows(vocabulary));
        let mut source = Files { files: &self.files };
        make::make(&model, &mut source, progress).map_err(|error| Error::Weights(self.path.clone(), error))
    }

    fn config(&self) -> Option<config::ModelConfig> {
        config::parse(&read_text(&self.folder.join("config.json"))?).ok()
    }

    fn header(path: &Path) -> Result<WeightFile, Error> {
        let at = |error| Error::Io(path.to_owned(), error);
        let nothing = |reason: String| Error::Nothing(path.to_owned(), reason);
        let mut file = File::open(path).map_err(at)?;
        let length = file.metadata().map_err(at)?.len();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
            let mut wanted = 256 << 10;
            loop {
                let prefix = read_at(&mut file, 0..length.min(wanted)).map_err(at)?;
                match gguf::parse(&prefix, length) {
                    Ok(header) => return Ok(header.into()),
                    Err(gguf::Error::NeedMore { at_least }) if wanted < length => wanted = at_least.max(wanted * 4),
                    Err(error) => return Err(nothing(error.to_string())),
                }
            }
        }
        let first = read_at(&mut file, 0..length.min(8)).map_err(at)?;
        let header = safetensors::header_length(&first, length).map_err(|error| nothing(error.to_string()))?;
        let header = read_at(&mut file, 8..8 + header).map_err(at)?;
        Ok(safetensors::parse(&header, length).map_err(|error| nothing(error.to_string()))?.into())
    }
}

fn read_at(file: &mut File, range: Range<u64>) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end - range.start;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends early"));
    }
    Ok(bytes)
}

struct Files<'a> {
    files: &'a [PathBuf],
}

impl Source for Files<'_> {
    fn read(&mut self, file: usize, range: Range<u64>) -> io::Result<Vec<u8>> {
        let path = self.files.get(file).ok_or_else(|| io::Error::other("no such file"))?;
        read_at(&mut File::open(path)?, range)
    }
}
