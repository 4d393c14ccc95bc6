//! Puts the lines of a child together into a report, also of a child that died.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    Check, Line, Logits, Report, Stage, Status,
    sandbox::{Outcome, Stopped},
};

const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;
const PANIC: i32 = 101;

/// Makes the report of a child that ended, in whatever way.
pub(super) fn report(level: u8, outcome: &Outcome) -> (Report, Logits) {
    let duration_ms = u64::try_from(outcome.duration.as_millis()).unwrap_or(u64::MAX);
    let mut report = Report {
        verdict: Status::Error,
        level,
        checks: Vec::new(),
        metrics: Map::new(),
        stages: Vec::new(),
        sample: None,
        record: None,
        environment: environment(),
        cause: None,
        duration_ms,
    };
    let mut logits = Logits::new();
    let mut stage = "start".to_owned();
    let mut ended = false;
    for line in outcome.stdout.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Begin { stage: name }) => stage = name,
            Ok(Line::Stage { name, ms, cpu_ms, checks, metrics }) => {
                report.stages.push(Stage { name, ms, cpu_ms });
                report.checks.extend(checks);
                report.metrics.extend(metrics);
            }
            Ok(Line::Logits { values }) => logits.extend(decode(&values)),
            Ok(Line::Verdict { verdict, sample, record, environment }) => {
                report.verdict = verdict;
                report.sample = sample;
                report.record = record;
                report.environment.extend(environment);
                ended = true;
            }
            Err(_) => {} // A library's own print, or the cut at the cap.
        }
    }
    if !ended || outcome.stopped.is_some() {
        let (cause, detail) = cause(outcome);
        let detail = format!("the run did not end: stage `{stage}` {detail}; this says nothing about the model");
        report.verdict = Status::Error;
        report.checks.push(Check::new("run.completed", 0, Status::Error, detail));
        report.cause = Some(cause.to_owned());
        report.environment.insert("cause".to_owned(), cause.into());
    }
    (report, logits)
}

fn decode(values: &str) -> Option<Vec<f32>> {
    let bytes = STANDARD.decode(values).ok()?;
    Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Tells why a child gave no verdict, as a word and in a sentence's second half.
fn cause(outcome: &Outcome) -> (&'static str, String) {
    let seconds = outcome.wall.as_secs_f32();
    match outcome.stopped {
        Some(Stopped::Timeout) => return ("timeout", format!("was stopped after {seconds} s")),
        Some(Stopped::Output) => return ("crash", "wrote more than it may".to_owned()),
        Some(Stopped::Cancelled) => return ("cancelled", "was stopped because nobody waited for it".to_owned()),
        None => {}
    }
    let said = last_words(&outcome.stderr);
    match (outcome.exit_code, outcome.signal) {
        (Some(PANIC), _) => ("engine_panic", format!("panicked: {said}")),
        (_, Some(SIGABRT)) if outcome.stderr.contains("memory allocation of") => {
            ("memory_exceeded", format!("asked for more memory than it may use: {said}"))
        }
        (_, Some(SIGXCPU)) => ("cpu_exceeded", "used more CPU time than it may".to_owned()),
        (_, Some(SIGKILL)) => ("crash", "was killed from outside, perhaps for lack of memory".to_owned()),
        (_, Some(signal)) => ("crash", format!("crashed with signal {signal}: {said}")),
        (code, None) => ("crash", format!("ended with exit code {} and no verdict: {said}", code.unwrap_or(-1))),
    }
}

fn last_words(stderr: &str) -> String {
    let lines = stderr.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("note: "));
    let text: Vec<&str> = lines.take(4).collect();
    text.join(" ").chars().take(300).collect()
}

fn environment() -> Map<String, Value> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|(_, name)| name);
    Map::from_iter([
        ("engine".to_owned(), "herdbook".into()),
        ("version".to_owned(), env!("CARGO_PKG_VERSION").into()),
        ("cpu".to_owned(), cpu.unwrap_or(std::env::consts::ARCH).into()),
    ])
}
