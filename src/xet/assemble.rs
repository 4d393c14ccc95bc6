//! Makes blobs of the files that a shard describes.

use std::{collections::HashMap, ops::Range};

use futures::{StreamExt as _, TryStreamExt as _};
use sqlx::PgPool;
use xet_core_structures::{
    merklehash::{MerkleHash, file_hash},
    metadata_shard::chunk_verification::range_hash_from_chunks,
};

use super::{
    Error,
    db::{self, Xorb},
    shard::{self, FileEntry, Term},
};
use crate::{
    catalog::{self, uploads::MAX_FILE},
    digest::Digest,
    storage::{self, BlobStore, Stored},
};

/// Most terms of a shard's files together: one for each 64 KiB of a file of the largest size would be more, but a
/// term is a run, and each costs a row.
const MAX_TERMS: usize = 512 * 1024;
/// Most chunks that the terms of a shard name together: their hashes are laid out file by file, 40 bytes each. Chunks
/// have 64 KiB in the middle, so this is 256 GiB of them.
const MAX_NAMED_CHUNKS: usize = 4 * 1024 * 1024;

/// Told how many files of a shard are done, and how many there are.
pub type Progress = Box<dyn FnMut(usize, usize) + Send>;

/// Who uploads, and to which model.
#[derive(Debug, Clone, Copy)]
pub struct Uploader {
    /// The user.
    pub user_id: i64,
    /// The model.
    pub model_id: i64,
}

/// Where bytes of a file lie.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// In the plain chunks of a waiting xorb.
    Waiting(String),
    /// In a blob.
    Blob(Digest),
}

#[derive(Debug, Clone)]
struct Piece {
    source: Source,
    range: Range<u64>,
}

/// Takes a shard: checks that each file is made of chunks that this user sent, assembles it, verifies its SHA-256,
/// and lets the user commit it to the model.
pub async fn put_shard(
    pool: &PgPool,
    store: &BlobStore,
    uploader: Uploader,
    bytes: &[u8],
    mut progress: Progress,
) -> Result<(), Error> {
    let files = shard::parse(bytes)?;
    bound(&files)?;
    let mut xorbs: HashMap<MerkleHash, Xorb> = HashMap::new();
    for (done, file) in files.iter().enumerate() {
        progress(done, files.len());
        for term in &file.terms {
            if let std::collections::hash_map::Entry::Vacant(e) = xorbs.entry(term.xorb) {
                let loaded = db::find_xorb(&mut *pool.acquire().await?, uploader.user_id, &term.xorb).await?;
                e.insert(loaded.ok_or_else(|| Error::UnknownXorb(term.xorb.hex()))?);
            }
        }
        let stored = assemble(store, file, &xorbs).await?;
        keep(pool, store, uploader, file, &stored, &mut xorbs).await?;
    }
    progress(files.len(), files.len());
    release(pool, store, uploader, &xorbs).await
}

/// Refuses a shard that asks for more work than any upload needs: few terms can name the same chunks over and over.
/// Only what the shard itself says is looked at, before anything is read or copied.
fn bound(files: &[FileEntry]) -> Result<(), Error> {
    let smaller = "upload fewer or smaller files at once";
    let terms: usize = files.iter().map(|file| file.terms.len()).sum();
    if terms > MAX_TERMS {
        let message = format!("the shard has {terms} terms, at most {MAX_TERMS} are taken: {smaller}");
        return Err(Error::Malformed(message));
    }
    let named = files.iter().flat_map(|file| &file.terms).map(|term| term.end.saturating_sub(term.start));
    let chunks = named.fold(0, usize::saturating_add);
    if chunks > MAX_NAMED_CHUNKS {
        let message = format!("the shard names {chunks} chunks, at most {MAX_NAMED_CHUNKS} are taken: {smaller}");
        return Err(Error::Malformed(message));
    }
    let size = files.iter().flat_map(|file| &file.terms).fold(0, |size: u64, term| size.saturating_add(term.length));
    if size > MAX_FILE {
        let message = format!("the shard's files have {size} bytes, at most {MAX_FILE} are taken: {smaller}");
        return Err(Error::Malformed(message));
    }
    Ok(())
}

async fn assemble(store: &BlobStore, file: &FileEntry, xorbs: &HashMap<MerkleHash, Xorb>) -> Result<Stored, Error> {
    check(file, xorbs)?;
    let mut pieces: Vec<Piece> = Vec::new();
    for term in &file.terms {
        for piece in locate(term, &xorbs[&term.xorb])? {
            match pieces.last_mut().filter(|last| last.source == piece.source && last.range.end == piece.range.start) {
                Some(last) => last.range.end = piece.range.end,
                None => pieces.push(piece),
            }
        }
    }
    let size = pieces.iter().map(|piece| piece.range.end - piece.range.start).sum();
    // The very blob again: it is there and verified.
    if let ([Piece { source: Source::Blob(digest), range: Range { start: 0, .. } }], Some(wanted)) =
        (&pieces[..], file.digest)
        && *digest == wanted
        && store.exists(digest).await?
    {
        return Ok(Stored { digest: wanted, size });
    }
    let streams = futures::stream::iter(pieces).then(|piece| {
        let store = store.clone();
        async move {
            match piece.source {
                Source::Waiting(object) => store.read_temporary(&object, Some(piece.range)).await,
                Source::Blob(digest) => store.read_range(&digest, piece.range).await,
            }
        }
    });
    let whole = streams.try_flatten().map_err(std::io::Error::other);
    match store.put_stream(whole.boxed(), file.digest).await {
        Err(storage::Error::DigestMismatch { expected, found }) => {
            Err(Error::Malformed(format!("the file's content has SHA-256 {found}, the shard says {expected}")))
        }
        other => Ok(other?),
    }
}

