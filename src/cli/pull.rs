//! `herdbook pull`: a revision becomes a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{HumanBytes, MultiProgress, ProgressBar};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{
    client::{self, Client},
    push::hash_file,
};
use crate::{
    digest::Digest,
    name::{FilePath, ModelName},
};

/// Times a broken connection is taken up again for one file.
const ATTEMPTS: u32 = 5;

/// Pulls a model into a folder and verifies every file.
///
/// Files that are there with the right content are not fetched again; a broken transfer continues where it stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook pull alice/my-llama ./my-llama
  herdbook pull alice/my-llama ./my-llama --revision v1.0 --include '*.safetensors'")]
pub(super) struct Args {
    /// NAMESPACE/NAME
    model: ModelName,
    /// The folder; created when it does not exist
    dir: PathBuf,
    /// Branch, tag or commit
    #[arg(long, default_value = "main")]
    revision: String,
    /// Only these files: `*` stands for any characters; may be repeated
    #[arg(long)]
    include: Vec<String>,
    /// Files in flight
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    parallel: u8,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: client::Options,
}

struct Remote {
    path: FilePath,
    size: u64,
    digest: Digest,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.client)?;
    let model = client.get(&format!("/api/v1/models/{}", args.model), &[("revision", &args.revision)]).await?;
    let commit = model["revision"].as_str().with_context(|| {
        format!("`{}` is catalogued: its files are not here, only what is known about them", args.model)
    })?;
    let files = files(&model)?;
    let wanted: Vec<Remote> = files
        .into_iter()
        .filter(|file| args.include.is_empty() || args.include.iter().any(|p| matches(p, file.path.as_str())))
        .collect();
    if wanted.is_empty() {
        bail!("no file of `{}` matches", args.model);
    }
    fs::create_dir_all(&args.dir).with_context(|| format!("cannot create {}", args.dir.display()))?;
    let bars = client::bars();
    let total = bars.add(ProgressBar::new(wanted.iter().map(|file| file.size).sum()));
    client::style_bytes(&total, "total");
    let fetched: Vec<u64> = stream::iter(&wanted)
        .map(|file| fetch(&client, &args, commit, file, &total, &bars))
        .buffer_unordered(usize::from(args.parallel))
        .try_collect()
        .await?;
    total.finish_and_clear();
    let bytes: u64 = fetched.iter().sum();
    let new = fetched.iter().filter(|bytes| **bytes > 0).count();
    if args.json {
        let answer = json!({
            "model": args.model, "revision": commit, "dir": args.dir, "files": wanted.len(), "fetched_files": new, "fetched_bytes": bytes,
        });
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        println!("{} files, {} fetched, every digest verified", wanted.len(), HumanBytes(bytes));
        println!("revision {commit} in {}", args.dir.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn files(model: &Value) -> anyhow::Result<Vec<Remote>> {
    let listed = model["files"].as_array().context("the answer lists no files")?;
    let remote = |file: &Value| {
        Ok(Remote {
            // A path is parsed before it touches the disk: a server cannot make us write elsewhere.
            path: file["path"].as_str().context("a file has no path")?.parse()?,
            size: file["size"].as_u64().context("a file has no size")?,
            digest: file["digest"].as_str().context("a file has no digest")?.parse()?,
        })
    };
    listed.iter().map(remote).collect()
}

/// Whether a path matches a pattern in which `*` stands for any characters.
fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, rest)) => path.strip_prefix(start).is_some_and(|path| {
            (0..=path.len()).filter(|at| path.is_char_boundary(*at)).any(|at| matches(rest, &path[at..]))
        }),
    }
}

/// Brings one file; returns how many bytes came.
async fn fetch(
    client: &Client,
    args: &Args,
    commit: &str,
    file: &Remote,
    total: &ProgressBar,
    bars: &MultiProgress,
) -> anyhow::Result<u64> {
    let place = args.dir.join(file.path.as_str());
    if fs::metadata(&place).is_ok_and(|meta| meta.len() == file.size) && digest(&place).await? == file.digest {
        total.inc(file.size);
        return Ok(0);
    }
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    let part = PathBuf::from(format!("{}.part", place.display()));
    let bar = bars.insert_before(total, ProgressBar::new(file.size));
    client::style_bytes(&bar, file.path.as_str());
    let url = format!("/{}/resolve/{commit}/{}", args.model, file.path);
    let mut came = 0;
    for attempt in 1..=ATTEMPTS {
        match append(client, &url, &part, file, &bar, &mut came).await {
            Ok(()) => break,
            Err(error) if attempt == ATTEMPTS => return Err(error.context(format!("fetching {}", file.path))),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(500 * u64::from(attempt))).await,
        }
    }
    let found = digest(&part).await?;
    if found != file.digest {
        fs::remove_file(&part)?;
        bail!(
            "{} arrived damaged: its digest is {found}, {} was announced; run the command again",
            file.path,
            file.digest
        );
    }
    fs::rename(&part, &place)?;
    total.inc(file.size);
    bar.finish_and_clear();
    // An empty file counts as fetched too.
    Ok(came.max(1))
}

async fn append(
    client: &Client,
    url: &str,
    part: &Path,
    file: &Remote,
    bar: &ProgressBar,
    came: &mut u64,
) -> anyhow::Result<()> {
    let held = fs::metadata(part).map_or(0, |meta| meta.len());
    let held = if held > file.size { 0 } else { held };
    if held == file.size && held > 0 {
        return Ok(());
    }
    let mut request = client.request(Method::GET, url);
    if held > 0 {
        request = request.header(header::RANGE, format!("bytes={held}-"));
    }
    let response = client.send(request).await?;
    let resumes = response.status() == StatusCode::PARTIAL_CONTENT;
    let mut target =
        tokio::fs::OpenOptions::new().create(true).write(true).append(resumes).truncate(!resumes).open(part).await?;
    bar.set_position(if resumes { held } else { 0 });
    let mut body = response.bytes_stream();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        target.write_all(&piece).await?;
        bar.inc(piece.len() as u64);
        *came += piece.len() as u64;
    }
    target.flush().await?;
    Ok(())
}

async fn digest(place: &Path) -> anyhow::Result<Digest> {
    let place = place.to_path_buf();
    tokio::task::spawn_blocking(move || hash_file(&place, &ProgressBar::hidden())).await?
}
