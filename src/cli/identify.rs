//! `herdbook identify`: what the weights on this disk are, without uploading them.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use reqwest::{Method, header};
use serde_json::Value;

use super::client::{self, Client, printable};
use crate::lineage::folder;

/// Finds out what weights on this disk were made from; only their fingerprint leaves this machine.
///
/// Exit code 1: nothing that you may read is related to them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook identify ./downloaded-model
  herdbook identify model-q4_k_m.gguf --json
  herdbook identify ./secret-model --save secret.fingerprint    # asks nobody; the file can be given to /identify")]
pub(super) struct Args {
    /// A folder with weights, or one weight file
    #[arg(value_name = "DIR|FILE")]
    path: PathBuf,
    /// Prints the answer as JSON
    #[arg(long)]
    json: bool,
    /// Writes the fingerprint to a file and asks no server
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    #[command(flatten)]
    client: client::Options,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let path = args.path.clone();
    let print = tokio::task::spawn_blocking(move || {
        let weights = folder::open(&path)?;
        let bar = client::bytes_bar(weights.bytes, "reading weights");
        let print = weights.fingerprint(&mut |bytes| bar.inc(bytes))?;
        bar.finish_and_clear();
        Ok::<_, folder::Error>(print)
    });
    let bytes = print.await??.encode();
    if let Some(file) = args.save {
        std::fs::write(&file, &bytes).with_context(|| format!("`{}` cannot be written", file.display()))?;
        println!("wrote {} bytes to {}", bytes.len(), file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let client = Client::new(&args.client)?;
    let request = client.request(Method::POST, "/api/v1/identify");
    let request = request.header(header::CONTENT_TYPE, "application/octet-stream").body(bytes);
    let answer: Value = client.send(request).await?.json().await.context("the answer is not JSON")?;
    let relatives = answer["relatives"].as_array().map(Vec::as_slice).unwrap_or_default();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print_answer(&answer, relatives, client.endpoint());
    }
    Ok(if relatives.is_empty() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn print_answer(answer: &Value, relatives: &[Value], endpoint: &str) {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    println!("{}", text(&answer["sentence"]));
    for relative in relatives {
        let relation = relative["relation"].as_str().map(|relation| format!(", {relation}")).unwrap_or_default();
        let license = relative["license"].as_str().map_or("no license".to_owned(), printable);
        println!("\n  {}  ({}{relation})", text(&relative["id"]), text(&relative["role"]));
        println!(
            "    license {license} [{}], similarity {:.3}, change {:.2} %",
            text(&relative["position"]),
            number(&relative["similarity"]),
            number(&relative["change"]) * 100.0
        );
        println!("    {}", text(&relative["sentence"]));
        println!("    {endpoint}/{}", text(&relative["id"]));
    }
    println!(
        "\nCompared with {} models; the fingerprint covers {:.1} % of the parameters.",
        answer["compared"],
        number(&answer["coverage"]) * 100.0
    );
}
