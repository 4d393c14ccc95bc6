//! The single integration-test binary.

mod architecture;
mod smoke;
