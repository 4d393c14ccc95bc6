//! `herdbook demo`: something real to look at, in a server that has nothing yet.

use std::{io::Cursor, process::ExitCode, time::Duration};

use anyhow::Context as _;
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};
use reqwest::{Method, StatusCode};

use super::{
    client::{self, Client},
    import, push,
};
use crate::demo;

/// Loads the demonstration herd into a server.
///
/// Tiny Llamas that are trained and derived on this machine (about half a minute), and the pedigree of Llama's real
/// herd: facts about thousands of models whose files are elsewhere. What is there already is left as it is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook demo
  herdbook demo --endpoint https://models.example.org --token \"$(cat herdbook-data/admin-token)\"")]
pub(super) struct Args {
    #[command(flatten)]
    client: client::Options,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.client)?;
    let bars = client::bars();
    import_herd(&client, &bars).await?;
    let published = publish_members(&client, &bars).await?;
    println!("{published} models made and published, {} there already", demo::NAMES.len() - published);
    println!("{}/herd/pasture-260k", client.endpoint());
    Ok(ExitCode::SUCCESS)
}

async fn import_herd(client: &Client, bars: &MultiProgress) -> anyhow::Result<()> {
    let bar = bars.add(ProgressBar::new(demo::LLAMA_HERD.len() as u64));
    import::style(&bar);
    let summary = import::import(client, Box::new(Cursor::new(demo::LLAMA_HERD)), true, &bar).await?;
    bar.finish_and_clear();
    let count = |field: &str| HumanCount(summary[field].as_u64().unwrap_or(0));
    println!("{} catalogued models of Llama's herd, {} of them new", count("lines"), count("created"));
    Ok(())
}

/// Makes the herd when a member is missing; returns how many were published.
async fn publish_members(client: &Client, bars: &MultiProgress) -> anyhow::Result<usize> {
    let mut missing = Vec::new();
    for name in demo::NAMES {
        if !is_hosted(client, name).await? {
            missing.push(name);
        }
    }
    if missing.is_empty() {
        return Ok(0);
    }
    let folder = tempfile::tempdir().context("no temporary folder can be made")?;
    let path = folder.path().to_owned();
    let bar = bars.add(ProgressBar::new(0));
    style_steps(&bar);
    let seen = bar.clone();
    let made = tokio::task::spawn_blocking(move || {
        demo::make(&path, &mut |name, done, steps| {
            seen.set_length(steps as u64);
            seen.set_position(done as u64);
            seen.set_message(format!("training {name}"));
        })
    });
    let members = made.await??;
    bar.finish_and_clear();
    for member in members.iter().filter(|member| missing.contains(&member.name)) {
        let push = push::Push {
            dir: &member.dir,
            model: member.name,
            message: Some(member.message),
            branch: "main",
            private: false,
            delete: false,
            parallel: 4,
        };
        push::send(client, &push, bars).await.with_context(|| format!("publishing {}", member.name))?;
    }
    Ok(missing.len())
}

async fn is_hosted(client: &Client, name: &str) -> anyhow::Result<bool> {
    let response = client.request(Method::HEAD, &format!("/{name}/resolve/main/README.md")).send().await;
    let status = response.with_context(|| format!("asking {} for {name}", client.endpoint()))?.status();
    Ok(status == StatusCode::OK)
}

fn style_steps(bar: &ProgressBar) {
    if let Ok(style) = ProgressStyle::with_template("{msg:32!} {bar:24} {pos:>4}/{len:4} steps {elapsed:>5}") {
        bar.set_style(style.progress_chars("━╸ "));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
}
