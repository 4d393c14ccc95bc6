//! Keeps a fingerprint within what a file may hold, however many tensors a model has.
//!
//! Experts beyond the first, and tensors of unknown roles, are dropped first; which ones does not depend on how the model
//! is cut into files. Of what is dropped, a digest of all remains, so that copies are still told from near copies.

use super::{
    file::MAX_SKIPPED,
    print::{Fingerprint, Precision, TensorDigest, TensorPrint},
    slots::{Role, Slot},
};

/// Bytes that tensors may take in a file.
const BUDGET: usize = 12 << 20;
/// Bytes of a tensor besides its values.
const RECORD: usize = 200;
/// The slot of the digest of what was dropped.
const REST: &str = "rest";

/// How much of the budget a tensor takes, whatever its precision.
pub(super) fn cost(slot: &Slot, tensor: &TensorPrint) -> usize {
    4 * tensor.sample.len() + RECORD + 2 * slot.role.word().len()
}

/// Drops what does not fit.
pub(super) fn limit(print: &mut Fingerprint) {
    let total: usize = print.tensors.iter().map(|(slot, tensor)| cost(slot, tensor)).sum();
    if total <= BUDGET {
        return;
    }
    let mut slots: Vec<(Slot, usize)> = print.tensors.iter().map(|(slot, t)| (slot.clone(), cost(slot, t))).collect();
    slots.sort_by_cached_key(|(slot, _)| {
        (slot.expert, matches!(slot.role, Role::Other(_)) && slot.role.word() != REST, slot.clone())
    });
    let mut sum = 0;
    let rest = Slot::once(Role::Other(REST.to_owned()));
    for (slot, cost) in slots {
        sum += cost;
        if sum > BUDGET
            && slot != rest
            && let Some(tensor) = print.tensors.remove(&slot)
        {
            fold(print, &rest, &slot, &tensor);
        }
    }
}

/// Adds the print of another file of the same model.
pub(super) fn merge(whole: &mut Fingerprint, part: Fingerprint) {
    whole.covered.0 = whole.covered.0.saturating_add(part.covered.0);
    whole.covered.1 = whole.covered.1.saturating_add(part.covered.1);
    whole.skipped.extend(part.skipped);
    whole.skipped.truncate(MAX_SKIPPED);
    whole.panel = part.panel.or(whole.panel.take());
    let rest = Slot::once(Role::Other(REST.to_owned()));
    for (slot, tensor) in part.tensors {
        match whole.tensors.get_mut(&slot) {
            Some(folded) if slot == rest => {
                folded.exact = sum(folded.exact, tensor.exact);
                folded.canonical = sum(folded.canonical, tensor.canonical);
            }
            _ => {
                whole.tensors.insert(slot, tensor);
            }
        }
    }
}

/// Whether a print has grown so far that it is worth dropping from it.
pub(super) fn is_due(total: usize) -> bool {
    total > 2 * BUDGET
}

fn fold(print: &mut Fingerprint, rest: &Slot, slot: &Slot, tensor: &TensorPrint) {
    if !print.tensors.contains_key(rest) && print.skipped.len() < MAX_SKIPPED {
        let reason = "it is compared by its digest only, as are others of so many tensors";
        print.skipped.push((slot.to_string(), reason.to_owned()));
    }
    let folded = print.tensors.entry(rest.clone()).or_insert_with(|| TensorPrint {
        rows: 1,
        columns: 1,
        precision: Precision::F32,
        exact: Some([0; 16]),
        canonical: Some([0; 16]),
        zeros: 0.0,
        distinct: 1.0,
        lattice: 1.0,
        sample: vec![0.0],
    });
    folded.exact = add(folded.exact, slot, tensor.exact);
    folded.canonical = add(folded.canonical, slot, tensor.canonical);
}

/// A sum, so that the order does not matter.
fn add(sum: Option<TensorDigest>, slot: &Slot, digest: Option<TensorDigest>) -> Option<TensorDigest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(slot.to_string().as_bytes()).update(&digest?);
    let mut term = [0; 16];
    hasher.finalize_xof().fill(&mut term);
    self::sum(sum, Some(term))
}

fn sum(a: Option<TensorDigest>, b: Option<TensorDigest>) -> Option<TensorDigest> {
    Some(u128::from_le_bytes(a?).wrapping_add(u128::from_le_bytes(b?)).to_le_bytes())
}
