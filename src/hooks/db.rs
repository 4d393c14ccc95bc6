//! Webhooks in the database.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Error;

/// A webhook.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Row id.
    pub id: i64,
    /// Where it is told.
    pub url: String,
    /// What signs it.
    pub secret: String,
}

/// A webhook as its namespace sees it.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct HookRow {
    /// Row id.
    pub id: i64,
    /// Where it is told.
    pub url: String,
    /// Who added it.
    pub created_by: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// What came of the last delivery: `delivered`, or the error; null: there was none.
    pub last_status: Option<String>,
    /// When that was.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_at: Option<OffsetDateTime>,
}

/// Returns the webhooks of a namespace.
pub async fn list(db: &mut PgConnection, namespace: &str) -> Result<Vec<HookRow>, Error> {
    let rows = sqlx::query_as!(
        HookRow,
        r#"
        select id, url, created_by, created_at, last_status, last_at
        from webhooks where namespace = lower($1) order by id
        "#,
        namespace,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Returns the hooks of some namespaces (lower case), each with its namespace.
pub(crate) async fn list_of(db: &mut PgConnection, namespaces: &[String]) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query!("select namespace, id from webhooks where namespace = any($1) order by id", namespaces)
        .fetch_all(db)
        .await?;
    Ok(rows.into_iter().map(|row| (row.namespace, row.id)).collect())
}

/// Returns a hook.
pub(crate) async fn find(db: &mut PgConnection, id: i64) -> Result<Option<Hook>, Error> {
    let hook =
        sqlx::query_as!(Hook, "select id, url, secret from webhooks where id = $1", id).fetch_optional(db).await?;
    Ok(hook)
}

pub(super) async fn insert(
    db: &mut PgConnection,
    namespace: &str,
    url: &str,
    secret: &str,
    by: &str,
) -> Result<i64, Error> {
    let id = sqlx::query_scalar!(
        "insert into webhooks (namespace, url, secret, created_by) values (lower($1), $2, $3, $4) returning id",
        namespace,
        url,
        secret,
        by,
    )
    .fetch_one(db)
    .await?;
    Ok(id)
}

pub(super) async fn delete(db: &mut PgConnection, namespace: &str, id: i64) -> Result<bool, Error> {
    let done =
        sqlx::query!("delete from webhooks where id = $2 and namespace = lower($1)", namespace, id).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps what came of a delivery.
pub(crate) async fn set_status(db: &mut PgConnection, id: i64, status: &str) -> Result<(), Error> {
    sqlx::query!("update webhooks set last_status = $2, last_at = now() where id = $1", id, status).execute(db).await?;
    Ok(())
}
