//! The built program: as a server, and as commands.

use std::{
    io::{Seek as _, Write as _},
    process::Stdio,
    sync::{Arc, Mutex},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinHandle,
};

/// The program under test.
pub(crate) const HERDBOOK: &str = env!("CARGO_BIN_EXE_herdbook");

/// A server process; it dies with this value.
pub(crate) struct Server {
    pub(crate) url: String,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Server {
    /// Starts a server on a port of its choice and waits until it is ready.
    pub(crate) async fn start(environment: &[(String, String)]) -> Self {
        match Self::try_start(environment, &[]).await {
            Ok(server) => server,
            Err(output) => panic!("the server did not start: {output:?}"),
        }
    }

    /// Starts a server with more arguments; one that ends instead of listening is returned as its output.
    pub(crate) async fn try_start(environment: &[(String, String)], arguments: &[&str]) -> Result<Self, Output> {
        let mut command = command(environment);
        command.env("HERDBOOK_LISTEN", "127.0.0.1:0").arg("serve").args(arguments);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = log.clone();
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                *kept.lock().unwrap() += &(line + "\n");
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        if let Some(url) = line.trim_end().strip_prefix("listening on ") {
            return Ok(Self { url: url.to_owned(), child, log, reader });
        }
        let code = child.wait().await.unwrap().code();
        reader.await.unwrap();
        let stderr = log.lock().unwrap().clone();
        Err(Output { code, stdout: line, stderr })
    }

    /// Starts a server whose log goes to a place that takes nothing.
    pub(crate) async fn start_without_log(environment: &[(String, String)], log: Stdio) -> Self {
        let mut command = command(environment);
        command.env("HERDBOOK_LISTEN", "127.0.0.1:0").arg("serve").stderr(log);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).await.unwrap();
        let url = line.trim_end().strip_prefix("listening on ").expect("the server did not start").to_owned();
        Self { url, child, log: Arc::default(), reader: tokio::spawn(async {}) }
    }

    /// The number of the process.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().unwrap().cast_signed()
    }

    /// Cuts the process off.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Asks the process to stop, asserts that it does so in good order, and returns its log.
    pub(crate) async fn stop(mut self) -> String {
        self.ask_to_stop();
        let status = self.child.wait().await.unwrap();
        (&mut self.reader).await.unwrap();
        let log = self.log.lock().unwrap().clone();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// Asks the process to stop.
    pub(crate) fn ask_to_stop(&self) {
        kill(Pid::from_raw(self.pid()), Signal::SIGTERM).unwrap();
    }
}

impl Drop for Server {
    /// A test that fails shows what the server had to complain about.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = self.log.lock()
        {
            log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).for_each(|l| eprintln!("{l}"));
        }
    }
}

/// A worker process; it dies with this value.
pub(crate) struct Worker(Child);

impl Worker {
    pub(crate) fn start(environment: &[(String, String)]) -> Self {
        let mut command = command(environment);
        command.env("HERDBOOK_JOBS", "2").arg("worker").stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.kill_on_drop(true).spawn().unwrap())
    }

    /// Asks the process to stop, and asserts that it does so in good order.
    pub(crate) async fn stop(mut self) {
        kill(Pid::from_raw(self.0.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
        assert_eq!(self.0.wait().await.unwrap().code(), Some(0));
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// Runs a command to its end.
pub(crate) async fn run(environment: &[(String, String)], arguments: &[&str]) -> Output {
    finish(command(environment).args(arguments)).await
}

/// Runs a command to its end with this on its standard input.
pub(crate) async fn run_with_input(environment: &[(String, String)], arguments: &[&str], input: &str) -> Output {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    file.rewind().unwrap();
    finish(command(environment).args(arguments).stdin(file)).await
}

/// Runs any command to its end.
pub(crate) async fn finish(command: &mut Command) -> Output {
    let output = command.kill_on_drop(true).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The program with an environment that nothing of the caller's reaches, except where programs are.
fn command(environment: &[(String, String)]) -> Command {
    let mut command = Command::new(HERDBOOK);
    command.env_clear();
    for name in ["PATH", "HOME", "TMPDIR", "HERDBOOK_POSTGRES_BIN"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
