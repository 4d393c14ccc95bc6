//! Relatives found in the weights themselves.
//!
//! A [`Fingerprint`] is made in one pass over the tensors and one cheap look at a few of them afterwards. Comparing
//! fingerprints decides which models are related, which is whose parent, by what relation, and how sure that is. Nothing
//! here knows the database; numbers in, verdicts out.

pub mod adapter;
pub mod bands;
mod budget;
pub mod claim;
mod digesting;
pub mod evidence;
mod exact;
pub mod family;
pub mod file;
pub mod full;
mod grid;
pub mod herd;
mod invariant;
pub mod judge;
pub mod judgment;
pub mod make;
mod median;
mod merge;
pub mod names;
mod order;
mod origin;
mod packed;
pub mod pair;
pub mod print;
mod proof;
mod rows;
pub mod sample;
pub mod shape;
pub mod slots;
#[cfg(test)]
mod synthetic;
mod take;
pub mod tap;
#[cfg(test)]
mod tests;

pub use print::Fingerprint;
