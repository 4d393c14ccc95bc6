//! Python programs that drive the server from outside: they are told where it is and who they are, and nothing else.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use super::{Caller, Output, program};

/// An interpreter with a client, in a home of its own.
pub(crate) struct Client {
    interpreter: PathBuf,
    pub(crate) home: TempDir,
    caller: Caller,
}

impl Client {
    /// The client of an interpreter that a variable names; without one the test is left out, and says so.
    pub(crate) fn find(variable: &str, caller: &Caller) -> Option<Self> {
        let interpreter = interpreter(variable)?;
        Some(Self { interpreter, home: tempfile::tempdir().unwrap(), caller: caller.clone() })
    }

    pub(crate) async fn run(&self, script: &str, arguments: &[&str]) -> Output {
        self.run_with(script, arguments, &[]).await
    }

    pub(crate) async fn run_with(&self, script: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = self.command(&self.interpreter);
        command.arg(path(script)).args(arguments).envs(environment.iter().copied());
        program::finish(&mut command).await.expect(0)
    }

    /// Runs the command-line program that stands beside the interpreter.
    pub(crate) async fn hf(&self, arguments: &[&str]) -> Output {
        program::finish(self.command(&self.interpreter.with_file_name("hf")).args(arguments)).await
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.home.path()).env("TMPDIR", self.home.path());
        command.env("HF_ENDPOINT", &self.caller.url).env("HF_HOME", self.home.path());
        command.envs(self.caller.token.as_ref().map(|token| ("HF_TOKEN", token)));
        command.current_dir(self.home.path());
        command
    }
}

/// The interpreter that a variable names; without one the test is left out, and says so.
pub(crate) fn interpreter(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file());
    if found.is_none() {
        eprintln!("left out: {variable} names no interpreter, `make setup` makes one");
    }
    found
}

/// Where a script of the tests is.
pub(crate) fn path(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script)
}
