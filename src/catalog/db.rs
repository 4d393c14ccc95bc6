//! The catalog's rows.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Error, File, Kind, Model, Ref, RefKind, Revision, Viewer, Visibility};
use crate::{
    digest::Digest,
    name::{CommitId, FilePath, ModelName},
};

struct ModelRow {
    id: i64,
    namespace: String,
    name: String,
    kind: String,
    visibility: String,
    description: String,
    license: Option<String>,
    license_id: Option<String>,
    license_name: Option<String>,
    license_link: Option<String>,
    card: serde_json::Value,
    tags: Vec<String>,
    pipeline_tag: Option<String>,
    library: Option<String>,
    architecture: Option<String>,
    parameters: Option<i64>,
    dtype: Option<String>,
    format: Option<String>,
    bytes: i64,
    downloads: i64,
    likes: i64,
    gated: Option<String>,
    sources: Vec<String>,
    flags: serde_json::Value,
    position: String,
    smoke_verdict: String,
    lineage_status: String,
    children: i32,
    descendants: i32,
    head_revision_id: Option<i64>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl TryFrom<ModelRow> for Model {
    type Error = Error;

    fn try_from(row: ModelRow) -> Result<Self, Error> {
        Ok(Self {
            id: row.id,
            name: ModelName::new(&row.namespace, &row.name)?,
            kind: if row.kind == "hosted" { Kind::Hosted } else { Kind::Catalogued },
            visibility: if row.visibility == "private" { Visibility::Private } else { Visibility::Public },
            description: row.description,
            license: row.license,
            license_id: row.license_id,
            license_name: row.license_name,
            license_link: row.license_link,
            card: row.card,
            tags: row.tags,
            pipeline_tag: row.pipeline_tag,
            library: row.library,
            architecture: row.architecture,
            parameters: row.parameters,
            dtype: row.dtype,
            format: row.format,
            bytes: row.bytes,
            downloads: row.downloads,
            likes: row.likes,
            gated: row.gated,
            sources: row.sources,
            flags: row.flags,
            position: row.position,
            smoke_verdict: row.smoke_verdict,
            lineage_status: row.lineage_status,
            children: row.children,
            descendants: row.descendants,
            head_revision_id: row.head_revision_id,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Returns the model of this name, in any case, also by a former name, if the viewer may read it.
///
/// Compare the answer's name with the one asked for to know whether to redirect.
pub async fn find_model(db: &mut PgConnection, name: &ModelName, viewer: &Viewer) -> Result<Option<Model>, Error> {
    let row = sqlx::query_as!(
        ModelRow,
        r#"
        select
            m.id, m.namespace, m.name, m.kind, m.visibility, m.description, m.license, m.license_id, m.license_name,
            m.license_link, m.card, m.tags, m.pipeline_tag, m.library, m.architecture, m.parameters, m.dtype, m.format,
            m.bytes, m.downloads, m.likes, m.gated, m.sources, m.flags, m.position, m.smoke_verdict, m.lineage_status,
            m.children, m.descendants, m.head_revision_id, m.created_at, m.updated_at
        from models m
        where (m.key = $1 or m.id = (select model_id from model_redirects where key = $1))
            and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        order by (m.key = $1) desc
        limit 1
        "#,
        name.key(),
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_optional(db)
    .await?;
    row.map(Model::try_from).transpose()
}

/// Returns the model of this name, or says that it does not exist.
pub async fn get_model(db: &mut PgConnection, name: &ModelName, viewer: &Viewer) -> Result<Model, Error> {
    find_model(db, name, viewer).await?.ok_or_else(|| Error::ModelNotFound(name.clone()))
}

/// Returns the model with this row id, for jobs.
pub async fn find_model_by_id(db: &mut PgConnection, id: i64) -> Result<Option<Model>, Error> {
    let row = sqlx::query_as!(
        ModelRow,
        r#"
        select
            m.id, m.namespace, m.name, m.kind, m.visibility, m.description, m.license, m.license_id, m.license_name,
            m.license_link, m.card, m.tags, m.pipeline_tag, m.library, m.architecture, m.parameters, m.dtype, m.format,
            m.bytes, m.downloads, m.likes, m.gated, m.sources, m.flags, m.position, m.smoke_verdict, m.lineage_status,
            m.children, m.descendants, m.head_revision_id, m.created_at, m.updated_at
        from models m
        where m.id = $1
        "#,
        id,
    )
    .fetch_optional(db)
    .await?;
    row.map(Model::try_from).transpose()
}

/// Inserts a hosted model, or makes a catalogued one hosted; `None` when a hosted one has the name.
pub(super) async fn insert_hosted(
    db: &mut PgConnection,
    name: &ModelName,
    visibility: Visibility,
) -> Result<Option<i64>, Error> {
    let id = sqlx::query_scalar!(
        r#"
        insert into models (namespace, name, kind, visibility) values ($1, $2, 'hosted', $3)
        on conflict (key) do update
            set kind = 'hosted', visibility = excluded.visibility, updated_at = now()
            where models.kind = 'catalogued'
        returning id
        "#,
        name.namespace(),
        name.name(),
        visibility.as_str(),
    )
    .fetch_optional(&mut *db)
    .await?;
    if id.is_some() {
        sqlx::query!("delete from model_redirects where key = $1", name.key()).execute(db).await?;
    }
    Ok(id)
}

/// Locks a model's row until the transaction ends, so that commits to it queue up.
pub(super) async fn lock_model(db: &mut PgConnection, model_id: i64) -> Result<(), Error> {
    sqlx::query!("select id from models where id = $1 for update", model_id).fetch_optional(db).await?;
    Ok(())
}

/// Deletes a hosted model with its revisions. One that others descend from stays as a catalogued name.
pub async fn delete_model(db: &mut PgConnection, model: &Model) -> Result<(), Error> {
    let has_children = sqlx::query_scalar!(
        r#"select exists (select from claims where parent_id = $1 and withdrawn_at is null) as "has_children!""#,
        model.id,
    )
    .fetch_one(&mut *db)
    .await?;
    if !has_children || model.visibility == Visibility::Private {
        sqlx::query!("delete from models where id = $1", model.id).execute(db).await?;
        return Ok(());
    }
    sqlx::query!("update models set head_revision_id = null where id = $1", model.id).execute(&mut *db).await?;
    sqlx::query!("delete from revisions where model_id = $1", model.id).execute(&mut *db).await?;
    sqlx::query!("delete from uploads where model_id = $1", model.id).execute(&mut *db).await?;
    sqlx::query!("delete from partial_uploads where model_id = $1", model.id).execute(&mut *db).await?;
    sqlx::query!("delete from upload_grants where model_id = $1", model.id).execute(&mut *db).await?;
    sqlx::query!(
        r#"
        update models
        set kind = 'catalogued', card = '{}', description = '', bytes = 0, smoke_verdict = 'none', updated_at = now()
        where id = $1
        "#,
        model.id,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Gives a model another name; the former one leads to it from now on.
pub async fn move_model(db: &mut PgConnection, model: &Model, to: &ModelName) -> Result<(), Error> {
    let taken = sqlx::query_scalar!(
        r#"select exists (select from models where key = $1 and id <> $2) as "taken!""#,
        to.key(),
        model.id
    )
    .fetch_one(&mut *db)
    .await?;
    if taken {
        return Err(Error::NameTaken(to.clone()));
    }
    sqlx::query!(
        "update models set namespace = $2, name = $3, updated_at = now() where id = $1",
        model.id,
        to.namespace(),
        to.name(),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!("delete from model_redirects where key = $1", to.key()).execute(&mut *db).await?;
    if model.name.key() != to.key() {
        sqlx::query!(
            r#"
            insert into model_redirects (key, model_id) values ($1, $2)
            on conflict (key) do update set model_id = excluded.model_id
            "#,
            model.name.key(),
            model.id,
        )
        .execute(db)
        .await?;
    }
    Ok(())
}

/// Makes a model public or private.
pub async fn set_visibility(db: &mut PgConnection, model_id: i64, visibility: Visibility) -> Result<(), Error> {
    sqlx::query!("update models set visibility = $2, updated_at = now() where id = $1", model_id, visibility.as_str(),)
        .execute(db)
        .await?;
    Ok(())
}

/// Counts one download.
pub async fn count_download(db: &mut PgConnection, model_id: i64) -> Result<(), Error> {
    sqlx::query!("update models set downloads = downloads + 1 where id = $1", model_id).execute(db).await?;
    Ok(())
}

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

/// Returns the revision that a branch, a tag, `refs/…` or a commit id names.
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
            select revision_id, case kind when 'branch' then 0 else 1 end as rank
            from refs where model_id = $1 and name = $2
            union all
            select id, 2 from revisions where model_id = $1 and commit = lower($2)
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

pub(super) struct NewRevision<'a> {
    pub(super) model_id: i64,
    pub(super) commit: &'a CommitId,
    pub(super) parent_id: Option<i64>,
    pub(super) author: &'a str,
    pub(super) message: &'a str,
    pub(super) description: &'a str,
    pub(super) bytes: i64,
}

pub(super) async fn insert_revision(db: &mut PgConnection, new: &NewRevision<'_>) -> Result<Revision, Error> {
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

pub(super) async fn insert_files(db: &mut PgConnection, revision_id: i64, files: &[File]) -> Result<(), Error> {
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

/// Returns all branches, tags and pull-request refs of a model.
pub async fn list_refs(db: &mut PgConnection, model_id: i64) -> Result<Vec<Ref>, Error> {
    let rows = sqlx::query!(
        r#"
        select f.kind, f.name, f.message, f.created_at, r.commit
        from refs f join revisions r on r.id = f.revision_id
        where f.model_id = $1
        order by f.kind, (f.name <> 'main'), f.name
        "#,
        model_id,
    )
    .fetch_all(db)
    .await?;
    let kind = |kind: &str| match kind {
        "branch" => RefKind::Branch,
        "tag" => RefKind::Tag,
        _ => RefKind::Pull,
    };
    rows.into_iter()
        .map(|row| {
            let commit = row.commit.parse()?;
            Ok(Ref { kind: kind(&row.kind), name: row.name, commit, message: row.message, created_at: row.created_at })
        })
        .collect()
}

/// Makes a branch or a tag.
pub async fn create_ref(
    db: &mut PgConnection,
    model_id: i64,
    kind: RefKind,
    name: &str,
    revision_id: i64,
    message: &str,
) -> Result<(), Error> {
    crate::name::check_ref(name)?;
    let made = sqlx::query!(
        r#"
        insert into refs (model_id, kind, name, revision_id, message) values ($1, $2, $3, $4, $5)
        on conflict do nothing
        "#,
        model_id,
        kind.as_str(),
        name,
        revision_id,
        message,
    )
    .execute(db)
    .await?;
    if made.rows_affected() == 0 { Err(Error::RefExists(name.to_owned())) } else { Ok(()) }
}

/// Deletes a branch or a tag; `main` stays.
pub async fn delete_ref(db: &mut PgConnection, model_id: i64, kind: RefKind, name: &str) -> Result<(), Error> {
    if kind == RefKind::Branch && name == "main" {
        return Err(Error::MainIsKept);
    }
    let gone = sqlx::query!(
        "delete from refs where model_id = $1 and kind = $2 and name = $3",
        model_id,
        kind.as_str(),
        name,
    )
    .execute(db)
    .await?;
    if gone.rows_affected() == 0 { Err(Error::RefNotFound(name.to_owned())) } else { Ok(()) }
}

pub(super) async fn set_ref(
    db: &mut PgConnection,
    model_id: i64,
    kind: RefKind,
    name: &str,
    revision_id: i64,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into refs (model_id, kind, name, revision_id) values ($1, $2, $3, $4)
        on conflict (model_id, kind, name) do update set revision_id = excluded.revision_id
        "#,
        model_id,
        kind.as_str(),
        name,
        revision_id,
    )
    .execute(db)
    .await?;
    Ok(())
}

pub(super) async fn set_head(db: &mut PgConnection, model_id: i64, revision_id: i64) -> Result<(), Error> {
    sqlx::query!("update models set head_revision_id = $2, updated_at = now() where id = $1", model_id, revision_id)
        .execute(db)
        .await?;
    Ok(())
}

/// What a model's files say about it, as the lists show it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) description: String,
    pub(super) license: Option<String>,
    pub(super) license_id: Option<String>,
    pub(super) license_name: Option<String>,
    pub(super) license_link: Option<String>,
    pub(super) card: serde_json::Value,
    pub(super) tags: Vec<String>,
    pub(super) pipeline_tag: Option<String>,
    pub(super) library: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) parameters: Option<i64>,
    pub(super) dtype: Option<String>,
    pub(super) format: Option<String>,
    pub(super) flags: serde_json::Value,
}

pub(super) async fn update_head(db: &mut PgConnection, revision: &Revision, facts: &Facts) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update models set
            head_revision_id = $2, bytes = $3, description = $4, license = $5, license_id = $6, license_name = $7,
            license_link = $8, card = $9, tags = $10, pipeline_tag = $11, library = $12, architecture = $13,
            parameters = $14, dtype = $15, format = $16, flags = $17, updated_at = now()
        where id = $1
        "#,
        revision.model_id,
        revision.id,
        revision.bytes,
        facts.description,
        facts.license,
        facts.license_id,
        facts.license_name,
        facts.license_link,
        facts.card,
        &facts.tags,
        facts.pipeline_tag,
        facts.library,
        facts.architecture,
        facts.parameters,
        facts.dtype,
        facts.format,
        facts.flags,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Remembers that a user sent a blob for a model, so that a commit of theirs may name it.
pub async fn grant_blob(db: &mut PgConnection, user_id: i64, model_id: i64, digest: &Digest) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into upload_grants (user_id, digest, model_id) values ($1, $2, $3)
        on conflict (user_id, digest, model_id) do update set created_at = now()
        "#,
        user_id,
        digest.as_bytes(),
        model_id,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Tells whether a commit of this user to this model may name the blob: the model holds it, or the user sent it.
pub async fn may_use_blob(db: &mut PgConnection, user_id: i64, model_id: i64, digest: &Digest) -> Result<bool, Error> {
    let may = sqlx::query_scalar!(
        r#"
        select exists (
            select from upload_grants where user_id = $1 and model_id = $2 and digest = $3
        ) or exists (
            select from files f join revisions r on r.id = f.revision_id where f.digest = $3 and r.model_id = $2
        ) as "may!"
        "#,
        user_id,
        model_id,
        digest.as_bytes(),
    )
    .fetch_one(db)
    .await?;
    Ok(may)
}

/// Tells whether the viewer may read a model that holds the blob.
pub async fn may_read_blob(db: &mut PgConnection, viewer: &Viewer, digest: &Digest) -> Result<bool, Error> {
    let may = sqlx::query_scalar!(
        r#"
        select exists (
            select from files f
            join revisions r on r.id = f.revision_id
            join models m on m.id = r.model_id
            where f.digest = $1 and (m.visibility = 'public' or $2 or m.namespace_key = any($3))
        ) as "may!"
        "#,
        digest.as_bytes(),
        viewer.everything,
        &viewer.namespaces,
    )
    .fetch_one(db)
    .await?;
    Ok(may)
}

/// Returns what the parsers found in a blob, when it was looked into.
pub async fn find_inspection(db: &mut PgConnection, digest: &Digest) -> Result<Option<serde_json::Value>, Error> {
    let summary = sqlx::query_scalar!("select summary from inspections where digest = $1", digest.as_bytes())
        .fetch_optional(db)
        .await?;
    Ok(summary)
}

pub(super) async fn insert_inspection(
    db: &mut PgConnection,
    digest: &Digest,
    summary: &serde_json::Value,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into inspections (digest, summary) values ($1, $2) on conflict (digest) do nothing",
        digest.as_bytes(),
        summary,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Writes a line of the audit log.
pub async fn record_event(
    db: &mut PgConnection,
    actor: &str,
    kind: &str,
    model: Option<&Model>,
    detail: &serde_json::Value,
) -> Result<(), Error> {
    let subject = model.map(|model| model.name.to_string()).unwrap_or_default();
    sqlx::query!(
        "insert into events (actor, kind, model_id, subject, detail) values ($1, $2, $3, $4, $5)",
        actor,
        kind,
        model.map(|model| model.id),
        subject,
        detail,
    )
    .execute(db)
    .await?;
    Ok(())
}
