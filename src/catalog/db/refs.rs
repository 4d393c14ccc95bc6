//! Rows of branches and tags.

use sqlx::PgConnection;

use super::super::{Error, Ref, RefKind};

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
    .execute(&mut *db)
    .await?;
    if gone.rows_affected() == 0 {
        return Err(Error::RefNotFound(name.to_owned()));
    }
    // A tag may have the name of a branch; only branches have flags of their own.
    if kind == RefKind::Tag {
        return Ok(());
    }
    super::set_ref_flags(db, model_id, name, &serde_json::json!([])).await
}

pub(crate) async fn set_ref(
    db: &mut PgConnection,
    model_id: i64,
    kind: RefKind,
    name: &str,
    revision_id: i64,
) -> Result<(), Error> {
    crate::name::check_ref(name)?;
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
