//! Opens a store by its address.

use std::{
    fs::{DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
};

use object_store::{
    ObjectStore, aws::AmazonS3Builder, azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder,
    local::LocalFileSystem, prefix::PrefixStore,
};
use url::Url;

use super::{BlobStore, Error};

impl BlobStore {
    /// Opens the store at `url`, or the one in `data_dir` when there is none.
    ///
    /// `file:///folder`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`; credentials and
    /// endpoints come from each cloud's usual environment variables (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, …).
    pub fn open(url: Option<&Url>, data_dir: &Path) -> Result<Self, Error> {
        let Some(url) = url else { return open_folder(&data_dir.join("store")) };
        let refused = |reason: String| Error::Address { url: url.to_string(), reason };
        match url.scheme() {
            "file" => {
                let folder = url.to_file_path().map_err(|()| refused("use file:///absolute/folder".to_owned()))?;
                open_folder(&folder)
            }
            "s3" => {
                let built = AmazonS3Builder::from_env().with_url(url.as_str()).build();
                Ok(wrap(built.map_err(|e| refused(e.to_string()))?, url))
            }
            "gs" => {
                let built = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).build();
                Ok(wrap(built.map_err(|e| refused(e.to_string()))?, url))
            }
            "az" | "azure" | "abfs" | "abfss" => {
                let built = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).build();
                Ok(wrap(built.map_err(|e| refused(e.to_string()))?, url))
            }
            other => Err(refused(format!("`{other}` is not known, use file, s3, gs or az"))),
        }
    }
}

fn open_folder(folder: &Path) -> Result<BlobStore, Error> {
    std::fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    for inner in ["blobs", "tmp"] {
        close_to_others(&folder.join(inner))?;
    }
    // An acknowledged upload survives a power cut, not only a killed process.
    let objects = LocalFileSystem::new_with_prefix(&folder)?.with_fsync(true);
    let address = format!("file://{}", folder.display()).into();
    Ok(BlobStore { objects: Arc::new(objects), folder: Some(Arc::new(folder)), address, observe: Vec::new() })
}

/// Makes a folder that only this account may enter, or takes the others' way in: private models lie in it.
///
/// The folder around it is the operator's, who may have put it among other things.
fn close_to_others(folder: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if let Err(error) = std::fs::set_permissions(folder, Permissions::from_mode(0o700)) {
        tracing::warn!("other accounts of this machine may read {}: {error}", folder.display());
    }
    Ok(())
}

fn wrap(objects: impl ObjectStore, url: &Url) -> BlobStore {
    let prefix = url.path().trim_matches('/').to_owned();
    let objects: Arc<dyn ObjectStore> =
        if prefix.is_empty() { Arc::new(objects) } else { Arc::new(PrefixStore::new(objects, prefix)) };
    BlobStore { objects, folder: None, address: url.as_str().into(), observe: Vec::new() }
}
