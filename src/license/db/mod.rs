//! Positions, findings, policies and waivers in the database.

mod findings;
mod graph;
mod history;
mod kept;
mod pages;
mod policies;
mod reports;
mod store;
mod texts;

pub use findings::*;
pub use graph::*;
pub use history::*;
pub use kept::*;
pub use pages::*;
pub use policies::*;
pub use reports::*;
pub(crate) use store::*;
pub(crate) use texts::*;
