//! Walks pickles as the stack machine they are, without running anything: what reaches an import is seen as loaders
//! see it, whatever was pushed, popped or remembered in between.
//!
//! Opcodes: <https://github.com/python/cpython/blob/main/Lib/pickletools.py>, protocols 0 to 5.

use std::borrow::Cow;

use super::{
    Danger, Report, What, names,
    values::{Known, Value, element_length, text, unescaped, value_at},
};

/// Deepest stack, and most open marks.
const MAX_STACK: usize = 1 << 18;
/// Memo entries that every pickle may have; long ones may have more, in proportion to their length.
const MEMO_FLOOR: usize = 1 << 18;
/// Text of a name that is kept for a person.
const MAX_NAME: usize = 200;
/// How the first pickle of PyTorch's old layout ends: its magic number, then STOP.
const OLD_TORCH: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Pickles of PyTorch's old layout, before the raw storages.
const OLD_TORCH_PICKLES: u64 = 5;

/// Walks all pickles of `bytes`, one after another; what follows them must be pickles too, unless the layout says so.
/// Answers whether the bytes were walked to their end.
pub(super) fn walk(bytes: &[u8], within: &[String], report: &mut Report) -> bool {
    let (mut at, mut pickles, mut old_torch) = (0, 0, false);
    while at < bytes.len() && !(old_torch && pickles == OLD_TORCH_PICKLES) {
        let mut walk = Walk::new(bytes, at, within, report);
        let end = walk.run();
        report.pickles += 1;
        pickles += 1;
        match end {
            Ok(end) => {
                old_torch |= pickles == 1 && bytes[at..end].ends_with(OLD_TORCH);
                at = end;
            }
            Err((offset, why)) => {
                report.add(Danger::Suspicious, within, offset, What::Stopped { why });
                return false;
            }
        }
    }
    true
}

/// Whether bytes walk as a pickle that imports something, or may do so further on if they are `cut` short: for files
/// whose names say nothing. With `eager` it need not have come to its end.
pub(super) fn may_be_program(bytes: &[u8], cut: bool, eager: bool) -> bool {
    let mut report = Report::default();
    let mut walk = Walk::new(bytes, 0, &[], &mut report);
    let (ended, starved) = (walk.run().is_ok(), walk.starved);
    // The first byte of newer protocols is no text's: what such a pickle imported before it stopped, it ran.
    let newer = eager || bytes.first() == Some(&0x80);
    // No text begins with the import of a module that harms by chance; what followed need not be sound.
    let harms = |what: &What| matches!(what, What::Import { module, .. } if names::is_harmful(module));
    let harms = report.findings.iter().any(|finding| harms(&finding.what));
    (starved && cut) || harms || ((ended || newer) && !report.imports.is_empty())
}

/// Whether not even the first opcode is one.
pub(super) fn begins_otherwise(bytes: &[u8]) -> bool {
    let mut report = Report::default();
    let stopped_at = Walk::new(bytes, 0, &[], &mut report).run().err().map(|(at, _)| at);
    bytes.first() != Some(&0x80) && stopped_at == Some(0) && report.imports.is_empty()
}

type Stop = (u64, String);

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the opcode is that is being walked.
    opcode_at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Option<Value>>,
    memorized: usize,
    shape: Option<u64>,
    dtype: Option<u32>,
    aligned: bool,
    /// The walk wanted more bytes than there are.
    starved: bool,
    within: &'a [String],
    report: &'a mut Report,
}

impl<'a> Walk<'a> {
    fn new(bytes: &'a [u8], at: usize, within: &'a [String], report: &'a mut Report) -> Self {
        let (stack, marks, memo) = (Vec::new(), Vec::new(), Vec::new());
        let (shape, dtype, aligned) = (None, None, false);
        Self {
            bytes,
            at,
            opcode_at: at,
            stack,
            marks,
            memo,
            memorized: 0,
            shape,
            dtype,
            aligned,
            starved: false,
            within,
            report,
        }
    }

