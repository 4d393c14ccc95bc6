//! The `herdbook` command.

fn main() {}
