//! `herdbook what-if`: what the license position of a model would be, before it is trained.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    audit::{self, FailOn, Use},
    client::{self, Client},
};

/// Judges a model that does not exist yet: its parents, its license, its name.
///
/// Exit code 1 when there are findings as grave as --fail-on says. This is no legal advice.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook what-if alice/llama-tuned --parent meta-llama/Llama-3.1-8B:finetune --license apache-2.0
  herdbook what-if alice/both --parent a/one:merge --parent b/two:merge --license mit --commercial")]
pub(super) struct Args {
    /// The intended NAMESPACE/NAME
    name: String,
    /// What it will be made of, and how: NAMESPACE/NAME:RELATION; may be repeated
    #[arg(long = "parent", value_name = "MODEL:RELATION", required = true)]
    parents: Vec<String>,
    /// The intended license, as a card would say it
    #[arg(long)]
    license: Option<String>,
    #[command(flatten)]
    intended: Use,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// From which severity on the exit code is 1
    #[arg(long, value_enum, default_value_t = FailOn::Violation)]
    fail_on: FailOn,
    #[command(flatten)]
    client: client::Options,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.client)?;
    let parent = |text: &String| {
        let (model, relation) = text.rsplit_once(':').unwrap_or((text, "finetune"));
        json!({ "model": model, "relation": relation })
    };
    let mut body = json!({
        "name": args.name, "license": args.license,
        "parents": args.parents.iter().map(parent).collect::<Vec<_>>(),
    });
    if let Some(profile) = args.intended.profile() {
        body["profile"] = profile;
    }
    let answer = client.post("/api/v1/license/what-if", &body).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        let mut shown = answer.clone();
        shown["model"] = json!(format!("{} (planned)", args.name));
        audit::print_model(&shown);
        print_advice(&answer["advice"]);
    }
    let findings = answer["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |severity: &str| findings.iter().any(|finding: &Value| finding["severity"] == severity);
    Ok(audit::exit_code(args.fail_on, has))
}

fn print_advice(advice: &Value) {
    let text = |field: &str| client::printable(advice[field].as_str().unwrap_or("—"));
    println!("\nWhat would be {}:", text("position"));
    println!("  name     {}", text("name"));
    println!("  license  {}", text("license"));
    for ship in advice["ships"].as_array().into_iter().flatten() {
        let part = |field: &str| client::printable(ship[field].as_str().unwrap_or_default());
        println!("  ship     {}: {} ({} {})", part("file"), part("content"), part("license"), part("section"));
    }
    for finding in advice["remains"].as_array().into_iter().flatten() {
        let part = |field: &str| client::printable(finding[field].as_str().unwrap_or_default());
        println!("  remains  {} {}: {}", part("severity"), part("rule"), part("message"));
    }
}
