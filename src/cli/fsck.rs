//! `herdbook fsck`: proves that every stored blob is what it was.

use std::process::ExitCode;

use indicatif::HumanBytes;

use super::{client, operator};
use crate::{config::DataOptions, storage};

/// Re-reads and re-hashes every blob; names what is wrong, repairs nothing.
///
/// Exit code 1 when anything is damaged. Works beside a running server.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  herdbook fsck --data-dir /srv/herdbook")]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataOptions,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (database, store) = operator::open(&args.data).await?;
    let mut db = database.pool.acquire().await?;
    let (_, total) = storage::db::totals(&mut db).await?;
    let bar = client::bytes_bar(total.unsigned_abs(), "checking");
    let report = storage::fsck::fsck(&mut db, &store, |_, bytes| bar.set_position(bytes)).await;
    bar.finish_and_clear();
    drop(db);
    operator::close(database).await;
    let report = report?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        for damage in &report.damaged {
            println!("DAMAGED {}: {}", damage.digest, damage.problem);
            damage.used_by.iter().for_each(|place| println!("        used by {place}"));
        }
        println!("{} blobs, {} read, {} damaged", report.blobs, HumanBytes(report.bytes), report.damaged.len());
        if report.unreferenced > 0 {
            println!("{} objects belong to no blob, `herdbook gc` removes them", report.unreferenced);
        }
    }
    Ok(if report.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
