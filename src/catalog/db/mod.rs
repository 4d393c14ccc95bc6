//! The catalog's rows.

mod blobs;
mod events;
mod models;
mod refs;
mod revisions;

pub use blobs::*;
pub use events::*;
pub use models::*;
pub use refs::*;
pub use revisions::*;
