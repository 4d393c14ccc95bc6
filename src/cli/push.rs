//! `herdbook push`: a folder becomes a revision.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{HumanBytes, MultiProgress, ProgressBar};
use reqwest::{Body, Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use super::client::{self, Client};
use crate::{
    digest::{Digest, Hasher},
    name::{FilePath, ModelName},
};

/// Times a broken connection is taken up again for one file.
const ATTEMPTS: u32 = 5;
/// Bytes read at once.
const BUFFER: usize = 256 * 1024;

/// Pushes a folder to a model as one revision.
///
/// Files that the server has are not sent again; a broken transfer continues where it stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook push ./my-llama alice/my-llama
  herdbook push ./my-llama alice/my-llama --private --message 'Second epoch'
  herdbook push ./my-llama alice/my-llama --json")]
pub(super) struct Args {
    /// The folder, or one file
    dir: PathBuf,
    /// NAMESPACE/NAME; created when it does not exist
    model: ModelName,
    /// What the revision says of itself
    #[arg(long, short)]
    message: Option<String>,
    /// The branch to move
    #[arg(long, default_value = "main")]
    branch: String,
    /// Creates a model that only its namespace sees
    #[arg(long)]
    private: bool,
    /// Removes files from the model that the folder does not have
    #[arg(long)]
    delete: bool,
    /// Files in flight
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    parallel: u8,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: client::Options,
}

/// A file to push.
#[derive(Debug)]
struct Local {
    path: FilePath,
    place: PathBuf,
    size: u64,
    digest: Digest,
}

/// A folder on its way to a model.
#[derive(Debug)]
pub(super) struct Push<'a> {
    /// The folder, or one file.
    pub(super) dir: &'a Path,
    /// The model; created when it does not exist.
    pub(super) model: &'a str,
    /// What the revision says of itself.
    pub(super) message: Option<&'a str>,
    /// The branch to move.
    pub(super) branch: &'a str,
    /// Create the model private.
    pub(super) private: bool,
    /// Remove what the folder does not have.
    pub(super) delete: bool,
    /// Files in flight.
    pub(super) parallel: usize,
}

/// What a push did.
#[derive(Debug)]
pub(super) struct Pushed {
    /// Files of the folder.
    files: usize,
    /// Files that were sent, and their bytes.
    sent: usize,
    bytes: u64,
    /// The server's answer to the commit.
    committed: Value,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.client)?;
    let push = Push {
        dir: &args.dir,
        model: &args.model.to_string(),
        message: args.message.as_deref(),
        branch: &args.branch,
        private: args.private,
        delete: args.delete,
        parallel: usize::from(args.parallel),
    };
    let pushed = send(&client, &push, &client::bars()).await?;
    tell(&args, &pushed)
}

/// Sends what the server does not have, and publishes it all as one revision.
pub(super) async fn send(client: &Client, push: &Push<'_>, bars: &MultiProgress) -> anyhow::Result<Pushed> {
    let found = find_files(push.dir)?;
    if found.is_empty() {
        bail!("{} holds no files", push.dir.display());
    }
    let files = hash(found, bars, push.parallel).await?;
    let base = format!("/api/v1/models/{}", push.model);
    let visibility = push.private.then_some("private");
    client.send(client.request(Method::PUT, &base).json(&json!({ "visibility": visibility }))).await?;
    let opened = client.post(&format!("{base}/uploads"), &json!({})).await?;
    let upload = opened["upload"].as_str().context("the server opened no upload")?.to_owned();
    let known = known(client, &base, &upload, &files).await?;
    let missing: Vec<&Local> = files.iter().filter(|file| !known.contains(file.path.as_str())).collect();
    let bytes = missing.iter().map(|file| file.size).sum();
    let total = bars.add(ProgressBar::new(bytes));
    client::style_bytes(&total, "total");
    stream::iter(missing.iter().map(Ok))
        .try_for_each_concurrent(push.parallel, |file| send_file(client, &base, &upload, file, &total, bars))
        .await?;
    total.finish_and_clear();
    let delete = if push.delete { gone(client, &base, push.branch, &files).await? } else { Vec::new() };
    let message = push.message.map_or_else(|| format!("Push {} files", files.len()), str::to_owned);
    let body = json!({ "message": message, "branch": push.branch, "delete": delete });
    let committed = client.post(&format!("{base}/uploads/{upload}/commit"), &body).await?;
    Ok(Pushed { files: files.len(), sent: missing.len(), bytes, committed })
}

