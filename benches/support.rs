//! What benchmarks share: the program as a server, requests to it, and how figures are printed.

use std::{
    fs::{self, File, Permissions},
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use crate::herd::Herd;

/// The release program.
pub(crate) const HERDBOOK: &str = env!("CARGO_BIN_EXE_herdbook");
/// Time between two looks at the queue.
const PAUSE: Duration = Duration::from_millis(20);
/// Bytes of a MiB.
pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// What benchmarks of one run hand on to the next.
#[derive(Default)]
pub(crate) struct Bench {
    /// A server with the catalogue, once a benchmark has imported it.
    pub(crate) herd: Option<Herd>,
}

/// A data folder that the user whom Postgres runs as can enter; gone with this value.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("herdbook-bench-").tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the server's database is.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.path().join("postgres/cluster")
    }
}

/// A server on a port of its choice, with the Postgres that it brings; it ends with this value.
pub(crate) struct Server {
    pub(crate) url: String,
    token: String,
    http: reqwest::Client,
    child: Child,
}

impl Server {
    /// Starts a server; returns when it says that it listens.
    pub(crate) fn start(home: &Home) -> anyhow::Result<Self> {
        let log = File::options().create(true).append(true).open(home.path().join("server.log"))?;
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(home.path());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the server has no output")?).read_line(&mut line)?;
        let Some(url) = line.trim_end().strip_prefix("listening on ") else {
            child.wait()?;
            bail!("the server did not start:\n{}", fs::read_to_string(home.path().join("server.log"))?);
        };
        let token = fs::read_to_string(home.path().join("admin-token"))?.trim().to_owned();
        // A proxy of the environment is for the internet.
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self { url: url.to_owned(), token, http, child })
    }

    /// Begins a request of the administrator; the path is taken as it is, with its query.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// Somebody who only reads, over a connection of their own.
    pub(crate) fn visitor(&self) -> anyhow::Result<Visitor> {
        Ok(Visitor { url: self.url.clone(), http: reqwest::Client::builder().no_proxy().build()? })
    }

    /// Creates a model of the administrator's.
    pub(crate) async fn create_model(&self, model: &str) -> anyhow::Result<()> {
        send(self.request(Method::PUT, &format!("/api/v1/models/{model}"))).await.map(drop)
    }

    /// Runs a client command of the program as the administrator, and returns what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = program();
        command.args(arguments).env("HERDBOOK_ENDPOINT", &self.url).env("HERDBOOK_TOKEN", &self.token);
        let output = command.output()?;
        // 1 says that there is something to tell, such as findings.
        let is_answer = matches!(output.status.code(), Some(0 | 1));
        ensure!(is_answer, "`{}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until no job is left; a job that failed is an error.
    pub(crate) async fn drain(&self) -> anyhow::Result<()> {
        loop {
            let jobs: Value = send(self.request(Method::GET, "/api/v1/jobs?limit=1")).await?.json().await?;
            let count = |state: &str| jobs["counts"][state].as_u64().unwrap_or(0);
            ensure!(count("failed") == 0, "{} jobs failed", count("failed"));
            if count("pending") + count("running") == 0 {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What the server process alone has used of all cores; Linux tells it in hundredths.
    pub(crate) fn core_seconds(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The second field is a name in parentheses; the others are numbers.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut next = || fields.next()?.parse::<u64>().ok();
        Some(Duration::from_millis(10 * (next()? + next()?)))
    }

    /// Resident memory of the server process alone, in MiB; Linux tells it.
    pub(crate) fn resident_mib(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }
}

impl Drop for Server {
    /// In good order, so that its Postgres ends too.
    fn drop(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).ok();
        drop(self.child.wait());
    }
}

/// Somebody without a token.
pub(crate) struct Visitor {
    url: String,
    http: reqwest::Client,
}

impl Visitor {
    /// Begins a request as a browser does: compression is understood.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.url)).header("Accept-Encoding", "gzip, deflate")
    }
}

/// The program with an environment that nothing of the caller's reaches, except where programs and folders are.
pub(crate) fn program() -> Command {
    let mut command = Command::new(HERDBOOK);
    command.env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "TMPDIR", "HERDBOOK_POSTGRES_BIN"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command
}

/// Sends a request; anything but success is an error.
pub(crate) async fn send(request: RequestBuilder) -> anyhow::Result<Response> {
    let response = request.send().await?;
    let (status, url) = (response.status(), response.url().clone());
    if !status.is_success() {
        bail!("{url}: {status} {}", response.text().await.unwrap_or_default());
    }
    Ok(response)
}

/// Bytes that do not repeat and do not compress; the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// How long something took, each time that it was done.
#[derive(Default, Clone)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, times: Self) {
        self.0.extend(times.0);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Does something once and keeps how long it took.
    pub(crate) fn take<T>(&mut self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = work()?;
        self.push(started.elapsed());
        Ok(result)
    }

    /// Awaits something once and keeps how long it took.
    pub(crate) async fn wait<T>(&mut self, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let started = Instant::now();
        let result = work.await?;
        self.push(started.elapsed());
        Ok(result)
    }

    fn quantile(&self, part: f64) -> f64 {
        let mut sorted: Vec<f64> = self.0.iter().map(Duration::as_secs_f64).collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index"
        )]
        let place = (part * last as f64).ceil() as usize;
        sorted.get(place).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Of few samples, the slowest.
    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }
}

/// What a time is shown as.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    /// So many of these, divided by the time.
    Rate(f64, &'static str),
}

impl Unit {
    fn value(self, seconds: f64) -> f64 {
        match self {
            Self::Seconds => seconds,
            Self::Milliseconds => seconds * 1000.0,
            Self::Rate(amount, _) => amount / seconds,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Milliseconds => "ms",
            Self::Rate(_, name) => name,
        }
    }
}

/// Prints the name of a benchmark above its table.
pub(crate) fn print_heading(name: &str, about: &str) {
    println!("\n{name}: {about}");
    println!("  {:<44} {:>9} {:>9} {:<8} median against a baseline", "", "median", "p99", "");
}

/// Prints a figure; the baselines are other ways to do as much, and a rate is compared as a rate.
pub(crate) fn print(figure: &str, times: &Times, unit: Unit, baselines: &[(&str, &Times)]) {
    let ratio = |baseline: &Times| match unit {
        Unit::Rate(..) => baseline.median() / times.median(),
        _ => times.median() / baseline.median(),
    };
    let ratios: Vec<String> =
        baselines.iter().map(|(what, baseline)| format!("{:.2} × {what}", ratio(baseline))).collect();
    let (median, p99) = (number(unit.value(times.median())), number(unit.value(times.p99())));
    let line = format!("  {figure:<44} {median:>9} {p99:>9} {:<8} {}", unit.name(), ratios.join(", "));
    println!("{}", line.trim_end());
}

/// Prints a figure that is no time.
pub(crate) fn print_value(figure: &str, value: f64, unit: &str) {
    println!("  {figure:<44} {:>9} {:>9} {unit}", number(value), "");
}

/// Prints why a figure is missing, or what one means.
pub(crate) fn print_note(note: &str) {
    println!("  {note}");
}

fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
