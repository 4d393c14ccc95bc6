//! Takes the prints of weight files while they are uploaded, so that nothing is read twice.
//!
//! What was taken waits in memory until the file is committed, and is kept with it then. Files that arrived in pieces,
//! or through another server, are read again when they are fingerprinted.

use std::sync::Arc;

use moka::sync::Cache;
use sqlx::PgConnection;

use super::{
    Error, db,
    fingerprint::ROW_VERSION,
    weights::{Fingerprint, tap::Tap},
};
use crate::{
    catalog::File,
    digest::Digest,
    formats::{
        self, FileKind,
        passing::{self, Beginning},
    },
    storage::{self, BlobStore, Observe, Observer, Stored},
};

/// Bytes of prints that wait for their commit.
const KEPT_BYTES: u64 = 128 << 20;

/// Prints that wait for their commit; cheap to clone.
#[derive(Clone)]
pub struct Taps(Cache<Digest, Arc<Vec<u8>>>);

impl Default for Taps {
    fn default() -> Self {
        let weigh = |_: &Digest, print: &Arc<Vec<u8>>| u32::try_from(print.len()).unwrap_or(u32::MAX);
        Self(Cache::builder().weigher(weigh).max_capacity(KEPT_BYTES).build())
    }
}

impl Taps {
    /// What a store is to do with each stream.
    pub fn observe(&self) -> Observe {
        let taps = self.clone();
        Arc::new(move || Box::new(Watch { taps: taps.clone(), state: State::Start(Vec::new()) }))
    }

    /// Keeps what was taken of files that are being committed.
    pub async fn keep(&self, db: &mut PgConnection, store: &BlobStore, files: &[File]) -> Result<(), Error> {
        for file in files {
            let is_weights = matches!(formats::kind(file.path.as_str()), FileKind::Safetensors | FileKind::Gguf);
            let Some(print) = self.0.get(&file.digest).filter(|_| is_weights) else { continue };
            let stored = store.put_bytes(print.to_vec().into()).await?;
            storage::record(db, store, &stored).await?;
            db::insert_file_print(db, &file.digest, ROW_VERSION, &stored.digest).await?;
            self.0.invalidate(&file.digest);
        }
        Ok(())
    }
}

/// Returns the print that was taken of a file while it was uploaded.
pub(crate) async fn find(db: &mut PgConnection, store: &BlobStore, file: &File) -> Result<Option<Fingerprint>, Error> {
    let blob = db::find_file_print(db, &file.digest, ROW_VERSION).await?;
    super::relatives::read_print(store, blob.as_deref()).await
}

struct Watch {
    taps: Taps,
    state: State,
}

enum State {
    /// What has come, until it is clear what it is.
    Start(Vec<u8>),
    Taking(Box<Tap>),
    /// Nothing to take here.
    Idle,
}

impl Observer for Watch {
    fn push(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Idle => {}
            State::Taking(tap) => tap.push(bytes),
            State::Start(buffer) => {
                buffer.extend_from_slice(bytes);
                let mut tap = match passing::recognize(buffer) {
                    Beginning::Wait => return,
                    Beginning::Other => return self.state = State::Idle,
                    Beginning::Gguf => Tap::gguf(u64::MAX),
                    Beginning::Safetensors { length, .. } => Tap::safetensors(length, None),
                };
                tap.push(buffer);
                self.state = State::Taking(Box::new(tap));
            }
        }
    }

    fn finish(self: Box<Self>, stored: &Stored) {
        let State::Taking(tap) = self.state else { return };
        if let Ok(print) = tap.finish() {
            self.taps.0.insert(stored.digest, Arc::new(print.encode()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(tensors: &[(&str, usize)]) -> Vec<u8> {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, rows) in tensors {
            let begin = data.len();
            data.extend((0_u16..).take(rows * 48).flat_map(|i| i.wrapping_mul(40_503).to_le_bytes()));
            let entry =
                serde_json::json!({ "dtype": "BF16", "shape": [rows, 48], "data_offsets": [begin, data.len()] });
            header.insert((*name).to_owned(), entry);
        }
        let header = serde_json::Value::Object(header).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn watch(bytes: &[u8], piece: usize) -> Option<Arc<Vec<u8>>> {
        let taps = Taps::default();
        let mut observer = taps.observe()();
        bytes.chunks(piece).for_each(|piece| observer.push(piece));
        let stored = Stored { digest: Digest::of(bytes), size: bytes.len() as u64 };
        observer.finish(&stored);
        taps.0.get(&stored.digest)
    }

    #[test]
    fn a_weight_file_is_taken_as_it_passes() {
        let bytes = model(&[("model.embed_tokens.weight", 80), ("model.layers.0.mlp.up_proj.weight", 64)]);
        let whole = watch(&bytes, usize::MAX).unwrap();
        let print = Fingerprint::decode(&whole).unwrap();
        assert_eq!(print.tensors.len(), 2);
        for piece in [1, 7, 1000] {
            assert_eq!(watch(&bytes, piece).as_ref(), Some(&whole));
        }
    }

    #[test]
    fn what_is_no_weight_file_or_ends_early_leaves_nothing() {
        let bytes = model(&[("model.embed_tokens.weight", 80)]);
        assert_eq!(watch(&bytes[..bytes.len() - 1], 100), None);
        assert_eq!(watch(b"# A card that is longer than eight bytes", 100), None);
        assert_eq!(watch(b"short", 100), None);
        assert_eq!(watch(&u64::MAX.to_le_bytes(), 100), None);
    }
}
