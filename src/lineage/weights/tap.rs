//! Takes the print of a weight file while its bytes stream by once, in the order of the file: beside the digest of an
//! upload, without reading anything twice.

use std::{iter::Peekable, ops::Range, vec::IntoIter};

use super::{
    budget,
    file::{MAX_SKIPPED, MAX_TEXT},
    names,
    packed::Stored,
    print::{Fingerprint, MAX_SIDE, TensorPrint},
    shape::Shape,
    slots::Layout,
    take::Taking,
};
use crate::formats::{TensorEntry, gguf, safetensors};

/// Columns that a row may have.
const MAX_COLUMNS: u64 = 4 << 20;

/// Why there is no print of a file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The header of a safetensors file lies.
    #[error(transparent)]
    Safetensors(#[from] safetensors::Error),
    /// The header of a GGUF file lies.
    #[error(transparent)]
    Gguf(#[from] gguf::Error),
    /// More or fewer bytes than were announced.
    #[error("the file was announced with {announced} bytes and has {passed}")]
    WrongLength {
        /// What was announced.
        announced: u64,
        /// How many passed.
        passed: u64,
    },
    /// How a tensor is taken apart depends on the config: read the file again with it.
    #[error("tensor `{0}` cannot be taken apart without the model's config")]
    NeedsShape(String),
}

/// A file whose bytes pass.
pub struct Tap {
    length: u64,
    is_gguf: bool,
    shape: Option<Shape>,
    passed: u64,
    state: State,
}

enum State {
    /// What has come of the header, and how much is worth looking at.
    Header(Vec<u8>, u64),
    Tensors(Box<Tensors>),
    Failed(Error),
}

impl Tap {
    /// Begins with a safetensors file of `length` bytes. Without a shape, files with fused matrices end in
    /// [`Error::NeedsShape`].
    pub fn safetensors(length: u64, shape: Option<Shape>) -> Self {
        Self { length, is_gguf: false, shape, passed: 0, state: State::Header(Vec::new(), 8) }
    }

    /// Begins with a GGUF file of `length` bytes, which says itself how it is to be read. `u64::MAX` stands for a length
    /// that is not known.
    pub fn gguf(length: u64) -> Self {
        Self { length, is_gguf: true, shape: None, passed: 0, state: State::Header(Vec::new(), 64 << 10) }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        let at = self.passed;
        self.passed += bytes.len() as u64;
        match &mut self.state {
            State::Header(..) => self.header(bytes),
            State::Tensors(tensors) => tensors.push(at, bytes),
            State::Failed(_) => {}
        }
    }

    fn header(&mut self, bytes: &[u8]) {
        let State::Header(buffer, wanted) = &mut self.state else { return };
        buffer.extend_from_slice(bytes);
        if (buffer.len() as u64) < (*wanted).min(self.length) {
            return;
        }
        let buffer = std::mem::take(buffer);
        let parsed = if self.is_gguf { self.parse_gguf(&buffer) } else { self.parse_safetensors(&buffer) };
        self.state = match parsed {
            Ok(Parsed::Whole(start, mut tensors)) => {
                let begin = usize::try_from(start).unwrap_or(usize::MAX).min(buffer.len());
                tensors.push(begin as u64, &buffer[begin..]);
                State::Tensors(tensors)
            }
            Ok(Parsed::Wants(wanted)) => State::Header(buffer, wanted),
            Err(error) => State::Failed(error),
        };
    }

    fn parse_safetensors(&self, buffer: &[u8]) -> Result<Parsed, Error> {
        let start = 8 + safetensors::header_length(buffer, self.length)?;
        let Some(header) = usize::try_from(start).ok().and_then(|start| buffer.get(8..start)) else {
            return Ok(Parsed::Wants(start));
        };
        let header = safetensors::parse(header, self.length)?;
        if self.shape.is_none()
            && let Some(tensor) = header.tensors.iter().find(|tensor| names::needs_shape(&tensor.name))
        {
            return Err(Error::NeedsShape(tensor.name.clone()));
        }
        let shape = self.shape.clone().unwrap_or_default();
        Ok(Parsed::Whole(start, Box::new(Tensors::new(header.tensors, shape))))
    }

    fn parse_gguf(&self, buffer: &[u8]) -> Result<Parsed, Error> {
        match gguf::parse(buffer, self.length) {
            // At least twice as much each time, so that long vocabularies are not parsed over and over.
            Err(gguf::Error::NeedMore { at_least }) => {
                Ok(Parsed::Wants(at_least.max(2 * buffer.len() as u64).min(gguf::MAX_HEADER)))
            }
            Err(error) => Err(error.into()),
            Ok(header) => {
                let shape = Shape::of_gguf(&header);
                Ok(Parsed::Whole(header.data_start, Box::new(Tensors::new(header.tensors, shape))))
            }
        }
    }

    /// Returns the print of the file: a fingerprint without what takes more than one file.
    pub fn finish(mut self) -> Result<Fingerprint, Error> {
        let (announced, passed) = (self.length, self.passed);
        let is_known = !(self.is_gguf && announced == u64::MAX);
        if is_known && announced != passed {
            return Err(Error::WrongLength { announced, passed });
        }
        if matches!(self.state, State::Header(..)) {
            self.header(&[]);
        }
        match self.state {
            State::Tensors(tensors) if tensors.end_beyond(passed) => Err(Error::WrongLength { announced, passed }),
            State::Tensors(tensors) => Ok(tensors.finish()),
            State::Failed(error) => Err(error),
            State::Header(..) => Err(Error::WrongLength { announced, passed }),
        }
    }
}

enum Parsed {
    /// Where the header ends, and what it lists.
    Whole(u64, Box<Tensors>),
    /// How many bytes to come back with.
    Wants(u64),
}

/// The tensors of a file, one after the other.
pub(super) struct Tensors {
    left: Peekable<IntoIter<TensorEntry>>,
    now: Option<(Range<u64>, Taking)>,
    print: Fingerprint,
    cost: usize,
}

impl Tensors {
    pub(super) fn new(mut tensors: Vec<TensorEntry>, shape: Shape) -> Self {
        tensors.sort_by_key(|tensor| tensor.start);
        let print = Fingerprint::empty(shape);
        Self { left: tensors.into_iter().peekable(), now: None, print, cost: 0 }
    }

    /// Whether a tensor ends beyond what has passed of the file.
    fn end_beyond(&self, passed: u64) -> bool {
        self.now.as_ref().is_some_and(|(range, _)| range.end > passed)
            || self.left.clone().any(|tensor| tensor.end > passed)
    }

    /// Goes on to the next tensor that is looked at, and returns where it is.
    pub(super) fn next(&mut self) -> Option<Range<u64>> {
        self.complete();
        for tensor in self.left.by_ref() {
            self.print.covered.1 = self.print.covered.1.saturating_add(tensor.elements());
            match readable(&tensor, &self.print.shape) {
                Ok((stored, layout)) => {
                    let range = tensor.start..tensor.end;
                    self.now = Some((range.clone(), Taking::new(stored, layout)));
                    return Some(range);
                }
                Err(reason) if self.print.skipped.len() < MAX_SKIPPED => {
                    self.print.skipped.push((tensor.name.chars().take(120).collect(), reason));
                }
                Err(_) => {}
            }
        }
        None
    }

    /// Takes bytes that begin at `at` in the file.
    pub(super) fn push(&mut self, mut at: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.now.as_ref().is_none_or(|(range, _)| range.end <= at) && self.next().is_none() {
                return;
            }
            let Some((range, taking)) = &mut self.now else { return };
            let passed = if at < range.start { range.start - at } else { range.end - at };
            let count = usize::try_from(passed).unwrap_or(usize::MAX).min(bytes.len());
            let (taken, rest) = bytes.split_at(count);
            if at >= range.start {
                taking.push(taken);
            }
            at += count as u64;
            bytes = rest;
        }
    }

    /// Keeps the print of the tensor that passed.
    fn complete(&mut self) {
        let Some((_, taking)) = self.now.take() else { return };
        for (slot, print, panel) in taking.finish() {
            self.print.covered.0 = self.print.covered.0.saturating_add(print.rows * print.columns);
            self.cost += budget::cost(&slot, &print);
            if panel.is_some() {
                self.print.panel = panel;
            }
            self.print.tensors.insert(slot, print);
        }
        if budget::is_due(self.cost) {
            budget::limit(&mut self.print);
            self.cost = self.print.tensors.iter().map(|(slot, tensor)| budget::cost(slot, tensor)).sum();
        }
    }

    pub(super) fn finish(mut self) -> Fingerprint {
        while self.next().is_some() {}
        budget::limit(&mut self.print);
        self.print.shape.measure(&self.print.tensors);
        self.print.covered.0 = self.print.covered.0.min(self.print.covered.1);
        self.print
    }
}

/// How a tensor is read, or why it is not.
pub(super) fn readable(tensor: &TensorEntry, shape: &Shape) -> Result<(Stored, Layout), String> {
    let layout = names::layout(&tensor.name, &tensor.shape, shape).ok_or("a bias or a buffer, or no values")?;
    if layout.parts.iter().any(|part| part.slot.role.word().len() > MAX_TEXT) {
        return Err("its name is too long".to_owned());
    }
    let stored = Stored::named(tensor.dtype).ok_or_else(|| format!("the type {} is not read", tensor.dtype))?;
    let columns = usize::try_from(layout.columns).unwrap_or(usize::MAX);
    let is_sound = layout.rows <= MAX_SIDE && layout.columns <= MAX_COLUMNS && stored.bytes(columns) > 0;
    is_sound.then_some((stored, layout)).ok_or_else(|| "its dimensions are not read".to_owned())
}

impl Fingerprint {
    /// A fingerprint of nothing.
    fn empty(shape: Shape) -> Self {
        let tensors = std::collections::BTreeMap::<_, TensorPrint>::new();
        let (panel, invariant, covered, skipped) = (None, None, (0, 0), Vec::new());
        Self { version: super::print::VERSION, shape, tensors, panel, invariant, covered, skipped }
    }
}
