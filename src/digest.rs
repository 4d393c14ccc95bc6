//! SHA-256 digests: the name of stored content.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// Not 64 hexadecimal digits, optionally after `sha256:`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest is 64 hexadecimal digits")]
pub struct NotADigest;

/// The SHA-256 of some content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of bytes that are at hand.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps 32 bytes that are known to be a SHA-256.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, as the database stores them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = NotADigest;

    fn try_from(bytes: &[u8]) -> Result<Self, NotADigest> {
        bytes.try_into().map(Self).map_err(|_| NotADigest)
    }
}

impl TryFrom<Vec<u8>> for Digest {
    type Error = NotADigest;

    fn try_from(bytes: Vec<u8>) -> Result<Self, NotADigest> {
        bytes.as_slice().try_into()
    }
}

impl FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| NotADigest)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A SHA-256 under way; uses the processor's SHA instructions where it has them.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of everything taken.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Returns the git object id of a file's content: SHA-1 over `blob LENGTH\0` and the bytes.
///
/// The hub protocol names files outside LFS by it (<https://git-scm.com/book/en/v2/Git-Internals-Git-Objects>).
pub fn git_blob_id(content: &[u8]) -> [u8; 20] {
    let mut sha = sha1::Sha1::new();
    sha.update(format!("blob {}\0", content.len()));
    sha.update(content);
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_file_has_git_s_well_known_id() {
        assert_eq!(hex::encode(git_blob_id(b"")), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }

    #[test]
    fn digests_read_back_in_both_spellings() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_hex().parse(), Ok(digest));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!("sha256:12".parse::<Digest>(), Err(NotADigest));
    }
}
