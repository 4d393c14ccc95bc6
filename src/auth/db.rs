//! Rows of users, organizations, tokens and sessions.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Caller, Error, Membership, Role, Scope, Token, User, secret_digest};
use crate::name;

/// Creates a user.
pub async fn create_user(db: &mut PgConnection, name: &str, is_admin: bool) -> Result<User, Error> {
    name::check_part(name)?;
    let id = sqlx::query_scalar!(
        r#"
        insert into namespaces (name, kind, is_admin) values ($1, 'user', $2)
        on conflict (key) do nothing
        returning id
        "#,
        name,
        is_admin,
    )
    .fetch_optional(db)
    .await?;
    let id = id.ok_or_else(|| Error::NameTaken(name.to_owned()))?;
    Ok(User { id, name: name.to_owned(), full_name: String::new(), is_admin })
}

/// Creates an organization with its first administrator.
pub async fn create_organization(db: &mut PgConnection, name: &str, admin: &User) -> Result<i64, Error> {
    name::check_part(name)?;
    let id = sqlx::query_scalar!(
        r#"insert into namespaces (name, kind) values ($1, 'organization') on conflict (key) do nothing returning id"#,
        name,
    )
    .fetch_optional(&mut *db)
    .await?;
    let id = id.ok_or_else(|| Error::NameTaken(name.to_owned()))?;
    set_member(db, id, admin.id, Role::Admin).await?;
    Ok(id)
}

/// Gives a user a role in an organization.
pub async fn set_member(db: &mut PgConnection, organization: i64, user: i64, role: Role) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into members (organization_id, user_id, role) values ($1, $2, $3)
        on conflict (organization_id, user_id) do update set role = excluded.role
        "#,
        organization,
        user,
        role_text(role),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the user of this name.
pub async fn find_user(db: &mut PgConnection, name: &str) -> Result<Option<User>, Error> {
    let user = sqlx::query_as!(
        User,
        "select id, name, full_name, is_admin from namespaces where key = lower($1) and kind = 'user'",
        name,
    )
    .fetch_optional(db)
    .await?;
    Ok(user)
}

/// Returns all users by name.
pub async fn list_users(db: &mut PgConnection) -> Result<Vec<User>, Error> {
    let users =
        sqlx::query_as!(User, "select id, name, full_name, is_admin from namespaces where kind = 'user' order by key",)
            .fetch_all(db)
            .await?;
    Ok(users)
}

/// Returns the name and kind of a namespace as it is written.
pub async fn find_namespace(db: &mut PgConnection, name: &str) -> Result<Option<(String, String)>, Error> {
    let row = sqlx::query!("select name, kind from namespaces where key = lower($1)", name).fetch_optional(db).await?;
    Ok(row.map(|row| (row.name, row.kind)))
}

/// Stores a token by its digest.
pub async fn create_token(
    db: &mut PgConnection,
    user_id: i64,
    name: &str,
    scope: Scope,
    secret: &str,
) -> Result<i64, Error> {
    let id = sqlx::query_scalar!(
        r#"
        insert into tokens (user_id, name, digest, scope) values ($1, $2, $3, $4)
        on conflict (digest) do nothing
        returning id
        "#,
        user_id,
        name,
        secret_digest(secret),
        scope_text(scope),
    )
    .fetch_optional(db)
    .await?;
    id.ok_or(Error::TokenTaken)
}

/// Returns the tokens of a user that are in force.
pub async fn list_tokens(db: &mut PgConnection, user_id: i64) -> Result<Vec<Token>, Error> {
    let rows = sqlx::query!(
        r#"
        select id, name, scope, created_at, last_used_at from tokens
        where user_id = $1 and revoked_at is null and (expires_at is null or expires_at > now())
        order by id
        "#,
        user_id,
    )
    .fetch_all(db)
    .await?;
    let token = |id, name, scope: &str, created_at, last_used_at| Token {
        id,
        name,
        scope: scope_of(scope),
        created_at,
        last_used_at,
    };
    Ok(rows.into_iter().map(|r| token(r.id, r.name, &r.scope, r.created_at, r.last_used_at)).collect())
}

