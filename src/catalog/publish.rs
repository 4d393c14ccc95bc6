//! Turns uploaded files into a revision: files, revision, ref and the model's facts in one transaction.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::{
    Error, File, Model, RefKind, Revision, Visibility, attributes,
    db::{self, NewRevision},
    facts, scans,
};
use crate::{
    auth::Viewer,
    db::without_nul,
    digest::{self, Digest},
    name::{CommitId, FilePath, ModelName},
    storage::{self, BlobStore, Stored},
};

/// Most files in a revision.
const MAX_FILES: usize = 25_000;
const MAX_MESSAGE: usize = 8 * 1024;
const MAX_DESCRIPTION: usize = 256 * 1024;

/// One change of a commit.
#[derive(Debug, Clone)]
pub enum Change {
    /// Puts stored content at a path.
    Add {
        /// Where.
        path: FilePath,
        /// What.
        stored: Stored,
    },
    /// Removes a file; one that is not there is fine.
    DeleteFile(FilePath),
    /// Removes everything below a folder, named without its slash.
    DeleteFolder(FilePath),
}

/// What is to be published.
#[derive(Debug, Clone)]
pub struct Commit<'a> {
    /// The branch that moves.
    pub branch: &'a str,
    /// What the branch must point to.
    pub expected_parent: Option<CommitId>,
    /// First line.
    pub message: &'a str,
    /// The rest.
    pub description: &'a str,
    /// Who.
    pub author: &'a str,
    /// What.
    pub changes: Vec<Change>,
}

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// The branch's tip now.
    pub revision: Revision,
    /// Whether it moved; a commit without change succeeds and moves nothing.
    pub changed: bool,
    /// The files at the tip.
    pub files: Vec<File>,
}

/// Creates a hosted model with its first revision, which holds a `.gitattributes` as on the hub.
pub async fn create_model(
    db: &mut PgConnection,
    store: &BlobStore,
    name: &ModelName,
    visibility: Visibility,
    author: &str,
) -> Result<Model, Error> {
    let id = db::insert_hosted(db, name, visibility).await?.ok_or_else(|| Error::NameTaken(name.clone()))?;
    let attributes = attributes::default_text().into_bytes();
    let stored = store.put_bytes(attributes.into()).await?;
    storage::record(db, store, &stored).await?;
    let path = ".gitattributes".parse()?;
    let model = db::get_model(db, name, &Viewer::everything()).await?;
    debug_assert_eq!(model.id, id);
    let changes = vec![Change::Add { path, stored }];
    let commit =
        Commit { branch: "main", expected_parent: None, message: "initial commit", description: "", author, changes };
    publish(db, store, &model, commit).await?;
    db::get_model(db, name, &Viewer::everything()).await
}

/// Publishes a commit inside the caller's transaction.
///
/// The caller has checked that the committer may use each blob, and has recorded the blobs.
pub async fn publish(
    db: &mut PgConnection,
    store: &BlobStore,
    model: &Model,
    commit: Commit<'_>,
) -> Result<Published, Error> {
    check_lengths(&commit)?;
    db::lock_model(db, model.id).await?;
    let branch = commit.branch.strip_prefix("refs/heads/").unwrap_or(commit.branch);
    let (kind, branch) = match branch.strip_prefix("refs/pr/") {
        Some(number) => (RefKind::Pull, format!("pr/{number}")),
        None => (RefKind::Branch, branch.to_owned()),
    };
    let tip = db::find_revision(db, model.id, &branch).await?;
    if tip.is_none() && (branch != "main" || model.head_revision_id.is_some()) {
        return Err(Error::RevisionNotFound { model: model.name.to_string(), revision: branch });
    }
    let stale = |expected: &CommitId| tip.as_ref().is_none_or(|tip| tip.commit != *expected);
    if commit.expected_parent.as_ref().is_some_and(stale) {
        return Err(Error::StaleParent);
    }
    let before = match &tip {
        Some(tip) => db::list_files(db, tip.id).await?,
        None => Vec::new(),
    };
    let files = apply(store, &before, &commit.changes).await?;
    if let Some(revision) = tip.clone().filter(|_| same_files(&before, &files)) {
        return Ok(Published { revision, changed: false, files: before });
    }
    let revision = write(db, model, tip.as_ref(), &files, &commit).await?;
    db::set_ref(db, model.id, kind, &branch, revision.id).await?;
    if kind == RefKind::Branch && branch == "main" {
        let facts = facts::gather(db, store, &files).await?;
        db::update_head(db, &revision, &facts).await?;
    } else {
        // Any ref can be pulled, so each is looked into.
        scans::scan_all(db, store, &files).await?;
        let reports = scans::find(db, &files).await?;
        let flags = without_nul(scans::flags(&files, &reports, Some(&branch)).into());
        db::set_ref_flags(db, model.id, &branch, &flags).await?;
    }
    let files = db::list_files(db, revision.id).await?;
    Ok(Published { revision, changed: true, files })
}

