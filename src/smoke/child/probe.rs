//! Proof of the confinement: the child tries what a hostile model would try, and says what came of it.
//!
//! Reached by the hidden option `--probe`; tests and operators use it to see whether a machine confines.

use std::{
    fs,
    hint::black_box,
    io::{self, Write},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use clap::ValueEnum;

use crate::smoke::sandbox;

/// Something that a confined child must not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// Reads a file outside the folder.
    ReadOutside,
    /// Writes into the folder.
    Write,
    /// Opens a network connection.
    Connect,
    /// Starts a process.
    Start,
    /// Signals its parent.
    Signal,
    /// Starts a thread: the one thing here that must work.
    Thread,
    /// Takes 64 GiB of memory.
    Allocate,
    /// Computes forever.
    Spin,
    /// Waits forever.
    Wait,
    /// Writes forever.
    Flood,
    /// Panics.
    Panic,
    /// Overflows its stack.
    Overflow,
}

/// Tries it and says `allowed`, or `refused` with the reason.
pub(super) fn attempt(probe: Probe, dir: &Path) -> String {
    let tried: io::Result<()> = match probe {
        Probe::ReadOutside => fs::read("/etc/passwd").map(drop),
        Probe::Write => fs::write(dir.join("written-by-the-child"), b"x"),
        Probe::Connect => TcpStream::connect_timeout(&([127, 0, 0, 1], 9).into(), Duration::from_secs(1)).map(drop),
        Probe::Start => sandbox::try_to_start_a_process(),
        Probe::Signal => nix::sys::signal::kill(nix::unistd::getppid(), None).map_err(io::Error::from),
        Probe::Thread => std::thread::Builder::new().spawn(|| ()).map(drop),
        Probe::Allocate => {
            black_box(vec![1_u8; 64 << 30]);
            Ok(())
        }
        Probe::Spin => loop {
            black_box(0);
        },
        Probe::Wait => loop {
            std::thread::sleep(Duration::from_mins(1));
        },
        Probe::Flood => flood(),
        Probe::Panic => panic!("a deliberate panic"),
        Probe::Overflow => {
            black_box(recurse(1));
            Ok(())
        }
    };
    match tried {
        Ok(()) => "allowed".to_owned(),
        Err(error) => format!("refused: {error}"),
    }
}

fn flood() -> io::Result<()> {
    let line = vec![b'x'; 64 * 1024];
    loop {
        io::stdout().write_all(&line)?;
    }
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 1024]);
    recurse(depth + 1) + frame[0]
}
