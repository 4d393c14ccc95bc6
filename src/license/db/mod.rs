//! Positions and findings in the database.

mod findings;
mod judge;

pub use findings::*;
pub use judge::*;
