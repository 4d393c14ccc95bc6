//! Queued work: the queue, the worker loop, and one file per job.
//!
//! A job is a small serializable struct, enqueued in the transaction that makes it necessary. Its body may run twice.

mod adopt_orphans;
mod check_lineage;
mod compare_weights;
mod count_descendants;
pub(crate) mod deliver_hook;
pub mod fingerprint;
mod judge_license;
pub mod publish;
pub mod queue;
pub mod smoke_test;
pub mod worker;

use serde::{Serialize, de::DeserializeOwned};

use crate::app::App;
pub use adopt_orphans::AdoptOrphans;
pub use check_lineage::CheckLineage;
pub use compare_weights::CompareWeights;
pub use count_descendants::CountDescendants;
pub use deliver_hook::DeliverHook;
pub use fingerprint::FingerprintRevision;
pub use judge_license::{EndWaiver, JudgeLicense, JudgeLicenses};
pub use smoke_test::SmokeTest;

/// How a run of a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// The world was in the way; try again later.
    Retry(String),
    /// The input is at fault; do not try again.
    Fail(String),
}

/// Work that must not block a request.
#[expect(async_fn_in_trait, reason = "jobs are dispatched by kind in this module, never as trait objects")]
pub trait Job: Serialize + DeserializeOwned {
    /// The word in the queue; never changed once used.
    const KIND: &'static str;

    /// A pending job of the same kind with the same key is the same job.
    fn dedupe(&self) -> Option<String> {
        None
    }

    /// The model it is about.
    fn model_id(&self) -> Option<i64> {
        None
    }

    /// Does the work.
    async fn run(&self, app: &App) -> Outcome;
}

/// Runs a claimed job by its kind.
async fn run(app: &App, kind: &str, payload: serde_json::Value) -> Outcome {
    match kind {
        SmokeTest::KIND => run_as::<SmokeTest>(app, payload).await,
        JudgeLicense::KIND => run_as::<JudgeLicense>(app, payload).await,
        JudgeLicenses::KIND => run_as::<JudgeLicenses>(app, payload).await,
        EndWaiver::KIND => run_as::<EndWaiver>(app, payload).await,
        DeliverHook::KIND => run_as::<DeliverHook>(app, payload).await,
        FingerprintRevision::KIND => run_as::<FingerprintRevision>(app, payload).await,
        CheckLineage::KIND => run_as::<CheckLineage>(app, payload).await,
        AdoptOrphans::KIND => run_as::<AdoptOrphans>(app, payload).await,
        CompareWeights::KIND => run_as::<CompareWeights>(app, payload).await,
        CountDescendants::KIND => run_as::<CountDescendants>(app, payload).await,
        other => Outcome::Fail(format!("jobs of kind `{other}` are not known to this version")),
    }
}

async fn run_as<J: Job>(app: &App, payload: serde_json::Value) -> Outcome {
    match serde_json::from_value::<J>(payload) {
        Ok(job) => job.run(app).await,
        Err(error) => Outcome::Fail(format!("the job's arguments cannot be read: {error}")),
    }
}
