//! Transfers that this process is receiving, so that who asks how far one came waits until a broken one is kept.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use super::Slot;

/// How long somebody waits for an earlier transfer of the same file to end. One that broke off ends at once; one whose
/// connection died in silence may not.
const PATIENCE: Duration = Duration::from_secs(5);

type Place = (i64, i64, String);

static UNDERWAY: LazyLock<Mutex<HashMap<Place, watch::Receiver<()>>>> = LazyLock::new(Mutex::default);

/// A transfer under way; it ends when this is dropped.
pub struct Transfer {
    place: Place,
    running: watch::Sender<()>,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut underway = UNDERWAY.lock().unwrap_or_else(PoisonError::into_inner);
        if underway.get(&self.place).is_some_and(|seen| seen.same_channel(&self.running.subscribe())) {
            underway.remove(&self.place);
        }
    }
}

fn place(slot: &Slot) -> Place {
    (slot.model_id, slot.user_id, slot.key.clone())
}

/// Begins a transfer, after an earlier one of the same file has ended.
pub async fn begin(slot: &Slot) -> Transfer {
    settled(slot).await;
    let (running, seen) = watch::channel(());
    UNDERWAY.lock().unwrap_or_else(PoisonError::into_inner).insert(place(slot), seen);
    Transfer { place: place(slot), running }
}

/// Returns when no transfer of this file is under way here, or when patience ends.
pub async fn settled(slot: &Slot) {
    let seen = UNDERWAY.lock().unwrap_or_else(PoisonError::into_inner).get(&place(slot)).cloned();
    if let Some(mut seen) = seen {
        // Nothing is ever sent: the channel closes.
        let _ = tokio::time::timeout(PATIENCE, seen.changed()).await;
    }
}