/// Ends a token of a user; returns whether there was one.
pub async fn revoke_token(db: &mut PgConnection, user_id: i64, token_id: i64) -> Result<bool, Error> {
    let revoked = sqlx::query!(
        "update tokens set revoked_at = now() where id = $1 and user_id = $2 and revoked_at is null",
        token_id,
        user_id,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("delete from sessions where token_id = $1", token_id).execute(db).await?;
    Ok(revoked.rows_affected() == 1)
}

struct CallerRow {
    token_id: i64,
    token_name: String,
    scope: String,
    id: i64,
    name: String,
    full_name: String,
    is_admin: bool,
    used_lately: bool,
}

/// Returns the caller that a token stands for.
pub async fn find_caller_by_token(db: &mut PgConnection, secret: &str) -> Result<Option<Caller>, Error> {
    let row = sqlx::query_as!(
        CallerRow,
        r#"
        select t.id as token_id, t.name as token_name, t.scope, n.id, n.name, n.full_name, n.is_admin,
            coalesce(t.last_used_at > now() - interval '1 minute', false) as "used_lately!"
        from tokens t join namespaces n on n.id = t.user_id
        where t.digest = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
        "#,
        secret_digest(secret),
    )
    .fetch_optional(&mut *db)
    .await?;
    match row {
        Some(row) => Ok(Some(caller(db, row, None).await?)),
        None => Ok(None),
    }
}

/// Returns the caller that a page session stands for.
pub async fn find_caller_by_session(db: &mut PgConnection, cookie: &str) -> Result<Option<Caller>, Error> {
    let row = sqlx::query!(
        r#"
        select t.id as token_id, t.name as token_name, t.scope, n.id, n.name, n.full_name, n.is_admin, s.csrf,
            coalesce(t.last_used_at > now() - interval '1 minute', false) as "used_lately!"
        from sessions s
        join tokens t on t.id = s.token_id
        join namespaces n on n.id = t.user_id
        where s.digest = $1 and s.expires_at > now() and t.revoked_at is null
            and (t.expires_at is null or t.expires_at > now())
        "#,
        secret_digest(cookie),
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let csrf = Some(row.csrf);
    let row = CallerRow {
        token_id: row.token_id,
        token_name: row.token_name,
        scope: row.scope,
        id: row.id,
        name: row.name,
        full_name: row.full_name,
        is_admin: row.is_admin,
        used_lately: row.used_lately,
    };
    Ok(Some(caller(db, row, csrf).await?))
}

async fn caller(db: &mut PgConnection, row: CallerRow, csrf: Option<String>) -> Result<Caller, Error> {
    if !row.used_lately {
        sqlx::query!("update tokens set last_used_at = now() where id = $1", row.token_id).execute(&mut *db).await?;
    }
    let organizations = sqlx::query!(
        r#"
        select n.id, n.name, m.role from members m join namespaces n on n.id = m.organization_id
        where m.user_id = $1 order by n.key
        "#,
        row.id,
    )
    .fetch_all(db)
    .await?;
    let member = |id, name, role: &str| Membership { id, name, role: role_of(role) };
    Ok(Caller {
        user: Some(User { id: row.id, name: row.name, full_name: row.full_name, is_admin: row.is_admin }),
        scope: scope_of(&row.scope),
        organizations: organizations.into_iter().map(|o| member(o.id, o.name, &o.role)).collect(),
        token_name: row.token_name,
        token_id: Some(row.token_id),
        csrf,
    })
}

/// Starts a page session for the token; the caller keeps the cookie's value, we its digest.
pub async fn create_session(
    db: &mut PgConnection,
    token: &str,
    cookie: &str,
    csrf: &str,
    expires_at: OffsetDateTime,
) -> Result<(), Error> {
    let made = sqlx::query!(
        r#"
        insert into sessions (digest, token_id, csrf, expires_at)
        select $1, id, $2, $3 from tokens
        where digest = $4 and revoked_at is null and (expires_at is null or expires_at > now())
        "#,
        secret_digest(cookie),
        csrf,
        expires_at,
        secret_digest(token),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("delete from sessions where expires_at < now()").execute(db).await?;
    if made.rows_affected() == 1 { Ok(()) } else { Err(Error::InvalidToken) }
}

/// Ends a page session.
pub async fn delete_session(db: &mut PgConnection, cookie: &str) -> Result<(), Error> {
    sqlx::query!("delete from sessions where digest = $1", secret_digest(cookie)).execute(db).await?;
    Ok(())
}

fn scope_text(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Write => "write",
        Scope::Admin => "admin",
    }
}

fn scope_of(text: &str) -> Scope {
    match text {
        "admin" => Scope::Admin,
        "write" => Scope::Write,
        _ => Scope::Read,
    }
}

fn role_text(role: Role) -> &'static str {
    match role {
        Role::Read => "read",
        Role::Write => "write",
        Role::Admin => "admin",
    }
}

fn role_of(text: &str) -> Role {
    match text {
        "admin" => Role::Admin,
        "write" => Role::Write,
        _ => Role::Read,
    }
}

/// Returns the row id of an organization.
pub async fn find_organization(db: &mut PgConnection, name: &str) -> Result<Option<i64>, Error> {
    let id = sqlx::query_scalar!("select id from namespaces where key = lower($1) and kind = 'organization'", name)
        .fetch_optional(db)
        .await?;
    Ok(id)
}
