//! Which files git would keep in LFS: the `.gitattributes` of a new model, and the rule behind it.

use crate::name::FilePath;

/// Extensions whose files are weights or archives, as the hub lists them for a new model.
const LFS_EXTENSIONS: &[&str] = &[
    "7z",
    "arrow",
    "bin",
    "bz2",
    "ckpt",
    "ftz",
    "gguf",
    "gz",
    "h5",
    "joblib",
    "mlmodel",
    "model",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "ot",
    "parquet",
    "pb",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rar",
    "safetensors",
    "tar",
    "tflite",
    "tgz",
    "wasm",
    "xz",
    "zip",
    "zst",
];

/// Files above this size are kept in LFS whatever their name, in bytes.
pub const LARGEST_REGULAR: u64 = 10 * 1024 * 1024;

/// The text of the `.gitattributes` of a new model.
pub fn default_text() -> String {
    let line = |extension: &&str| format!("*.{extension} filter=lfs diff=lfs merge=lfs -text\n");
    let mut text: String = LFS_EXTENSIONS.iter().map(line).collect();
    text.push_str(
        "saved_model/**/* filter=lfs diff=lfs merge=lfs -text\n*tfevents* filter=lfs diff=lfs merge=lfs -text\n",
    );
    text
}

/// Tells whether a file of this path and size in bytes is kept in LFS. Empty files never are.
pub fn is_lfs(path: &FilePath, size: u64) -> bool {
    let extension = path.file_name().rsplit_once('.').map(|(_, extension)| extension.to_lowercase());
    let by_name = extension.is_some_and(|extension| LFS_EXTENSIONS.contains(&extension.as_str()))
        || path.as_str().starts_with("saved_model/")
        || path.file_name().contains("tfevents");
    size > 0 && (by_name || size > LARGEST_REGULAR)
}

/// Returns the LFS pointer file of some content (<https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>).
pub fn pointer(digest: &crate::digest::Digest, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {size}\n", digest.to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_go_to_lfs_and_text_does_not() {
        let path = |text: &str| text.parse::<FilePath>().unwrap();
        assert!(is_lfs(&path("model.safetensors"), 8));
        assert!(is_lfs(&path("notes.txt"), LARGEST_REGULAR + 1));
        assert!(!is_lfs(&path("config.json"), 900));
        assert!(!is_lfs(&path("model.safetensors"), 0));
    }
}
