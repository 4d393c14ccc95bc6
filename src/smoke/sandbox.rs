//! Starts the child, reads what it says up to a cap, and ends it when its time is up.
//!
//! The child confines itself (`child/confine.rs`) before it opens a file; what is enforced here needs no trust in it:
//! the wall clock, the length of its output, an empty environment.

use std::{
    ffi::OsString,
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::process::{CommandExt, ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::Input;

const STDOUT_CAP: usize = 2 * 1024 * 1024;
const STDERR_CAP: usize = 64 * 1024;
/// Cap when logits were asked for, which are text on the same pipe.
const LOGITS_CAP: usize = 1024 * 1024 * 1024;
const POLL: Duration = Duration::from_millis(5);

/// A child to start.
pub(super) struct Request {
    program: PathBuf,
    arguments: Vec<OsString>,
    stdin: Option<OwnedFd>,
    threads: usize,
    wall: Duration,
    stdout_cap: usize,
}

impl Request {
    /// Prepares the child for an input; `dir` and `base` are its folders as absolute paths, `stdin` its end
    /// of the conversation with its parent.
    pub(super) fn new(dir: &Path, base: Option<&Path>, input: &Input, stdin: Option<OwnedFd>) -> Self {
        // The link leads to the running binary even when its file was replaced by an upgrade.
        let program = input.program.clone().unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
        let limits = &input.limits;
        let mut arguments: Vec<OsString> = vec!["smoke-child".into(), dir.into()];
        let mut option = |name: &str, value: String| arguments.extend([name.into(), value.into()]);
        option("--level", input.level.to_string());
        option("--memory", limits.memory.to_string());
        option("--cpu-seconds", limits.cpu.as_secs().max(1).to_string());
        if let Some(ids) = &input.input_ids {
            let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
            option("--input-ids", ids.join(","));
        }
        if let Some(relation) = input.relation {
            option("--relation", relation.as_str().to_owned());
        }
        if let Some(base) = base {
            arguments.extend(["--base".into(), base.into()]);
        }
        if stdin.is_some() {
            arguments.push("--fed".into());
        }
        let stdout_cap = if input.input_ids.is_some() { LOGITS_CAP } else { STDOUT_CAP };
        Self { program, arguments, stdin, threads: limits.threads.max(1), wall: limits.wall, stdout_cap }
    }
}

/// Why the parent ended a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Its time on the wall clock was up.
    Timeout,
    /// It wrote more than it may.
    Output,
    /// Nobody waits for it any more.
    Cancelled,
}

/// How a child ended and what it said.
pub(super) struct Outcome {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
    pub(super) exit_code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) stopped: Option<Stopped>,
    pub(super) duration: Duration,
    pub(super) wall: Duration,
}

/// Starts a child and waits for its end, at most as long as the request allows.
pub(super) fn supervise(mut request: Request, cancelled: &AtomicBool) -> io::Result<Outcome> {
    let started = Instant::now();
    let mut child = start(&mut request)?;
    let overflow = Arc::new(AtomicBool::new(false));
    let stdout = child.stdout.take().map(|pipe| read(pipe, request.stdout_cap, Arc::clone(&overflow)));
    let stderr = child.stderr.take().map(|pipe| read(pipe, STDERR_CAP, Arc::new(AtomicBool::new(false))));
    let mut stopped = None;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        stopped = reason_to_stop(started.elapsed() > request.wall, &overflow, cancelled);
        if stopped.is_some() {
            break stop(&mut child)?;
        }
        thread::sleep(POLL);
    };
    if stopped.is_none() && overflow.load(Ordering::Relaxed) {
        stopped = Some(Stopped::Output);
    }
    let stderr = String::from_utf8_lossy(&collected(stderr)).into_owned();
    let (exit_code, signal) = (status.code(), status.signal());
    let duration = started.elapsed();
    Ok(Outcome { stdout: collected(stdout), stderr, exit_code, signal, stopped, duration, wall: request.wall })
}

fn start(request: &mut Request) -> io::Result<Child> {
    let threads = request.threads.to_string();
    Command::new(&request.program)
        .args(&request.arguments)
        .env_clear()
        .env("RAYON_NUM_THREADS", &threads)
        .env("CANDLE_NUM_THREADS", &threads)
        .env("TOKENIZERS_PARALLELISM", "false")
        .env("RUST_BACKTRACE", "0")
        .current_dir("/")
        .stdin(request.stdin.take().map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

fn reason_to_stop(late: bool, overflow: &AtomicBool, cancelled: &AtomicBool) -> Option<Stopped> {
    if cancelled.load(Ordering::Relaxed) {
        return Some(Stopped::Cancelled);
    }
    if overflow.load(Ordering::Relaxed) {
        return Some(Stopped::Output);
    }
    late.then_some(Stopped::Timeout)
}

/// Ends the child and everything that it might have started.
fn stop(child: &mut Child) -> io::Result<ExitStatus> {
    if let Ok(group) = i32::try_from(child.id()) {
        // It may have ended by itself in the meantime; `wait` tells.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    child.wait()
}

/// Reads up to `cap` bytes in a thread of its own, then closes the pipe and raises the flag if there was more.
fn read(mut pipe: impl Read + Send + 'static, cap: usize, overflow: Arc<AtomicBool>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks has simply ended: what came before it counts.
        let _ = pipe.by_ref().take(cap as u64).read_to_end(&mut bytes);
        if bytes.len() == cap && !matches!(pipe.read(&mut [0]), Ok(0)) {
            overflow.store(true, Ordering::Relaxed);
        }
        bytes
    })
}

fn collected(reader: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}

/// Tries to start a process, for the child's proof that it cannot.
pub(super) fn try_to_start_a_process() -> io::Result<()> {
    Command::new("/bin/true").status().map(drop)
}
