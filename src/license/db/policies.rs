//! Policies of namespaces, waivers, the right to grant them, and licenses that administrators added.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::{
    Error,
    waiver::{Scope, Waiver},
};
use crate::auth::Viewer;

/// A namespace's policy as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct PolicyRow {
    pub(crate) profile: serde_json::Value,
    pub(crate) allow: Vec<String>,
    pub(crate) deny: Vec<String>,
    pub(crate) block_push: String,
    pub(crate) block_download: String,
    pub(crate) changed_by: String,
    pub(crate) changed_at: OffsetDateTime,
}

/// Returns the policy of a namespace, by its name in lower case.
pub(crate) async fn find_license_policy(
    db: &mut PgConnection,
    namespace_key: &str,
) -> Result<Option<PolicyRow>, Error> {
    let row = sqlx::query_as!(
        PolicyRow,
        r#"
        select profile, allow, deny, block_push, block_download, changed_by, changed_at
        from license_policies where namespace = $1
        "#,
        namespace_key,
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Replaces the policy of a namespace.
pub(crate) async fn upsert_license_policy(
    db: &mut PgConnection,
    namespace_key: &str,
    row: &PolicyRow,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into license_policies (namespace, profile, allow, deny, block_push, block_download, changed_by)
        values ($1, $2, $3, $4, $5, $6, $7)
        on conflict (namespace) do update set
            profile = excluded.profile, allow = excluded.allow, deny = excluded.deny,
            block_push = excluded.block_push, block_download = excluded.block_download,
            changed_by = excluded.changed_by, changed_at = now()
        "#,
        namespace_key,
        row.profile,
        &row.allow,
        &row.deny,
        row.block_push,
        row.block_download,
        row.changed_by,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A waiver with what became of it.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct WaiverRow {
    /// Row id.
    pub id: i64,
    /// `model` or `namespace`.
    pub scope: String,
    /// The model, for the scope `model`.
    pub model: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// Stable id of the rule.
    pub rule: String,
    /// The license or model that the finding is about.
    pub about: String,
    /// Digest of the accepted path, hexadecimal; null: any path.
    pub path_digest: Option<String>,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub owner: String,
    /// Who granted it.
    pub created_by: String,
    /// When it was granted.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Until when.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    /// When it was taken back; null: it was not.
    #[serde(with = "time::serde::rfc3339::option")]
    pub revoked_at: Option<OffsetDateTime>,
    /// Findings that it covers now.
    pub findings: i64,
}

impl WaiverRow {
    /// As the engine knows it.
    pub(crate) fn into_waiver(self) -> Waiver {
        Waiver {
            id: self.id,
            scope: if self.scope == "model" { Scope::Model } else { Scope::Namespace },
            model: self.model,
            namespace: self.namespace,
            rule: self.rule,
            about: self.about,
            path_digest: self.path_digest,
            reason: self.reason,
            owner: self.owner,
            expires: self.expires_at,
        }
    }
}

/// Returns the waivers of the namespaces that the viewer belongs to, the latest first.
/// `in_force`: neither expired nor taken back.
pub async fn list_waivers(
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace_key: Option<&str>,
    in_force: bool,
) -> Result<Vec<WaiverRow>, Error> {
    let rows = sqlx::query_as!(
        WaiverRow,
        r#"
        select w.id, w.scope, m.namespace || '/' || m.name as model, w.namespace, w.rule, w.about,
            encode(w.path_digest, 'hex') as path_digest, w.reason, w.owner, w.created_by, w.created_at, w.expires_at,
            w.revoked_at, (select count(*) from findings f where f.waiver_id = w.id) as "findings!"
        from waivers w left join models m on m.id = w.model_id
        where ($1::text is null or lower(w.namespace) = $1)
            and (not $2 or (w.revoked_at is null and w.expires_at > now()))
            and ($3 or lower(w.namespace) = any($4))
        order by w.id desc
        "#,
        namespace_key,
        in_force,
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Returns all waivers in force, for judging.
pub(crate) async fn list_waivers_in_force(db: &mut PgConnection) -> Result<Vec<Waiver>, Error> {
    let rows = list_waivers(db, &Viewer::everything(), None, true).await?;
    Ok(rows.into_iter().map(WaiverRow::into_waiver).collect())
}

/// A waiver that is to be granted.
#[derive(Debug)]
pub(crate) struct NewWaiver<'a> {
    pub(crate) scope: &'a str,
    pub(crate) model_id: Option<i64>,
    pub(crate) namespace: &'a str,
    pub(crate) rule: &'a str,
    pub(crate) about: &'a str,
    pub(crate) path_digest: Option<&'a [u8]>,
    pub(crate) reason: &'a str,
    pub(crate) owner: &'a str,
    pub(crate) created_by: &'a str,
    pub(crate) expires: OffsetDateTime,
}

/// Grants a waiver; returns its row.
pub(crate) async fn insert_waiver(db: &mut PgConnection, new: &NewWaiver<'_>) -> Result<i64, Error> {
    let id = sqlx::query_scalar!(
        r#"
        insert into waivers
            (scope, model_id, namespace, rule, about, path_digest, reason, owner, created_by, expires_at)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        returning id
        "#,
        new.scope,
        new.model_id,
        new.namespace,
        new.rule,
        new.about,
        new.path_digest,
        new.reason,
        new.owner,
        new.created_by,
        new.expires,
    )
    .fetch_one(db)
    .await?;
    Ok(id)
}

/// Returns a waiver that was not taken back: its namespace and model.
pub(crate) async fn find_waiver(db: &mut PgConnection, id: i64) -> Result<Option<(String, Option<i64>)>, Error> {
    let row = sqlx::query!("select namespace, model_id from waivers where id = $1 and revoked_at is null", id)
        .fetch_optional(db)
        .await?;
    Ok(row.map(|row| (row.namespace, row.model_id)))
}

/// Takes a waiver back.
pub(crate) async fn revoke_waiver(db: &mut PgConnection, id: i64, by: &str) -> Result<(), Error> {
    sqlx::query!("update waivers set revoked_at = now(), revoked_by = $2 where id = $1 and revoked_at is null", id, by)
        .execute(db)
        .await?;
    Ok(())
}

/// Whether a user was given the right to accept findings in a namespace.
pub(crate) async fn has_waiver_right(db: &mut PgConnection, namespace_key: &str, user_id: i64) -> Result<bool, Error> {
    let has = sqlx::query_scalar!(
        r#"select exists (select from waiver_rights where namespace = $1 and user_id = $2) as "has!""#,
        namespace_key,
        user_id
    )
    .fetch_one(db)
    .await?;
    Ok(has)
}

/// Gives or takes the right to accept findings in a namespace.
pub(crate) async fn set_waiver_right(
    db: &mut PgConnection,
    namespace_key: &str,
    user_id: i64,
    is_granted: bool,
    by: &str,
) -> Result<(), Error> {
    if is_granted {
        sqlx::query!(
            "insert into waiver_rights (namespace, user_id, granted_by) values ($1, $2, $3) on conflict do nothing",
            namespace_key,
            user_id,
            by
        )
        .execute(db)
        .await?;
        return Ok(());
    }
    sqlx::query!("delete from waiver_rights where namespace = $1 and user_id = $2", namespace_key, user_id)
        .execute(db)
        .await?;
    Ok(())
}

/// Returns who may accept findings in a namespace.
pub async fn list_waiver_rights(db: &mut PgConnection, namespace_key: &str) -> Result<Vec<String>, Error> {
    let names = sqlx::query_scalar!(
        "select n.name from waiver_rights r join namespaces n on n.id = r.user_id where r.namespace = $1 order by n.key",
        namespace_key
    )
    .fetch_all(db)
    .await?;
    Ok(names)
}

/// Returns the licenses that administrators added, by key.
pub(crate) async fn list_custom_licenses(db: &mut PgConnection) -> Result<Vec<serde_json::Value>, Error> {
    let entries = sqlx::query_scalar!("select entry from custom_licenses order by key").fetch_all(db).await?;
    Ok(entries)
}

/// Adds or replaces a license.
pub(crate) async fn upsert_custom_license(
    db: &mut PgConnection,
    key: &str,
    entry: &serde_json::Value,
    by: &str,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into custom_licenses (key, entry, changed_by) values ($1, $2, $3)
        on conflict (key) do update set entry = excluded.entry, changed_by = excluded.changed_by, changed_at = now()
        "#,
        key,
        entry,
        by,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes a license that an administrator added; false when there is none.
pub(crate) async fn delete_custom_license(db: &mut PgConnection, key: &str) -> Result<bool, Error> {
    let done = sqlx::query!("delete from custom_licenses where key = $1", key).execute(db).await?;
    Ok(done.rows_affected() == 1)
}
