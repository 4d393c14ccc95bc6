//! Checks an adapter's claims: its base is the one that it couples to.

use sqlx::PgConnection;

use super::{
    super::{Error, db::PrintRow},
    Checked, keep,
};
use crate::{catalog::Model, storage::BlobStore};

/// Checks the claims of an adapter.
pub(super) async fn check(
    db: &mut PgConnection,
    _store: &BlobStore,
    model: &Model,
    _row: &PrintRow,
    checked: &mut Checked,
) -> Result<(), Error> {
    let reason = "it is an adapter, which is not compared with its base by this version";
    keep::keep_unverifiable(db, model, reason, checked).await
}
