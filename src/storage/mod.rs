//! The content-addressed blob store over object storage (a local folder, S3, Google Cloud Storage, Azure).
//!
//! A blob lives at `blobs/ab/HEX` and is written once; what is under way lives below `tmp/`. Objects are written
//! before the rows that make them reachable ([`record`]), so a crash leaves garbage for [`gc`], never a dangling
//! reference. This module knows blobs and digests only: no model, no revision, no caller.

pub mod db;
pub mod fsck;
pub mod gc;
mod local;
mod observe;
mod open;
mod write;

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, path::Path};
use sqlx::PgConnection;

use crate::digest::Digest;
pub use observe::{Observe, Observer};
pub use write::{Interrupted, Outcome};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes that came are not the bytes that were announced.
    #[error("the content has digest {found}, not {expected} as announced; nothing was kept")]
    DigestMismatch {
        /// What the client said.
        expected: Digest,
        /// What its bytes have.
        found: Digest,
    },
    /// More or fewer bytes than announced.
    #[error("{found} bytes came, {expected} were announced; nothing was kept")]
    SizeMismatch {
        /// What the client said, in bytes.
        expected: u64,
        /// What came, in bytes.
        found: u64,
    },
    /// A blob is not in the store although a row names it.
    #[error("blob {0} is not in the store")]
    Missing(Digest),
    /// A blob was collected between its upload and its commit.
    #[error("blob {0} was removed while it was being committed, send it again")]
    Vanished(Digest),
    /// The client's stream broke off.
    #[error("the upload broke off: {0}")]
    Body(std::io::Error),
    /// The store's address cannot be used.
    #[error("the store `{url}` cannot be used: {reason}")]
    Address {
        /// The address as configured.
        url: String,
        /// Why not.
        reason: String,
    },
    /// The object store failed.
    #[error("the object store failed: {0}")]
    Store(#[from] object_store::Error),
    /// The local file system failed.
    #[error("the local store failed: {0}")]
    Io(#[from] std::io::Error),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// A blob that is in the store, verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Length in bytes.
    pub size: u64,
}

/// A stream of a blob's bytes.
pub type Bytestream = BoxStream<'static, Result<Bytes, Error>>;

/// The store; cheap to clone.
#[derive(Clone)]
pub struct BlobStore {
    objects: Arc<dyn ObjectStore>,
    /// Set when the objects are plain files here, which are then read without a detour.
    folder: Option<Arc<std::path::PathBuf>>,
    address: Arc<str>,
    /// Who looks at what streams in.
    observe: Vec<Observe>,
}

impl BlobStore {
    /// Lets somebody look at every blob that streams in from now on.
    #[must_use]
    pub fn observed_by(self, observe: Observe) -> Self {
        let observe = self.observe.into_iter().chain([observe]).collect();
        Self { observe, ..self }
    }

    /// The address of the store, for people.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Reads a whole blob.
    pub async fn read(&self, digest: &Digest) -> Result<Bytestream, Error> {
        self.stream(&blob_path(digest), None).await.map_err(|error| missing(error, digest))
    }

    /// Reads `range` of a blob; the caller has clamped it to the blob's size.
    pub async fn read_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytestream, Error> {
        self.stream(&blob_path(digest), Some(range)).await.map_err(|error| missing(error, digest))
    }

    /// Reads `range` of a blob into memory; the caller caps its length.
    pub async fn read_bytes(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let read = self.objects.get_range(&blob_path(digest), range).await;
        read.map_err(|error| missing(error.into(), digest))
    }

    /// Reads a whole blob of at most `limit` bytes into memory; a longer one is cut.
    pub async fn read_all(&self, digest: &Digest, limit: u64) -> Result<Bytes, Error> {
        let found = self.objects.head(&blob_path(digest)).await.map_err(|error| missing(error.into(), digest))?;
        self.read_bytes(digest, 0..found.size.min(limit)).await
    }

    /// Tells whether the blob's object is there.
    pub async fn exists(&self, digest: &Digest) -> Result<bool, Error> {
        match self.objects.head(&blob_path(digest)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads `range` of an object that is under way, or all of it.
    pub async fn read_temporary(&self, key: &str, range: Option<Range<u64>>) -> Result<Bytestream, Error> {
        self.stream(&temporary_path(key), range).await
    }

    /// Removes an object that was under way; one that is gone already is fine.
    pub async fn delete_temporary(&self, key: &str) -> Result<(), Error> {
        delete(&*self.objects, &temporary_path(key)).await
    }

    /// Checks that the store answers, for `/readyz`.
    pub async fn ping(&self) -> Result<(), Error> {
        match self.objects.head(&Path::from("ping")).await {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn stream(&self, path: &Path, range: Option<Range<u64>>) -> Result<Bytestream, Error> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok(futures::stream::empty().boxed());
        }
        if let Some(folder) = &self.folder {
            return local::stream(folder.join(path.as_ref()), range).await;
        }
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let got = self.objects.get_opts(path, options).await?;
        Ok(got.into_stream().map(|part| part.map_err(Error::from)).boxed())
    }
}

/// Makes a stored blob known, in the transaction that makes it reachable.
///
/// A new row is checked against the store once more: `gc` removes object and row in one transaction, so that whoever
/// inserts the row afterwards must find the object, or the client sends it again.
pub async fn record(db: &mut PgConnection, store: &BlobStore, stored: &Stored) -> Result<(), Error> {
    let is_new = db::insert_blob(db, &stored.digest, stored.size).await?;
    if is_new && !store.exists(&stored.digest).await? {
        return Err(Error::Vanished(stored.digest));
    }
    Ok(())
}

async fn delete(objects: &dyn ObjectStore, path: &Path) -> Result<(), Error> {
    match objects.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn missing(error: Error, digest: &Digest) -> Error {
    match error {
        Error::Store(object_store::Error::NotFound { .. }) => Error::Missing(*digest),
        Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Error::Missing(*digest),
        other => other,
    }
}

fn blob_path(digest: &Digest) -> Path {
    let hex = digest.to_hex();
    Path::from(format!("blobs/{}/{hex}", &hex[..2]))
}

fn temporary_path(key: &str) -> Path {
    Path::from(format!("tmp/{key}"))
}
