//! Shapes a stored smoke test into what people read: a sentence, levels, figures beside the base's, times.

use serde_json::Value;

use super::{
    activations::{self, Chart},
    format::{self, Mark},
    smoke_words as words,
};
use crate::smoke::{Check, Stage, Status, db::StoredReport};

/// Checks that are named below a verdict.
const MOST_DECIDING: usize = 5;

/// A run as its page shows it.
pub(super) struct Run {
    pub(super) id: i64,
    pub(super) commit: String,
    pub(super) short: String,
    pub(super) mark: Mark,
    /// HTML.
    pub(super) sentence: String,
    /// What decided where it did not pass: the matter, and what was found, as HTML.
    pub(super) decided: Vec<(String, String)>,
    pub(super) age: String,
    pub(super) levels: Vec<Level>,
    pub(super) sample: Option<String>,
    /// What it was tested on or compared with, where the visitor may see it.
    pub(super) base: Option<String>,
    pub(super) has_base: bool,
    pub(super) figures: Vec<Figure>,
    pub(super) chart: Option<Chart>,
    pub(super) stages: Vec<StageRow>,
    pub(super) facts: Vec<(&'static str, String)>,
}

/// The checks of a level.
pub(super) struct Level {
    pub(super) number: usize,
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    /// `9 passed, 1 skipped`.
    pub(super) tally: String,
    /// There is something to look at.
    pub(super) is_open: bool,
    /// Why nothing was checked.
    pub(super) nothing: Option<String>,
    pub(super) checks: Vec<CheckRow>,
}

pub(super) struct CheckRow {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) mark: Mark,
    /// HTML.
    pub(super) detail: String,
    pub(super) bounds: &'static str,
}

/// A number, and the base's.
pub(super) struct Figure {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) base: String,
    pub(super) meaning: &'static str,
}

pub(super) struct StageRow {
    pub(super) name: String,
    pub(super) wall: String,
    pub(super) cpu: String,
    /// Percent of the longest.
    pub(super) share: u64,
}

/// A run in a list.
pub(super) struct RunRow {
    pub(super) id: i64,
    pub(super) commit: String,
    pub(super) mark: Mark,
    pub(super) at: String,
    pub(super) level: i32,
    /// What decided, in a few words.
    pub(super) because: String,
    pub(super) duration: String,
}

/// Shapes a run.
pub(super) fn shape(report: StoredReport) -> Run {
    let stages: Vec<Stage> = serde_json::from_value(report.stages.clone()).unwrap_or_default();
    Run {
        id: report.id,
        short: report.commit.chars().take(12).collect(),
        mark: Mark::verdict(report.verdict.as_str()),
        sentence: format::message(&sentence(&report)),
        decided: decided(&report),
        age: format::age(report.started_at),
        levels: levels(&report),
        figures: figures(&report.metrics),
        has_base: report.metrics["ppl_base"].is_number(),
        chart: activations::chart(&report.metrics["hidden_absmax"]),
        facts: facts(&report),
        stages: stage_rows(&stages),
        sample: report.sample.filter(|text| !text.trim().is_empty()),
        base: report.base,
        commit: report.commit,
    }
}

/// Shapes a run for a list.
pub(super) fn row(report: &StoredReport) -> RunRow {
    RunRow {
        id: report.id,
        commit: report.commit.chars().take(12).collect(),
        mark: Mark::verdict(report.verdict.as_str()),
        at: format::instant(report.started_at),
        level: report.level,
        because: because(report),
        duration: seconds(report.duration_ms.unsigned_abs()),
    }
}

/// The check that a verdict comes from.
fn deciding(checks: &[Check], verdict: Status) -> Option<&Check> {
    checks.iter().find(|check| check.status == verdict)
}

/// What decided, in half a sentence.
fn because(report: &StoredReport) -> String {
    let found = deciding(&report.checks, report.verdict);
    match (report.verdict, &report.cause) {
        (Status::Passed, _) => String::new(),
        (Status::Error, Some(cause)) => words::cause(cause).to_owned(),
        (Status::Skipped | Status::Error, _) => found.map(|check| check.detail.clone()).unwrap_or_default(),
        (Status::Failed | Status::Warned, _) => found.map(matter).unwrap_or_default(),
    }
}

