//! A private Postgres cluster in the data folder: made, started, recovered and stopped here.
//!
//! It listens on a Unix socket only. Postgres refuses to run as root, so a root process starts it as the user
//! `postgres` (or `nobody`). A cluster that a killed server left running is stopped and started anew.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    fcntl::{Flock, FlockArg},
    sys::signal::{Signal, kill},
    unistd::{Gid, Pid, Uid, User, chown},
};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tracing::{info, warn};

use super::Error;
use crate::{config::DataOptions, digest::Digest};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// Longest path of a Unix socket's folder: 107 bytes less `/.s.PGSQL.5432`.
const LONGEST_SOCKET_FOLDER: usize = 90;

/// A cluster that this process started, with the lock on its folder.
pub struct Cluster {
    child: Option<Child>,
    _lock: Flock<File>,
}

impl Cluster {
    /// Stops the cluster after its sessions have been cut, and waits for it.
    pub async fn stop(mut self) {
        let Some(child) = self.child.take() else { return };
        let stopped = tokio::task::spawn_blocking(move || stop(child)).await;
        drop(stopped);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            stop(child);
        }
    }
}

fn stop(mut child: Child) {
    let pid = Pid::from_raw(child.id().cast_signed());
    // SIGINT is Postgres' fast shutdown: sessions are cut, everything is written.
    kill(pid, Signal::SIGINT).ok();
    let until = Instant::now() + STOP_LIMIT;
    while Instant::now() < until {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    warn!("the embedded Postgres did not stop within {STOP_LIMIT:?}, cutting it off");
    kill(pid, Signal::SIGQUIT).ok();
    drop(child.wait());
}

/// Where the parts of a cluster are.
struct Layout {
    cluster: PathBuf,
    socket: PathBuf,
    log: PathBuf,
}

/// Starts the cluster of a data folder, or joins the one that a running server has when not `exclusive`.
pub(super) async fn open(options: &DataOptions, exclusive: bool) -> Result<(PgConnectOptions, Option<Cluster>), Error> {
    let io = |what: String| move |source| Error::Io { what, source };
    fs::create_dir_all(&options.data_dir)
        .map_err(io(format!("the data folder `{}` cannot be made", options.data_dir.display())))?;
    let data_dir = options.data_dir.canonicalize().map_err(io("the data folder cannot be opened".to_owned()))?;
    let account = account()?;
    let layout = layout(&data_dir, account.as_ref())?;
    let connect = PgConnectOptions::new_without_pgpass()
        .socket(&layout.socket)
        .port(5432)
        .username("herdbook")
        .database("herdbook");
    let lock = match lock(&data_dir)? {
        Some(lock) => lock,
        None if exclusive => return Err(Error::Locked(data_dir)),
        None => return Ok((connect, None)),
    };
    let bin = find_binaries(options.postgres_bin.as_deref())?;
    let is_new = !layout.cluster.join("PG_VERSION").exists();
    if is_new {
        initialize(&bin, &layout, account.as_ref())?;
    } else {
        stop_leftover(&layout);
    }
    make_socket_folder(&layout, account.as_ref())?;
    let child = start(&bin, &layout, account.as_ref())?;
    let mut cluster = Cluster { child: Some(child), _lock: lock };
    wait_until_ready(&connect, &layout, &mut cluster).await?;
    Ok((connect, Some(cluster)))
}

/// The user that Postgres runs as when we are root.
fn account() -> Result<Option<User>, Error> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let named = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).ok().flatten());
    let missing = || io::Error::new(io::ErrorKind::NotFound, "neither `postgres` nor `nobody` exists");
    named.map(Some).ok_or_else(|| Error::Io { what: "no user to run Postgres as".to_owned(), source: missing() })
}

fn layout(data_dir: &Path, account: Option<&User>) -> Result<Layout, Error> {
    if let Some(account) = account {
        for folder in data_dir.ancestors() {
            let metadata = fs::metadata(folder)
                .map_err(|source| Error::Io { what: format!("`{}` cannot be read", folder.display()), source })?;
            let may_enter = metadata.mode() & 0o001 != 0 || metadata.uid() == account.uid.as_raw();
            if !may_enter {
                return Err(Error::Unreachable { user: account.name.clone(), folder: folder.to_owned() });
            }
        }
    }
    let home = data_dir.join("postgres");
    let beside = home.join("socket");
    let is_short = beside.as_os_str().len() <= LONGEST_SOCKET_FOLDER;
    let name = Digest::of(data_dir.as_os_str().as_encoded_bytes()).to_hex();
    let socket = if is_short { beside } else { std::env::temp_dir().join(format!("herdbook-{}", &name[..16])) };
    Ok(Layout { cluster: home.join("cluster"), socket, log: home.join("postgres.log") })
}

fn lock(data_dir: &Path) -> Result<Option<Flock<File>>, Error> {
    let path = data_dir.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|source| Error::Io { what: format!("`{}` cannot be opened", path.display()), source })?;
    Ok(Flock::lock(file, FlockArg::LockExclusiveNonblock).ok())
}

