//! Rows of models.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::{Error, Kind, Model, Revision, Visibility};
use crate::{auth::Viewer, name::ModelName};

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
pub(crate) async fn insert_hosted(
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
///
/// The weaker lock: rows that name the model hold a share of its key, and two who hold it would wait for each other.
pub(crate) async fn lock_model(db: &mut PgConnection, model_id: i64) -> Result<(), Error> {
    sqlx::query!("select id from models where id = $1 for no key update", model_id).fetch_optional(db).await?;
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

pub(crate) async fn set_head(db: &mut PgConnection, model_id: i64, revision_id: i64) -> Result<(), Error> {
    sqlx::query!("update models set head_revision_id = $2, updated_at = now() where id = $1", model_id, revision_id)
        .execute(db)
        .await?;
    Ok(())
}

/// What a model's files say about it, as the lists show it.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Facts {
    pub(crate) description: String,
    pub(crate) license: Option<String>,
    pub(crate) license_id: Option<String>,
    pub(crate) license_name: Option<String>,
    pub(crate) license_link: Option<String>,
    pub(crate) card: serde_json::Value,
    pub(crate) tags: Vec<String>,
    pub(crate) pipeline_tag: Option<String>,
    pub(crate) library: Option<String>,
    pub(crate) architecture: Option<String>,
    pub(crate) parameters: Option<i64>,
    pub(crate) dtype: Option<String>,
    pub(crate) format: Option<String>,
    pub(crate) flags: serde_json::Value,
}

pub(crate) async fn update_head(db: &mut PgConnection, revision: &Revision, facts: &Facts) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update models set
            head_revision_id = $2, bytes = $3, description = $4, license = $5, license_id = $6, license_name = $7,
            license_link = $8, card = $9, tags = $10, pipeline_tag = $11, library = $12, architecture = $13,
            parameters = $14, dtype = $15, format = $16,
            flags = $17 || jsonb_path_query_array(flags, '$[*] ? (exists(@.ref))'), updated_at = now()
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

/// Replaces the flags that speak of a ref other than `main`; those of others stay.
pub(crate) async fn set_ref_flags(
    db: &mut PgConnection,
    model_id: i64,
    name: &str,
    flags: &serde_json::Value,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        update models set
            flags = jsonb_path_query_array(
                flags, '$[*] ? (!exists(@.ref) || @.ref != $name)', jsonb_build_object('name', $2::text)
            ) || $3
        where id = $1
        "#,
        model_id,
        name,
        flags,
    )
    .execute(db)
    .await?;
    Ok(())
}
