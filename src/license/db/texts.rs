//! License and notice files of revisions, and what their texts were recognized as.

use sqlx::PgConnection;

use super::super::Error;
use crate::digest::Digest;

/// A license or notice file of a revision.
#[derive(Debug, Clone)]
pub(crate) struct LicenseFile {
    /// The revision.
    pub(crate) revision_id: i64,
    /// Its path.
    pub(crate) path: String,
    /// Its content.
    pub(crate) digest: Vec<u8>,
    /// Bytes.
    pub(crate) size: i64,
    /// Key of the license whose text it is, when it was looked at and recognized.
    pub(crate) license: Option<String>,
    /// How it begins, when it was looked at.
    pub(crate) excerpt: Option<String>,
    /// Version of the catalogue that it was compared with.
    pub(crate) catalogue: Option<String>,
}

impl LicenseFile {
    /// Whether it is a notice rather than a license.
    pub(crate) fn is_notice(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.to_lowercase().starts_with("notice")
    }
}

/// Returns the license and notice files of revisions: `LICENSE*`, `LICENCE*`, `COPYING*`, `NOTICE*`, `USE_POLICY*`,
/// `*LICENSE*.txt`, `*LICENSE*.md`, and what lies in `LICENSES/` (<https://reuse.software/spec/>).
pub(crate) async fn list_license_files(db: &mut PgConnection, revisions: &[i64]) -> Result<Vec<LicenseFile>, Error> {
    let files = sqlx::query_as!(
        LicenseFile,
        r#"
        select f.revision_id, f.path, f.digest, f.size, t.license, t.excerpt as "excerpt?", t.catalogue as "catalogue?"
        from files f left join license_texts t on t.digest = f.digest
        where f.revision_id = any($1)
            and f.path ~* '(^|/)(licenses/[^/]+|(licen[cs]e|copying|notice|use_policy)[^/]*|[^/]*licen[cs]e[^/]*\.(txt|md))$'
        order by f.revision_id, f.path
        "#,
        revisions,
    )
    .fetch_all(db)
    .await?;
    Ok(files)
}

/// Keeps what a text was recognized as.
pub(crate) async fn upsert_text(
    db: &mut PgConnection,
    digest: &Digest,
    license: Option<&str>,
    excerpt: &str,
    catalogue: &str,
) -> Result<(), Error> {
    sqlx::query!(
        r#"
        insert into license_texts (digest, license, excerpt, catalogue) values ($1, $2, $3, $4)
        on conflict (digest) do update set
            license = excluded.license, excerpt = excluded.excerpt, catalogue = excluded.catalogue
        "#,
        digest.as_bytes(),
        license,
        excerpt,
        catalogue,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Returns the tips of models that are here, of those listed or of all.
pub(crate) async fn list_heads(db: &mut PgConnection, models: Option<&[i64]>) -> Result<Vec<i64>, Error> {
    let heads = sqlx::query_scalar!(
        r#"
        select head_revision_id as "head!" from models
        where head_revision_id is not null and kind = 'hosted' and ($2 or id = any($1))
        "#,
        models.unwrap_or_default(),
        models.is_none(),
    )
    .fetch_all(db)
    .await?;
    Ok(heads)
}
