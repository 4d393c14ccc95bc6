//! A large file over REST with its digest announced: when the answer comes, it is hashed, compared and stored.
//!
//! Hashing is the one thing that cannot be left out, so the baseline is hashing alone, on one core: by the library
//! that the server uses, and by OpenSSL where it is installed.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use futures::stream;
use reqwest::{Body, Method};
use sha2::{Digest as _, Sha256};

use crate::support::{Home, MIB, Server, Times, Unit, noise, print, print_note, send};

const LENGTH: usize = 500 << 20;
const SAMPLES: u64 = 4;
/// Bytes that the client hands to the socket at once.
const PIECE: usize = 256 << 10;

pub(crate) async fn run() -> anyhow::Result<()> {
    let home = Home::new()?;
    let server = Server::start(&home)?;
    server.create_model("admin/upload").await?;
    let mut uploads = Times::default();
    let mut hashing = Times::default();
    let mut writing = Times::default();
    for seed in 1..=SAMPLES {
        // Other bytes each time: the server keeps equal content once.
        let content = Bytes::from(noise(LENGTH, seed));
        let digest = hashing.take(|| Ok(hex::encode(Sha256::digest(&content))))?;
        writing.take(|| Ok(std::fs::write(home.path().join("plain"), &content)?))?;
        std::fs::remove_file(home.path().join("plain"))?;
        let url = "/api/v1/models/admin/upload/files/model.bin";
        let request = server.request(Method::PUT, url).header("X-Content-SHA256", digest).body(body(content));
        uploads.wait(async { Ok(send(request).await?.bytes().await?) }).await?;
    }
    let amount = Unit::Rate(amount() / MIB, "MiB/s");
    let openssl = openssl();
    let mut baselines = vec![("sha2 alone", &hashing)];
    baselines.extend(openssl.as_ref().map(|times| ("openssl alone", times)));
    print("upload of 500 MiB, verified and stored", &uploads, amount, &baselines);
    print("  baseline: sha2 alone, one core", &hashing, amount, &[]);
    match &openssl {
        Some(times) => print("  baseline: openssl speed sha256, one core", times, amount, &[]),
        None => print_note("  openssl: not installed"),
    }
    print("  baseline: write to a file alone", &writing, amount, &[]);
    Ok(())
}

/// In pieces, as from a disk, without a copy.
pub(crate) fn body(content: Bytes) -> Body {
    let pieces = (0..content.len()).step_by(PIECE).map(move |start| {
        let end = content.len().min(start + PIECE);
        Ok::<_, std::io::Error>(content.slice(start..end))
    });
    Body::wrap_stream(stream::iter(pieces))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn amount() -> f64 {
    LENGTH as f64
}

/// How long OpenSSL would take, from its own measurement on 16 KiB blocks.
fn openssl() -> Option<Times> {
    let arguments = ["speed", "-seconds", "1", "-bytes", "16384", "-evp", "sha256"];
    let output = Command::new("openssl").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let last = text.lines().rev().find(|line| line.to_lowercase().starts_with("sha256"))?;
    let thousands: f64 = last.split_whitespace().last()?.strip_suffix('k')?.parse().ok()?;
    let mut times = Times::default();
    times.push(Duration::from_secs_f64(amount() / (thousands * 1000.0)));
    Some(times)
}
