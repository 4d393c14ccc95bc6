//! The graph's rows.

mod claims;
mod counts;
mod walk;

pub use claims::*;
pub use counts::*;
pub use walk::*;
