//! `herdbook serve`: the whole product in one process.

use std::{
    fs,
    io::Write as _,
    net::{TcpListener, ToSocketAddrs as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use sqlx::PgConnection;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::info;

use crate::{
    app::{App, ServerSecret},
    auth::{self, Scope},
    config::{DataOptions, ServeOptions},
    db, http, jobs,
    lineage::{relatives::PrintCache, taps::Taps},
    smoke::statistics::Statistics,
    storage::BlobStore,
    tally::Tally,
    telemetry::{self, Metrics},
};

/// Runs the registry.
///
/// Without --database-url it brings its own Postgres, in the data folder.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  herdbook serve\n  herdbook serve --listen 0.0.0.0:80 --database-url postgres://… --store s3://models/herd"
)]
pub(super) struct Args {
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    serve: ServeOptions,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::start(args.data.log_format, &args.data.log);
    let listener = bind(&args.serve.listen)?;
    let address = listener.local_addr()?;
    let database = db::open(&args.data, true).await?;
    let store = BlobStore::open(args.data.store.as_ref(), &args.data.data_dir)?;
    let app = build(&args.data, args.serve, &database, store).await?;
    let (stop, stopped) = watch::channel(false);
    let workers = start_workers(&app, &stopped);
    let server = http::server(app, listener).context("the server cannot be started")?;
    let handle = server.handle();
    let running = tokio::spawn(server);
    // Nobody has to read it, so that it cannot be written ends nothing.
    let mut stdout = std::io::stdout();
    drop(writeln!(stdout, "listening on http://{address}").and_then(|()| stdout.flush()));
    wait_for_signal().await?;
    info!("shutting down: requests are drained");
    stop.send(true)?;
    handle.stop(true).await;
    running.await??;
    for worker in workers {
        worker.await?;
    }
    database.pool.close().await;
    if let Some(cluster) = database.cluster {
        cluster.stop().await;
    }
    Ok(ExitCode::SUCCESS)
}

fn bind(listen: &str) -> anyhow::Result<TcpListener> {
    let addresses: Vec<_> =
        listen.to_socket_addrs().with_context(|| format!("`{listen}` is no address, expected HOST:PORT"))?.collect();
    TcpListener::bind(&addresses[..]).with_context(|| {
        format!("cannot listen on {listen}: is another program there? --listen 127.0.0.1:0 picks a free port")
    })
}

/// Builds the state that requests and jobs share, and makes sure that somebody can sign in.
pub(super) async fn build(
    data: &DataOptions,
    serve: ServeOptions,
    database: &db::Database,
    store: BlobStore,
) -> anyhow::Result<App> {
    let mut connection = database.pool.acquire().await?;
    let secret = ServerSecret::new(db::server_secret(&mut connection).await?);
    ensure_admin(&mut connection, &data.data_dir).await?;
    let smoke_program = std::env::current_exe().context("the path of this program is not known")?;
    let (taps, statistics) = (Taps::default(), Statistics::default());
    Ok(App {
        db: database.pool.clone(),
        store: store.observed_by(taps.observe()).observed_by(statistics.observe()),
        taps,
        statistics,
        secret,
        metrics: Metrics::default(),
        tally: Tally::default(),
        prints: PrintCache::default(),
        options: Arc::new(serve),
        smoke_program: Arc::new(smoke_program),
    })
}

/// Creates the user `admin` the first time, and writes a token for it that only this account can read.
async fn ensure_admin(db: &mut PgConnection, data_dir: &Path) -> anyhow::Result<()> {
    if auth::db::find_user(db, "admin").await?.is_some() {
        return Ok(());
    }
    let user = match auth::db::create_user(db, "admin", true).await {
        Err(auth::Error::NameTaken(_)) => return Ok(()),
        other => other?,
    };
    fs::create_dir_all(data_dir)?;
    let path = data_dir.join("admin-token");
    let secret = auth::generate_secret();
    auth::db::create_token(db, user.id, "first token", Scope::Admin, &secret).await?;
    drop(fs::remove_file(&path));
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(file, "{secret}")?;
    info!("created the user `admin`; its token is in {}", path.display());
    Ok(())
}

/// Starts the configured number of job runners.
pub(super) fn start_workers(app: &App, stopped: &watch::Receiver<bool>) -> Vec<tokio::task::JoinHandle<()>> {
    (0..app.options.jobs).map(|number| tokio::spawn(jobs::worker::run(app.clone(), number, stopped.clone()))).collect()
}

/// Returns when the process is asked to stop.
pub(super) async fn wait_for_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
