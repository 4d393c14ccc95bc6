//! `herdbook audit`: what the license engine finds, for people and for pipelines.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::ValueEnum;
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::Value;

use super::client::{self, Client, printable};
use crate::license::{DISCLAIMER, Severity, catalogue::CATALOGUE, judge::Engine, offline};

/// Audits licenses along the lineage.
///
/// Exit code 1 when there are findings as grave as --fail-on says. This is no legal advice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook audit alice/my-llama
  herdbook audit alice --fail-on review
  herdbook audit --all --format csv > findings.csv
  herdbook audit --graph lineage.json --json --fail-on review")]
pub(super) struct Args {
    /// NAMESPACE/NAME or NAMESPACE
    #[arg(required_unless_present_any = ["all", "graph"], conflicts_with_all = ["all", "graph"])]
    scope: Option<String>,
    /// Everything that the token may read
    #[arg(long)]
    all: bool,
    /// Judge the models and links of this file, without a server
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    graph: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Shorthand for --format json
    #[arg(long)]
    json: bool,
    /// From which severity on the exit code is 1
    #[arg(long, value_enum, default_value_t = FailOn::Violation)]
    fail_on: FailOn,
    #[command(flatten)]
    client: client::Options,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
    /// A spreadsheet's rows.
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Something forbidden.
    Violation,
    /// Anything that a person must decide, missing evidence and violations included.
    Review,
    /// Nothing.
    Never,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.graph {
        return audit_file(file, &args);
    }
    let client = Client::new(&args.client)?;
    let format = if args.json { Format::Json } else { args.format };
    let scope = args.scope.clone().unwrap_or_default();
    if format == Format::Csv {
        let query = [("scope", scope.as_str()), ("format", "csv")];
        let response = client.send(client.request(Method::GET, "/api/v1/audit").query(&query)).await?;
        let mut body = response.bytes_stream();
        let mut text = Vec::new();
        while let Some(piece) = body.next().await {
            let piece = piece?;
            std::io::stdout().write_all(&piece)?;
            text.extend_from_slice(&piece);
        }
        let text = String::from_utf8_lossy(&text);
        let has = |severity: &str| text.lines().any(|line| line.contains(&format!(",{severity},")));
        return Ok(exit_code(args.fail_on, has));
    }
    let report = client.get("/api/v1/audit", &[("scope", &scope)]).await?;
    if format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if scope.contains('/') {
        let license = client.get(&format!("/api/v1/models/{scope}/license"), &[]).await?;
        print_model(&license);
    } else {
        print_summary(&report);
    }
    let findings = report["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |severity: &str| findings.iter().any(|finding| finding["severity"] == severity);
    Ok(exit_code(args.fail_on, has))
}

/// Judges a graph file; what cannot be read in it is an error with its place.
fn audit_file(file: &Path, args: &Args) -> anyhow::Result<ExitCode> {
    let is_json = args.json || args.format == Format::Json;
    anyhow::ensure!(is_json || args.format == Format::Table, "a graph file is reported as a table or as JSON");
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let given = offline::parse(&CATALOGUE, &text).with_context(|| format!("cannot use `{}`", file.display()))?;
    let engine = Engine::new(&CATALOGUE, &given.graph);
    let mut found = [false; Severity::ALL.len()];
    let judgements = given.judge(&engine).inspect(|judgement| {
        for finding in &judgement.findings {
            found[finding.severity as usize] = true;
        }
    });
    let mut out = io::BufWriter::new(io::stdout().lock());
    if is_json {
        offline::write_json(&mut out, judgements)?;
    } else {
        for judgement in judgements {
            out.flush()?;
            let mut report = serde_json::to_value(&judgement)?;
            report["model"] = report["id"].take();
            print_model(&report);
            println!();
        }
        writeln!(out, "{DISCLAIMER}")?;
    }
    out.flush()?;
    let has = |severity: &str| Severity::ALL.iter().any(|known| known.as_str() == severity && found[*known as usize]);
    Ok(exit_code(args.fail_on, has))
}

fn exit_code(fail_on: FailOn, has: impl Fn(&str) -> bool) -> ExitCode {
    let is_no = match fail_on {
        FailOn::Never => false,
        FailOn::Violation => has("violation"),
        FailOn::Review => has("violation") || has("incomplete") || has("review"),
    };
    if is_no { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("—")
}

fn paint(severity: &str) -> String {
    let code = match severity {
        "violation" => 31,
        "incomplete" | "review" => 33,
        "clear" => 32,
        _ => 90,
    };
    if client::colors() { format!("\x1b[{code}m{severity}\x1b[0m") } else { severity.to_owned() }
}

fn print_model(license: &Value) {
    println!("{}", printable(text(license, "model")));
    println!("  declared    {}", printable(text(license, "declared")));
    println!("  carries     {}", printable(text(license, "expression")));
    println!("  position    {}", paint(text(license, "position")));
    for finding in license["findings"].as_array().into_iter().flatten() {
        println!("\n  {} {}", paint(text(finding, "severity")), text(finding, "rule"));
        println!("    {}", printable(text(finding, "message")));
        if let Some(section) = finding["section"].as_str() {
            println!("    clause  {} {}", text(finding, "license"), printable(section));
        }
        let path: Vec<&str> = finding["path"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        println!("    path    {}", printable(&path.join(" → ")));
        if let Some(remedy) = finding["remedy"].as_str().filter(|remedy| !remedy.is_empty()) {
            println!("    remedy  {}", printable(remedy));
        }
    }
    let obligations = license["obligations"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !obligations.is_empty() {
        println!("\n  Obligations");
        for duty in obligations {
            println!(
                "    [{}] {} ({} {})",
                text(duty, "satisfied"),
                printable(text(duty, "summary")),
                text(duty, "license"),
                printable(text(duty, "section"))
            );
        }
    }
    if license["disclaimer"].is_string() {
        println!("\n{}", text(license, "disclaimer"));
    }
}

fn print_summary(report: &Value) {
    println!("Models by position");
    for (position, count) in report["positions"].as_object().into_iter().flatten() {
        println!("{count:>10}  {}", paint(position));
    }
    println!("\nFindings by rule");
    for rule in report["rules"].as_array().into_iter().flatten() {
        println!("{:>10}  {:<11} {}", rule["models"], paint(text(rule, "severity")), text(rule, "rule"));
    }
    println!("\n{}", text(report, "disclaimer"));
}
