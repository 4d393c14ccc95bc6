//! The command line: one file per command.
//!
//! Exit codes: 0 fine, 1 the answer is "no" (findings, failed checks, damage), 2 usage or environment.

#![expect(clippy::print_stdout, reason = "commands talk to people and pipes")]

mod audit;
mod client;
mod demo;
mod fsck;
mod gc;
mod identify;
mod import;
mod lineage;
mod openapi;
mod operator;
mod pull;
mod push;
mod reindex;
mod serve;
pub mod smoke;
pub mod smoke_child;
mod token;
mod user;
mod what_if;
mod worker;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// The registry that knows how models are related.
#[derive(Debug, Parser)]
#[command(name = "herdbook", version, about, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the registry: pages, REST API, Hugging Face protocol, jobs
    Serve(serve::Args),
    /// Run jobs only, beside servers on the same database and store
    Worker(worker::Args),
    /// Push a folder to a model
    Push(push::Args),
    /// Pull a model into a folder
    Pull(pull::Args),
    /// Find out what weights on this disk were made from, without uploading them
    Identify(identify::Args),
    /// Import catalogued models from JSON lines
    Import(import::Args),
    /// Load the demonstration herd into a server
    Demo(demo::Args),
    /// Show where a model comes from and what comes from it
    Lineage(lineage::Args),
    /// Audit licenses: one model, a namespace, or everything
    Audit(audit::Args),
    /// Say what the license position of a model would be, before it is trained
    WhatIf(what_if::Args),
    /// Load a model in a confined process and let it write
    Smoke(smoke::Args),
    /// The confined side of a smoke test
    #[command(hide = true)]
    SmokeChild(smoke_child::Args),
    /// Re-read and re-hash every stored blob
    Fsck(fsck::Args),
    /// Remove what nothing names any more
    Gc(gc::Args),
    /// Make fingerprints again that another version made
    Reindex(reindex::Args),
    /// Manage users
    User(user::Args),
    /// Manage tokens
    Token(token::Args),
    /// Print the OpenAPI document of the REST API
    Openapi,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    // Broken pipes end the program quietly, as other commands do.
    let cli = Cli::parse();
    if let Command::SmokeChild(args) = cli.command {
        // Confinement starts before any other thread exists.
        return smoke_child::run(args);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(args) => serve::run(args).await,
        Command::Worker(args) => worker::run(args).await,
        Command::Push(args) => push::run(args).await,
        Command::Pull(args) => pull::run(args).await,
        Command::Identify(args) => identify::run(args).await,
        Command::Import(args) => import::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Lineage(args) => lineage::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::WhatIf(args) => what_if::run(args).await,
        Command::Smoke(args) => smoke::run(args).await,
        Command::SmokeChild(args) => Ok(smoke_child::run(args)),
        Command::Fsck(args) => fsck::run(args).await,
        Command::Gc(args) => gc::run(args).await,
        Command::Reindex(args) => reindex::run(args).await,
        Command::User(args) => user::run(args).await,
        Command::Token(args) => token::run(args).await,
        Command::Openapi => openapi::run(),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "herdbook", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("herdbook: {error:#}");
    ExitCode::from(2)
}
