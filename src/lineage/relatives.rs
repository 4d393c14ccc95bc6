//! Finds who may be related: leaders by bands, members behind them by their sign bits, copies by whole tensors.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use moka::future::Cache;
use sqlx::PgConnection;

use super::{
    Error,
    db::{self, Candidate, Keys},
    fingerprint,
    weights::{
        Fingerprint,
        bands::{self, Signature},
    },
};
use crate::{auth::Viewer, digest::Digest, storage::BlobStore};

/// Most models that one decision looks at.
pub const MOST: usize = 200;
/// Bands of which a leader must share this many for a model to stand behind it.
const SAME_FAMILY: i64 = 8;
/// Leaders that are looked at however far they are: they stand for their families.
const FIRST_LEADERS: usize = 16;
/// Revisions that are looked up by whole tensors.
const MOST_BY_TENSORS: i64 = 500;
/// Longest fingerprint file, in bytes.
pub const MAX_FILE: u64 = 16 << 20;
/// Bytes of decoded fingerprints that stay in memory.
const KEPT_BYTES: u64 = 256 << 20;

/// Fingerprints that were read lately; cheap to clone.
#[derive(Clone)]
pub struct PrintCache(Cache<Digest, Arc<Fingerprint>>);

impl Default for PrintCache {
    fn default() -> Self {
        let weigh = |_: &Digest, print: &Arc<Fingerprint>| {
            let values: usize = print.tensors.values().map(|tensor| tensor.sample.len() + 64).sum();
            u32::try_from(4 * values + 65_536).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().weigher(weigh).max_capacity(KEPT_BYTES).build())
    }
}

impl PrintCache {
    /// Returns the fingerprint of a file; `None` when it is gone, or of another version.
    pub async fn get(&self, store: &BlobStore, blob: &[u8]) -> Result<Option<Arc<Fingerprint>>, Error> {
        let Ok(digest) = Digest::try_from(blob.to_vec()) else { return Ok(None) };
        if let Some(known) = self.0.get(&digest).await {
            return Ok(Some(known));
        }
        let Some(print) = read_print(store, Some(blob)).await?.map(Arc::new) else { return Ok(None) };
        self.0.insert(digest, print.clone()).await;
        Ok(Some(print))
    }
}

/// Reads a fingerprint file; `None` when there is none, or of another version.
pub(crate) async fn read_print(store: &BlobStore, blob: Option<&[u8]>) -> Result<Option<Fingerprint>, Error> {
    let Some(digest) = blob.and_then(|blob| Digest::try_from(blob.to_vec()).ok()) else { return Ok(None) };
    let bytes = match store.read_all(&digest, MAX_FILE).await {
        Ok(bytes) => bytes,
        Err(crate::storage::Error::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Fingerprint::decode(&bytes).ok())
}

fn keys_of(print: &Fingerprint) -> Keys {
    let mut keys = Keys::default();
    for key in bands::keys(print) {
        keys.kinds.push(key.kind);
        keys.bands.push(key.band);
        keys.keys.push(key.key);
    }
    keys
}

/// Puts a kept fingerprint behind a leader of its family, or makes it one, so that later ones find it.
pub(crate) async fn find_leader(db: &mut PgConnection, revision_id: i64, print: &Fingerprint) -> Result<(), Error> {
    let keys = keys_of(print);
    match db::find_leaders(db, &keys).await?.first() {
        Some((leader, shared)) if *shared >= SAME_FAMILY => db::set_leader(db, revision_id, *leader).await,
        _ => db::insert_leader(db, revision_id, &keys).await,
    }
}

/// Finds leaders for models whose leader was deleted; returns how many.
pub async fn adopt_orphans(db: &mut PgConnection, store: &BlobStore) -> Result<usize, Error> {
    let mut adopted = 0;
    for orphan in db::list_without_leader(db, 200).await? {
        if let Some(print) = read_print(store, orphan.blob.as_deref()).await? {
            find_leader(db, orphan.revision_id, &print).await?;
            adopted += 1;
        }
    }
    Ok(adopted)
}

/// A model that a decision looks at.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) row: Candidate,
    pub(crate) print: Arc<Fingerprint>,
}

/// Finds models that may be related to a fingerprint, as far as the viewer may read them: at most [`MOST`], those in
/// `wanted` (by revision) first, then those most alike.
pub(crate) async fn find_candidates(
    db: &mut PgConnection,
    print: &Fingerprint,
    wanted: &[i64],
    viewer: &Viewer,
) -> Result<Vec<Candidate>, Error> {
    let mut leaders: Vec<i64> = db::find_leaders(db, &keys_of(print)).await?.into_iter().map(|(id, _)| id).collect();
    leaders.truncate(MOST);
    let (_, digests) = fingerprint::matrices(print);
    let by_tensors = db::find_by_tensors(db, &digests, MOST_BY_TENSORS).await?;
    let revisions: Vec<i64> = by_tensors.iter().chain(wanted).copied().collect();
    let signature = bands::signature(print);
    let first: HashSet<i64> = leaders.iter().take(FIRST_LEADERS).chain(wanted).copied().collect();
    let distance = |revision_id: i64, other: &[u8]| match Signature::from_bytes(other) {
        _ if first.contains(&revision_id) => 0,
        Some(other) => 1 + signature.hamming(&other),
        None => u32::MAX,
    };
    let nearest = db::rank_candidates(db, &leaders, &revisions, viewer, MOST, &distance).await?;
    let mut candidates = db::list_candidates(db, &[], &nearest, &[], viewer, MOST).await?;
    let ranks: HashMap<i64, usize> = nearest.into_iter().enumerate().map(|(rank, id)| (id, rank)).collect();
    candidates.sort_by_key(|candidate| ranks.get(&candidate.revision_id).copied());
    Ok(candidates)
}

/// Reads the fingerprints of candidates; those whose file is gone or of another version are left out.
pub(crate) async fn load(
    store: &BlobStore,
    cache: &PrintCache,
    candidates: Vec<Candidate>,
) -> Result<Vec<Member>, Error> {
    let mut members = Vec::with_capacity(candidates.len());
    for row in candidates {
        if let Some(print) = cache.get(store, &row.blob).await? {
            members.push(Member { row, print });
        }
    }
    Ok(members)
}

/// Places of members by revision.
pub(crate) fn places(members: &[Member]) -> HashMap<i64, usize> {
    members.iter().enumerate().map(|(place, member)| (member.row.revision_id, place)).collect()
}
