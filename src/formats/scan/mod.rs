//! What a file would run when somebody loads it: pickles, archives of pickles, Keras and ONNX files, source code.
//!
//! Files are recognized by their content, never by their name alone. Nothing here unpickles, imports or decompresses
//! without a bound. What was not walked to its end is at least [`Danger::Suspicious`], and says where the walk stopped.

mod archive;
mod code;
mod names;
mod pickle;
mod values;

use std::{io, ops::Range};

use serde::{Deserialize, Serialize};

use super::gguf;

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
    /// A chat template, alone in its file.
    Template,
    /// An ONNX model, by its name: nothing in its bytes tells it.
    Onnx,
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
        _ if ends(".jinja") || ends(".jinja2") => ReadAs::Template,
        _ if ends(".onnx") => ReadAs::Onnx,
        _ => ReadAs::Any,
    }
}

/// Most bytes of one content that are walked; what is longer is said to have been walked in part.
const MAX_WALKED: u64 = 64 << 20;

/// Bytes that are unpacked, over all members of a file.
const MAX_UNPACKED: u64 = 512 << 20;
/// Members that are looked into, over all archives of a file.
const MAX_MEMBERS: u32 = 200_000;
/// Bytes at the beginning by which content is recognized.
const HEAD: u64 = 64 << 10;

/// Looks into a file. Errors are those of reading it; what its bytes say is never an error.
pub fn scan(content: &dyn Content, read_as: ReadAs) -> io::Result<Report> {
    let mut report = Report::default();
    let mut look = Look { report: &mut report, depth: 0, unpacked_left: MAX_UNPACKED, members_left: MAX_MEMBERS };
    let word = look.content(content, read_as, &[])?;
    word.clone_into(&mut report.content);
    Ok(report)
}

struct Look<'a> {
    report: &'a mut Report,
    depth: usize,
    unpacked_left: u64,
    members_left: u32,
}