    fn run(&mut self) -> Result<usize, Stop> {
        loop {
            self.opcode_at = self.at;
            let opcode = self.byte()?;
            if opcode == b'.' {
                self.pop()?;
                return Ok(self.at);
            }
            self.step(opcode)?;
            if self.stack.len() > MAX_STACK || self.marks.len() > MAX_STACK {
                return Err(self.stop(&format!("more than {MAX_STACK} values lie on the stack")));
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<(), Stop> {
        match opcode {
            0x80 => {
                let version = self.byte()?;
                if version > 5 {
                    return Err(self.stop(&format!("protocol {version} is not known")));
                }
            }
            0x95 => self.skip(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                // As the interpreter does: a mark on top is popped in the value's place.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            b'1' => {
                self.pop_mark()?;
            }
            b'2' => {
                let top = self.pop()?;
                self.stack.extend([top, top]);
            }
            b'N' => self.stack.push(Value::Nothing),
            b'}' | b']' | b')' | 0x8f | 0x88 | 0x89 | 0x97 => self.stack.push(Value::Other),
            0x98 => {}
            b'I' | b'L' | b'F' => {
                self.line()?;
                self.stack.push(Value::Other);
            }
            b'K' | b'M' | b'J' => {
                let number = self.number(if opcode == b'K' {
                    1
                } else if opcode == b'M' {
                    2
                } else {
                    4
                })?;
                self.stack.push(u32::try_from(number).map_or(Value::Other, Value::Number));
            }
            b'G' => {
                self.skip(8)?;
                self.stack.push(Value::Other);
            }
            0x8a => self.counted(1, false)?,
            0x8b => self.counted(4, false)?,
            b'S' | b'V' => self.text_line(opcode)?,
            b'U' | 0x8c => self.counted(1, true)?,
            b'T' | b'X' => self.counted(4, true)?,
            0x8d => self.counted(8, true)?,
            b'C' => self.counted(1, false)?,
            b'B' => self.counted(4, false)?,
            0x8e | 0x96 => self.counted(8, false)?,
            b'P' => {
                self.line()?;
                self.stack.push(Value::Other);
            }
            b'Q' => self.replace(1, Value::Other)?,
            b'p' | b'q' | b'r' | 0x94 => self.remember(opcode)?,
            b'g' | b'h' | b'j' => self.recall(opcode)?,
            b'a' => self.drop_top(1)?,
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.field(key, value);
            }
            b'e' | 0x90 => {
                self.pop_mark()?;
            }
            b'u' => {
                let from = self.pop_mark_at()?;
                let pairs = self.stack.split_off(from);
                for pair in pairs.chunks_exact(2) {
                    self.field(pair[0], pair[1]);
                }
            }
            b't' => {
                let from = self.pop_mark_at()?;
                self.tuple(from);
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let bottom = self.marks.last().copied().unwrap_or(0);
                let from = self.stack.len().checked_sub(count).filter(|from| *from >= bottom);
                self.tuple(from.ok_or_else(|| self.stop("the stack is empty"))?);
            }
            b'l' | b'd' | 0x91 => {
                self.pop_mark()?;
                self.stack.push(Value::Other);
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let global = self.import("GLOBAL", &text(module), &text(name));
                self.stack.push(global);
            }
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                self.pop_mark()?;
                self.import("INST", &text(module), &text(name));
                self.stack.push(Value::Other);
            }
            0x93 => self.stack_global()?,
            0x82..=0x84 => {
                let width = [1, 2, 4][usize::from(opcode - 0x82)];
                let code = self.number(width)?;
                // What it means depends on the process that loads it.
                self.import(&format!("EXT{width}"), "copyreg", &format!("_inverted_registry[{code}]"));
                self.stack.push(Value::Other);
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.stack.push(self.made(callable, arguments));
            }
            0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                self.stack.push(self.made(class, arguments));
            }
            0x92 => {
                let (_, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                self.stack.push(self.made(class, arguments));
            }
            b'o' => {
                let from = self.pop_mark_at()?;
                let class = self.stack.get(from).copied().unwrap_or(Value::Other);
                self.stack.truncate(from);
                self.stack.push(self.made(class, Value::Other));
            }
            b'b' => self.build()?,
            other => return Err(self.stop(&format!("0x{other:02x} is no opcode of a pickle"))),
        }
        Ok(())
    }

    fn stop(&self, why: &str) -> Stop {
        (self.opcode_at as u64, why.to_owned())
    }

    fn byte(&mut self) -> Result<u8, Stop> {
        let byte = self.bytes.get(self.at).copied();
        self.starved |= byte.is_none();
        let byte = byte.ok_or_else(|| self.stop("the pickle has no end"))?;
        self.at += 1;
        Ok(byte)
    }

    fn slice(&mut self, length: u64) -> Result<&'a [u8], Stop> {
        let end = usize::try_from(length).ok().and_then(|length| self.at.checked_add(length));
        let slice = end.and_then(|end| self.bytes.get(self.at..end));
        self.starved |= slice.is_none();
        let slice = slice.ok_or_else(|| self.stop(&format!("{length} bytes are claimed that are not there")))?;
        self.at += slice.len();
        Ok(slice)
    }