/// Replaces the history of a branch by one revision with the same files.
pub async fn squash(
    db: &mut PgConnection,
    model: &Model,
    branch: &str,
    message: &str,
    author: &str,
) -> Result<Revision, Error> {
    db::lock_model(db, model.id).await?;
    let plain = branch.strip_prefix("refs/").unwrap_or(branch);
    let tip = db::get_revision(db, model, plain).await?;
    let files: Vec<File> =
        db::list_files(db, tip.id).await?.into_iter().map(|f| File { last_revision_id: 0, ..f }).collect();
    let commit = Commit { branch, expected_parent: None, message, description: "", author, changes: Vec::new() };
    let revision = write(db, model, None, &files, &commit).await?;
    let kind = if plain.starts_with("pr/") { RefKind::Pull } else { RefKind::Branch };
    db::set_ref(db, model.id, kind, plain, revision.id).await?;
    if plain == "main" {
        db::set_head(db, model.id, revision.id).await?;
    }
    Ok(revision)
}

fn check_lengths(commit: &Commit<'_>) -> Result<(), Error> {
    for (what, text, limit) in
        [("the message", commit.message, MAX_MESSAGE), ("the description", commit.description, MAX_DESCRIPTION)]
    {
        if text.len() > limit {
            return Err(Error::TooLong { what, limit });
        }
    }
    Ok(())
}

/// Applies changes in their order to the files of the parent.
async fn apply(store: &BlobStore, before: &[File], changes: &[Change]) -> Result<Vec<File>, Error> {
    let mut files: BTreeMap<String, File> = before.iter().map(|f| (f.path.to_string(), f.clone())).collect();
    for change in changes {
        match change {
            Change::DeleteFile(path) => {
                files.remove(path.as_str());
            }
            Change::DeleteFolder(folder) => {
                let prefix = format!("{folder}/");
                files.retain(|path, _| !path.starts_with(&prefix));
            }
            Change::Add { path, stored } => {
                let old = files.get(path.as_str()).filter(|old| old.digest == stored.digest);
                if old.is_none() {
                    let file = new_file(store, path.clone(), stored).await?;
                    files.insert(path.to_string(), file);
                }
            }
        }
    }
    if files.len() > MAX_FILES {
        return Err(Error::TooManyFiles { limit: MAX_FILES, found: files.len() });
    }
    check_folders(&files)?;
    Ok(files.into_values().collect())
}

fn check_folders(files: &BTreeMap<String, File>) -> Result<(), Error> {
    for path in files.keys() {
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        if let Some(folder) = folders.into_iter().find(|folder| files.contains_key(*folder)) {
            return Err(Error::PathConflict(folder.to_owned()));
        }
    }
    Ok(())
}

async fn new_file(store: &BlobStore, path: FilePath, stored: &Stored) -> Result<File, Error> {
    let is_lfs = attributes::is_lfs(&path, stored.size);
    let git_id = if is_lfs {
        digest::git_blob_id(attributes::pointer(&stored.digest, stored.size).as_bytes())
    } else {
        digest::git_blob_id(&store.read_bytes(&stored.digest, 0..stored.size).await?)
    };
    let size = i64::try_from(stored.size).unwrap_or(i64::MAX);
    Ok(File { path, size, digest: stored.digest, git_id, is_lfs, last_revision_id: 0 })
}

fn same_files(a: &[File], b: &[File]) -> bool {
    let mut a: Vec<_> = a.iter().map(|f| (f.path.as_str(), f.digest)).collect();
    let mut b: Vec<_> = b.iter().map(|f| (f.path.as_str(), f.digest)).collect();
    a.sort_unstable();
    b.sort_unstable();
    a == b
}

async fn write(
    db: &mut PgConnection,
    model: &Model,
    parent: Option<&Revision>,
    files: &[File],
    commit: &Commit<'_>,
) -> Result<Revision, Error> {
    let bytes = files.iter().map(|file| file.size).sum();
    let id = commit_id(parent, files, commit);
    let new = NewRevision {
        model_id: model.id,
        commit: &id,
        parent_id: parent.map(|parent| parent.id),
        author: commit.author,
        message: commit.message,
        description: commit.description,
        bytes,
    };
    let revision = db::insert_revision(db, &new).await?;
    db::insert_files(db, revision.id, files).await?;
    Ok(revision)
}

/// Names a revision by what is in it, what was before it, and a nonce, so that equal content twice is two revisions.
fn commit_id(parent: Option<&Revision>, files: &[File], commit: &Commit<'_>) -> CommitId {
    let mut text = format!("{}\n{}\n{:x}\n", commit.author, commit.message, rand::random::<u128>());
    if let Some(parent) = parent {
        text.push_str(parent.commit.as_str());
    }
    for file in files {
        text.push_str(&format!("\n{} {}", file.digest.to_hex(), file.path));
    }
    let digest = Digest::of(text.as_bytes());
    let mut short = [0; 20];
    short.copy_from_slice(&digest.as_bytes()[..20]);
    CommitId::from_bytes(short)
}
