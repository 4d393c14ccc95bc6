//! Positions and findings in the database.

mod findings;
mod judge;
mod kept;

pub use findings::*;
pub use judge::*;
pub use kept::*;