/// The checks that decided a verdict which is not good.
fn decided(report: &StoredReport) -> Vec<(String, String)> {
    if matches!(report.verdict, Status::Passed | Status::Skipped) {
        return Vec::new();
    }
    let deciding = report.checks.iter().filter(|check| check.status == report.verdict);
    deciding.take(MOST_DECIDING).map(found).collect()
}

/// What is the matter with what a check looked at, and what it found, as HTML.
pub(super) fn found(check: &Check) -> (String, String) {
    let matter = matter(check);
    let (first, rest) = matter.split_at(matter.char_indices().nth(1).map_or(matter.len(), |(at, _)| at));
    (format!("{}{rest}", first.to_uppercase()), format::message(&check.detail))
}

/// What is the matter in half a sentence, or what was checked.
fn matter(check: &Check) -> String {
    words::check(&check.id).map_or_else(|| check.id.clone(), |words| words.matter.to_owned())
}

/// Returns what a check asks for, or its id.
fn title(id: &str) -> String {
    words::check(id).map_or_else(|| id.to_owned(), |words| words.title.to_owned())
}

/// The verdict in a sentence that names the check which decided.
fn sentence(report: &StoredReport) -> String {
    let count = |status| report.checks.iter().filter(|check| check.status == status).count();
    let number = |count: usize, thing: &str| format::plural(i64::try_from(count).unwrap_or(i64::MAX), thing);
    let decided = deciding(&report.checks, report.verdict);
    let matter = decided.and_then(|check| words::check(&check.id)).map(|words| words.matter);
    let detail = decided.map(|check| check.detail.trim_end_matches('.')).unwrap_or_default();
    let more = match count(report.verdict) {
        0 | 1 => String::new(),
        many => format!(" {} in all did not pass.", number(many, "check")),
    };
    match (report.verdict, matter) {
        (Status::Passed, _) => {
            let does = if report.sample.is_some() { "It loads, runs and writes" } else { "It loads and runs" };
            let skipped = match count(Status::Skipped) {
                0 => String::new(),
                skipped => format!("; {} could not be made", number(skipped, "check")),
            };
            format!("{does}: {} passed{skipped}.", number(count(Status::Passed), "check"))
        }
        (Status::Failed, Some(matter)) => format!("It does not work: {matter}.{more}"),
        (Status::Failed, None) => format!("It does not work: {detail}.{more}"),
        (Status::Warned, Some(matter)) => format!("It works, with something to look at: {matter}."),
        (Status::Warned, None) => format!("It works, with something to look at: {detail}."),
        (Status::Skipped, _) => format!("It was not run, so nothing is said about it: {detail}."),
        (Status::Error, _) => match &report.cause {
            Some(cause) => {
                format!("The test broke off, which says nothing about the model: {}.", words::cause(cause))
            }
            None => format!("The test broke off, which says nothing about the model: {detail}."),
        },
    }
}

fn levels(report: &StoredReport) -> Vec<Level> {
    let relation = report.metrics["relation"].as_str().unwrap_or_default();
    let level = |(number, (name, meaning)): (usize, (&'static str, &'static str))| {
        let mut checks: Vec<&Check> =
            report.checks.iter().filter(|check| usize::from(check.level.min(4)) == number).collect();
        checks.sort_by_key(|check| words::rank(check.status));
        let is_open = checks.is_empty() || checks.iter().any(|check| check.status != Status::Passed);
        let nothing = checks.is_empty().then(|| why_nothing(report, number));
        let checks: Vec<CheckRow> = checks.into_iter().map(|check| check_row(check, relation)).collect();
        Level { number, name, meaning, tally: tally(report, number), is_open, nothing, checks }
    };
    words::LEVELS.into_iter().enumerate().map(level).collect()
}

fn check_row(check: &Check, relation: &str) -> CheckRow {
    let bounds = words::check(&check.id).map_or("", |words| words.bounds);
    let is_judged = check.status != Status::Skipped;
    CheckRow {
        title: title(&check.id),
        mark: Mark::verdict(check.status.as_str()),
        detail: format::message(&check.detail),
        bounds: match bounds {
            "" if is_judged => words::bounds_by_relation(&check.id, relation),
            other => other,
        },
        id: check.id.clone(),
    }
}

