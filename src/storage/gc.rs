//! Collects what nothing names any more: blobs of deleted models, objects that a crash left, stale uploads.
//!
//! Row and object go in one transaction that holds the row's key, and whoever records a new blob checks that its
//! object is there ([`super::record`]): no order of events leaves a row without its object.

use std::collections::HashSet;

use futures::StreamExt as _;
use object_store::path::Path;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};
use time::{Duration, OffsetDateTime};

use super::{BlobStore, Error, blob_path, db, delete};
use crate::digest::Digest;

/// What to collect.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Count only, remove nothing.
    pub dry_run: bool,
    /// Keep what was used or written within this time.
    pub grace: Duration,
}

/// What was collected, or would be.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Whether nothing was removed.
    pub dry_run: bool,
    /// Blobs that nothing names.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that had no row.
    pub orphans: u64,
    /// Objects of uploads that were given up.
    pub temporary: u64,
    /// Upload rows that expired.
    pub expired_uploads: u64,
}

/// Collects; may be stopped and repeated at any time.
pub async fn gc(db: &mut PgConnection, store: &BlobStore, options: Options) -> Result<Report, Error> {
    let before = OffsetDateTime::now_utc() - options.grace;
    let mut report = Report { dry_run: options.dry_run, ..Report::default() };
    if !options.dry_run {
        report.expired_uploads = db::expire_uploads(db, before).await?;
    }
    for blob in db::list_unused(db, before).await? {
        if options.dry_run || remove_blob(db, store, &blob.digest, before).await? {
            report.blobs += 1;
            report.bytes += blob.size;
        }
    }
    report.orphans = collect_orphans(db, store, before, options.dry_run).await?;
    report.temporary = collect_temporary(db, store, before, options.dry_run).await?;
    Ok(report)
}

async fn remove_blob(
    db: &mut PgConnection,
    store: &BlobStore,
    digest: &Digest,
    before: OffsetDateTime,
) -> Result<bool, Error> {
    let mut tx = db.begin().await?;
    if !db::take_unused(&mut tx, digest, before).await? {
        return Ok(false);
    }
    delete(&*store.objects, &blob_path(digest)).await?;
    tx.commit().await?;
    Ok(true)
}

async fn collect_orphans(
    db: &mut PgConnection,
    store: &BlobStore,
    before: OffsetDateTime,
    dry_run: bool,
) -> Result<u64, Error> {
    let mut collected = 0;
    let mut objects = store.objects.list(Some(&Path::from("blobs")));
    while let Some(object) = objects.next().await {
        let object = object?;
        let Some(digest) = object.location.filename().and_then(|hex| hex.parse::<Digest>().ok()) else { continue };
        let is_young = object.last_modified.timestamp() >= before.unix_timestamp();
        if is_young || db::find_blob(db, &digest).await?.is_some() {
            continue;
        }
        if !dry_run {
            let mut tx = db.begin().await?;
            if !db::claim_orphan(&mut tx, &digest).await? {
                continue;
            }
            delete(&*store.objects, &object.location).await?;
            tx.commit().await?;
        }
        collected += 1;
    }
    Ok(collected)
}

async fn collect_temporary(
    db: &mut PgConnection,
    store: &BlobStore,
    before: OffsetDateTime,
    dry_run: bool,
) -> Result<u64, Error> {
    let named: HashSet<String> = db::list_temporary(db).await?.into_iter().collect();
    let mut collected = 0;
    let mut objects = store.objects.list(Some(&Path::from("tmp")));
    while let Some(object) = objects.next().await {
        let object = object?;
        let key = object.location.as_ref().strip_prefix("tmp/").unwrap_or_default();
        if named.contains(key) || object.last_modified.timestamp() >= before.unix_timestamp() {
            continue;
        }
        if !dry_run {
            delete(&*store.objects, &object.location).await?;
        }
        collected += 1;
    }
    Ok(collected)
}
