//! The database: pool, migrations, and the embedded private cluster.

pub mod embedded;
mod queries;
mod text;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use sqlx::{
    Connection as _, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::DataOptions;
pub use embedded::Cluster;
pub use queries::data_version;
pub use text::{text_without_nul, without_nul};

/// What can go wrong before the first query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No Postgres on this machine.
    #[error(
        "no Postgres server was found (looked for initdb and postgres in PATH and in /usr/lib/postgresql/*/bin)\n\
         install it:   Debian, Ubuntu: apt-get install postgresql · Fedora: dnf install postgresql-server · macOS: brew install postgresql\n\
         or use one that runs already: --database-url postgres://user:password@host/database"
    )]
    NoPostgres,
    /// Another server uses the data folder.
    #[error("another herdbook already runs on the data folder `{0}`: stop it, or give this one another --data-dir")]
    Locked(PathBuf),
    /// The cluster did not start.
    #[error("the embedded Postgres did not start: {reason}\nits log is {log}")]
    DidNotStart {
        /// What it said last.
        reason: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// The data folder cannot be used by the user that Postgres runs as.
    #[error(
        "Postgres does not run as root, and the user `{user}` cannot reach `{folder}`: use a --data-dir below a folder that others may enter"
    )]
    Unreachable {
        /// The user.
        user: String,
        /// The folder.
        folder: PathBuf,
    },
    /// A file operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The database failed.
    #[error("the database cannot be used: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration failed.
    #[error("the database schema cannot be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// The schema's migrations, compiled in.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// A pool, and the cluster behind it when we run it.
pub struct Database {
    /// The pool.
    pub pool: PgPool,
    /// Set when this process started the cluster; it stops with [`Cluster::stop`].
    pub cluster: Option<Cluster>,
}

/// Connects to the configured database, or starts the embedded one; migrates.
///
/// `exclusive` is for `serve`: it refuses a data folder that another server uses. Operator commands join it instead.
pub async fn open(options: &DataOptions, exclusive: bool) -> Result<Database, Error> {
    let (connect, cluster) = match &options.database_url {
        Some(url) => (reach(url).await?, None),
        None => embedded::open(options, exclusive).await?,
    };
    // The second is a net: nothing is to hold a transaction while it waits, and what forgot is ended. An import's own
    // transaction waits for its upload, and may pause as long.
    let timeouts = [("statement_timeout", "120s"), ("idle_in_transaction_session_timeout", "600s")];
    let connect = connect.application_name("herdbook").options(timeouts);
    let pool = PgPoolOptions::new()
        .max_connections(24)
        .acquire_timeout(Duration::from_secs(20))
        .idle_timeout(Duration::from_mins(2))
        .connect_with(connect)
        .await?;
    MIGRATIONS.run(&pool).await?;
    Ok(Database { pool, cluster })
}

/// Reads a database's address and asks it once: the pool would try for long and keep the reason to itself.
///
/// A database that is just starting gets a moment.
async fn reach(url: &str) -> Result<PgConnectOptions, Error> {
    let connect: PgConnectOptions = url.parse()?;
    let until = Instant::now() + Duration::from_secs(3);
    loop {
        match PgConnection::connect_with(&connect).await {
            Ok(db) => break db.close().await?,
            Err(sqlx::Error::Io(_)) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(connect)
}

/// Returns the installation's key for signatures, making it the first time.
pub async fn server_secret(db: &mut PgConnection) -> Result<[u8; 32], Error> {
    let fresh: [u8; 32] = rand::random();
    let key = queries::ensure_secret(db, "server", &fresh).await?;
    Ok(key.try_into().unwrap_or(fresh))
}
