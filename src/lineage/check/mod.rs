//! Checks claims against the weights: finds relatives, judges the herd, keeps verdicts.
//!
//! A herd is judged once for everybody, with public models only, and once more for each namespace that has private
//! relatives in it. What the second finds is kept for those who may read these models ([`Circle`]).

mod adapter;
mod herd;
mod keep;
pub(super) mod settle;

use std::{collections::BTreeSet, sync::Arc};

use sqlx::PgConnection;

use super::{
    Error, db,
    relatives::{MOST, PrintCache},
    weights::Fingerprint,
};
use crate::{
    auth::Viewer,
    catalog::{self, Model, Visibility},
    storage::BlobStore,
};

/// Version of the decision procedure; verdicts keep the one that they were made by.
pub const ALGORITHM: i32 = 1;

/// What judging a herd may cost: every pair is compared layer by layer. 20,000 took 5 seconds of a core.
const MOST_COMPARISONS: u64 = 24_000;

/// How many models like this one are judged together; of a larger herd, the nearest are.
pub(super) fn affordable(print: &Fingerprint) -> usize {
    let members = (MOST_COMPARISONS / u64::from(print.shape.layers).max(1)).isqrt();
    usize::try_from(members).unwrap_or(MOST).clamp(LEAST_TOGETHER, MOST)
}

/// Fewer than these tell too little of each other.
const LEAST_TOGETHER: usize = 16;

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
                let subject = Subject { model: &model, print: &print, is_attested };
                check_weights(db, store, cache, &subject, &mut checked).await?;
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

/// A model whose weights are checked.
pub(super) struct Subject<'a> {
    model: &'a Model,
    print: &'a Arc<Fingerprint>,
    is_attested: &'a (dyn Fn(&str) -> bool + Sync),
}

/// Judges the model's herd for everybody, and for each namespace that has private models near it; a private model's for
/// its own namespace alone.
async fn check_weights(
    db: &mut PgConnection,
    store: &BlobStore,
    cache: &PrintCache,
    subject: &Subject<'_>,
    checked: &mut Checked,
) -> Result<(), Error> {
    let is_private = subject.model.visibility == Visibility::Private;
    let own = Circle::Namespace(subject.model.name.namespace().to_lowercase());
    let mut circles = vec![if is_private { own } else { Circle::Public }];
    let mut at = 0;
    while let Some(circle) = circles.get(at).cloned() {
        let herd = herd::gather(db, store, cache, subject, &circle).await?;
        if circle == Circle::Public {
            let members: Vec<i64> = herd.members.iter().map(|member| member.row.revision_id).collect();
            let near = db::list_private_namespaces_near(db, &members).await?;
            circles.extend(near.into_iter().map(Circle::Namespace));
        }
        let is_whole = herd.is_whole;
        let (settled, near) = settle::settle(herd).await?;
        // Public members have circles of which a private model's check knows nothing.
        let is_done = |member: &&settle::Settled| is_whole && (member.is_private || !is_private);
        checked.settled.extend(settled.iter().filter(is_done).map(|member| member.model_id));
        checked.affected.extend(near);
        keep::keep(db, &circle, settled, checked).await?;
        at += 1;
    }
    Ok(())
}
