//! Walks the chunks of a serialized xorb as its bytes arrive.

use std::{
    io::{self, Cursor, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use xet_core_structures::{
    merklehash::{MerkleHash, compute_data_hash},
    xorb_object::{XORB_CHUNK_HEADER_LENGTH, deserialize_chunk_to_writer, parse_chunk_header},
};

use super::{Error, MAX_CHUNKS, MAX_XORB};

/// Largest chunk, unpacked, in bytes (specification).
const MAX_CHUNK: usize = 128 * 1024;
/// What a client may append after the chunks begins so.
const FOOTER: &[u8] = b"XETBLOB";

/// Hashes and lengths of the chunks that passed.
pub(super) type Found = Arc<Mutex<Vec<(MerkleHash, u64)>>>;

struct State<S> {
    body: S,
    buffer: BytesMut,
    found: Found,
    bytes: u64,
    is_over: bool,
}

/// Turns a serialized xorb into its plain chunks, noting hash and length of each in `found`.
pub(super) fn plain<S>(body: S, found: Found) -> impl Stream<Item = Result<Bytes, Error>> + Send
where
    S: Stream<Item = io::Result<Bytes>> + Unpin + Send + 'static,
{
    let state = State { body, buffer: BytesMut::new(), found, bytes: 0, is_over: false };
    stream::try_unfold(state, |mut state| async move {
        let chunk = next(&mut state).await?;
        Ok(chunk.map(|chunk| (chunk, state)))
    })
}

/// An error of ours that travelled through the store as one of the stream.
pub(super) fn unwrap(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(other) => Error::Body(other),
    }
}

async fn next<S>(state: &mut State<S>) -> Result<Option<Bytes>, Error>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    if state.is_over || !fill(state, XORB_CHUNK_HEADER_LENGTH).await? {
        return drain(state).await;
    }
    if state.buffer.starts_with(FOOTER) {
        return drain(state).await;
    }
    let mut head = [0; XORB_CHUNK_HEADER_LENGTH];
    head.copy_from_slice(&state.buffer[..XORB_CHUNK_HEADER_LENGTH]);
    let header = parse_chunk_header(head).map_err(|error| Error::Malformed(format!("a chunk's header: {error}")))?;
    let length = XORB_CHUNK_HEADER_LENGTH + header.get_compressed_length() as usize;
    if !fill(state, length).await? {
        return Err(Error::Malformed("the xorb ends within a chunk".to_owned()));
    }
    let mut chunk = Capped(Vec::new());
    deserialize_chunk_to_writer(&mut Cursor::new(&state.buffer[..length]), &mut chunk)
        .map_err(|error| Error::Malformed(format!("a chunk does not unpack: {error}")))?;
    state.buffer.advance(length);
    note(state, chunk.0).map(Some)
}

fn note<S>(state: &mut State<S>, chunk: Vec<u8>) -> Result<Bytes, Error> {
    state.bytes += chunk.len() as u64;
    let mut found = state.found.lock().unwrap_or_else(PoisonError::into_inner);
    if chunk.is_empty() || state.bytes > MAX_XORB || found.len() >= MAX_CHUNKS {
        return Err(Error::Malformed("the xorb is larger than xorbs may be, or has an empty chunk".to_owned()));
    }
    found.push((compute_data_hash(&chunk), chunk.len() as u64));
    Ok(Bytes::from(chunk))
}

/// Reads until the buffer holds `wanted` bytes; false when the body ends with an empty buffer.
async fn fill<S>(state: &mut State<S>, wanted: usize) -> Result<bool, Error>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    while state.buffer.len() < wanted {
        match state.body.next().await {
            Some(piece) => state.buffer.extend_from_slice(&piece.map_err(Error::Body)?),
            None if state.buffer.is_empty() => return Ok(false),
            None => return Err(Error::Malformed("the xorb ends within a chunk".to_owned())),
        }
    }
    Ok(true)
}

/// Reads what follows the chunks, a footer that is not needed, up to a bound.
async fn drain<S>(state: &mut State<S>) -> Result<Option<Bytes>, Error>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin,
{
    let mut rest = state.buffer.len();
    while let Some(piece) = state.body.next().await {
        rest += piece.map_err(Error::Body)?.len();
        if rest > 16 * 1024 * 1024 {
            return Err(Error::Malformed("too much follows the xorb's chunks".to_owned()));
        }
    }
    state.is_over = true;
    Ok(None)
}

/// A vector that refuses to grow beyond a chunk, whatever a compressed stream unpacks to.
struct Capped(Vec<u8>);

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_CHUNK {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it unpacks to more than 128 KiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use xet_core_structures::xorb_object::{CompressionScheme, serialize_chunk};

    use super::*;

    fn packed(chunks: &[&[u8]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in chunks {
            serialize_chunk(chunk, &mut bytes, CompressionScheme::LZ4).unwrap();
        }
        bytes
    }

    async fn walk(bytes: &[u8], step: usize) -> Result<Vec<Bytes>, Error> {
        let pieces: Vec<io::Result<Bytes>> = bytes.chunks(step).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
        let chunks: Vec<_> = plain(stream::iter(pieces), Found::default()).collect().await;
        chunks.into_iter().collect()
    }

    #[tokio::test]
    async fn chunks_come_out_whatever_the_pieces_and_a_footer_is_left() {
        let mut bytes = packed(&[&[7; 9000], b"second"]);
        bytes.extend_from_slice(b"XETBLOB and more");
        for step in [1, 3, 4096, 1 << 20] {
            let chunks = walk(&bytes, step).await.unwrap();
            assert_eq!(chunks, [Bytes::from(vec![7; 9000]), Bytes::from_static(b"second")]);
        }
    }

    #[tokio::test]
    async fn truncated_and_damaged_xorbs_are_refused() {
        let bytes = packed(&[&[7; 9000]]);
        for end in 1..bytes.len() {
            assert!(walk(&bytes[..end], 4096).await.is_err(), "cut at {end}");
        }
        let mut lying = bytes.clone();
        lying[7] = 0xff;
        assert!(walk(&lying, 4096).await.is_err(), "a length beyond the largest chunk");
    }
}
