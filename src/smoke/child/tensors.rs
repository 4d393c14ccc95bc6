//! The tensors of a folder: where they lie, and their bytes in pieces.

use std::{
    collections::BTreeMap,
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    folder::{Folder, Source},
    stored::Stored,
};
use crate::{
    formats::{TensorEntry, gguf, safetensors},
    smoke::statistics::Stats,
};

/// A tensor and the file that holds it.
#[derive(Debug)]
pub(super) struct Place {
    file: usize,
    pub(super) entry: TensorEntry,
}

/// All tensors of a model, by name.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    files: Vec<(String, Source)>,
    table: BTreeMap<String, Place>,
    bytes_read: AtomicU64,
}

impl Tensors {
    /// Parses a safetensors file's header and adds its tensors; returns them.
    pub(super) fn add_safetensors(&mut self, dir: &Folder, name: &str) -> Result<Vec<TensorEntry>, String> {
        let (file, entries) = read_safetensors(dir, name)?;
        self.add(name, file, entries)
    }

    /// Parses a GGUF header and adds its tensors.
    pub(super) fn add_gguf(&mut self, dir: &Folder, name: &str) -> Result<gguf::Header, String> {
        let (file, header) = read_gguf(dir, name)?;
        self.add(name, file, header.tensors.clone())?;
        Ok(header)
    }

    fn add(&mut self, name: &str, file: Source, entries: Vec<TensorEntry>) -> Result<Vec<TensorEntry>, String> {
        let index = self.files.len();
        self.files.push((name.to_owned(), file));
        for entry in &entries {
            let place = Place { file: index, entry: entry.clone() };
            if let Some(first) = self.table.insert(entry.name.clone(), place) {
                let other = &self.files[first.file].0;
                return Err(format!("tensor `{}` is in `{other}` and in `{name}`", entry.name));
            }
        }
        Ok(entries)
    }

    pub(super) fn get(&self, name: &str) -> Option<&TensorEntry> {
        self.table.get(name).map(|place| &place.entry)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &TensorEntry> {
        self.table.values().map(|place| &place.entry)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Number of elements of all tensors.
    pub(super) fn parameters(&self) -> u64 {
        self.iter().fold(0, |sum, entry| sum.saturating_add(entry.elements()))
    }

    /// Number of bytes of all tensors.
    pub(super) fn bytes(&self) -> u64 {
        self.iter().fold(0, |sum, entry| sum.saturating_add(entry.end - entry.start))
    }

    /// Takes tensors of a file in the place of those of other names: `replaced` gives target and source.
    pub(super) fn replace(
        &mut self,
        dir: &Folder,
        file: &str,
        replaced: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        if replaced.is_empty() {
            return Ok(());
        }
        let (handle, entries) = read_safetensors(dir, file)?;
        let index = self.files.len();
        self.files.push((file.to_owned(), handle));
        for (target, source) in replaced {
            if let Some(entry) = entries.iter().find(|entry| entry.name == *source) {
                let entry = TensorEntry { name: target.clone(), ..entry.clone() };
                self.table.insert(target.clone(), Place { file: index, entry });
            }
        }
        Ok(())
    }

    /// Gives tensors other names; what the map does not know keeps its own.
    pub(super) fn rename(&mut self, rename: impl Fn(&str) -> Option<String>) {
        let old = std::mem::take(&mut self.table);
        for (name, mut place) in old {
            let name = rename(&name).unwrap_or(name);
            place.entry.name.clone_from(&name);
            self.table.insert(name, place);
        }
    }

    /// Fills `bytes` with stored rows of `cols` numbers; a tensor that has no such rows is an error.
    pub(super) fn read_rows(
        &self,
        entry: &TensorEntry,
        stored: Stored,
        row: usize,
        rows: usize,
        cols: usize,
        bytes: &mut Vec<u8>,
    ) -> io::Result<()> {
        let width = stored.bytes(cols);
        let (start, length) = (row.checked_mul(width), rows.checked_mul(width));
        let (Some(start), Some(length)) = (start, length) else { return Err(io::ErrorKind::InvalidInput.into()) };
        let end = (start as u64).saturating_add(length as u64);
        if end > entry.end - entry.start || (width == 0 && cols > 0) {
            return Err(io::Error::other(format!("tensor `{}` has no {rows} rows from {row} on", entry.name)));
        }
        bytes.resize(length, 0);
        self.read(entry, start as u64, bytes)
    }

    /// What was summed of a tensor's values while its file was uploaded.
    pub(super) fn statistics(&self, entry: &TensorEntry) -> Option<&Stats> {
        let place = self.table.get(&entry.name)?;
        self.files[place.file].1.statistics(entry.start)
    }

    /// Bytes of weights that were read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Fills `buffer` with a tensor's bytes from `offset` on, which the caller has checked to be in the tensor.
    pub(super) fn read(&self, entry: &TensorEntry, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let place = self.table.get(&entry.name).ok_or(io::ErrorKind::NotFound)?;
        self.bytes_read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.files[place.file].1.read_exact_at(buffer, entry.start + offset)
    }
}

/// Parses the header of a safetensors file.
pub(super) fn read_safetensors(dir: &Folder, name: &str) -> Result<(Source, Vec<TensorEntry>), String> {
    let explain = |error: &dyn std::fmt::Display| format!("`{name}`: {error}");
    let file = dir.open(name).map_err(|error| explain(&error))?;
    let length = file.length();
    let first = file.read(0, length.min(8)).map_err(|error| explain(&error))?;
    let header = safetensors::header_length(&first, length).map_err(|error| explain(&error))?;
    let bytes = file.read(8, header).map_err(|error| explain(&error))?;
    let header = safetensors::parse(&bytes, length).map_err(|error| explain(&error))?;
    Ok((file, header.tensors))
}

fn read_gguf(dir: &Folder, name: &str) -> Result<(Source, gguf::Header), String> {
    let explain = |error: &dyn std::fmt::Display| format!("`{name}`: {error}");
    let file = dir.open(name).map_err(|error| explain(&error))?;
    let length = file.length();
    let mut wanted = length.min(1 << 20);
    loop {
        let prefix = file.read(0, wanted).map_err(|error| explain(&error))?;
        match gguf::parse(&prefix, length) {
            Ok(header) => return Ok((file, header)),
            Err(gguf::Error::NeedMore { at_least }) if wanted < length.min(gguf::MAX_HEADER) => {
                wanted = at_least.max(wanted * 4).min(length).min(gguf::MAX_HEADER);
            }
            Err(error) => return Err(explain(&error)),
        }
    }
}
