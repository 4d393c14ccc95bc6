//! Lets others look at blobs while they stream into the store, beside the digest.

use std::sync::Arc;

use super::Stored;

/// Looks at one stream.
pub trait Observer: Send {
    /// Sees the next bytes.
    fn push(&mut self, bytes: &[u8]);

    /// Hears that all of it came and is a blob now; not called for streams that broke off.
    fn finish(self: Box<Self>, stored: &Stored);
}

/// Begins to look at a stream.
pub type Observe = Arc<dyn Fn() -> Box<dyn Observer> + Send + Sync>;