impl Look<'_> {
    /// Looks into content, and answers what it is in a word.
    fn content(&mut self, content: &dyn Content, read_as: ReadAs, within: &[String]) -> io::Result<&'static str> {
        let head = content.read(0..content.length().min(HEAD))?;
        let word = self.beginning(content, &head, read_as, within)?;
        // A pickle may lie before a zip: some loaders read the one, and some the other.
        let zip = self.zip(content, within)?;
        if head.starts_with(b"PK\x03\x04") && zip.is_none() {
            self.stopped(within, "the zip has no directory");
        }
        Ok(if zip.is_some() && word == "other" { "zip" } else { word })
    }

    fn stopped(&mut self, within: &[String], why: &str) {
        self.report.add(Danger::Suspicious, within, 0, What::Stopped { why: why.to_owned() });
    }

    fn code(&mut self, danger: Danger, within: &[String], what: &str) {
        self.report.add(danger, within, 0, What::Code { what: what.to_owned() });
    }

    fn beginning(
        &mut self,
        content: &dyn Content,
        head: &[u8],
        read_as: ReadAs,
        within: &[String],
    ) -> io::Result<&'static str> {
        let packed = [&b"7z\xbc\xaf\x27\x1c"[..], b"BZh", b"\xfd7zXZ", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"];
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return Ok("zip");
        }
        if head.starts_with(b"GGUF") {
            self.gguf(content, within)?;
            return self.disguised(content, head, read_as, within).map(|()| "gguf");
        }
        if head.get(8) == Some(&b'{') && head[4..8] == [0; 4] {
            return self.disguised(content, head, read_as, within).map(|()| "safetensors");
        }
        if archive::is_tar(head) {
            self.tar(content, within)?;
            return self.disguised(content, head, read_as, within).map(|()| "tar");
        }
        let zlib = head.len() > 2 && head[0] == 0x78 && (u32::from(head[0]) * 256 + u32::from(head[1])) % 31 == 0;
        if head.starts_with(b"\x1f\x8b") || zlib {
            self.unpack(content, read_as, within)?;
            return Ok("compressed");
        }
        if packed.iter().any(|magic| head.starts_with(magic)) {
            if read_as == ReadAs::Pickle || within.is_empty() {
                self.stopped(within, "it is packed in a way that is not unpacked here");
            }
            return Ok("compressed");
        }
        if head.starts_with(b"\x93NUMPY") && head.len() > 12 {
            return self.array(content, head, within);
        }
        if head.starts_with(b"\x89HDF\r\n") {
            self.keras(content, within)?;
            return Ok("hdf5");
        }
        if read_as == ReadAs::Source {
            self.code(Danger::CustomCode, within, "source code");
            return Ok("text");
        }
        if read_as == ReadAs::Template {
            let bytes = content.read(0..content.length().min(MAX_WALKED))?;
            self.template(&String::from_utf8_lossy(&bytes), within);
        }
        if read_as == ReadAs::Onnx {
            self.onnx(content, within)?;
        }
        if matches!(head.trim_ascii_start().first(), Some(b'{' | b'[')) && std::str::from_utf8(head).is_ok() {
            if read_as == ReadAs::Config {
                self.config(content, within)?;
            }
            if read_as != ReadAs::Pickle {
                return Ok("json");
            }
        }
        self.pickle(content, head, read_as, within)
    }

    fn array(&mut self, content: &dyn Content, head: &[u8], within: &[String]) -> io::Result<&'static str> {
        let wide = head[6] > 1;
        let length = u64::from(head[8]) | u64::from(head[9]) << 8;
        let length = if wide { length | u64::from(head[10]) << 16 | u64::from(head[11]) << 24 } else { length };
        let begin = (if wide { 12 } else { 10 }) + length;
        if begin > content.length() || begin > MAX_WALKED {
            self.stopped(within, "the array's header is longer than the file");
            return Ok("numpy");
        }
        if contains(&content.read(0..begin)?, b"O") {
            let bytes = content.read(begin..content.length().min(begin + MAX_WALKED))?;
            pickle::walk(&bytes, within, self.report);
        }
        Ok("numpy")
    }

    /// Looks into the chat template of a GGUF file; bytes inside other files may look like one by chance.
    fn gguf(&mut self, content: &dyn Content, within: &[String]) -> io::Result<()> {
        let most = content.length().min(gguf::MAX_HEADER);
        let mut wanted = most.min(256 << 10);
        loop {
            match gguf::parse(&content.read(0..wanted)?, content.length()) {
                Ok(header) => {
                    if let Some(template) = header.text("tokenizer.chat_template") {
                        self.template(template, within);
                    }
                    return Ok(());
                }
                Err(gguf::Error::NeedMore { at_least }) if wanted < most => wanted = at_least.max(wanted * 4).min(most),
                Err(error) => {
                    if within.is_empty() {
                        self.stopped(within, &format!("its header cannot be read: {error}"));
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Looks for a pickle in what begins as another format: the first letters of some are opcodes too.
    fn disguised(&mut self, content: &dyn Content, head: &[u8], read_as: ReadAs, within: &[String]) -> io::Result<()> {
        let eager = read_as == ReadAs::Pickle;
        if pickle::may_be_program(head, content.length() > HEAD, eager) {
            let bytes = content.read(0..content.length().min(MAX_WALKED))?;
            if pickle::may_be_program(&bytes, false, eager) {
                pickle::walk(&bytes, within, self.report);
            }
        }
        Ok(())
    }

    fn pickle(
        &mut self,
        content: &dyn Content,
        head: &[u8],
        read_as: ReadAs,
        within: &[String],
    ) -> io::Result<&'static str> {
        let other = if std::str::from_utf8(head).is_ok() { "text" } else { "other" };
        if read_as != ReadAs::Pickle && !pickle::may_be_program(head, content.length() > HEAD, false) {
            return Ok(other);
        }
        // Members may lie over one another: what is read is counted each time.
        self.unpacked_left = self.unpacked_left.saturating_sub(content.length().min(MAX_WALKED));
        if self.unpacked_left == 0 {
            self.stopped(within, "the archive holds more than is looked into");
            return Ok(other);
        }
        let long = content.length() > MAX_WALKED;
        let bytes = content.read(0..content.length().min(MAX_WALKED))?;
        if read_as != ReadAs::Pickle && !pickle::may_be_program(&bytes, long, false) {
            return Ok(other);
        }
        if bytes.is_empty() || pickle::begins_otherwise(&bytes) {
            return Ok(other);
        }
        pickle::walk(&bytes, within, self.report);
        Ok("pickle")
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
