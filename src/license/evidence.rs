//! Reads the license and notice files of revisions, and keeps what their texts were recognized as.

use sqlx::PgConnection;

use super::{
    Error,
    catalogue::Catalogue,
    db::{self, LicenseFile},
    text,
};
use crate::{digest::Digest, storage::BlobStore};

/// Bytes of a license file that are read; the longest license text known is a quarter of it.
const MOST_READ: u64 = 256 * 1024;
/// Characters of a file that are kept: notices are looked for in them.
const EXCERPT: usize = 8 * 1024;
/// License files of one revision that are read; a folder of thousands of them is no license.
const MOST_FILES: usize = 200;

/// Reads the license files of revisions that were not compared with this catalogue yet.
pub async fn recognize(
    db: &mut PgConnection,
    store: &BlobStore,
    revisions: &[i64],
    catalogue: &Catalogue,
) -> Result<(), Error> {
    let version = catalogue.version.as_str();
    let mut files = db::list_license_files(db, revisions).await?;
    files.retain(|file| file.catalogue.as_deref() != Some(version));
    files.sort_by(|a, b| a.digest.cmp(&b.digest));
    files.dedup_by(|a, b| a.digest == b.digest);
    let most = MOST_FILES.saturating_mul(revisions.len());
    for file in files.iter().take(most) {
        let Ok(digest) = Digest::try_from(file.digest.as_slice()) else { continue };
        let text = read(store, file, &digest).await?;
        let key = text::recognize(catalogue, &text).key;
        let excerpt: String = text.chars().filter(|c| *c != '\0').take(EXCERPT).collect();
        db::upsert_text(db, &digest, key.as_deref(), &excerpt, version).await?;
    }
    Ok(())
}

async fn read(store: &BlobStore, file: &LicenseFile, digest: &Digest) -> Result<String, Error> {
    let size = u64::try_from(file.size).unwrap_or(0);
    if size == 0 {
        return Ok(String::new());
    }
    let bytes = store.read_bytes(digest, 0..size.min(MOST_READ)).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
