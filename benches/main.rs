//! What the release program does in which time, each figure beside a baseline that the same run measured.
//!
//! Nothing is asserted here: a figure says as much about the machine as about the program, and the ratio to the
//! baseline tells the two apart. One file per benchmark; a new one is a module and a line in [`BENCHMARKS`].
//! Arguments choose benchmarks by name. All traffic stays on 127.0.0.1.

#![expect(clippy::print_stdout, reason = "the figures are the product")]

mod cost;
mod download;
mod herd;
mod import;
mod licenses;
mod lineage;
mod queries;
mod smoke;
mod start;
mod support;
mod upload;
mod zoo;

use std::{process::ExitCode, time::Instant};

use anyhow::bail;
use futures::future::{self, FutureExt as _, LocalBoxFuture};

use support::Bench;

struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: for<'a> fn(&'a mut Bench) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// In the order in which they run.
const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "start",
        about: "from the command to `listening on`, and memory at rest",
        run: |_| start::run().boxed_local(),
    },
    Benchmark {
        name: "upload",
        about: "one large file over REST, hashed and stored when the answer comes",
        run: |_| upload::run().boxed_local(),
    },
    Benchmark { name: "download", about: "the same, the other way", run: |_| download::run().boxed_local() },
    Benchmark {
        name: "import",
        about: "a catalogue of real models, with its graph and its license positions",
        run: |bench| future::ready(import::run(bench)).boxed_local(),
    },
    Benchmark {
        name: "queries",
        about: "eight clients at once, for ten seconds each kind",
        run: |bench| queries::run(bench).boxed_local(),
    },
    Benchmark {
        name: "lineage",
        about: "questions about the graph, one at a time, and an audit of everything",
        run: |bench| lineage::run(bench).boxed_local(),
    },
    Benchmark {
        name: "licenses",
        about: "positions judged again, judged for another use, and exported",
        run: |bench| licenses::run(bench).boxed_local(),
    },
    Benchmark {
        name: "lineage-zoo",
        about: "models of known ancestry, pushed without a word about it: what the weights tell",
        run: |_| zoo::run().boxed_local(),
    },
    Benchmark {
        name: "lineage-cost",
        about: "fingerprints beside digests, the search among many families, a decision",
        run: |_| cost::run().boxed_local(),
    },
    Benchmark {
        name: "smoke",
        about: "the smoke test on models of three sizes, weights streamed from the disk",
        run: |_| future::ready(smoke::run()).boxed_local(),
    },
];

fn main() -> ExitCode {
    // `cargo bench` adds an option of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match run(&wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(wanted: &[String]) -> anyhow::Result<()> {
    let unknown = wanted.iter().find(|name| BENCHMARKS.iter().all(|benchmark| benchmark.name != **name));
    if let Some(unknown) = unknown {
        let known: Vec<&str> = BENCHMARKS.iter().map(|benchmark| benchmark.name).collect();
        bail!("`{unknown}` is no benchmark, there are: {}", known.join(", "));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut bench = Bench::default();
    let started = Instant::now();
    for benchmark in BENCHMARKS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == benchmark.name) {
            continue;
        }
        support::print_heading(benchmark.name, benchmark.about);
        runtime.block_on((benchmark.run)(&mut bench))?;
    }
    println!("\n{:.0} s in all", started.elapsed().as_secs_f64());
    Ok(())
}
