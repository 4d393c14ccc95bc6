//! The ways in which a fingerprint file can lie.

use super::{MAX_FILE, MAX_TEXT};
use crate::lineage::weights::print::{MAX_LAYERS, VERSION};

/// A way in which a fingerprint file can lie.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too long.
    #[error("the fingerprint has {0} bytes, at most {MAX_FILE} are read")]
    TooLong(usize),
    /// Something else.
    #[error("this is no fingerprint")]
    NotAFingerprint,
    /// Made by another version: values or positions mean something else.
    #[error(
        "the fingerprint has version {0}, this program compares version {VERSION}: make it again with this version"
    )]
    WrongVersion(u32),
    /// Fewer bytes than the header needs.
    #[error("the fingerprint needs {needed} bytes and has {available}: it is truncated or its header lies")]
    Truncated {
        /// What the header claims.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// Bytes that belong to nothing.
    #[error("{0} bytes at the end of the fingerprint belong to nothing")]
    TrailingBytes(u64),
    /// No JSON, or JSON of another shape.
    #[error("the fingerprint's header is not valid: {0}")]
    NotJson(String),
    /// Too many entries.
    #[error("the fingerprint lists {found} {what}, at most {limit} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many are read.
        limit: usize,
    },
    /// A text that is longer than any name.
    #[error("a text in the fingerprint has {0} bytes, at most {MAX_TEXT} are read")]
    LongText(usize),
    /// A slot that occurs twice.
    #[error("tensor `{0}` occurs twice in the fingerprint")]
    Duplicate(String),
    /// Dimensions that no tensor has.
    #[error("tensor `{slot}` claims {rows} × {columns} values")]
    BadDimensions {
        /// Its slot.
        slot: String,
        /// Rows.
        rows: u64,
        /// Columns.
        columns: u64,
    },
    /// A layer that no model has.
    #[error("tensor `{0}` is in a layer beyond {MAX_LAYERS}")]
    BadLayer(String),
    /// A digest that is none.
    #[error("a digest of `{0}` is not valid")]
    BadDigest(String),
    /// A share outside 0 to 1.
    #[error("a share of tensor `{0}` is not between 0 and 1")]
    BadShare(String),
    /// Widths that the tensors contradict.
    #[error("the fingerprint's `{0}` contradicts its tensors")]
    WrongShape(&'static str),
    /// A panel of rows that does not fit the embedding.
    #[error("the panel of embedding rows does not fit the embedding")]
    BadPanel,
    /// Products of other tokens or layers than are ever taken.
    #[error("the invariant has {tokens} tokens and {depths} layers")]
    BadInvariant {
        /// Tokens claimed.
        tokens: usize,
        /// Layers claimed.
        depths: usize,
    },
    /// Infinities, or what is no number.
    #[error("a value of `{0}` is not a finite number")]
    NotFinite(String),
}
