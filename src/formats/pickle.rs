//! Looks into pickles without running them: walks the opcodes and lists what they would import.
//!
//! A pickle is a program. Python's `pickletools` documents the opcodes
//! (<https://github.com/python/cpython/blob/main/Lib/pickletools.py>); this walks all of protocols 0 to 5.

use std::collections::{BTreeMap, BTreeSet};

/// Opcodes that are walked before the scan gives up.
const MAX_OPCODES: usize = 20_000_000;
/// Imports that are listed.
const MAX_IMPORTS: usize = 1000;

/// How an import is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Danger {
    /// What weights need.
    Expected,
    /// Not known to be needed: look at it.
    Suspicious,
    /// Runs commands, opens files or sockets, evaluates code.
    Dangerous,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Scan {
    /// `module name` → how it is judged.
    pub imports: BTreeMap<String, Danger>,
    /// Why the scan ended early; what follows was not seen.
    pub stopped: Option<String>,
}

impl Scan {
    /// The worst that was found; a scan that ended early is suspicious by itself.
    pub fn danger(&self) -> Danger {
        let floor = if self.stopped.is_some() { Danger::Suspicious } else { Danger::Expected };
        self.imports.values().copied().max().unwrap_or(floor).max(floor)
    }
}

/// Scans bytes that hold one or more pickles one after another, as old PyTorch files do.
pub fn scan(bytes: &[u8]) -> Scan {
    let mut walk = Walk { bytes, at: 0, recent: Vec::new(), memo: BTreeMap::new(), imports: BTreeSet::new() };
    let mut stopped = None;
    let mut pickles = 0;
    // Old PyTorch files are five pickles, then raw storage: what follows the first complete ones may be no pickle.
    while walk.at < bytes.len() && pickles < 16 {
        let begins_like_one = bytes[walk.at] == 0x80 || pickles == 0;
        if !begins_like_one {
            break;
        }
        match walk.pickle() {
            Ok(()) => pickles += 1,
            Err(reason) => {
                stopped = Some(reason);
                break;
            }
        }
    }
    let imports = walk.imports.into_iter().map(|name| (name.clone(), judge(&name))).collect();
    Scan { imports, stopped }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The texts pushed most recently: `STACK_GLOBAL` takes its two names from them.
    recent: Vec<String>,
    memo: BTreeMap<u64, String>,
    imports: BTreeSet<String>,
}

