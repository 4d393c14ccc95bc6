//! `herdbook worker`: runs jobs, serves nothing.

use std::process::ExitCode;

use tokio::sync::watch;
use tracing::info;

use super::serve;
use crate::{
    config::{DataOptions, ServeOptions},
    db,
    storage::BlobStore,
    telemetry,
};

/// Runs jobs beside servers on the same database and store.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  herdbook worker --database-url postgres://… --store s3://models/herd --jobs 4")]
pub(super) struct Args {
    #[command(flatten)]
    data: DataOptions,
    #[command(flatten)]
    serve: ServeOptions,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    telemetry::start(args.data.log_format, &args.data.log);
    let database = db::open(&args.data, false).await?;
    let store = BlobStore::open(args.data.store.as_ref(), &args.data.data_dir)?;
    let app = serve::build(&args.data, args.serve, &database, store).await?;
    let (stop, stopped) = watch::channel(false);
    let workers = serve::start_workers(&app, &stopped);
    info!("running {} jobs at a time", workers.len());
    serve::wait_for_signal().await?;
    stop.send(true)?;
    for worker in workers {
        worker.await?;
    }
    super::operator::close(database).await;
    Ok(ExitCode::SUCCESS)
}
