//! `herdbook smoke-child`: the confined side of a smoke test. Hidden: the parent starts it, people use `smoke`.

use std::{path::PathBuf, process::ExitCode};

use crate::smoke::child::{self, Options, Probe};

/// Tests a folder in this process after taking its rights away.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder, as an absolute path
    dir: PathBuf,
    #[arg(long)]
    level: u8,
    /// Private writable memory in bytes
    #[arg(long)]
    memory: u64,
    /// CPU time
    #[arg(long)]
    cpu_seconds: u64,
    #[arg(long, value_delimiter = ',')]
    input_ids: Option<Vec<u32>>,
    /// Tries to break out instead of testing
    #[arg(long)]
    probe: Option<Probe>,
}

/// Runs the command.
pub fn run(args: Args) -> ExitCode {
    let Args { dir, level, memory, cpu_seconds, input_ids, probe } = args;
    match child::run(&Options { dir, level, memory, cpu_seconds, input_ids, probe }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}
