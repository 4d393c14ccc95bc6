//! Relatives found in the weights themselves.
//!
//! A [`Fingerprint`] is made in one pass over the tensors and one cheap look at a few of them afterwards. Comparing
//! fingerprints decides which models are related, which is whose parent, by what relation, and how sure that is. Nothing
//! here knows the database; numbers in, verdicts out.

pub mod adapter;
pub mod claim;
pub mod evidence;
mod exact;
pub mod family;
mod grid;
pub mod herd;
mod invariant;
pub mod judge;
pub mod judgment;
pub mod make;
mod merge;
mod order;
mod origin;
mod packed;
pub mod pair;
pub mod print;
mod rows;
pub mod sample;
pub mod shape;
pub mod slots;
#[cfg(test)]
mod synthetic;
mod take;

pub use print::Fingerprint;
