//! The tabs of a model, one file each; the card, its first tab, is in `model.rs`.

pub mod files;
pub(super) mod finding;
pub mod history;
pub mod license;
pub mod license_forms;
pub mod pedigree;
pub mod smoke;
pub mod tensors;
