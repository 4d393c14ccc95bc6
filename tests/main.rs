//! The single integration-test binary.

mod smoke;
