//! The command line: one file per command.

pub mod smoke;
pub mod smoke_child;
