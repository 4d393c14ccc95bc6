//! What a file would run when somebody loads it: pickles, archives of pickles, Keras and ONNX files, source code.
//!
//! Files are recognized by their content, never by their name alone. Nothing here unpickles, imports or decompresses
//! without a bound. What was not walked to its end is at least [`Danger::Suspicious`], and says where the walk stopped.

mod names;
mod pickle;

use std::{io, ops::Range};

use serde::{Deserialize, Serialize};

/// Rises with each change that could change an answer; kept answers of an older version are made anew.
pub const VERSION: i32 = 1;

/// How bad it is to load a file, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Danger {
    /// It was walked to its end, and nothing in it runs.
    Sound,
    /// It is source code, or names some that loaders run when asked to: a statement, no accusation.
    CustomCode,
    /// It was not walked to its end, or it imports a name that weights do not need.
    Suspicious,
    /// Loading it runs something that harms.
    Dangerous,
}

/// How a file is read, by its path: part of what an answer belongs to, beside its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReadAs {
    /// Its name says that a pickle is in it, so that one that cannot be walked is suspicious.
    Pickle,
    /// Source code, by its name.
    Source,
    /// A configuration that may name code: `config.json`, `tokenizer_config.json`, `processor_config.json`, ….
    Config,
    /// A chat template, or a file that holds one.
    Template,
    /// Anything else: looked into by its content.
    Any,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub danger: Danger,
    /// Members of archives on the way, outermost first; empty for the file itself.
    pub within: Vec<String>,
    /// Where in the innermost content, in bytes.
    pub offset: u64,
    /// What it is.
    pub what: What,
}

/// What can be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum What {
    /// An import of a name, by an opcode of a pickle.
    Import {
        /// The opcode, as `pickletools` names it.
        opcode: String,
        /// The module.
        module: String,
        /// The name in it.
        name: String,
    },
    /// The walk stopped before the end.
    Stopped {
        /// Why, for a person.
        why: String,
    },
    /// Code that a loader runs: a Keras lambda, an `auto_map`, an operator outside the file, a source file.
    Code {
        /// What, for a person.
        what: String,
    },
}

/// The answer about a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it is by its content, in a word: `pickle`, `zip`, `tar`, `safetensors`, `text`, …; `other` when not known.
    pub content: String,
    /// Findings, at most [`MAX_FINDINGS`], the gravest kept.
    pub findings: Vec<Finding>,
    /// Names that pickles import, `module name`, at most [`MAX_FINDINGS`].
    pub imports: Vec<String>,
    /// Pickles that were walked.
    pub pickles: u64,
}

/// Most findings that are kept.
pub const MAX_FINDINGS: usize = 100;

impl Report {
    /// The gravest finding's danger.
    pub fn danger(&self) -> Danger {
        self.findings.iter().map(|finding| finding.danger).max().unwrap_or(Danger::Sound)
    }

    fn add(&mut self, danger: Danger, within: &[String], offset: u64, what: What) {
        if self.findings.len() >= MAX_FINDINGS {
            // The gravest are kept: a crowd of mild ones must not hide them.
            let mildest = self.findings.iter_mut().min_by_key(|finding| finding.danger);
            if let Some(mildest) = mildest.filter(|mildest| mildest.danger < danger) {
                *mildest = Finding { danger, within: within.to_vec(), offset, what };
            }
            return;
        }
        self.findings.push(Finding { danger, within: within.to_vec(), offset, what });
    }

    fn import(&mut self, name: String) {
        if self.imports.len() < MAX_FINDINGS && !self.imports.contains(&name) {
            self.imports.push(name);
        }
    }
}

/// Bytes of a file that can be read at any place.
pub trait Content {
    /// Length of the file, in bytes.
    fn length(&self) -> u64;
    /// Reads a range that lies within the file.
    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>>;
}

impl Content for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let bounds = || Some((usize::try_from(range.start).ok()?, usize::try_from(range.end).ok()?));
        let bytes = bounds().and_then(|(start, end)| self.get(start..end));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "outside the file"))
    }
}

/// Tells how a file is read, by its path.
pub fn read_as(path: &str) -> ReadAs {
    let lower = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let ends = |suffix: &str| lower.ends_with(suffix);
    match lower.as_str() {
        _ if [".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"].iter().any(|s| ends(s)) => ReadAs::Pickle,
        _ if ends(".py") => ReadAs::Source,
        _ if ends("config.json") => ReadAs::Config,
        _ if ends(".jinja") => ReadAs::Template,
        _ => ReadAs::Any,
    }
}

/// Most bytes of one content that are walked; what is longer is said to have been walked in part.
const MAX_WALKED: u64 = 64 << 20;

/// Looks into a file. Errors are those of reading it; what its bytes say is never an error.
pub fn scan(content: &dyn Content, read_as: ReadAs) -> io::Result<Report> {
    let mut report = Report::default();
    let bytes = content.read(0..content.length().min(MAX_WALKED))?;
    look(&bytes, read_as, &[], &mut report);
    Ok(report)
}

fn look(bytes: &[u8], read_as: ReadAs, within: &[String], report: &mut Report) {
    if read_as == ReadAs::Pickle
        || (bytes.first() == Some(&0x80) && bytes.get(1).is_some_and(|version| *version <= 5))
        || pickle::is_program(bytes)
    {
        "pickle".clone_into(&mut report.content);
        pickle::walk(bytes, within, report);
    }
}

#[cfg(test)]
mod tests;