/// Finds the folder that holds `initdb` and `postgres`; the newest version wins.
fn find_binaries(given: Option<&Path>) -> Result<PathBuf, Error> {
    let has_both = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    if let Some(folder) = given {
        return Some(folder.to_owned()).filter(has_both).ok_or(Error::NoPostgres);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(folder) = std::env::split_paths(&path).find(has_both) {
        return Ok(folder);
    }
    let version = |folder: &PathBuf| -> u32 {
        let name = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        name.and_then(|name| name.parse().ok()).unwrap_or(0)
    };
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = installed.map(|entry| entry.path().join("bin"));
    let others = ["/usr/pgsql/bin", "/opt/homebrew/bin", "/usr/local/pgsql/bin", "/usr/local/bin"].map(PathBuf::from);
    debian.chain(others).filter(has_both).max_by_key(version).ok_or(Error::NoPostgres)
}

fn initialize(bin: &Path, layout: &Layout, account: Option<&User>) -> Result<(), Error> {
    info!("making the embedded Postgres cluster in {}", layout.cluster.display());
    make_folder(layout.cluster.parent().unwrap_or(&layout.cluster), account, 0o700)?;
    // An interrupted first start leaves a folder without PG_VERSION, which initdb would refuse.
    drop(fs::remove_dir_all(&layout.cluster));
    let mut command = command(&bin.join("initdb"), account);
    command.arg("-D").arg(&layout.cluster).args(["-U", "herdbook", "--auth=trust", "-E", "UTF8", "--locale=C"]);
    let output = command.output().map_err(|source| Error::Io { what: "initdb cannot be run".to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::DidNotStart { reason, log: layout.log.clone() })
}

fn make_socket_folder(layout: &Layout, account: Option<&User>) -> Result<(), Error> {
    make_folder(&layout.socket, account, 0o700)
}

fn make_folder(folder: &Path, account: Option<&User>, mode: u32) -> Result<(), Error> {
    let made = fs::create_dir_all(folder).and_then(|()| {
        if let Some(account) = account {
            chown(folder, Some(account.uid), Some(account.gid)).map_err(io::Error::from)?;
        }
        fs::set_permissions(folder, Permissions::from_mode(mode))
    });
    made.map_err(|source| Error::Io { what: format!("`{}` cannot be made", folder.display()), source })
}

fn command(program: &Path, account: Option<&User>) -> Command {
    let mut command = Command::new(program);
    // A locale or a PGDATA of the caller's must not reach the cluster.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    if let Some(account) = account {
        let (uid, gid): (Uid, Gid) = (account.uid, account.gid);
        command.uid(uid.as_raw()).gid(gid.as_raw());
    }
    command
}

fn start(bin: &Path, layout: &Layout, account: Option<&User>) -> Result<Child, Error> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |source| Error::Io { what, source }
    };
    let log = File::options().create(true).append(true).open(&layout.log).map_err(io("the log cannot be opened"))?;
    let errors = log.try_clone().map_err(io("the log cannot be opened"))?;
    let mut command = command(&bin.join("postgres"), account);
    command.arg("-D").arg(&layout.cluster).arg("-k").arg(&layout.socket);
    for setting in [
        "listen_addresses=",
        "port=5432",
        "unix_socket_permissions=0700",
        "max_connections=80",
        "shared_buffers=128MB",
        "work_mem=16MB",
        "maintenance_work_mem=128MB",
        "effective_cache_size=1GB",
        "random_page_cost=1.1",
        "wal_level=minimal",
        "max_wal_senders=0",
        "max_wal_size=2GB",
        "jit=off",
        "logging_collector=off",
    ] {
        command.arg("-c").arg(setting);
    }
    // Its own process group: an interrupt at the terminal reaches us first, and we stop it when requests are drained.
    command.stdout(log).stderr(errors).process_group(0);
    command.spawn().map_err(io("postgres cannot be run"))
}

async fn wait_until_ready(connect: &PgConnectOptions, layout: &Layout, cluster: &mut Cluster) -> Result<(), Error> {
    let until = Instant::now() + START_LIMIT;
    let admin = connect.clone().database("postgres");
    loop {
        match PgConnection::connect_with(&admin).await {
            Ok(mut db) => {
                create_database(&mut db).await?;
                return Ok(());
            }
            Err(_) if Instant::now() < until && is_running(cluster) => {
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            Err(error) => {
                let log = fs::read_to_string(&layout.log).unwrap_or_default();
                let last = log.lines().rev().find(|line| line.contains("FATAL")).map(str::to_owned);
                let reason = last.unwrap_or_else(|| error.to_string());
                return Err(Error::DidNotStart { reason, log: layout.log.clone() });
            }
        }
    }
}

fn is_running(cluster: &mut Cluster) -> bool {
    cluster.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
}

async fn create_database(db: &mut PgConnection) -> Result<(), Error> {
    match super::queries::create_database(db).await {
        Ok(()) => Ok(()),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P04") => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Stops a postmaster that a killed server left behind on this cluster.
fn stop_leftover(layout: &Layout) {
    let pid_file = layout.cluster.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&pid_file) else { return };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()) else { return };
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_ours = String::from_utf8_lossy(&command_line).contains(&*layout.cluster.to_string_lossy());
    if !is_ours {
        // Another program has that number now: Postgres itself would refuse to start over the file.
        drop(fs::remove_file(&pid_file));
        return;
    }
    info!("recovering the Postgres cluster that an earlier server left running (pid {pid})");
    let until = Instant::now() + STOP_LIMIT;
    let pid = Pid::from_raw(pid);
    kill(pid, Signal::SIGINT).ok();
    while kill(pid, None).is_ok() && pid_file.exists() {
        if Instant::now() > until {
            kill(pid, Signal::SIGQUIT).ok();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
