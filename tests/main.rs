//! The single integration-test binary.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]

mod architecture;
mod auth;
mod clients;
mod evidence;
mod evidence_pages;
mod import;
mod jobs;
mod license;
mod license_engine;
mod license_exports;
mod license_pages;
mod limits;
mod lineage;
mod pages;
mod positions;
mod privacy;
mod push_pull;
mod serve;
mod smoke;
mod storage;
mod support;