impl Walk<'_> {
    fn pickle(&mut self) -> Result<(), String> {
        for _ in 0..MAX_OPCODES {
            let at = self.at;
            let opcode = self.byte()?;
            match opcode {
                b'.' => return Ok(()),
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.import(&module, &name);
                }
                b'i' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.import(&module, &name);
                }
                0x93 => self.stack_global(),
                // Extension registry: what it imports depends on the reader's process.
                0x82..=0x84 => {
                    self.skip([1, 2, 4][usize::from(opcode - 0x82)])?;
                    self.import("copyreg", "extension registry");
                }
                b'p' => {
                    let key = self.line()?.trim().parse().unwrap_or(u64::MAX);
                    self.remember(key);
                }
                b'q' => {
                    let key = u64::from(self.byte()?);
                    self.remember(key);
                }
                b'r' => {
                    let key = self.number(4)?;
                    self.remember(key);
                }
                0x94 => self.remember(self.memo.len() as u64),
                b'g' => {
                    let key = self.line()?.trim().parse().unwrap_or(u64::MAX);
                    self.recall(key);
                }
                b'h' => {
                    let key = u64::from(self.byte()?);
                    self.recall(key);
                }
                b'j' => {
                    let key = self.number(4)?;
                    self.recall(key);
                }
                b'S' | b'V' => {
                    let line = self.line()?;
                    self.push(line.trim_matches(['\'', '"']).to_owned());
                }
                b'U' | 0x8c => self.text(1)?,
                b'X' | b'T' => self.text(4)?,
                0x8d => self.text(8)?,
                b'C' => self.skip_counted(1)?,
                b'B' | 0x8b => self.skip_counted(4)?,
                0x8e | 0x96 => self.skip_counted(8)?,
                0x8a => self.skip_counted(1)?,
                b'I' | b'L' | b'F' | b'P' => {
                    self.line()?;
                }
                b'K' | 0x80 => self.skip(1)?,
                b'M' => self.skip(2)?,
                b'J' => self.skip(4)?,
                b'G' | 0x95 => self.skip(8)?,
                b'('
                | b'0'
                | b'1'
                | b'2'
                | b'N'
                | b'Q'
                | b'R'
                | b'a'
                | b'b'
                | b'd'
                | b'}'
                | b'e'
                | b'l'
                | b']'
                | b'o'
                | b's'
                | b't'
                | b')'
                | b'u'
                | 0x81
                | 0x85..=0x89
                | 0x8f..=0x92
                | 0x97
                | 0x98 => {}
                other => return Err(format!("byte {at} is 0x{other:02x}, which is no pickle opcode")),
            }
        }
        Err(format!("more than {MAX_OPCODES} opcodes"))
    }

    fn byte(&mut self) -> Result<u8, String> {
        let byte = self.bytes.get(self.at).copied().ok_or_else(|| "the pickle has no end".to_owned())?;
        self.at += 1;
        Ok(byte)
    }

    fn slice(&mut self, length: u64) -> Result<&[u8], String> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let Some(slice) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return Err(format!("byte {} claims {length} bytes that are not there", self.at));
        };
        self.at += slice.len();
        Ok(slice)
    }

    fn skip(&mut self, length: u64) -> Result<(), String> {
        self.slice(length).map(|_| ())
    }

    fn number(&mut self, width: u64) -> Result<u64, String> {
        let bytes = self.slice(width)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn skip_counted(&mut self, width: u64) -> Result<(), String> {
        let length = self.number(width)?;
        self.skip(length)
    }

    fn text(&mut self, width: u64) -> Result<(), String> {
        let length = self.number(width)?;
        let bytes = self.slice(length)?;
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        self.push(text);
        Ok(())
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| "a line has no end".to_owned())?;
        let line = String::from_utf8_lossy(&rest[..length.min(200)]).trim_end().to_owned();
        self.at += length + 1;
        Ok(line)
    }

    fn push(&mut self, text: String) {
        if self.recent.len() > 64 {
            self.recent.drain(..32);
        }
        self.recent.push(text);
    }

    fn remember(&mut self, key: u64) {
        let text = self.recent.last().cloned().unwrap_or_default();
        if self.memo.len() < 1_000_000 {
            self.memo.insert(key, text);
        }
    }

    fn recall(&mut self, key: u64) {
        if let Some(text) = self.memo.get(&key).cloned() {
            self.push(text);
        }
    }

    fn stack_global(&mut self) {
        let name = self.recent.pop().unwrap_or_else(|| "?".to_owned());
        let module = self.recent.pop().unwrap_or_else(|| "?".to_owned());
        self.import(&module, &name);
    }

    fn import(&mut self, module: &str, name: &str) {
        if self.imports.len() < MAX_IMPORTS {
            self.imports.insert(format!("{module} {name}"));
        }
    }
}

fn judge(import: &str) -> Danger {
    const DANGEROUS: &[&str] = &[
        "os",
        "posix",
        "nt",
        "subprocess",
        "socket",
        "sys",
        "shutil",
        "runpy",
        "pty",
        "commands",
        "webbrowser",
        "http",
        "urllib",
        "requests",
        "importlib",
        "ctypes",
        "code",
        "codeop",
        "pdb",
        "pip",
        "asyncio",
        "multiprocessing",
        "tempfile",
        "bdb",
        "timeit",
        "operator",
        "functools",
        "marshal",
        "types",
        "pickle",
        "_pickle",
        "dill",
        "cloudpickle",
        "platform",
        "signal",
        "threading",
        "ssl",
        "ftplib",
        "smtplib",
        "telnetlib",
        "aiohttp",
        "httplib",
        "cProfile",
        "profile",
        "doctest",
        "idlelib",
        "lib2to3",
        "distutils",
        "setuptools",
        "zipimport",
        "pkgutil",
        "site",
        "venv",
        "ensurepip",
        "pydoc",
        "trace",
        "test",
        "nturl2path",
        "genericpath",
        "ntpath",
        "posixpath",
    ];
    const BUILTINS: &[&str] = &[
        "eval",
        "exec",
        "compile",
        "open",
        "__import__",
        "getattr",
        "setattr",
        "delattr",
        "globals",
        "locals",
        "vars",
        "input",
        "breakpoint",
        "apply",
        "execfile",
        "file",
        "exit",
        "quit",
        "help",
        "memoryview",
        "map",
        "filter",
    ];
    const EXPECTED: &[&str] =
        &["collections", "torch", "numpy", "_codecs", "copyreg", "copy_reg", "argparse", "datetime"];
    let (module, name) = import.split_once(' ').unwrap_or((import, ""));
    let root = module.split('.').next().unwrap_or(module);
    if DANGEROUS.contains(&root) {
        return Danger::Dangerous;
    }
    if matches!(root, "builtins" | "__builtin__" | "__builtins__") {
        let is_dangerous = BUILTINS.contains(&name.split('.').next().unwrap_or(name));
        return if is_dangerous { Danger::Dangerous } else { Danger::Expected };
    }
    let runs_code = [
        "torch.hub",
        "torch.load",
        "torch.jit",
        "torch.serialization",
        "torch.utils.cpp_extension",
        "torch.utils.model_zoo",
        "numpy.testing",
        "numpy.f2py",
        "numpy.distutils",
        "torch._inductor",
        "torch._dynamo",
        "torch.package",
        "torch.distributed",
    ];
    let whole = format!("{module}.{name}");
    if runs_code.iter().any(|bad| whole.starts_with(bad)) {
        return Danger::Dangerous;
    }
    if whole == "copyreg.extension registry" || !EXPECTED.contains(&root) {
        return Danger::Suspicious;
    }
    Danger::Expected
}

