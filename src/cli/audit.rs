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
use serde_json::{Value, json};

use super::client::{self, Client, printable};
use crate::license::{DISCLAIMER, Severity, catalogue::CATALOGUE, judge::Engine, offline};

/// Audits licenses along the lineage.
///
/// Exit code 1 when there are findings as grave as --fail-on says. This is no legal advice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook audit alice/my-llama
  herdbook audit alice --fail-on review
  herdbook audit alice --commercial --eu
  herdbook audit alice --format sarif > audit.sarif
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
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "commercial", "eu", "end_user", "mau", "revenue", "distribution"])]
    graph: Option<PathBuf>,
    /// How the report is written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Shorthand for --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    #[command(flatten)]
    intended: Use,
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
    /// A spreadsheet's rows, one per finding.
    Csv,
    /// CycloneDX 1.6 ML-BOM, JSON.
    #[value(name = "cyclonedx")]
    CycloneDx,
    /// SPDX 3.0.1, JSON-LD.
    Spdx,
    /// SARIF 2.1.0, for code-scanning pages.
    Sarif,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Table | Self::Json => "json",
            Self::Csv => "csv",
            Self::CycloneDx => "cyclonedx",
            Self::Spdx => "spdx",
            Self::Sarif => "sarif",
        }
    }
}

/// The intended use, in place of the one on record.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Intended use (the namespace's own when none is given)")]
pub(super) struct Use {
    /// Used to earn money
    #[arg(long)]
    commercial: bool,
    /// Used by someone in the European Union
    #[arg(long)]
    eu: bool,
    /// Received as part of a product by its end user
    #[arg(long)]
    end_user: bool,
    /// Monthly active users
    #[arg(long, value_name = "N")]
    mau: Option<u64>,
    /// Revenue in a year, in US dollars
    #[arg(long, value_name = "USD")]
    revenue: Option<u64>,
    /// Judge as if weights were public, private, or offered as a hosted service
    #[arg(long = "as", value_name = "HOW", value_parser = ["public", "private", "hosted"])]
    distribution: Option<String>,
}

impl Use {
    /// As a profile; `None` when no use is given.
    pub(super) fn profile(&self) -> Option<Value> {
        let given = self.query();
        let field = |(name, value): (&'static str, String)| {
            let name = if name == "as" { "visibility" } else { name };
            let value = value
                .parse::<u64>()
                .map_or_else(|_| if value == "true" { json!(true) } else { json!(value) }, |n| json!(n));
            (name.to_owned(), value)
        };
        (!given.is_empty()).then(|| Value::Object(given.into_iter().map(field).collect()))
    }

    /// As query parameters; none when no use is given.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let flag = |name, is_set: bool| is_set.then(|| (name, "true".to_owned()));
        let number = |name, value: Option<u64>| value.map(|value| (name, value.to_string()));
        let parts = [
            flag("commercial", self.commercial),
            flag("eu", self.eu),
            flag("end_user", self.end_user),
            number("mau", self.mau),
            number("annual_revenue_usd", self.revenue),
            self.distribution.clone().map(|how| ("as", how)),
        ];
        parts.into_iter().flatten().collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
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
    let mut query = args.intended.query();
    query.push(("scope", args.scope.clone().unwrap_or_default()));
    query.push(("format", format.name().to_owned()));
    let pairs: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let counts = client.get("/api/v1/audit/counts", &pairs).await?;
    let has = |severity: &str| counts["findings"][severity].as_u64().unwrap_or(0) > 0;
    let scope = args.scope.as_deref().unwrap_or_default();
    match format {
        Format::Table if scope.contains('/') => {
            print_model(&client.get(&format!("/api/v1/models/{scope}/license"), &pairs).await?);
        }
        Format::Table => print_summary(&counts),
        _ => {
            let response = client.send(client.request(Method::GET, "/api/v1/audit").query(&pairs)).await?;
            let mut body = response.bytes_stream();
            let mut out = std::io::stdout().lock();
            while let Some(piece) = body.next().await {
                out.write_all(&piece?)?;
            }
            out.flush()?;
        }
    }
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

pub(super) fn exit_code(fail_on: FailOn, has: impl Fn(&str) -> bool) -> ExitCode {
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

pub(super) fn print_model(license: &Value) {
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
        if let Some(owner) = finding["waiver"]["owner"].as_str() {
            let (until, reason) = (text(&finding["waiver"], "expires"), text(&finding["waiver"], "reason"));
            println!("    accepted by {} until {until}: {}", printable(owner), printable(reason));
        }
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
