//! Writes streams into the store at constant memory, hashing as the bytes pass.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use object_store::{ObjectStoreExt as _, PutPayload, WriteMultipart, path::Path};

use super::{BlobStore, Error, Stored, blob_path, delete, temporary_path};
use crate::digest::{Digest, Hasher};

/// Bytes held back to see whether a stream is small; also the size of the parts of a large one.
const PART: usize = 8 * 1024 * 1024;
/// Parts in flight to the store for one upload.
const PARTS_IN_FLIGHT: usize = 4;

/// What became of a stream that may break off.
#[derive(Debug)]
pub enum Outcome {
    /// All of it came and is a blob now.
    Stored(Stored),
    /// It broke off; what came is kept.
    Interrupted(Interrupted),
}

/// The kept beginning of a stream that broke off.
#[derive(Debug)]
pub struct Interrupted {
    /// Bytes that came and lie at the temporary key.
    pub kept: u64,
    /// Why it broke off.
    pub reason: std::io::Error,
}

/// How much came, its digest, and what ended the stream early.
struct Received {
    stored: Stored,
    broken: Option<std::io::Error>,
}

impl BlobStore {
    /// Stores a stream as a blob. With `expected`, other content is refused and nothing is kept.
    pub async fn put_stream<S>(&self, body: S, expected: Option<Digest>) -> Result<Stored, Error>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let key = format!("incoming/{:032x}", rand::random::<u128>());
        match self.put_resumable(body, expected, &key).await? {
            Outcome::Stored(stored) => Ok(stored),
            Outcome::Interrupted(interrupted) => {
                self.delete_temporary(&key).await?;
                Err(Error::Body(interrupted.reason))
            }
        }
    }

    /// Stores a stream as a blob, or keeps at temporary `key` what came before it broke off.
    ///
    /// The uninterrupted stream is hashed and written once: the finished object is renamed, not copied, on a local
    /// store, and copied on the server's side elsewhere.
    pub async fn put_resumable<S>(&self, body: S, expected: Option<Digest>, key: &str) -> Result<Outcome, Error>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let staged = temporary_path(key);
        let mut observers: Vec<_> = self.observe.iter().map(|observe| observe()).collect();
        let body = body.inspect(|piece| {
            if let Ok(piece) = piece {
                observers.iter_mut().for_each(|observer| observer.push(piece));
            }
        });
        let received = self.write(body, &staged).await?;
        if let Some(reason) = received.broken {
            return Ok(Outcome::Interrupted(Interrupted { kept: received.stored.size, reason }));
        }
        let found = received.stored.digest;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            delete(&*self.objects, &staged).await?;
            return Err(Error::DigestMismatch { expected, found });
        }
        self.promote(&staged, &found).await?;
        observers.into_iter().for_each(|observer| observer.finish(&received.stored));
        Ok(Outcome::Stored(received.stored))
    }

    /// Stores bytes at hand as a blob.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<Stored, Error> {
        let stored = Stored { digest: Digest::of(&bytes), size: bytes.len() as u64 };
        if !self.exists(&stored.digest).await? {
            self.objects.put(&blob_path(&stored.digest), PutPayload::from_bytes(bytes)).await?;
        }
        Ok(stored)
    }

    /// Stores a stream at a temporary key and returns its length in bytes and its digest.
    pub async fn put_temporary<S>(&self, key: &str, body: S) -> Result<Stored, Error>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let path = temporary_path(key);
        let received = self.write(body, &path).await?;
        if let Some(reason) = received.broken {
            delete(&*self.objects, &path).await?;
            return Err(Error::Body(reason));
        }
        Ok(received.stored)
    }

    /// Stores what comes of a stream at a temporary key; returns its length, and why it broke off if it did.
    pub async fn put_part<S>(&self, key: &str, body: S) -> Result<(u64, Option<std::io::Error>), Error>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let received = self.write(body, &temporary_path(key)).await?;
        Ok((received.stored.size, received.broken))
    }

    /// Writes a stream to `path`; when it breaks off, what came is a complete object there.
    async fn write<S>(&self, mut body: S, path: &Path) -> Result<Received, Error>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let mut hasher = Hasher::default();
        let mut size = 0_u64;
        let mut head = BytesMut::new();
        let mut large: Option<WriteMultipart> = None;
        let mut broken = None;
        while let Some(piece) = body.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            };
            hasher.update(&piece);
            size += piece.len() as u64;
            if let Some(upload) = &mut large {
                if let Err(error) = upload.wait_for_capacity(PARTS_IN_FLIGHT).await {
                    return Err(give_up(large.take(), error).await);
                }
                upload.put(piece);
                continue;
            }
            head.extend_from_slice(&piece);
            if head.len() >= PART {
                let started = self.objects.put_multipart(path).await?;
                let mut upload = WriteMultipart::new_with_chunk_size(started, PART);
                upload.put(head.split().freeze());
                large = Some(upload);
            }
        }
        match large {
            Some(upload) => upload.finish().await.map(|_| ())?,
            None => self.objects.put(path, PutPayload::from_bytes(head.freeze())).await.map(|_| ())?,
        }
        Ok(Received { stored: Stored { digest: hasher.finish(), size }, broken })
    }

    /// Gives a finished object its place among the blobs; one that is there already stays.
    async fn promote(&self, staged: &Path, digest: &Digest) -> Result<(), Error> {
        let place = blob_path(digest);
        if self.exists(digest).await? {
            return delete(&*self.objects, staged).await;
        }
        if self.objects.rename(staged, &place).await.is_ok() {
            return Ok(());
        }
        // Some stores copy no object above 5 GB: stream it over instead.
        let parts = self.stream(staged, None).await?;
        let parts = parts.map(|part| part.map_err(std::io::Error::other));
        let received = self.write(parts.boxed(), &place).await?;
        if received.broken.is_some() || received.stored.digest != *digest {
            delete(&*self.objects, &place).await?;
            return Err(Error::DigestMismatch { expected: *digest, found: received.stored.digest });
        }
        delete(&*self.objects, staged).await
    }
}

async fn give_up(upload: Option<WriteMultipart>, error: object_store::Error) -> Error {
    if let Some(upload) = upload {
        // The first error is the one to tell; parts left behind are the bucket's lifecycle rule's to remove.
        let _ = upload.abort().await;
    }
    error.into()
}
