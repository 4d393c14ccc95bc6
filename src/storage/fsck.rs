//! Re-reads and re-hashes every blob, and names what is wrong. Reports; repairs nothing.

use futures::StreamExt as _;
use object_store::path::Path;
use serde::Serialize;
use sqlx::PgConnection;

use super::{BlobStore, Error, db};
use crate::digest::{Digest, Hasher};

/// One thing that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Damage {
    /// The blob.
    pub digest: Digest,
    /// What is wrong with it, in words.
    pub problem: String,
    /// Where it is used: `namespace/name@commit path`.
    pub used_by: Vec<String>,
}

/// What a check found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Blobs that were read in full.
    pub blobs: u64,
    /// Bytes that were read and hashed.
    pub bytes: u64,
    /// What is wrong; empty when the store is sound.
    pub damaged: Vec<Damage>,
    /// Objects that no row names: left by a crash, for `gc` to collect. Not damage.
    pub unreferenced: u64,
}

/// Checks every blob; `progress` hears the number of blobs and bytes read so far.
pub async fn fsck(
    db: &mut PgConnection,
    store: &BlobStore,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, Error> {
    const PAGE: i64 = 1000;
    let mut report = Report::default();
    let mut after = Vec::new();
    loop {
        let page = db::list_blobs(db, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.digest.as_bytes().to_vec();
        for blob in page {
            if let Some(problem) = check(store, &blob).await? {
                let used_by = db::list_uses(db, &blob.digest, 5).await?;
                report.damaged.push(Damage { digest: blob.digest, problem, used_by });
            }
            report.blobs += 1;
            report.bytes += blob.size;
            progress(report.blobs, report.bytes);
        }
    }
    report.unreferenced = count_unreferenced(db, store).await?;
    Ok(report)
}

async fn check(store: &BlobStore, blob: &db::BlobRow) -> Result<Option<String>, Error> {
    let mut stream = match store.read(&blob.digest).await {
        Ok(stream) => stream,
        Err(Error::Missing(_)) => return Ok(Some("its object is missing".to_owned())),
        Err(error) => return Err(error),
    };
    let mut hasher = Hasher::default();
    let mut size = 0_u64;
    while let Some(piece) = stream.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => return Ok(Some(format!("it cannot be read: {error}"))),
        };
        hasher.update(&piece);
        size += piece.len() as u64;
    }
    if size != blob.size {
        return Ok(Some(format!("it has {size} bytes, {} are recorded", blob.size)));
    }
    let found = hasher.finish();
    Ok((found != blob.digest).then(|| format!("its content has digest {found}")))
}

async fn count_unreferenced(db: &mut PgConnection, store: &BlobStore) -> Result<u64, Error> {
    let mut unreferenced = 0;
    let mut objects = store.objects.list(Some(&Path::from("blobs")));
    while let Some(object) = objects.next().await {
        let name = object?.location;
        let digest = name.filename().and_then(|hex| hex.parse::<Digest>().ok());
        match digest {
            Some(digest) if db::find_blob(db, &digest).await?.is_some() => {}
            _ => unreferenced += 1,
        }
    }
    Ok(unreferenced)
}