/// A member of a zip archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its path in the archive.
    pub name: String,
    /// Where its local header begins.
    pub header_offset: u64,
    /// Its length as stored, in bytes.
    pub stored: u64,
    /// 0: as it is.
    pub method: u16,
}

/// Bytes at the end of a file that hold the zip directory's place.
pub const ZIP_TAIL: u64 = 64 * 1024 + 22 + 20;

/// Finds the directory of a zip archive from its tail: offset and length in the file.
///
/// `None` when the file is no zip archive (PKWARE APPNOTE 4.3.16, 4.3.14).
pub fn zip_directory(tail: &[u8]) -> Option<(u64, u64)> {
    let at = (0..tail.len().saturating_sub(21)).rev().find(|at| tail[*at..].starts_with(b"PK\x05\x06"))?;
    let end = &tail[at..];
    let number = |from: usize| Some(u64::from(u32::from_le_bytes(end.get(from..from + 4)?.try_into().ok()?)));
    let (length, offset) = (number(12)?, number(16)?);
    if offset != 0xffff_ffff && length != 0xffff_ffff {
        return Some((offset, length));
    }
    let wide = (0..at.saturating_sub(55)).rev().find(|at| tail[*at..].starts_with(b"PK\x06\x06"))?;
    let wide = &tail[wide..];
    let number = |from: usize| Some(u64::from_le_bytes(wide.get(from..from + 8)?.try_into().ok()?));
    Some((number(48)?, number(40)?))
}

/// Lists the members of a zip directory, at most `limit`.
pub fn zip_members(directory: &[u8], limit: usize) -> Vec<Member> {
    let mut members = Vec::new();
    let mut rest = directory;
    while members.len() < limit && rest.starts_with(b"PK\x01\x02") && rest.len() >= 46 {
        let two = |from: usize| usize::from(u16::from_le_bytes([rest[from], rest[from + 1]]));
        let four =
            |from: usize| u64::from(u32::from_le_bytes([rest[from], rest[from + 1], rest[from + 2], rest[from + 3]]));
        let (name_length, extra_length, comment_length) = (two(28), two(30), two(32));
        let Some(name) = rest.get(46..46 + name_length) else { break };
        let extra = rest.get(46 + name_length..46 + name_length + extra_length).unwrap_or_default();
        let (mut stored, mut header_offset) = (four(20), four(42));
        widen(extra, four(24) == 0xffff_ffff, &mut stored, &mut header_offset);
        let method = u16::from_le_bytes([rest[10], rest[11]]);
        members.push(Member { name: String::from_utf8_lossy(name).into_owned(), header_offset, stored, method });
        rest = rest.get(46 + name_length + extra_length + comment_length..).unwrap_or_default();
    }
    members
}

/// Takes 64-bit values from the zip64 extra field.
fn widen(mut extra: &[u8], has_size: bool, stored: &mut u64, header_offset: &mut u64) {
    while extra.len() >= 4 {
        let (tag, length) =
            (u16::from_le_bytes([extra[0], extra[1]]), usize::from(u16::from_le_bytes([extra[2], extra[3]])));
        let body = extra.get(4..4 + length).unwrap_or_default();
        if tag == 1 {
            let mut values = body.chunks_exact(8).map(|c| c.iter().rev().fold(0, |n: u64, b| n << 8 | u64::from(*b)));
            if has_size {
                values.next();
            }
            if *stored == 0xffff_ffff {
                *stored = values.next().unwrap_or(*stored);
            }
            if *header_offset == 0xffff_ffff {
                *header_offset = values.next().unwrap_or(*header_offset);
            }
            return;
        }
        extra = extra.get(4 + length..).unwrap_or_default();
    }
}
