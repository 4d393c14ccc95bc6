//! `herdbook import`: catalogued models from JSON lines.

use std::{fs::File, io::Read, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use futures::StreamExt as _;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use reqwest::{Body, Method};
use serde_json::Value;
use tokio::sync::mpsc;

use super::client::{self, Client};

/// Imports catalogued models: facts about models whose files are elsewhere.
///
/// One JSON object a line, plain or compressed with zstd. A second import of the same file changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook import catalog.jsonl.zst
  zstdcat catalog.jsonl.zst | herdbook import -")]
pub(super) struct Args {
    /// The file, .jsonl or .jsonl.zst; `-` reads standard input
    file: PathBuf,
    /// Prints the summary as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: client::Options,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.client)?;
    let (reader, length): (Box<dyn Read + Send>, u64) = if args.file.as_os_str() == "-" {
        (Box::new(std::io::stdin()), 0)
    } else {
        let file = File::open(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
        let length = file.metadata()?.len();
        (Box::new(file), length)
    };
    let is_zstd = args.file.extension().is_some_and(|extension| extension == "zst");
    let bar = client::bars().add(ProgressBar::new(length));
    style(&bar);
    let summary = import(&client, reader, is_zstd, &bar).await?;
    bar.finish_and_clear();
    tell(&summary, args.json)?;
    Ok(if summary["refused_count"].as_u64() == Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Styles the bar of an import.
pub(super) fn style(bar: &ProgressBar) {
    if let Ok(style) = ProgressStyle::with_template("{msg:28!} {bar:24} {bytes:>10}/{total_bytes:10} {elapsed:>5}") {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.set_message("reading");
    bar.enable_steady_tick(Duration::from_millis(200));
}

/// Sends lines to the server and follows its progress; returns the summary.
pub(super) async fn import(
    client: &Client,
    reader: Box<dyn Read + Send>,
    is_zstd: bool,
    bar: &ProgressBar,
) -> anyhow::Result<Value> {
    let (pieces, mut waiting) = mpsc::channel::<std::io::Result<Bytes>>(8);
    let seen = bar.clone();
    tokio::task::spawn_blocking(move || send_pieces(reader, is_zstd, &seen, &pieces));
    let body = futures::stream::poll_fn(move |context| waiting.poll_recv(context));
    let response = client.send(client.request(Method::POST, "/api/v1/import").body(Body::wrap_stream(body))).await?;
    let mut stream = response.bytes_stream();
    let mut rest = Vec::new();
    while let Some(piece) = stream.next().await {
        rest.extend_from_slice(&piece.context("the server's answer broke off")?);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line: Value = serde_json::from_slice(&line).context("the server's answer is not JSON")?;
            if let Some(error) = line["error"].as_str() {
                bail!("{error}");
            }
            if let Some(summary) = line.get("summary") {
                return Ok(summary.clone());
            }
            let stage = line["stage"].as_str().unwrap_or_default();
            bar.set_message(format!("{stage}: {} models", HumanCount(line["lines"].as_u64().unwrap_or(0))));
        }
    }
    bail!("the server's answer ended without a summary")
}

fn send_pieces(
    reader: Box<dyn Read + Send>,
    is_zstd: bool,
    bar: &ProgressBar,
    pieces: &mpsc::Sender<std::io::Result<Bytes>>,
) {
    let counted = bar.wrap_read(reader);
    let mut reader: Box<dyn Read> = match is_zstd {
        true => match zstd::Decoder::new(counted) {
            Ok(decoder) => Box::new(decoder),
            Err(error) => return drop(pieces.blocking_send(Err(error))),
        },
        false => Box::new(counted),
    };
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let piece = match reader.read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => Ok(Bytes::copy_from_slice(&buffer[..read])),
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        if pieces.blocking_send(piece).is_err() || is_last {
            return;
        }
    }
}

fn tell(summary: &Value, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        println!("{}", serde_json::to_string_pretty(summary)?);
        return Ok(());
    }
    let count = |field: &str| HumanCount(summary[field].as_u64().unwrap_or(0));
    println!(
        "{} lines: {} models created, {} updated, {} unchanged, {} hosted here",
        count("lines"),
        count("created"),
        count("updated"),
        count("unchanged"),
        count("hosted")
    );
    println!("{} parents catalogued by name only, {} claims new or changed", count("parents_created"), count("claims"));
    println!("{} claims are part of a cycle (kept, flagged)", count("cyclic_claims"));
    for (flag, number) in summary["flags"].as_object().into_iter().flatten() {
        println!("{:>8} flagged {flag}", HumanCount(number.as_u64().unwrap_or(0)).to_string());
    }
    if summary["refused_count"].as_u64() != Some(0) {
        println!("{} lines could not be kept:", count("refused_count"));
        summary["refused"]
            .as_array()
            .into_iter()
            .flatten()
            .for_each(|r| println!("  {}", r.as_str().unwrap_or_default()));
    }
    Ok(())
}
