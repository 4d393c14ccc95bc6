//! One private Postgres cluster for the whole test process, one fresh database per test.
//!
//! A shell stands between: it reads a pipe that only this process writes to. When this process ends, in whatever way,
//! the pipe closes, and the shell stops the cluster and removes its folder.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use nix::unistd::{Uid, User};
use sqlx::{
    Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// Stops the cluster and removes its folder at the end of the input.
const KEEPER: &str = r#"
"$1/initdb" -D "$2/cluster" -U herdbook --auth=trust --no-sync -E UTF8 --locale=C >"$2/log" 2>&1 || exit 1
"$1/postgres" -D "$2/cluster" -k "$2" -c listen_addresses= -c fsync=off -c full_page_writes=off \
    -c synchronous_commit=off -c max_connections=400 -c shared_buffers=64MB -c autovacuum=off >>"$2/log" 2>&1 &
read -r _
kill -QUIT $!
wait $!
rm -rf "$2"
"#;

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

struct Cluster {
    socket: PathBuf,
    /// Held open for as long as the process lives.
    _alive: ChildStdin,
}

/// Creates a database with today's schema, and returns its address.
pub(crate) async fn create_database() -> String {
    let cluster = tokio::task::spawn_blocking(|| CLUSTER.get_or_init(start)).await.unwrap();
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut db = PgConnection::connect_with(&cluster.options("postgres")).await.unwrap();
    // Postgres copies one template at a time and refuses the others: they take turns.
    sqlx::query("select pg_advisory_lock(1)").execute(&mut db).await.unwrap();
    let create = sqlx::AssertSqlSafe(format!("create database {name} template schema"));
    sqlx::query(create).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    format!("postgres://herdbook@localhost/{name}?host={}", cluster.socket.display())
}

impl Cluster {
    fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass().socket(&self.socket).username("herdbook").database(database)
    }
}

fn start() -> Cluster {
    let socket = tempfile::Builder::new().prefix("herdbook-tests-").tempdir().unwrap().keep();
    let mut shell = Command::new("sh");
    shell.args(["-c", KEEPER, "sh"]).arg(binaries()).arg(&socket).current_dir("/").stdin(Stdio::piped());
    // An interrupt at the terminal is for us; the cluster outlives the tests that use it.
    shell.process_group(0);
    if Uid::effective().is_root() {
        let user = ["postgres", "nobody"].into_iter().find_map(|name| User::from_name(name).unwrap()).unwrap();
        std::os::unix::fs::chown(&socket, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        shell.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let alive = shell.spawn().unwrap().stdin.take().unwrap();
    let cluster = Cluster { socket, _alive: alive };
    // A runtime of its own: the caller's belongs to one test, and may be gone before the next asks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(make_template(&cluster));
    cluster
}

async fn make_template(cluster: &Cluster) {
    let until = Instant::now() + Duration::from_mins(1);
    let mut db = loop {
        match PgConnection::connect_with(&cluster.options("postgres")).await {
            Ok(db) => break db,
            Err(error) if Instant::now() > until => panic!("Postgres does not start: {error}\n{}", log(cluster)),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    sqlx::query("create database schema").execute(&mut db).await.unwrap();
    db.close().await.unwrap();
    let pool = PgPoolOptions::new().max_connections(1).connect_with(cluster.options("schema")).await.unwrap();
    herdbook::db::MIGRATIONS.run(&pool).await.unwrap();
    pool.close().await;
}

fn log(cluster: &Cluster) -> String {
    std::fs::read_to_string(cluster.socket.join("log")).unwrap_or_default()
}

/// The folder with `initdb` and `postgres`; the newest version wins.
pub(crate) fn binaries() -> PathBuf {
    let has_both = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let given = std::env::var_os("HERDBOOK_POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = Path::new("/usr/lib/postgresql")
        .read_dir()
        .map(|entries| entries.map(|entry| entry.unwrap().path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    let others = ["/usr/pgsql/bin", "/opt/homebrew/bin", "/usr/local/pgsql/bin", "/usr/local/bin"].map(PathBuf::from);
    let mut folders =
        given.into_iter().chain(std::env::split_paths(&path)).chain(debian.into_iter().rev()).chain(others);
    folders.find(has_both).expect("the tests need a Postgres server: `make setup` installs it")
}
