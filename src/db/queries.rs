//! What is asked of a database before any feature does.

use sqlx::{Executor as _, PgConnection};

/// Creates the database of an embedded cluster; one that exists is reported as Postgres does (42P04).
pub(super) async fn create_database(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    db.execute("create database herdbook").await.map(|_| ())
}

/// Returns the secret of this name, storing `fresh` when there is none yet.
pub(super) async fn ensure_secret(db: &mut PgConnection, name: &str, fresh: &[u8]) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query!("insert into secrets (name, value) values ($1, $2) on conflict do nothing", name, fresh)
        .execute(&mut *db)
        .await?;
    sqlx::query_scalar!("select value from secrets where name = $1", name).fetch_one(db).await
}

/// Returns a number that moves with every change that lists and totals count.
pub async fn data_version(db: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("select last_value from data_version").fetch_one(db).await
}
