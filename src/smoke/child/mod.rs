//! The child's side: confines itself, reads the folder, checks it, runs the model, prints lines.
//!
//! Nothing here is trusted to end: the parent survives every way in which this can go wrong. Only here is candle used.

mod adapter;
mod confine;
mod decoder;
mod drift;
mod files;
mod folder;
mod generate;
mod gguf;
mod headers;
mod judge;
mod overlay;
mod plan;
mod probe;
mod probe_text;
mod scan;
mod stored;
mod template;
mod tensors;
mod text;
mod trial;

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
    time::Instant,
};

use serde_json::{Map, Value};

use super::{Check, Line, Record, Relation, Status, conclude};
use folder::Parent;
pub use probe::Probe;

/// What the parent asks of its child.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder with the model's files, as an absolute path.
    pub dir: PathBuf,
    /// The folder of the base that it is laid over or compared with.
    pub base: Option<PathBuf>,
    /// How it relates to its base.
    pub relation: Option<Relation>,
    /// Whether the parent is on standard input, with what it knows and weights that it reads.
    pub fed: bool,
    /// The deepest level.
    pub level: u8,
    /// Private writable memory in bytes.
    pub memory: u64,
    /// CPU time in seconds.
    pub cpu_seconds: u64,
    /// Tokens whose logits are wanted.
    pub input_ids: Option<Vec<u32>>,
    /// Tries to break out instead of testing.
    pub probe: Option<Probe>,
}

/// Confines this process, then tests the folder and prints what it finds, one JSON object per line.
///
/// An error means that the process could not be confined: it has not touched the folder then.
pub fn run(options: &Options) -> Result<(), String> {
    let status = File::open("/proc/self/status").ok();
    let rights = confine::Rights {
        dir: &options.dir,
        base: options.base.as_deref(),
        memory: options.memory,
        cpu_seconds: options.cpu_seconds,
    };
    let landlock = confine::confine(&rights)?;
    if let Some(probe) = options.probe {
        let said = probe::attempt(probe, &options.dir);
        return writeln!(io::stdout(), "{said}").map_err(|error| error.to_string());
    }
    let mut run = Run::default();
    run.environment.insert("landlock".to_owned(), landlock.into());
    run.environment.insert("seccomp".to_owned(), "enforced".into());
    let parent = if options.fed {
        Some(Parent::greet().map_err(|error| format!("the parent says nothing: {error}"))?)
    } else {
        None
    };
    trial::run(&mut run, options, parent);
    run.finish(status.as_ref());
    Ok(())
}

/// The run as it goes on: prints each stage as it ends.
#[derive(Default)]
struct Run {
    checks: Vec<Check>,
    stage: Option<Open>,
    environment: Map<String, Value>,
    sample: Option<String>,
    record: Option<Record>,
    /// Bytes of weights that were read.
    bytes_read: u64,
    /// The weights are those of the base.
    same_weights: bool,
    /// Prints nothing: of a base, only what is found counts.
    silent: bool,
}

/// The stage that is going on.
struct Open {
    name: &'static str,
    level: u8,
    started: Instant,
    first_check: usize,
    metrics: Map<String, Value>,
    cpu_ms: u64,
}

impl Run {
    /// Begins a stage, ending the one before.
    fn begin(&mut self, name: &'static str, level: u8) {
        self.end();
        if !self.silent {
            print(&Line::Begin { stage: name.to_owned() });
        }
        let first_check = self.checks.len();
        self.stage =
            Some(Open { name, level, started: Instant::now(), first_check, metrics: Map::new(), cpu_ms: cpu_ms() });
    }

    fn end(&mut self) {
        let Some(stage) = self.stage.take() else { return };
        let ms = u64::try_from(stage.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let checks = self.checks[stage.first_check..].to_vec();
        if !self.silent {
            let cpu_ms = cpu_ms().saturating_sub(stage.cpu_ms);
            print(&Line::Stage { name: stage.name.to_owned(), ms, cpu_ms, checks, metrics: stage.metrics });
        }
    }

    fn check(&mut self, id: &str, status: Status, detail: impl Into<String>) {
        let level = self.stage.as_ref().map_or(0, |stage| stage.level);
        self.checks.push(Check::new(id, level, status, detail));
    }

    fn metric(&mut self, name: &str, value: impl Into<Value>) {
        if let Some(stage) = &mut self.stage {
            stage.metrics.insert(name.to_owned(), value.into());
        }
    }

    fn failed(&self) -> bool {
        self.checks.iter().any(|check| check.status == Status::Failed)
    }

    fn finish(mut self, status: Option<&File>) {
        self.begin("finish", 0);
        if let Some(peak) = status.and_then(peak_memory) {
            self.metric("peak_memory_bytes", peak);
        }
        self.metric("cpu_ms", cpu_ms());
        self.metric("bytes_read", self.bytes_read);
        self.metric("calibration_gflops", calibrate());
        self.end();
        let verdict = conclude(&self.checks);
        print(&Line::Verdict { verdict, sample: self.sample, record: self.record, environment: self.environment });
    }
}

/// CPU time of all threads so far, in milliseconds.
fn cpu_ms() -> u64 {
    let Ok(usage) = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF) else { return 0 };
    let (user, system) = (usage.user_time(), usage.system_time());
    let total = (user.tv_sec() + system.tv_sec()) * 1000 + (user.tv_usec() + system.tv_usec()) / 1000;
    u64::try_from(total).unwrap_or(0)
}

/// Multiplies matrices for a moment: what this machine does in a second, to compare times between machines by.
fn calibrate() -> f64 {
    const SIDE: usize = 256;
    let product = || -> candle_core::Result<f64> {
        let a = candle_core::Tensor::ones((SIDE, SIDE), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        let began = Instant::now();
        let mut rounds = 0_u32;
        while began.elapsed().as_millis() < 20 {
            a.matmul(&a)?;
            rounds += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "a figure of three digits")]
        let operations = 2.0 * (SIDE * SIDE * SIDE) as f64 * f64::from(rounds);
        Ok((operations / began.elapsed().as_secs_f64() / 1e8).round() / 10.0)
    };
    product().unwrap_or(0.0)
}

/// Writes a line; a parent that no longer listens is about to end this process anyway.
fn print(line: &Line) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        let _ = io::stdout().write_all(&text);
        let _ = io::stdout().flush();
    }
}

/// Reads the high-water mark of resident memory, in bytes.
fn peak_memory(status: &File) -> Option<u64> {
    let mut text = vec![0; 16 * 1024];
    let length = status.read_at(&mut text, 0).ok()?;
    let text = String::from_utf8_lossy(&text[..length]).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
