//! A model's folder: its small files on disk, its weights beside them or with the parent, who reads them on demand.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::smoke::{
    statistics::{OfFile, Stats},
    wire::{Ask, Hello, Listed, MAX_HELLO, MAX_PIECE},
};

/// Most entries of a folder that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// A folder with a model's files.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    fed: Arc<[Fed]>,
}

impl Folder {
    /// A folder of which all files are on disk, but those that the parent reads.
    pub(super) fn new(path: &Path, parent: Option<&Parent>, is_base: bool) -> Self {
        let fed = parent.map(|parent| parent.files(is_base)).unwrap_or_default();
        Self { path: path.to_owned(), fed: fed.into() }
    }

    /// Lists the names of its files, in order.
    pub(super) fn list(&self) -> Result<Vec<String>, String> {
        let explain = |error: io::Error| format!("the folder cannot be read: {error}");
        let mut names: Vec<String> = self.fed.iter().map(|file| file.name.clone()).collect();
        for entry in self.path.read_dir().map_err(explain)?.take(MAX_ENTRIES) {
            let entry = entry.map_err(explain)?;
            // A link to a file counts, which the hub's local cache is made of.
            if entry.path().is_file() {
                names.extend(entry.file_name().into_string().ok());
            }
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Opens a file.
    pub(super) fn open(&self, name: &str) -> io::Result<Source> {
        if let Some(fed) = self.fed.iter().find(|fed| fed.name == name) {
            return Ok(Source::Fed(fed.clone()));
        }
        let file = File::open(self.path.join(name))?;
        let length = file.metadata()?.len();
        Ok(Source::Disk { file, length })
    }

    /// Reads a whole file of at most `cap` bytes; `None` when there is no such file.
    pub(super) fn read_capped(&self, name: &str, cap: u64) -> Result<Option<Vec<u8>>, String> {
        let explain = |error: io::Error| format!("`{name}`: {error}");
        if !self.fed.iter().any(|fed| fed.name == name) {
            match self.path.join(name).metadata() {
                Ok(data) if data.is_file() => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(explain(error)),
                _ => return Ok(None),
            }
        }
        let source = self.open(name).map_err(explain)?;
        let length = source.length();
        if length > cap {
            return Err(format!("`{name}` has {length} bytes, at most {cap} are read"));
        }
        source.read(0, length).map(Some).map_err(explain)
    }
}

/// A file that can be read anywhere; one that shrinks gives an error, not a signal.
#[derive(Debug)]
pub(super) enum Source {
    /// A file of the folder.
    Disk { file: File, length: u64 },
    /// A file that the parent reads.
    Fed(Fed),
}

impl Source {
    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Disk { length, .. } => *length,
            Self::Fed(fed) => fed.size,
        }
    }

    /// Fills the buffer with what lies at `offset`.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::Disk { file, .. } => file.read_exact_at(buffer, offset),
            Self::Fed(fed) => fed.pipe.read_exact_at(fed.number, buffer, offset),
        }
    }

    /// What was summed at upload of the tensor that begins there.
    pub(super) fn statistics(&self, start: u64) -> Option<&Stats> {
        match self {
            Self::Disk { .. } => None,
            Self::Fed(fed) => fed.statistics.get(&start),
        }
    }

    /// Reads `length` bytes, which the caller has bounded.
    pub(super) fn read(&self, offset: u64, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

/// A file that the parent reads.
#[derive(Debug, Clone)]
pub(super) struct Fed {
    name: String,
    size: u64,
    number: u32,
    statistics: Arc<OfFile>,
    pipe: Arc<Pipe>,
}

/// The parent's end of the conversation, as the child has it.
pub(super) struct Parent {
    pipe: Arc<Pipe>,
    /// What it said first.
    pub(super) hello: Hello,
}

impl Parent {
    /// Listens to the parent on standard input.
    pub(super) fn greet() -> io::Result<Self> {
        let mut socket = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length).min(MAX_HELLO);
        let mut text = Vec::new();
        Read::by_ref(&mut socket).take(length.into()).read_to_end(&mut text)?;
        let hello = serde_json::from_slice(&text)?;
        Ok(Self { pipe: Arc::new(Pipe(Mutex::new(socket))), hello })
    }

    fn files(&self, of_base: bool) -> Vec<Fed> {
        let numbered = (0..).zip(&self.hello.files);
        let wanted = numbered.filter(|(_, file)| file.of_base == of_base);
        let file = |(number, file): (u32, &Listed)| Fed {
            name: file.name.clone(),
            size: file.size,
            number,
            statistics: Arc::new(file.statistics.clone()),
            pipe: Arc::clone(&self.pipe),
        };
        wanted.map(file).collect()
    }
}

/// Asks one question at a time.
#[derive(Debug)]
struct Pipe(Mutex<File>);

impl Pipe {
    fn read_exact_at(&self, file: u32, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut offset = offset;
        for piece in buffer.chunks_mut(usize::try_from(MAX_PIECE).unwrap_or(usize::MAX)) {
            let length = u32::try_from(piece.len()).unwrap_or(MAX_PIECE);
            socket.write_all(&Ask { file, offset, length }.encode())?;
            socket.read_exact(piece)?;
            offset += u64::from(length);
        }
        Ok(())
    }
}
