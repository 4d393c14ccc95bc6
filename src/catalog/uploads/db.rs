//! Rows of uploads under way.

use sqlx::PgConnection;

use super::Slot;
use crate::{catalog::Error, digest::Digest};

/// A kept part.
#[derive(Debug)]
pub struct Part {
    /// Its temporary key.
    pub object: String,
    /// Where it begins.
    pub start_offset: i64,
    /// Its length in bytes.
    pub size: i64,
}

/// Returns how many bytes of a file are held without a gap; `None` when nothing is.
pub async fn offset(db: &mut PgConnection, slot: &Slot) -> Result<Option<u64>, Error> {
    let parts = list_parts(db, slot).await?;
    let mut end = 0;
    for part in &parts {
        if part.start_offset == end {
            end += part.size;
        }
    }
    Ok((!parts.is_empty()).then_some(end.cast_unsigned()))
}

/// Returns the kept parts of a file in their order.
pub async fn list_parts(db: &mut PgConnection, slot: &Slot) -> Result<Vec<Part>, Error> {
    let parts = sqlx::query_as!(
        Part,
        r#"
        select p.object, p.start_offset, p.size
        from partial_parts p join partial_uploads u on u.id = p.partial_id
        where u.model_id = $1 and u.user_id = $2 and u.key = $3
        order by p.start_offset
        "#,
        slot.model_id,
        slot.user_id,
        slot.key,
    )
    .fetch_all(db)
    .await?;
    Ok(parts)
}

/// Remembers a part.
pub async fn add_part(
    db: &mut PgConnection,
    slot: &Slot,
    offset: u64,
    size: u64,
    total: u64,
    object: &str,
) -> Result<(), Error> {
    let id = sqlx::query_scalar!(
        r#"
        insert into partial_uploads (model_id, user_id, key, total_size) values ($1, $2, $3, $4)
        on conflict (model_id, user_id, key) do update set touched_at = now(), total_size = excluded.total_size
        returning id
        "#,
        slot.model_id,
        slot.user_id,
        slot.key,
        i64::try_from(total).unwrap_or(i64::MAX),
    )
    .fetch_one(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        insert into partial_parts (partial_id, start_offset, size, object) values ($1, $2, $3, $4)
        on conflict (partial_id, start_offset) do update set size = excluded.size, object = excluded.object
        "#,
        id,
        i64::try_from(offset).unwrap_or(i64::MAX),
        i64::try_from(size).unwrap_or(i64::MAX),
        object,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets a file's parts.
pub async fn forget(db: &mut PgConnection, slot: &Slot) -> Result<(), Error> {
    sqlx::query!(
        "delete from partial_uploads where model_id = $1 and user_id = $2 and key = $3",
        slot.model_id,
        slot.user_id,
        slot.key,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Opens a collection.
pub async fn create(db: &mut PgConnection, id: &str, model_id: i64, user_id: i64) -> Result<(), Error> {
    sqlx::query!("insert into uploads (id, model_id, user_id) values ($1, $2, $3)", id, model_id, user_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether a collection is open for this user and model; marks it touched.
pub async fn is_open(db: &mut PgConnection, id: &str, model_id: i64, user_id: i64) -> Result<bool, Error> {
    let touched = sqlx::query!(
        "update uploads set touched_at = now() where id = $1 and model_id = $2 and user_id = $3",
        id,
        model_id,
        user_id,
    )
    .execute(db)
    .await?;
    Ok(touched.rows_affected() == 1)
}

/// Puts a complete file into a collection.
pub async fn add_file(db: &mut PgConnection, id: &str, path: &str, digest: &Digest, size: u64) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into upload_files (upload_id, path, digest, size) values ($1, $2, $3, $4)
        on conflict (upload_id, path) do update set digest = excluded.digest, size = excluded.size
        "#,
        id,
        path,
        digest.as_bytes(),
        i64::try_from(size).unwrap_or(i64::MAX),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the complete files of a collection: path, digest, size.
pub async fn list_files(db: &mut PgConnection, id: &str) -> Result<Vec<(String, Digest, u64)>, Error> {
    let rows = sqlx::query!("select path, digest, size from upload_files where upload_id = $1 order by path", id)
        .fetch_all(db)
        .await?;
    let digest = |bytes: Vec<u8>| bytes.try_into().expect("a constraint keeps digests at 32 bytes");
    Ok(rows.into_iter().map(|row| (row.path, digest(row.digest), row.size.cast_unsigned())).collect())
}

/// Closes a collection.
pub async fn close(db: &mut PgConnection, id: &str) -> Result<(), Error> {
    sqlx::query!("delete from uploads where id = $1", id).execute(db).await?;
    Ok(())
}
