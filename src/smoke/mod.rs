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
mod feed;
pub mod gate;
mod record;
mod report;
mod sandbox;
pub mod statistics;
mod wire;

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

pub use feed::{Remote, Weights};
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
    /// The weights could not be read for it.
    #[error("the weights cannot be read: {0}")]
    Weights(String),
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
    /// Weights that are not in the folders, which the child reads through this process.
    pub remote: Option<Remote>,
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
        Self {
            limits,
            level,
            base: None,
            remote: None,
            record: None,
            relation: None,
            program: None,
            input_ids: None,
            dir,
        }
    }

    /// The same, on or against a base: both are read.
    #[must_use]
    pub fn with_base(mut self, base: impl Into<PathBuf>) -> Self {
        self.base = Some(base.into());
        self.sized()
    }

    /// The same, with weights that are elsewhere.
    #[must_use]
    pub fn with_weights(mut self, remote: Remote) -> Self {
        self.remote = Some(remote);
        self.sized()
    }

    fn sized(mut self) -> Self {
        let folders = [Some(&self.dir), self.base.as_ref()];
        let bytes = folders.into_iter().flatten().map(|dir| bytes_in(dir)).fold(0, u64::saturating_add);
        let bytes = bytes.saturating_add(self.remote.as_ref().map_or(0, Remote::bytes));
        (self.limits, self.level) = (Limits::for_bytes(bytes), level_for_bytes(bytes));
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
    let (feeding, stdin) = feed(input).map_err(Error::Start)?.unzip();
    let request = sandbox::Request::new(&dir, base.as_deref(), input, stdin);
    let level = input.level;
    let cancel = CancelOnDrop(Arc::new(AtomicBool::new(false)));
    let cancelled = Arc::clone(&cancel.0);
    // One blocking thread starts the child and waits for it: the kernel ends the child when that thread ends.
    let supervised = tokio::task::spawn_blocking(move || sandbox::supervise(request, &cancelled)).await;
    let outcome = supervised.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(Error::Start)?;
    if let Some(feeding) = feeding {
        feeding.await.map_err(|error| Error::Weights(error.to_string()))?.map_err(Error::Weights)?;
    }
    Ok(collect::report(level, &outcome))
}

/// The conversation with the child; its error says why weights could not be read.
type Feeding = JoinHandle<Result<(), String>>;

/// Begins the conversation with the child, if there is something to say; returns the child's end of it.
fn feed(input: &Input) -> io::Result<Option<(Feeding, OwnedFd)>> {
    let files = input.remote.as_ref().map(|remote| remote.files.clone()).unwrap_or_default();
    let hello = wire::Hello { record: input.record.clone(), files };
    if hello.is_empty() {
        return Ok(None);
    }
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let ours = tokio::net::UnixStream::from_std(ours)?;
    let weights = input.remote.as_ref().map(|remote| Arc::clone(&remote.weights));
    Ok(Some((tokio::spawn(feed::serve(ours, hello, weights)), theirs.into())))
}

struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
