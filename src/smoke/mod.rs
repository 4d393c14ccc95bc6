//! Does the model run at all: a confined child process loads it, checks it and generates.
//!
//! [`run`] is the parent's side: it starts `herdbook smoke-child` on a folder, watches it and puts its lines together
//! into a [`Report`]. Whatever happens to the child, the parent survives and says so: a crash, a time-out or a lack of
//! memory ends in the verdict `error` with the cause, which is no statement about the model.
//!
//! The child's side is [`child`]; only there is candle used, and only there are untrusted bytes interpreted.

pub mod child;
mod collect;
pub mod db;
pub mod gate;
mod record;
mod report;
mod sandbox;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use record::{Kept, Record};
pub(crate) use report::Line;
pub use report::{Check, Relation, Report, Stage, Status, conclude};

/// The deepest level there is.
pub const MAX_LEVEL: u8 = 4;

/// The level for weights of this many bytes: all of it for small models, which write in seconds; of large ones the
/// likelihood of a text, of the largest a short forward pass.
pub fn level_for_bytes(bytes: u64) -> u8 {
    match bytes >> 30 {
        0..2 => 4,
        2..24 => 3,
        _ => 2,
    }
}

/// A way in which a smoke test cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such folder.
    #[error("folder `{path}` cannot be read: {reason}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// The child could not be started.
    #[error("the smoke test's child process cannot be started: {0}")]
    Start(io::Error),
}

/// What a child may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Private writable memory in bytes.
    pub memory: u64,
    /// CPU time of all threads.
    pub cpu: Duration,
    /// Time on the wall clock.
    pub wall: Duration,
    /// Threads that compute.
    pub threads: usize,
}

impl Limits {
    /// Returns limits for weights of this many bytes: reading alone takes time.
    pub fn for_bytes(bytes: u64) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let wall = Duration::from_secs(120 + bytes / (20 << 20));
        let cpu = wall.saturating_mul(u32::try_from(threads).unwrap_or(1));
        Self { memory: 4 << 30, cpu, wall, threads }
    }

    /// Returns limits for the files in a folder.
    pub fn for_folder(dir: &Path) -> Self {
        Self::for_bytes(bytes_in(dir))
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let entries = dir.read_dir().into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.path().metadata().ok()).map(|data| data.len()).sum()
}

/// What to test and how.
#[derive(Debug, Clone)]
pub struct Input {
    /// The folder with the model's files.
    pub dir: PathBuf,
    /// The folder of its base: adapters and differences are laid over it, other models compared with it.
    pub base: Option<PathBuf>,
    /// What an earlier run kept of the base, instead of running it again.
    pub record: Option<Record>,
    /// How the model relates to its base, which decides how far it may be from it.
    pub relation: Option<Relation>,
    /// The deepest level, 0 to 4.
    pub level: u8,
    /// What the child may use.
    pub limits: Limits,
    /// The `herdbook` binary; `None`: this process's own.
    pub program: Option<PathBuf>,
    /// Tokens to run through the model instead of the built-in text, returning their logits.
    pub input_ids: Option<Vec<u32>>,
}

impl Input {
    /// Tests a folder as every upload is tested.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let bytes = bytes_in(&dir);
        let (limits, level) = (Limits::for_bytes(bytes), level_for_bytes(bytes));
        Self { limits, level, base: None, record: None, relation: None, program: None, input_ids: None, dir }
    }

    /// The same, on or against a base: both are read.
    #[must_use]
    pub fn with_base(mut self, base: impl Into<PathBuf>) -> Self {
        let base = base.into();
        let bytes = bytes_in(&self.dir).saturating_add(bytes_in(&base));
        (self.limits, self.level) = (Limits::for_bytes(bytes), level_for_bytes(bytes));
        self.base = Some(base);
        self
    }
}

/// Logits of a forward pass: one row per position.
pub type Logits = Vec<Vec<f32>>;

/// Runs the smoke test on a folder and returns what it found.
///
/// Dropping the future ends the child.
pub async fn run(input: &Input) -> Result<Report, Error> {
    run_with_logits(input).await.map(|(report, _)| report)
}

/// Like [`run`], with the logits of [`Input::input_ids`] where the model was run on them.
pub async fn run_with_logits(input: &Input) -> Result<(Report, Logits), Error> {
    let open = |path: &PathBuf| {
        let dir = path.canonicalize().and_then(|dir| dir.read_dir().map(|_| dir));
        dir.map_err(|reason| Error::Folder { path: path.clone(), reason })
    };
    let dir = open(&input.dir)?;
    let base = input.base.as_ref().map(open).transpose()?;
    let request = sandbox::Request::new(&dir, base.as_deref(), input);
    let level = input.level;
    let cancel = CancelOnDrop(Arc::new(AtomicBool::new(false)));
    let cancelled = Arc::clone(&cancel.0);
    // One blocking thread starts the child and waits for it: the kernel ends the child when that thread ends.
    let supervised = tokio::task::spawn_blocking(move || sandbox::supervise(&request, &cancelled)).await;
    let outcome = supervised.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Error::Start)?;
    Ok(collect::report(level, &outcome))
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
