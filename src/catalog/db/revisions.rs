//! Rows of revisions and their files.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::{Error, File, Model, Revision};
use crate::name::{CommitId, FilePath};

struct RevisionRow {
    id: i64,
    model_id: i64,
    commit: String,
    parent_id: Option<i64>,
    author: String,
    message: String,
    description: String,
    bytes: i64,
    created_at: OffsetDateTime,
}

impl From<RevisionRow> for Revision {
    fn from(row: RevisionRow) -> Self {
        Self {
            id: row.id,
            model_id: row.model_id,
            commit: row.commit.parse().expect("commits are written from a CommitId"),
            parent_id: row.parent_id,
            author: row.author,
            message: row.message,
            description: row.description,
            bytes: row.bytes,
            created_at: row.created_at,
        }
    }
}

/// Returns the revision that a branch, a tag, `refs/…` or a commit id names; a commit id means that commit first.
pub async fn find_revision(db: &mut PgConnection, model_id: i64, name: &str) -> Result<Option<Revision>, Error> {
    let plain = name
        .strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/tags/"))
        .or_else(|| name.strip_prefix("refs/"))
        .unwrap_or(name);
    let row = sqlx::query_as!(
        RevisionRow,
        r#"
        select r.id as "id!", r.model_id as "model_id!", r.commit as "commit!", r.parent_id, r.author as "author!",
            r.message as "message!", r.description as "description!", r.bytes as "bytes!", r.created_at as "created_at!"
        from (
            select revision_id, case kind when 'branch' then 1 else 2 end as rank
            from refs where model_id = $1 and name = $2
            union all
            select id, 0 from revisions where model_id = $1 and commit = lower($2)
        ) named
        join revisions r on r.id = named.revision_id
        order by named.rank
        limit 1
        "#,
        model_id,
        plain,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Revision::from))
}

/// Returns the revision of that name, or says that it does not exist.
pub async fn get_revision(db: &mut PgConnection, model: &Model, name: &str) -> Result<Revision, Error> {
    let not_found = || Error::RevisionNotFound { model: model.name.to_string(), revision: name.to_owned() };
    find_revision(db, model.id, name).await?.ok_or_else(not_found)
}

/// Returns the revision with this row id.
pub async fn find_revision_by_id(db: &mut PgConnection, id: i64) -> Result<Option<Revision>, Error> {
    let row = sqlx::query_as!(
        RevisionRow,
        r#"
        select id, model_id, commit, parent_id, author, message, description, bytes, created_at
        from revisions where id = $1
        "#,
        id,
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Revision::from))
}

/// Returns the files of a revision, by path.
pub async fn list_files(db: &mut PgConnection, revision_id: i64) -> Result<Vec<File>, Error> {
    let rows = sqlx::query!(
        r#"
        select path, size, digest, git_id, is_lfs, last_revision_id
        from files where revision_id = $1 order by path collate "C"
        "#,
        revision_id,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| file(&row.path, row.size, row.digest, &row.git_id, row.is_lfs, row.last_revision_id))
        .collect()
}

/// Returns one file of a revision.
pub async fn find_file(db: &mut PgConnection, revision_id: i64, path: &FilePath) -> Result<Option<File>, Error> {
    let row = sqlx::query!(
        r#"
        select path, size, digest, git_id, is_lfs, last_revision_id
        from files where revision_id = $1 and path = $2
        "#,
        revision_id,
        path.as_str(),
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| file(&row.path, row.size, row.digest, &row.git_id, row.is_lfs, row.last_revision_id)).transpose()
}

fn file(path: &str, size: i64, digest: Vec<u8>, git_id: &[u8], is_lfs: bool, last: i64) -> Result<File, Error> {
    Ok(File {
        path: path.parse()?,
        size,
        digest: digest.try_into().expect("a constraint keeps digests at 32 bytes"),
        git_id: git_id.try_into().unwrap_or_default(),
        is_lfs,
        last_revision_id: last,
    })
}

/// Returns a revision and those before it, newest first.
pub async fn list_revisions(
    db: &mut PgConnection,
    from: &Revision,
    limit: i64,
    offset: i64,
) -> Result<Vec<Revision>, Error> {
    let rows = sqlx::query_as!(
        RevisionRow,
        r#"
        with recursive line as (
            select r.*, 0 as age from revisions r where r.id = $1
            union all
            select p.*, line.age + 1 from revisions p join line on p.id = line.parent_id
        )
        select id as "id!", model_id as "model_id!", commit as "commit!", parent_id, author as "author!",
            message as "message!", description as "description!", bytes as "bytes!", created_at as "created_at!"
        from line order by age limit $2 offset $3
        "#,
        from.id,
        limit,
        offset,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(Revision::from).collect())
}

/// Counts a revision and those before it.
pub async fn count_revisions(db: &mut PgConnection, from: &Revision) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"
        with recursive line as (
            select id, parent_id from revisions where id = $1
            union all
            select p.id, p.parent_id from revisions p join line on p.id = line.parent_id
        )
        select count(*) as "count!" from line
        "#,
        from.id,
    )
    .fetch_one(db)
    .await?;
    Ok(count)
}

pub(crate) struct NewRevision<'a> {
    pub(crate) model_id: i64,
    pub(crate) commit: &'a CommitId,
    pub(crate) parent_id: Option<i64>,
    pub(crate) author: &'a str,
    pub(crate) message: &'a str,
    pub(crate) description: &'a str,
    pub(crate) bytes: i64,
}

pub(crate) async fn insert_revision(db: &mut PgConnection, new: &NewRevision<'_>) -> Result<Revision, Error> {
    let row = sqlx::query_as!(
        RevisionRow,
        r#"
        insert into revisions (model_id, commit, parent_id, author, message, description, bytes)
        values ($1, $2, $3, $4, $5, $6, $7)
        returning id, model_id, commit, parent_id, author, message, description, bytes, created_at
        "#,
        new.model_id,
        new.commit.as_str(),
        new.parent_id,
        new.author,
        new.message,
        new.description,
        new.bytes,
    )
    .fetch_one(db)
    .await?;
    Ok(row.into())
}

pub(crate) async fn insert_files(db: &mut PgConnection, revision_id: i64, files: &[File]) -> Result<(), Error> {
    let paths: Vec<String> = files.iter().map(|f| f.path.to_string()).collect();
    let sizes: Vec<i64> = files.iter().map(|f| f.size).collect();
    let digests: Vec<Vec<u8>> = files.iter().map(|f| f.digest.as_bytes().to_vec()).collect();
    let git_ids: Vec<Vec<u8>> = files.iter().map(|f| f.git_id.to_vec()).collect();
    let are_lfs: Vec<bool> = files.iter().map(|f| f.is_lfs).collect();
    // Zero stands for "this revision", whose id is known only now.
    let lasts: Vec<i64> =
        files.iter().map(|f| if f.last_revision_id == 0 { revision_id } else { f.last_revision_id }).collect();
    sqlx::query!(
        r#"
        insert into files (revision_id, path, size, digest, git_id, is_lfs, last_revision_id)
        select $1, * from unnest($2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::boolean[], $7::bigint[])
        "#,
        revision_id,
        &paths,
        &sizes,
        &digests,
        &git_ids,
        &are_lfs,
        &lasts,
    )
    .execute(db)
    .await?;
    Ok(())
}