/// Checks ranges, lengths, range hashes and the file's hash against the chunks of verified xorbs.
fn check(file: &FileEntry, xorbs: &HashMap<MerkleHash, Xorb>) -> Result<(), Error> {
    let bad = |what: &str| Error::Malformed(format!("file {}: {what}", file.hash.hex()));
    let mut chunks = Vec::new();
    for term in &file.terms {
        let held = xorbs[&term.xorb].chunks.get(term.start..term.end).filter(|held| !held.is_empty());
        let held = held.ok_or_else(|| bad("a term's range is not inside its xorb"))?;
        if held.iter().map(|(_, length)| length).sum::<u64>() != term.length {
            return Err(bad("a term's length is not that of its chunks"));
        }
        if let Some(range_hash) = term.range_hash {
            let hashes: Vec<MerkleHash> = held.iter().map(|(hash, _)| *hash).collect();
            if range_hash_from_chunks(&hashes) != range_hash {
                return Err(bad("a term's range hash is not that of its chunks"));
            }
        }
        chunks.extend_from_slice(held);
    }
    if chunks.is_empty() || file_hash(&chunks) != file.hash {
        return Err(bad("its hash is not that of its chunks"));
    }
    Ok(())
}

/// Finds the bytes of a term: in the waiting xorb, or in blobs that hold its chunks.
fn locate(term: &Term, xorb: &Xorb) -> Result<Vec<Piece>, Error> {
    if let Some(object) = &xorb.object {
        let range = xorb.offset(term.start)..xorb.offset(term.end);
        return Ok(vec![Piece { source: Source::Waiting(object.clone()), range }]);
    }
    let mut pieces = Vec::new();
    let mut at = term.start;
    while at < term.end {
        let covering = xorb.extents.iter().filter(|extent| extent.start <= at && at < extent.end);
        let extent = covering.max_by_key(|extent| extent.end);
        let extent = extent.ok_or_else(|| Error::UnknownXorb(term.xorb.hex()))?;
        let end = extent.end.min(term.end);
        let begin = xorb.offset(extent.start);
        let range = extent.offset + xorb.offset(at) - begin..extent.offset + xorb.offset(end) - begin;
        pieces.push(Piece { source: Source::Blob(extent.digest), range });
        at = end;
    }
    Ok(pieces)
}

/// Records the blob, the user's right to commit it, and where the xorbs' chunks lie in it.
async fn keep(
    pool: &PgPool,
    store: &BlobStore,
    uploader: Uploader,
    file: &FileEntry,
    stored: &Stored,
    xorbs: &mut HashMap<MerkleHash, Xorb>,
) -> Result<(), Error> {
    let mut tx = pool.begin().await?;
    storage::record(&mut tx, store, stored).await?;
    catalog::grant_blob(&mut tx, uploader.user_id, uploader.model_id, &stored.digest).await?;
    let mut offset = 0;
    for term in &file.terms {
        let extent = db::Extent { start: term.start, end: term.end, digest: stored.digest, offset };
        db::insert_extent(&mut tx, uploader.user_id, &term.xorb, &extent).await?;
        if let Some(xorb) = xorbs.get_mut(&term.xorb) {
            xorb.extents.push(extent);
        }
        offset += term.length;
    }
    tx.commit().await?;
    Ok(())
}

/// Drops the plain chunks of xorbs whose every chunk lies in a blob now.
async fn release(
    pool: &PgPool,
    store: &BlobStore,
    uploader: Uploader,
    xorbs: &HashMap<MerkleHash, Xorb>,
) -> Result<(), Error> {
    for (hash, xorb) in xorbs {
        let Some(object) = xorb.object.as_ref().filter(|_| xorb.is_covered()) else { continue };
        db::forget_object(&mut *pool.acquire().await?, uploader.user_id, hash).await?;
        store.delete_temporary(object).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(terms: usize, chunks: usize, length: u64) -> FileEntry {
        let term = Term { xorb: MerkleHash::default(), start: 0, end: chunks, length, range_hash: None };
        FileEntry { hash: MerkleHash::default(), digest: None, terms: vec![term; terms] }
    }

    #[test]
    fn a_shard_that_names_one_xorb_thousands_of_times_is_refused_before_anything_is_copied() {
        let refused = |files: &[FileEntry]| bound(files).unwrap_err().to_string();
        assert!(refused(&[file(12_000, 8192, 8192)]).contains("names 98304000 chunks"));
        assert!(refused(&vec![file(100, 8192, 8192); 6]).contains("chunks"));
        assert!(refused(&[file(1, usize::MAX, 1), file(1, usize::MAX, 1)]).contains("chunks"));
        assert!(refused(&[file(MAX_TERMS + 1, 1, 1)]).contains("terms"));
        assert!(refused(&[file(2, 1, MAX_FILE / 2 + 1)]).contains("bytes"));
        bound(&[file(512, 8192, 64 * 1024 * 1024)]).unwrap();
    }
}