fn tally(report: &StoredReport, level: usize) -> String {
    let of = |status| {
        let is_here = |check: &&Check| check.status == status && usize::from(check.level.min(4)) == level;
        let count = report.checks.iter().filter(is_here).count();
        (count > 0).then(|| format!("{count} {status}"))
    };
    let statuses = [Status::Failed, Status::Error, Status::Warned, Status::Skipped, Status::Passed];
    statuses.into_iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

/// Why a level has no checks.
fn why_nothing(report: &StoredReport, level: usize) -> String {
    let asked = usize::try_from(report.level).unwrap_or(0);
    match report.verdict {
        Status::Error => "Not reached: the run broke off before.".to_owned(),
        Status::Skipped => "Not reached: the model was not run.".to_owned(),
        _ if level > asked => format!("Not asked for: weights of this size are tested up to L{asked}."),
        Status::Failed => "Not reached: what failed before makes it pointless.".to_owned(),
        Status::Passed | Status::Warned => "Nothing to check: it predicts no next word.".to_owned(),
    }
}

/// Its numbers about plain English, and its base's where they were compared.
fn figures(metrics: &Value) -> Vec<Figure> {
    let get = |key: &str| metrics[key].as_f64();
    let mut figures = Vec::new();
    let mut add = |name, value: Option<f64>, base: Option<f64>, show: &dyn Fn(f64) -> String, meaning| {
        let Some(value) = value else { return };
        figures.push(Figure { name, value: show(value), base: base.map(show).unwrap_or_default(), meaning });
    };
    let (base, bits) = (get("ppl_base"), get("bits_per_byte"));
    // The base read the same tokens: bits go with the surprise.
    let base_bits = base.zip(bits).zip(get("surprise")).map(|((base, bits), own)| bits * base.ln() / own);
    add("Perplexity", get("ppl"), base, &activations::number, "Among how many words it wavers; less is better.");
    let bits_say = "The same, comparable between tokenizers.";
    add("Bits per byte", bits, base_bits.filter(|bits| bits.is_finite()), &|bits| format!("{bits:.3}"), bits_say);
    add(
        "Divergence",
        get("kl_base"),
        None,
        &divergence,
        "Of its predictions from the base's, in nats a token; 0: the same.",
    );
    add("Same first word", get("top1_base"), None, &format::percent, "How often both find the same word likeliest.");
    add("Distance of weights", get("drift_l2"), None, &activations::number, "Relative to the base's; 0: the same.");
    let entropy_says = "Of its next word, of the largest possible; over 98 %: untrained.";
    add("Entropy", get("entropy_normalized"), None, &format::percent, entropy_says);
    figures
}

fn divergence(nats: f64) -> String {
    if nats != 0.0 && nats < 1e-6 { "under 1e-6".to_owned() } else { activations::number(nats) }
}

/// When, on what, with what.
fn facts(report: &StoredReport) -> Vec<(&'static str, String)> {
    let metric = |key: &str| report.metrics[key].as_i64();
    let said = |key: &str| report.environment[key].as_str().map(str::to_owned);
    let mut facts = Vec::new();
    let mut add = |name, value: Option<String>| facts.extend(value.map(|value| (name, value)));
    add("Tested", Some(format::instant(report.started_at)));
    add("Cause", report.cause.clone());
    add("Broke off at", broken_stage(report).map(|name| words::stage(name).to_owned()));
    let depth = words::LEVELS.get(usize::try_from(report.level).unwrap_or(0)).map_or("", |level| level.0);
    add("Depth", Some(format!("L{} {}", report.level, depth.to_lowercase())));
    add("Time", Some(seconds(report.duration_ms.unsigned_abs())));
    add("Processor time", metric("cpu_ms").map(|ms| seconds(ms.unsigned_abs())));
    add("Peak memory", metric("peak_memory_bytes").map(format::bytes));
    add("Bytes read", metric("bytes_read").map(format::bytes));
    add("Weights", metric("bytes").map(format::bytes));
    add("Parameters", metric("parameters").map(format::count));
    add("Tensors", metric("tensors").map(format::count));
    let engine = said("engine").map(|engine| format!("{engine} {}", said("version").unwrap_or_default()));
    add(
        "Engine",
        engine.map(|engine| match said("candle") {
            Some(candle) => format!("{}, candle {candle}", engine.trim_end()),
            None => engine,
        }),
    );
    add("Computed in", said("compute_dtype"));
    let speed = report.metrics["calibration_gflops"].as_f64();
    let machine = said("cpu").map(|cpu| match speed {
        Some(speed) => format!("{cpu}, {speed:.0} GFLOP/s"),
        None => cpu,
    });
    add("Machine", machine);
    let confined = [("landlock", "Landlock"), ("seccomp", "seccomp")];
    let confined = confined.iter().filter_map(|(key, name)| Some(format!("{name} {}", said(key)?)));
    let confined = confined.collect::<Vec<_>>().join(", ");
    add("Confinement", (!confined.is_empty()).then_some(confined));
    facts
}

/// Where a run was when it broke off: the check says it in backticks.
fn broken_stage(report: &StoredReport) -> Option<&str> {
    let check = report.checks.iter().find(|check| check.id == "run.completed")?;
    check.detail.split_once("stage `")?.1.split('`').next()
}

fn stage_rows(stages: &[Stage]) -> Vec<StageRow> {
    let longest = stages.iter().map(|stage| stage.ms).max().unwrap_or(0).max(1);
    let row = |stage: &Stage| StageRow {
        name: words::stage(&stage.name).to_owned(),
        wall: seconds(stage.ms),
        cpu: seconds(stage.cpu_ms),
        share: stage.ms * 100 / longest,
    };
    stages.iter().map(row).collect()
}

/// `14 ms`, `2.5 s`, `3 min 20 s`.
fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;

    fn report(verdict: Status, checks: Vec<Check>) -> StoredReport {
        StoredReport {
            id: 1,
            revision_id: 1,
            commit: "0123456789abcdef".to_owned(),
            verdict,
            level: 3,
            checks,
            metrics: json!({}),
            stages: json!([]),
            environment: json!({}),
            sample: None,
            started_at: OffsetDateTime::UNIX_EPOCH,
            duration_ms: 75_000,
            cause: None,
            base: None,
        }
    }

    #[test]
    fn a_verdict_is_a_sentence_about_what_decided() {
        let check = |id, status| Check::new(id, 1, status, "3 NaN in `w`");
        let say = |verdict, checks| sentence(&report(verdict, checks));
        let passed = vec![check("files.parse", Status::Passed), check("tokenizer.loads", Status::Skipped)];
        assert_eq!(say(Status::Passed, passed), "It loads and runs: 1 check passed; 1 check could not be made.");
        let failed = vec![check("values.finite", Status::Failed), check("forward.finite", Status::Failed)];
        let said = say(Status::Failed, failed);
        assert_eq!(
            said,
            "It does not work: its weights hold values that are no finite numbers. 2 checks in all did not pass."
        );
        let unknown = say(Status::Failed, vec![check("old.check", Status::Failed)]);
        assert_eq!(unknown, "It does not work: 3 NaN in `w`.");
    }

    #[test]
    fn a_broken_run_says_where_and_why() {
        let detail = "the run did not end: stage `forward` was stopped after 120 s; this says nothing about the model";
        let mut broken = report(Status::Error, vec![Check::new("run.completed", 0, Status::Error, detail)]);
        broken.cause = Some("timeout".to_owned());
        assert!(sentence(&broken).ends_with("it took longer than a test may."), "{}", sentence(&broken));
        let facts = facts(&broken);
        assert!(
            facts.contains(&("Cause", "timeout".to_owned()))
                && facts.contains(&("Broke off at", "short run".to_owned()))
        );
        assert!(facts.contains(&("Time", "1 min 15 s".to_owned())), "{facts:?}");
        assert_eq!(levels(&broken)[2].nothing.as_deref(), Some("Not reached: the run broke off before."));
    }

    #[test]
    fn the_base_has_its_bits_by_its_perplexity() {
        let metrics =
            json!({ "ppl": 4.0, "ppl_base": 2.0, "surprise": 4.0_f64.ln(), "bits_per_byte": 1.0, "kl_base": 6e-7 });
        let figures = figures(&metrics);
        let said: Vec<_> = figures.iter().map(|f| (f.name, f.value.as_str(), f.base.as_str())).collect();
        assert_eq!(
            said,
            [("Perplexity", "4", "2"), ("Bits per byte", "1.000", "0.500"), ("Divergence", "under 1e-6", "")]
        );
    }
}