    fn skip(&mut self, length: u64) -> Result<(), Stop> {
        self.slice(length).map(|_| ())
    }

    fn number(&mut self, width: u64) -> Result<u64, Stop> {
        Ok(self.slice(width)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        self.starved |= length.is_none();
        let length = length.ok_or_else(|| self.stop("a line has no end"))?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn counted(&mut self, width: u64, is_text: bool) -> Result<(), Stop> {
        let length = self.number(width)?;
        let start = self.at;
        self.skip(length)?;
        self.stack.push(if is_text { value_at(start, self.at, false) } else { Value::Other });
        Ok(())
    }

    fn text_line(&mut self, opcode: u8) -> Result<(), Stop> {
        let start = self.at;
        let line = self.line()?;
        let mut range = (start, start + line.len());
        if opcode == b'S' {
            let trimmed = line.trim_ascii();
            range.0 += line.len() - line.trim_ascii_start().len();
            range.1 = range.0 + trimmed.len();
            let quoted = trimmed.len() >= 2 && matches!(trimmed[0], b'\'' | b'"') && trimmed.ends_with(&trimmed[..1]);
            if !quoted {
                return Err(self.stop("a text has no quotes"));
            }
            range = (range.0 + 1, range.1 - 1);
        }
        self.stack.push(value_at(range.0, range.1, true));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, Stop> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= bottom {
            return Err(self.stop("the stack is empty"));
        }
        self.stack.pop().ok_or_else(|| self.stop("the stack is empty"))
    }

    fn drop_top(&mut self, count: usize) -> Result<(), Stop> {
        (0..count).try_for_each(|_| self.pop().map(|_| ()))
    }

    fn replace(&mut self, count: usize, value: Value) -> Result<(), Stop> {
        self.drop_top(count)?;
        self.stack.push(value);
        Ok(())
    }

    fn pop_mark_at(&mut self) -> Result<usize, Stop> {
        self.marks.pop().ok_or_else(|| self.stop("no mark is on the stack"))
    }

    fn pop_mark(&mut self) -> Result<(), Stop> {
        let from = self.pop_mark_at()?;
        self.stack.truncate(from);
        Ok(())
    }

    fn key(&mut self, opcode: u8) -> Result<usize, Stop> {
        let key = match opcode {
            b'p' | b'g' => text(self.line()?).trim().parse().ok(),
            b'q' | b'h' => Some(self.number(1)?),
            b'r' | b'j' => Some(self.number(4)?),
            _ => Some(self.memorized as u64),
        };
        let most = MEMO_FLOOR + self.bytes.len() / 4;
        let key = key.and_then(|key| usize::try_from(key).ok()).filter(|key| *key < most);
        key.ok_or_else(|| self.stop(&format!("a memo entry is none of the first {most}")))
    }

    fn remember(&mut self, opcode: u8) -> Result<(), Stop> {
        let key = self.key(opcode)?;
        let top = self.pop()?;
        self.stack.push(top);
        if key >= self.memo.len() {
            self.memo.resize(key + 1, None);
        }
        self.memorized += usize::from(self.memo[key].replace(top).is_none());
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Result<(), Stop> {
        let key = self.key(opcode)?;
        let value = self.memo.get(key).copied().flatten();
        self.stack.push(value.ok_or_else(|| self.stop(&format!("memo entry {key} was never put")))?);
        Ok(())
    }

    fn tuple(&mut self, from: usize) {
        let numbers = self.stack[from..].iter().try_fold(1_u64, |product, value| match value {
            Value::Number(number) => product.checked_mul(u64::from(*number)),
            _ => None,
        });
        let value = match (numbers, self.stack.get(from)) {
            (Some(product), _) => Value::Shape(product),
            (None, Some(Value::Text { start, length, .. })) => Value::TextTuple { start: *start, length: *length },
            _ => Value::Other,
        };
        self.stack.truncate(from);
        self.stack.push(value);
    }

    fn made(&self, callable: Value, arguments: Value) -> Value {
        match (callable, arguments) {
            (Value::Global(Known::Wrapper), _) => Value::Wrapper,
            (Value::Global(Known::Dtype), Value::TextTuple { start, length }) => {
                let code = &self.bytes[start as usize..(start + length) as usize];
                Value::Dtype(element_length(code))
            }
            (Value::Global(Known::Dtype), _) => Value::Dtype(None),
            _ => Value::Other,
        }
    }

    fn field(&mut self, key: Value, value: Value) {
        match (self.text_of(key).as_deref(), value) {
            (Some("shape"), Value::Shape(product)) => self.shape = Some(product),
            (Some("shape"), Value::Other) => self.shape = Some(1),
            (Some("dtype"), Value::Dtype(length)) => self.dtype = length,
            (Some("numpy_array_alignment_bytes"), value) => self.aligned = value != Value::Nothing,
            _ => {}
        }
    }

    fn build(&mut self) -> Result<(), Stop> {
        self.drop_top(1)?;
        let object = self.pop()?;
        self.stack.push(object);
        match object {
            Value::Wrapper => {
                let (Some(shape), Some(dtype)) = (self.shape.take(), self.dtype.take()) else {
                    return Err(self.stop("an array follows whose length is not known"));
                };
                if std::mem::take(&mut self.aligned) {
                    let padding = self.number(1)?;
                    self.skip(padding)?;
                }
                let length = shape.checked_mul(u64::from(dtype));
                self.skip(length.unwrap_or(u64::MAX))
            }
            // State goes into objects; put into a class or a function, it changes the program that loads.
            Value::Global(_) => {
                let what = What::Code { what: "BUILD changes an imported name itself".to_owned() };
                self.report.add(Danger::Dangerous, self.within, self.opcode_at as u64, what);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn text_of(&self, value: Value) -> Option<Cow<'a, str>> {
        let Value::Text { start, length, escaped } = value else {
            return None;
        };
        let bytes = &self.bytes[start as usize..(start + length) as usize];
        let text = text(bytes);
        Some(if escaped && text.contains('\\') { Cow::Owned(unescaped(&text)) } else { text })
    }

    fn stack_global(&mut self) -> Result<(), Stop> {
        let (name, module) = (self.pop()?, self.pop()?);
        let global = if let (Some(module), Some(name)) = (self.text_of(module), self.text_of(name)) {
            self.import("STACK_GLOBAL", &module, &name)
        } else {
            let why = "STACK_GLOBAL imports a name that is no text in the file".to_owned();
            self.report.add(Danger::Suspicious, self.within, self.opcode_at as u64, What::Stopped { why });
            Value::Other
        };
        self.stack.push(global);
        Ok(())
    }

    fn import(&mut self, opcode: &str, module: &str, name: &str) -> Value {
        let short = |text: &str| text.chars().take(MAX_NAME).collect::<String>();
        let danger = names::judge(module, name);
        self.report.import(format!("{} {}", short(module), short(name)));
        if danger > Danger::Sound {
            let what = What::Import { opcode: opcode.to_owned(), module: short(module), name: short(name) };
            self.report.add(danger, self.within, self.opcode_at as u64, what);
        }
        Value::Global(match (module, name) {
            ("joblib.numpy_pickle", "NumpyArrayWrapper") => Known::Wrapper,
            ("numpy", "dtype") => Known::Dtype,
            _ => Known::Other,
        })
    }
}