fn tell(args: &Args, pushed: &Pushed) -> anyhow::Result<ExitCode> {
    let Pushed { files, sent, bytes, committed } = pushed;
    if args.json {
        let answer = json!({
            "model": args.model, "revision": committed["revision"], "changed": committed["changed"], "url": committed["url"],
            "files": files, "sent_files": sent, "sent_bytes": bytes,
        });
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    println!("{files} files, {} sent, {} known to the server already", HumanBytes(*bytes), files - sent);
    if committed["changed"] == false {
        println!("nothing changed");
    }
    println!("revision {}", committed["revision"].as_str().unwrap_or_default());
    println!("{}", committed["url"].as_str().unwrap_or_default());
    Ok(ExitCode::SUCCESS)
}

/// Lists files below a folder, hidden ones of git and of download caches left out.
fn find_files(dir: &Path) -> anyhow::Result<Vec<(FilePath, PathBuf)>> {
    let meta = fs::metadata(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    if meta.is_file() {
        let name = dir.file_name().and_then(|name| name.to_str()).context("the file's name is not UTF-8")?;
        return Ok(vec![(name.parse()?, dir.to_path_buf())]);
    }
    let mut found = Vec::new();
    let mut waiting = vec![dir.to_path_buf()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let place = entry?.path();
            let name =
                place.strip_prefix(dir)?.to_str().with_context(|| format!("{} is not UTF-8", place.display()))?;
            if place.is_dir() {
                if name != ".git" && name != ".cache" {
                    waiting.push(place);
                }
            } else if place.is_file() {
                found.push((name.parse()?, place));
            }
        }
    }
    found.sort();
    Ok(found)
}

async fn hash(found: Vec<(FilePath, PathBuf)>, bars: &MultiProgress, parallel: usize) -> anyhow::Result<Vec<Local>> {
    let bar = bars.add(ProgressBar::new(0));
    client::style_bytes(&bar, "hashing");
    let jobs = found.into_iter().map(|(path, place)| {
        let bar = bar.clone();
        async move {
            let size = fs::metadata(&place)?.len();
            bar.inc_length(size);
            let read = place.clone();
            let digest = tokio::task::spawn_blocking(move || hash_file(&read, &bar)).await??;
            anyhow::Ok(Local { path, place, size, digest })
        }
    });
    let files = stream::iter(jobs).buffered(parallel).try_collect().await?;
    bar.finish_and_clear();
    Ok(files)
}

/// Returns the digest of a file on disk.
pub(super) fn hash_file(place: &Path, bar: &ProgressBar) -> anyhow::Result<Digest> {
    use std::io::Read as _;
    let mut file = fs::File::open(place).with_context(|| format!("cannot read {}", place.display()))?;
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        bar.inc(read as u64);
    }
}

async fn known(
    client: &Client,
    base: &str,
    upload: &str,
    files: &[Local],
) -> anyhow::Result<std::collections::HashSet<String>> {
    let mut known = std::collections::HashSet::new();
    for batch in files.chunks(1000) {
        let offered: Vec<Value> = batch
            .iter()
            .map(|file| json!({ "path": file.path.as_str(), "size": file.size, "digest": file.digest }))
            .collect();
        let answer = client.post(&format!("{base}/uploads/{upload}/known"), &json!({ "files": offered })).await?;
        let names = answer["known"].as_array().into_iter().flatten();
        known.extend(names.filter_map(|name| name.as_str().map(str::to_owned)));
    }
    Ok(known)
}

/// Sends one file; after a broken connection the rest of it, from where the server stands.
async fn send_file(
    client: &Client,
    base: &str,
    upload: &str,
    file: &Local,
    total: &ProgressBar,
    bars: &MultiProgress,
) -> anyhow::Result<()> {
    let url = format!("{base}/files/{}", file.path);
    let bar = bars.insert_before(total, ProgressBar::new(file.size));
    client::style_bytes(&bar, file.path.as_str());
    let mut attempt = 0;
    loop {
        attempt += 1;
        let offset = if attempt == 1 { 0 } else { offset(client, &url, upload).await.unwrap_or(0).min(file.size) };
        if attempt > 1 && offset == file.size {
            break;
        }
        bar.set_position(offset);
        match send_from(client, &url, upload, file, offset, &bar).await {
            Ok(()) => break,
            Err(error) if attempt == ATTEMPTS => return Err(error.context(format!("sending {}", file.path))),
            Err(error) if error.downcast_ref::<reqwest::Error>().is_none() => {
                return Err(error.context(format!("sending {}", file.path)));
            }
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(500 * u64::from(attempt))).await,
        }
    }
    total.inc(file.size);
    bar.finish_and_clear();
    Ok(())
}

async fn offset(client: &Client, url: &str, upload: &str) -> Option<u64> {
    let response = client.request(Method::HEAD, url).query(&[("upload", upload)]).send().await.ok()?;
    let offset = (response.status() == StatusCode::OK).then(|| response.headers().get("Upload-Offset").cloned())??;
    offset.to_str().ok()?.parse().ok()
}

async fn send_from(
    client: &Client,
    url: &str,
    upload: &str,
    file: &Local,
    offset: u64,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let mut opened = tokio::fs::File::open(&file.place).await?;
    opened.seek(std::io::SeekFrom::Start(offset)).await?;
    let length = file.size - offset;
    let seen = bar.clone();
    let body =
        ReaderStream::with_capacity(opened.take(length), BUFFER).inspect_ok(move |piece| seen.inc(piece.len() as u64));
    let mut request = client
        .request(Method::PUT, url)
        .query(&[("upload", upload)])
        .header("X-Content-SHA256", file.digest.to_string())
        .header(reqwest::header::CONTENT_LENGTH, length);
    if offset > 0 {
        let range = format!("bytes {offset}-{}/{}", file.size - 1, file.size);
        request = request.header(reqwest::header::CONTENT_RANGE, range);
    }
    client.send(request.body(Body::wrap_stream(body))).await.map(drop)
}

async fn gone(client: &Client, base: &str, branch: &str, files: &[Local]) -> anyhow::Result<Vec<String>> {
    let model = client.get(base, &[("revision", branch)]).await?;
    let held = model["files"].as_array().into_iter().flatten().filter_map(|file| file["path"].as_str());
    let is_gone = |path: &&str| *path != ".gitattributes" && files.iter().all(|file| file.path.as_str() != *path);
    Ok(held.filter(is_gone).map(str::to_owned).collect())
}
