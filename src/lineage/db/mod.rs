//! The graph's rows.

mod candidates;
mod claims;
mod counts;
mod decisions;
mod fingerprints;
mod judgments;
mod links;
mod verdicts;
mod walk;

pub(crate) use candidates::*;
pub use claims::*;
pub use counts::*;
pub use decisions::*;
pub use fingerprints::*;
pub use judgments::*;
pub(crate) use links::*;
pub use verdicts::*;
pub use walk::*;
