//! Names, parsed once at the edge and trusted afterwards: models, namespaces, file paths, commit ids.
//!
//! Names keep the case they were given and are compared without it; [`ModelName::key`] is the form to compare.

use std::{fmt, str::FromStr};

/// A name that is not acceptable, with what would be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not of the form `namespace/name`.
    #[error("`{0}` is not a model name, expected `namespace/name`")]
    NotAModelName(String),
    /// A part of a name is empty, too long, or has characters that names do not have.
    #[error(
        "`{0}` is not a valid name: use 1 to 96 letters, digits, `-`, `_` and `.`, beginning and ending with a letter, a digit or `_`, without `--` or `..`"
    )]
    Part(String),
    /// A path that could leave its model, or that is too long.
    #[error(
        "`{0}` is not a valid path: use at most 1024 bytes of relative path without `.`, `..`, empty parts, backslashes or control characters"
    )]
    Path(String),
    /// Not 40 hexadecimal digits.
    #[error("`{0}` is not a commit id, expected 40 hexadecimal digits")]
    Commit(String),
    /// A branch or tag name that git would refuse.
    #[error("`{0}` is not a valid branch or tag name")]
    Ref(String),
    /// A branch or tag name that could be taken for a commit id.
    #[error("`{0}` reads as a commit id, which must always mean that commit; give the branch or tag another name")]
    RefLikeCommit(String),
}

/// Longest part of a model name, as on the hub.
const MAX_PART: usize = 96;
const MAX_PATH: usize = 1024;

/// `namespace/name` of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName {
    namespace: String,
    name: String,
}

impl ModelName {
    /// Parses the two parts of a name that arrive apart, as in a URL.
    pub fn new(namespace: &str, name: &str) -> Result<Self, Error> {
        check_part(namespace)?;
        check_part(name)?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The part before the slash, as given.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The part after the slash, as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The form to compare: lower case, `namespace/name`.
    pub fn key(&self) -> String {
        self.to_string().to_lowercase()
    }
}

impl FromStr for ModelName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (namespace, name) = text.split_once('/').ok_or_else(|| Error::NotAModelName(shorten(text)))?;
        Self::new(namespace, name)
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl serde::Serialize for ModelName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ModelName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Checks one part of a name: a namespace, or what follows its slash.
pub fn check_part(part: &str) -> Result<(), Error> {
    let edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let inner = |c: char| edge(c) || c == '-' || c == '.';
    let fine = (1..=MAX_PART).contains(&part.len())
        && part.chars().all(inner)
        && part.starts_with(edge)
        && part.ends_with(edge)
        && !part.contains("--")
        && !part.contains("..");
    if fine { Ok(()) } else { Err(Error::Part(shorten(part))) }
}

/// A path of a file inside a model: relative, `/`-separated, never leaving its root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

impl FilePath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for FilePath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let part_is_fine = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
        let fine = text.len() <= MAX_PATH
            && !text.contains('\\')
            && !text.chars().any(char::is_control)
            && text.split('/').all(part_is_fine)
            && text.split('/').next() != Some(".git");
        if fine { Ok(Self(text.to_owned())) } else { Err(Error::Path(shorten(text))) }
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A commit id: the name of a revision, 40 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(String);

impl CommitId {
    /// The 40 digits, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names the twenty bytes of a SHA-1.
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(hex::encode(bytes))
    }
}

impl FromStr for CommitId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fine = text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if fine { Ok(Self(text.to_lowercase())) } else { Err(Error::Commit(shorten(text))) }
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks the name of a branch or tag by git's rules (`git check-ref-format`), at most 255 bytes.
///
/// A name that reads as a commit id is refused: what pins a revision must not be taken over by a branch. No shortened ids
/// are understood anywhere, so that a date such as `20240101` may be a tag.
pub fn check_ref(name: &str) -> Result<(), Error> {
    if [40, 64].contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::RefLikeCommit(shorten(name)));
    }
    let bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let part_is_fine = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let fine = (1..=255).contains(&name.len())
        && !name.contains(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name != "@"
        && name.split('/').all(part_is_fine);
    if fine { Ok(()) } else { Err(Error::Ref(shorten(name))) }
}

/// Keeps messages short when somebody sends a megabyte as a name.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 120;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    format!("{}…", text.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_case_and_compare_without_it() {
        let name: ModelName = "Meta-Llama/Llama-2-7b-hf".parse().unwrap();
        assert_eq!(name.to_string(), "Meta-Llama/Llama-2-7b-hf");
        assert_eq!(name.key(), "meta-llama/llama-2-7b-hf");
    }

    #[test]
    fn names_that_could_confuse_a_url_are_refused() {
        for bad in
            ["", "a", "a/", "/b", "a/b/c", "a/..", "a/-b", "a/b c", "a/b--c", "a/é", &format!("a/{}", "x".repeat(97))]
        {
            assert!(bad.parse::<ModelName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_ref_reads_as_a_commit_id() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        for bad in [id, &id.to_uppercase(), &"a".repeat(64)] {
            assert!(matches!(check_ref(bad), Err(Error::RefLikeCommit(_))), "{bad}");
        }
        for good in ["main", "v1.0", "face", "20240101", "release-0123abc", "pr/1234567", &"a".repeat(65)] {
            assert!(check_ref(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn paths_cannot_leave_the_model() {
        for bad in ["", "/a", "a//b", "../a", "a/../b", "a/.", "a\\b", "a\0", ".git/config", &"x/".repeat(600)] {
            assert!(bad.parse::<FilePath>().is_err(), "{bad}");
        }
        for good in ["README.md", ".gitattributes", "a/b/ünïcode name.bin"] {
            assert_eq!(good.parse::<FilePath>().unwrap().as_str(), good);
        }
    }
}
