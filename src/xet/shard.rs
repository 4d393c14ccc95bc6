//! Reads the files that a shard describes.

use std::io::Cursor;

use xet_core_structures::{
    merklehash::MerkleHash,
    metadata_shard::{
        MDBShardFileHeader, file_structs::MDBFileInfoView, streaming_shard::process_shard_file_info_section,
    },
};

use super::Error;
use crate::digest::Digest;

/// Largest shard in bytes (specification).
pub const MAX_SHARD: usize = 64 * 1024 * 1024;

/// A run of chunks of one xorb.
#[derive(Debug, Clone)]
pub(super) struct Term {
    /// The xorb.
    pub(super) xorb: MerkleHash,
    /// Its first chunk.
    pub(super) start: usize,
    /// Behind its last chunk.
    pub(super) end: usize,
    /// The bytes of the run, unpacked.
    pub(super) length: u64,
    /// Keyed hash over the chunks' hashes, when the shard gives one.
    pub(super) range_hash: Option<MerkleHash>,
}

/// A file as a shard describes it.
#[derive(Debug, Clone)]
pub(super) struct FileEntry {
    /// Its Xet hash.
    pub(super) hash: MerkleHash,
    /// Its SHA-256, when the shard gives one.
    pub(super) digest: Option<Digest>,
    /// Its runs of chunks, in order.
    pub(super) terms: Vec<Term>,
}

/// Parses the file section of a shard; nothing is allocated beyond what the shard's own bytes fill.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<FileEntry>, Error> {
    let bad = |error: xet_core_structures::CoreError| Error::Malformed(format!("the shard cannot be read: {error}"));
    let mut reader = Cursor::new(bytes);
    MDBShardFileHeader::deserialize(&mut reader).map_err(bad)?;
    let budget = bytes.len() as u64 - reader.position();
    let mut files = Vec::new();
    process_shard_file_info_section(
        &mut reader,
        |view| {
            files.push(entry(&view));
            Ok(())
        },
        Some(budget),
    )
    .map_err(bad)?;
    files.into_iter().collect()
}

fn entry(view: &MDBFileInfoView) -> Result<FileEntry, Error> {
    let verified = view.contains_verification();
    let term = |index: usize| {
        let entry = view.entry(index);
        Term {
            xorb: entry.xorb_hash,
            start: entry.chunk_index_start as usize,
            end: entry.chunk_index_end as usize,
            length: u64::from(entry.unpacked_segment_bytes),
            range_hash: verified.then(|| view.verification(index).range_hash),
        }
    };
    let digest = match view.metadata_ext() {
        // Kept in the byte order of Xet hashes, whose text is the usual one.
        Some(extension) => Some(
            extension
                .sha256
                .hex()
                .parse()
                .map_err(|_| Error::Malformed("the shard's SHA-256 cannot be read".to_owned()))?,
        ),
        None => None,
    };
    Ok(FileEntry { hash: view.file_hash(), digest, terms: (0..view.num_entries()).map(term).collect() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn a_header_that_claims_too_much_allocates_nothing() {
        let mut bytes = Vec::new();
        MDBShardFileHeader::default().serialize(&mut bytes).unwrap();
        bytes.extend_from_slice(&[1; 32]);
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        assert!(parse(&bytes).is_err());
    }
}
