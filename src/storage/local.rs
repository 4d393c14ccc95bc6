//! Reads files of a local store in large pieces, one ahead of the network.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    ops::Range,
    path::PathBuf,
};

use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Bytestream, Error};

/// Bytes read at once. Larger pieces gain nothing on loopback, smaller ones cost a thread hop each.
const PIECE: usize = 256 * 1024;
const AHEAD: usize = 4;

/// Streams a file, or a range of it.
pub(super) async fn stream(path: PathBuf, range: Option<Range<u64>>) -> Result<Bytestream, Error> {
    let opened = tokio::task::spawn_blocking(move || open(path, range.as_ref())).await;
    let (file, length) = opened.map_err(std::io::Error::other)??;
    if length <= PIECE as u64 {
        let whole = tokio::task::spawn_blocking(move || read_piece(&file, length)).await;
        let bytes = whole.map_err(std::io::Error::other)??;
        return Ok(futures::stream::once(async move { Ok(bytes) }).boxed());
    }
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || send_pieces(&file, length, &sender));
    Ok(ReceiverStream::new(receiver).boxed())
}

fn open(path: PathBuf, range: Option<&Range<u64>>) -> std::io::Result<(File, u64)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let Some(range) = range else { return Ok((file, size)) };
    file.seek(SeekFrom::Start(range.start))?;
    Ok((file, range.end.min(size).saturating_sub(range.start)))
}

fn send_pieces(file: &File, mut left: u64, sender: &mpsc::Sender<Result<Bytes, Error>>) {
    while left > 0 {
        let piece = read_piece(file, left.min(PIECE as u64)).map_err(Error::from);
        left -= piece.as_ref().map_or(left, |bytes| bytes.len() as u64);
        // An error here means that the reader left.
        if sender.blocking_send(piece).is_err() {
            return;
        }
    }
}

fn read_piece(file: &File, length: u64) -> std::io::Result<Bytes> {
    let mut piece = Vec::with_capacity(usize::try_from(length).unwrap_or(PIECE));
    file.take(length).read_to_end(&mut piece)?;
    if piece.len() as u64 != length {
        return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the stored file is shorter than recorded"));
    }
    Ok(piece.into())
}
