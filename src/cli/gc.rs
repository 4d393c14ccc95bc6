//! `herdbook gc`: removes what nothing names any more.

use std::process::ExitCode;

use indicatif::HumanBytes;

use super::operator;
use crate::{
    config::DataOptions,
    storage::gc::{Options, gc},
};

/// Removes blobs of deleted models and what crashes and given-up uploads left.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  herdbook gc --dry-run\n  herdbook gc --grace-hours 72")]
pub(super) struct Args {
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Keep what was used within so many hours
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    grace_hours: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataOptions,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (database, store) = operator::open(&args.data).await?;
    let mut db = database.pool.acquire().await?;
    let options = Options { dry_run: args.dry_run, grace: time::Duration::hours(args.grace_hours.into()) };
    let report = gc(&mut db, &store, options).await;
    drop(db);
    operator::close(database).await;
    let report = report?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(ExitCode::SUCCESS);
    }
    let verb = if report.dry_run { "would remove" } else { "removed" };
    println!(
        "{verb} {} blobs ({}), {} orphaned objects, {} temporary objects",
        report.blobs,
        HumanBytes(report.bytes),
        report.orphans,
        report.temporary
    );
    Ok(ExitCode::SUCCESS)
}
