//! What a request may ask for at most: each limit with its unit and its reason.
//!
//! Limits that belong to a feature stand beside their checks there.

/// Largest JSON body, in bytes; uploads stream and have no such limit.
pub(super) const MAX_JSON: usize = 4 * 1024 * 1024;

/// Largest fingerprint that is read, in bytes.
pub(crate) const MAX_FINGERPRINT: usize = 16 * 1024 * 1024;
