//! What lineage costs: fingerprints beside the digest of the same bytes, the search among very many families, a decision.
//!
//! The digest cannot be left out of an upload, so it is the baseline. Seconds are those of cores, not of the clock.

mod decision;
mod lookup;
mod model;

use std::time::Duration;

use anyhow::Context as _;
use herdbook::lineage::weights::{Fingerprint, make, tap::Tap};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};
use reqwest::Method;
use sha2::{Digest as _, Sha256};

use crate::{
    support::{Home, Server, Times, Unit, print, print_note, print_value, send},
    upload,
};
use model::{EIGHT_BILLION, Size, Synthetic};

/// Bytes that pass at once, as in an upload.
const PIECE: usize = 256 << 10;
const GIGABYTE: f64 = 1e9;
const SAMPLES: u64 = 3;
/// Some 1.0 GB.
const ONE_GIGABYTE: Size = Size { hidden: 4096, feed_forward: 14_336, keys: 1024, layers: 2, vocabulary: 8192 };
/// Some 500 MB.
const HALF: Size = Size { hidden: 4096, feed_forward: 14_336, keys: 1024, layers: 1, vocabulary: 4096 };

pub(crate) async fn run() -> anyhow::Result<()> {
    stream()?;
    let large = take_large()?;
    upload_twice().await?;
    decision::run()?;
    lookup::run(&large).await
}

/// A file streams by, once for its digest and once for its fingerprint.
fn stream() -> anyhow::Result<()> {
    let file = Synthetic::new(ONE_GIGABYTE, 1);
    let bytes = file.bytes(0..file.length);
    let gigabytes = gigabytes(file.length);
    let (mut hashing, mut taking) = (Times::default(), Times::default());
    for _ in 0..SAMPLES {
        let mut digest = Sha256::new();
        let started = core_seconds()?;
        bytes.chunks(PIECE).for_each(|piece| digest.update(piece));
        std::hint::black_box(digest.finalize());
        hashing.push(core_seconds()?.saturating_sub(started));
        let mut tap = Tap::safetensors(file.length, None);
        let started = core_seconds()?;
        bytes.chunks(PIECE).for_each(|piece| tap.push(piece));
        tap.finish()?;
        taking.push(core_seconds()?.saturating_sub(started));
    }
    let rate = Unit::Rate(gigabytes * 1000.0, "MB/s");
    print(&format!("fingerprint of {gigabytes:.2} GB as it streams by"), &taking, rate, &[("sha2 alone", &hashing)]);
    print("  baseline: sha2 of the same bytes", &hashing, rate, &[]);
    print_value("  core-seconds for each GB", taking.median() / gigabytes, "s");
    print_value("  baseline: sha2", hashing.median() / gigabytes, "s");
    Ok(())
}

/// Makes the fingerprint of a model of 16 GB.
fn take_large() -> anyhow::Result<Fingerprint> {
    let file = Synthetic::new(EIGHT_BILLION, 2);
    let print = make::make(&file.model()?, &mut &file, &mut |_| ())?;
    let kib = print.encode().len().div_ceil(1024);
    print_value("fingerprint of an 8B-shaped model", f64::from(u32::try_from(kib)?), "KiB");
    Ok(print)
}

/// Uploads the same bytes as a weight file and as one that nothing is taken of.
async fn upload_twice() -> anyhow::Result<()> {
    let home = Home::new()?;
    let server = Server::start(&home)?;
    server.create_model("admin/upload").await?;
    let (mut with, mut without) = (Times::default(), Times::default());
    let (mut spent_with, mut spent_without) = (Times::default(), Times::default());
    let mut length = 0;
    for seed in 0..SAMPLES {
        for (is_model, times, spent) in [(true, &mut with, &mut spent_with), (false, &mut without, &mut spent_without)]
        {
            let file = Synthetic::new(HALF, 100 + seed);
            length = file.length;
            let mut bytes = file.bytes(0..length);
            if !is_model {
                // No length of a header, so no tensors.
                bytes[..8].fill(0xFF);
            }
            let name = if is_model { "model.safetensors" } else { "model.bin" };
            let url = format!("/api/v1/models/admin/upload/files/{name}");
            let request = server.request(Method::PUT, &url).body(upload::body(bytes.into()));
            let started = seconds_of(&server)?;
            times.wait(async { Ok(send(request).await?.bytes().await?) }).await?;
            server.drain().await?;
            spent.push(seconds_of(&server)?.saturating_sub(started));
        }
    }
    let rate = Unit::Rate(gigabytes(length) * 1000.0, "MB/s");
    let half = gigabytes(length);
    print(&format!("upload of {half:.2} GB of weights"), &with, rate, &[("without a fingerprint", &without)]);
    print("  baseline: of the same bytes, no fingerprint", &without, rate, &[]);
    let added = (spent_with.median() - spent_without.median()) / half;
    print_value("  core-seconds of the server for each GB", spent_with.median() / half, "s");
    print_value("  of these for the fingerprint, jobs included", added, "s");
    match server.resident_mib() {
        Some(mib) => print_value("  memory of the server afterwards", mib, "MiB"),
        None => print_note("  memory: not told by this system"),
    }
    Ok(())
}

fn seconds_of(server: &Server) -> anyhow::Result<Duration> {
    server.core_seconds().context("this system does not tell what a process has used")
}

/// What this process has used of all cores so far.
fn core_seconds() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let of = |time: TimeVal| Duration::from_micros(time.num_microseconds().unsigned_abs());
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn gigabytes(length: u64) -> f64 {
    length as f64 / GIGABYTE
}
