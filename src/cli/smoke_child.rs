//! `herdbook smoke-child`: the confined side of a smoke test. Hidden: the parent starts it, people use `smoke`.

use std::{path::PathBuf, process::ExitCode};

use crate::smoke::{
    Relation,
    child::{self, Options, Probe},
};

/// Tests a folder in this process after taking its rights away.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder, as an absolute path
    dir: PathBuf,
    /// The folder of its base, as an absolute path
    #[arg(long)]
    base: Option<PathBuf>,
    /// How it relates to its base
    #[arg(long)]
    relation: Option<Relation>,
    /// Talks to the parent on standard input, who knows the base and reads weights
    #[arg(long)]
    fed: bool,
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
    let Args { dir, base, relation, fed, level, memory, cpu_seconds, input_ids, probe } = args;
    match child::run(&Options { dir, base, relation, fed, level, memory, cpu_seconds, input_ids, probe }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}
