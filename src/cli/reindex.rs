//! `herdbook reindex`: makes fingerprints again that another version made.

use std::process::ExitCode;

use indicatif::ProgressBar;

use super::{client, operator, serve};
use crate::{
    config::{DataOptions, ServeOptions},
    jobs::{CheckLineage, fingerprint::fingerprint_revision, queue},
    lineage::{db, fingerprint::ROW_VERSION},
};

/// Fingerprints every model whose fingerprint is missing or of another version, and has its lineage checked.
///
/// May be stopped and started again at any time: what is done stays done.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  herdbook reindex\n  herdbook reindex --data-dir /srv/herdbook")]
pub(super) struct Args {
    #[command(flatten)]
    data: DataOptions,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (database, store) = operator::open(&args.data).await?;
    let app = serve::build(&args.data, ServeOptions::offline(), &database, store).await?;
    let total = db::count_outdated(&mut *app.db.acquire().await?, ROW_VERSION).await?;
    let bar = client::bars().add(ProgressBar::new(total.cast_unsigned()));
    bar.set_message("fingerprinting");
    let (mut after, mut done, mut failed) = (0, 0_u64, 0_u64);
    loop {
        let outdated = db::list_outdated(&mut *app.db.acquire().await?, ROW_VERSION, after, 100).await?;
        let Some((last, _)) = outdated.last().copied() else { break };
        for (revision_id, model_id) in outdated {
            match fingerprint_revision(&app, model_id, revision_id, |_| ()).await {
                Ok(()) => done += 1,
                Err(error) => {
                    failed += 1;
                    bar.suspend(|| eprintln!("revision {revision_id} of model {model_id}: {error}"));
                    continue;
                }
            }
            queue::enqueue(&mut *app.db.acquire().await?, &CheckLineage { model_id, spread: true }).await?;
            bar.inc(1);
        }
        after = last;
    }
    bar.finish_and_clear();
    println!("fingerprinted {done} models, {failed} failed; a running server or worker checks their lineage now");
    drop(app);
    operator::close(database).await;
    Ok(if failed > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}
