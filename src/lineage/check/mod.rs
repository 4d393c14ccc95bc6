//! Checks claims against the weights: finds relatives, judges the herd, keeps verdicts.
//!
//! A herd is judged once for everybody, with public models only, and once more for each namespace that has private
//! relatives in it. What the second finds is kept for those who may read these models ([`Circle`]).

mod adapter;
mod herd;
mod keep;
pub(super) mod known;
pub(super) mod settle;

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{
    Error, db,
    relatives::{self, PrintCache},
    weights::Fingerprint,
};
use crate::{
    auth::Viewer,
    catalog::{self, Model, Visibility},
    storage::BlobStore,
};

/// Version of the decision procedure; verdicts keep the one that they were made by.
pub const ALGORITHM: i32 = 1;

/// What judging a herd all at once may cost: every pair is compared layer by layer. 20,000 took 5 seconds of a core.
const MOST_COMPARISONS: usize = 40_000;

/// Whether a herd is judged all at once, rather than one of it against what is known of the others.
pub(super) fn is_cheap<'a>(prints: impl Iterator<Item = &'a Fingerprint>) -> bool {
    let layers: Vec<usize> = prints.map(|print| usize::from(print.shape.layers).max(1)).collect();
    layers.iter().sum::<usize>().saturating_mul(layers.len()) <= MOST_COMPARISONS
}

/// For whom a herd is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Circle {
    /// Everybody: public models only.
    Public,
    /// Those who may read a namespace's private models.
    Namespace(String),
}

impl Circle {
    pub(super) fn viewer(&self) -> Viewer {
        match self {
            Self::Public => Viewer::anonymous(),
            Self::Namespace(name) => Viewer { everything: false, namespaces: vec![name.clone()] },
        }
    }

    /// The word that rows keep.
    fn audience(&self) -> Option<&str> {
        match self {
            Self::Public => None,
            Self::Namespace(name) => Some(name),
        }
    }
}

/// What a check led to.
#[derive(Debug, Default)]
pub struct Checked {
    /// Models whose parent links changed.
    pub changed: Vec<i64>,
    /// Revisions whose weights must be compared in full: child, parent.
    pub to_compare: Vec<(i64, i64)>,
    /// Related models that this check could not judge again.
    pub affected: Vec<i64>,
    /// Models that were judged with everybody who may be related: nothing waits for another check of these.
    pub settled: Vec<i64>,
}

impl Checked {
    fn changed(&mut self, model_id: i64) {
        if !self.changed.contains(&model_id) {
            self.changed.push(model_id);
        }
    }
}

/// Checks a model, and with it every relative whose own relatives are all at hand.
pub async fn check(
    db: &mut PgConnection,
    store: &BlobStore,
    cache: &PrintCache,
    model_id: i64,
    is_attested: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Checked, Error> {
    let mut checked = Checked::default();
    let Some(model) = catalog::find_model_by_id(db, model_id).await? else { return Ok(checked) };
    // Herds overlap: one check at a time, on whichever replica.
    db::lock_checks(db).await?;
    let print = match model.head_revision_id {
        Some(head) => db::find_print(db, head).await?,
        None => None,
    };
    match print {
        Some(row) if row.kind == "model" => {
            if let Some(print) = cache.get(store, row.blob.as_deref().unwrap_or_default()).await? {
                let circles = circles(db, &model, &print).await?;
                for circle in &circles {
                    let herd = herd::gather(db, store, cache, &model, &print, circle, is_attested).await?;
                    // With private models near, other members may have circles of which this one knows nothing.
                    let members: Vec<i64> = herd.members.iter().map(|member| member.row.revision_id).collect();
                    let is_whole = herd.is_whole && circles.len() == 1 && !db::has_private_near(db, &members).await?;
                    let (settled, near) = settle::settle(herd).await?;
                    let ids = settled.iter().map(|member| member.model_id);
                    checked.settled.extend(ids.filter(|_| is_whole));
                    checked.affected.extend(near);
                    keep::keep(db, circle, settled, &mut checked).await?;
                }
            }
        }
        Some(row) if row.kind == "adapter" => adapter::check(db, store, cache, &model, &row, &mut checked).await?,
        Some(row) => {
            let reason = row.reason.unwrap_or_else(|| "there are no weights".to_owned());
            let reason = format!("this model is not fingerprinted: {reason}");
            keep::keep_unverifiable(db, &model, &reason, &mut checked).await?;
        }
        None => {}
    }
    Ok(checked)
}

/// Returns models that are to be asked again once `done` were checked: those that claim to descend from one of them,
/// adapters that may fit one, and members of a herd that was too large to be judged at once.
pub async fn list_affected(db: &mut PgConnection, checked: &Checked, done: &[i64]) -> Result<Vec<i64>, Error> {
    let mut affected: BTreeSet<i64> = checked.affected.iter().copied().collect();
    affected.extend(db::list_claiming_models(db, done).await?);
    affected.extend(db::list_adapters_beside(db, done).await?);
    affected.retain(|id| !checked.settled.contains(id));
    Ok(affected.into_iter().collect())
}

/// For whom the model's herd is to be judged.
async fn circles(db: &mut PgConnection, model: &Model, print: &Fingerprint) -> Result<Vec<Circle>, Error> {
    let own = model.name.namespace().to_lowercase();
    if model.visibility == Visibility::Private {
        return Ok(vec![Circle::Namespace(own)]);
    }
    let mut circles = vec![Circle::Public];
    let all = relatives::find_candidates(db, print, &[], &Viewer::everything()).await?;
    for namespace in all.into_iter().filter(|other| other.is_private).map(|other| other.namespace_key) {
        let circle = Circle::Namespace(namespace);
        if !circles.contains(&circle) {
            circles.push(circle);
        }
    }
    Ok(circles)
}
