//! The first start makes a database cluster, later ones only start it. The baselines are Postgres doing that alone.

use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, chown},
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use crate::support::{Home, Server, Times, Unit, print, print_note, print_value};

const COLD: usize = 3;
const WARM: usize = 7;

pub(crate) async fn run() -> anyhow::Result<()> {
    let mut cold = Times::default();
    let mut homes = Vec::new();
    for _ in 0..COLD {
        let home = Home::new()?;
        drop(cold.take(|| Server::start(&home))?);
        homes.push(home);
    }
    let home = homes.pop().context("a home")?;
    let mut warm = Times::default();
    for _ in 0..WARM {
        drop(warm.take(|| Server::start(&home))?);
    }
    let server = Server::start(&home)?;
    let postgres = Postgres::of(&home)?;
    // Long enough for whatever a start leaves behind to settle.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let resident = server.resident_mib();
    drop(server);

    let mut initdb = Times::default();
    for _ in 0..COLD {
        initdb.take(|| postgres.initialize(&Home::new()?))?;
    }
    let mut alone = Times::default();
    for _ in 0..WARM {
        let started = Instant::now();
        let child = postgres.start(&home).await?;
        alone.push(started.elapsed());
        stop(child)?;
    }
    print("cold start, cluster made", &cold, Unit::Milliseconds, &[("initdb alone", &initdb)]);
    print("warm start", &warm, Unit::Milliseconds, &[("Postgres alone", &alone)]);
    print("  baseline: initdb alone", &initdb, Unit::Milliseconds, &[]);
    print("  baseline: Postgres alone, until it answers", &alone, Unit::Milliseconds, &[]);
    match resident {
        Some(mib) => print_value("server process at rest, resident", mib, "MiB"),
        None => print_note("resident memory: this system does not tell"),
    }
    Ok(())
}

/// The programs that the server runs, and the account that it runs them as.
struct Postgres {
    bin: PathBuf,
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Asks the running server's cluster.
    fn of(home: &Home) -> anyhow::Result<Self> {
        let metadata = fs::metadata(home.cluster())?;
        let pid_file = fs::read_to_string(home.cluster().join("postmaster.pid"))?;
        let pid = pid_file.lines().next().context("postmaster.pid is empty")?.trim();
        let program = fs::read_link(format!("/proc/{pid}/exe")).or_else(|_| find_in_path("postgres"))?;
        let bin = program.parent().context("the path of postgres")?.to_owned();
        Ok(Self { bin, uid: metadata.uid(), gid: metadata.gid() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if nix::unistd::Uid::effective().is_root() {
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    fn initialize(&self, home: &Home) -> anyhow::Result<()> {
        let folder = home.path().join("alone");
        fs::create_dir(&folder)?;
        chown(&folder, Some(self.uid.into()), Some(self.gid.into()))?;
        let mut command = self.command("initdb");
        command.arg("-D").arg(folder).args(["-U", "herdbook", "--auth=trust", "-E", "UTF8", "--locale=C"]);
        ensure!(command.status()?.success(), "initdb failed");
        Ok(())
    }

    async fn start(&self, home: &Home) -> anyhow::Result<Child> {
        let socket = home.path().join("postgres/socket");
        let mut command = self.command("postgres");
        command.arg("-D").arg(home.cluster()).arg("-k").arg(&socket);
        command.args(["-c", "listen_addresses=", "-c", "port=5432", "-c", "shared_buffers=128MB"]);
        let child = command.spawn()?;
        wait_until_it_answers(&socket).await?;
        Ok(child)
    }
}

async fn wait_until_it_answers(socket: &Path) -> anyhow::Result<()> {
    let options = PgConnectOptions::new_without_pgpass().socket(socket).port(5432);
    let options = options.username("herdbook").database("postgres");
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        match PgConnection::connect_with(&options).await {
            Ok(db) => return Ok(db.close().await?),
            Err(error) if Instant::now() > limit => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

fn stop(mut child: Child) -> anyhow::Result<()> {
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT)?;
    child.wait()?;
    Ok(())
}

fn find_in_path(program: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file());
    found.with_context(|| format!("`{program}` is not in PATH"))
}
