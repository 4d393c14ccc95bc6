//! What parent and child say to each other on the child's standard input, a socket: the parent reads weights for its
//! child, which may open no file of the store and no connection.
//!
//! All numbers are little-endian.
//! 1. The parent greets with the length of a JSON [`Hello`] in bytes (u32), then the text.
//! 2. The child asks for a piece: 16 bytes, see [`Ask`].
//! 3. The parent answers with the piece. Then 2 again, until the child ends. A parent that cannot read what was asked
//!    for closes the socket: why, it says to whom it answers itself, not to its child.

use serde::{Deserialize, Serialize};

use super::{Record, statistics::OfFile};

/// Most bytes of a piece.
pub(super) const MAX_PIECE: u32 = 1 << 30;
/// Most bytes of a greeting: what was kept of the base, the files, and sums for each tensor.
pub(super) const MAX_HELLO: u32 = 64 << 20;

/// What the child hears first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Hello {
    /// What an earlier run kept of the base.
    pub(super) record: Option<Record>,
    /// Files that the parent reads, in the order of their numbers.
    pub(super) files: Vec<Listed>,
}

impl Hello {
    /// Whether there is nothing to say, and no need for a socket.
    pub(super) fn is_empty(&self) -> bool {
        self.record.is_none() && self.files.is_empty()
    }
}

/// A file that the parent reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Listed {
    /// Whether it is the base's.
    pub(super) of_base: bool,
    /// Its name in the folder.
    pub(super) name: String,
    /// Its bytes.
    pub(super) size: u64,
    /// Sums of its tensors, as far as they were made while it was uploaded.
    pub(super) statistics: OfFile,
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    /// The number of the file.
    pub(super) file: u32,
    /// Where the piece begins.
    pub(super) offset: u64,
    /// Bytes of the piece, at most [`MAX_PIECE`].
    pub(super) length: u32,
}

impl Ask {
    /// As it travels.
    pub(super) fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.file.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.offset.to_le_bytes());
        bytes[12..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    /// Reads what travelled; every value is a question, not every question has an answer.
    pub(super) fn decode(bytes: [u8; 16]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        let part = |shift: u32| u32::try_from(whole >> shift & u128::from(u32::MAX)).unwrap_or(0);
        Self { file: part(0), offset: u64::from(part(32)) | u64::from(part(64)) << 32, length: part(96) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_arrives_as_it_was_asked() {
        let ask = Ask { file: 7, offset: 0x0123_4567_89ab_cdef, length: 0x8000_0001 };
        assert_eq!(Ask::decode(ask.encode()), ask);
    }
}
