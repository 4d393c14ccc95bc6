//! `herdbook smoke`: runs the smoke test on a folder, without a server.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use crate::smoke::{self, Input, Logits, Relation, Report, Status};

/// Loads a model in a confined process, checks every value, runs it and lets it write.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook smoke ./my-model
  herdbook smoke ./my-adapter --base ./its-base
  herdbook smoke ./my-model --json
  herdbook smoke ./my-model --input-ids 1,403,407 --logits logits.safetensors

Exit codes: 0 passed or warned, 1 failed, 2 usage or environment error, 3 skipped")]
pub struct Args {
    /// The folder with the model's files
    dir: PathBuf,
    /// The folder of its base: adapters run on it, other models are compared with it
    #[arg(long)]
    base: Option<PathBuf>,
    /// How it relates to the base; decides how far it may be from it
    #[arg(long, requires = "base")]
    relation: Option<Relation>,
    /// How deep: 0 headers, 1 values, 2 a short forward pass, 3 the likelihood of a text, 4 a sample. Without it, as deep
    /// as the size allows in a few minutes
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=i64::from(smoke::MAX_LEVEL)))]
    level: Option<u8>,
    /// Prints the report as JSON
    #[arg(long)]
    json: bool,
    /// Tokens to run instead of the built-in text, separated by commas
    #[arg(long, value_delimiter = ',', requires = "logits")]
    input_ids: Option<Vec<u32>>,
    /// Writes the logits of these tokens, F32 `[positions, vocabulary]`, as safetensors
    #[arg(long, requires = "input_ids")]
    logits: Option<PathBuf>,
}

/// Runs the command.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut input = Input::new(args.dir);
    if let Some(base) = args.base {
        input = input.with_base(base);
    }
    (input.relation, input.input_ids) = (args.relation, args.input_ids);
    input.level = args.level.unwrap_or(input.level);
    let (report, logits) = smoke::run_with_logits(&input).await?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        let color = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        print(&mut out, &report, color)?;
    }
    match &args.logits {
        Some(path) if !logits.is_empty() => write_logits(&logits, path)?,
        Some(_) => eprintln!("the model was not run, so there are no logits"),
        None => {}
    }
    Ok(exit_code(report.verdict))
}

fn exit_code(verdict: Status) -> ExitCode {
    match verdict {
        Status::Passed | Status::Warned => ExitCode::SUCCESS,
        Status::Failed => ExitCode::from(1),
        Status::Error => ExitCode::from(2),
        Status::Skipped => ExitCode::from(3),
    }
}

fn print(out: &mut impl Write, report: &Report, color: bool) -> io::Result<()> {
    for check in &report.checks {
        writeln!(out, "{} {:<22} {}", sign(check.status, color), check.id, printable(&check.detail))?;
    }
    if let Some(sample) = &report.sample {
        writeln!(out, "\nIt writes: {}", printable(sample))?;
    }
    let seconds = std::time::Duration::from_millis(report.duration_ms).as_secs_f64();
    writeln!(out, "\n{} {} in {seconds:.2} s", sign(report.verdict, color), report.verdict)
}

fn sign(status: Status, color: bool) -> String {
    let (sign, code) = match status {
        Status::Passed => ("✓", 32),
        Status::Warned => ("!", 33),
        Status::Failed => ("✗", 31),
        Status::Skipped => ("–", 90),
        Status::Error => ("?", 35),
    };
    if color { format!("\x1b[{code}m{sign}\x1b[0m") } else { sign.to_owned() }
}

/// Names and samples come from strangers: a terminal must not obey them.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn write_logits(logits: &Logits, path: &Path) -> anyhow::Result<()> {
    let shape = vec![logits.len(), logits.first().map_or(0, Vec::len)];
    let bytes: Vec<u8> = logits.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, shape, &bytes)?;
    serialize_to_file([("logits", view)], None, path).with_context(|| format!("cannot write `{}`", path.display()))
}
