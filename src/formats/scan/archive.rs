//! Looks into archives, whatever their members are called: zip, tar, gzip and zlib.

use std::{
    io::{self, Read},
    ops::Range,
};

use super::{Content, Danger, Look, MAX_WALKED, ReadAs, Report, What, read_as};

/// Archives in archives that are followed.
const MAX_DEPTH: usize = 3;
/// Longest end of a zip that its directory's place is looked for in.
const MAX_TAIL: u64 = 22 + 65_535;
/// What may lie between members of a zip: a data descriptor.
const DESCRIPTOR: u64 = 24;

/// A part of other content.
struct Part<'a> {
    content: &'a dyn Content,
    range: Range<u64>,
}

impl Content for Part<'_> {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        self.content.read(self.range.start + range.start..self.range.start + range.end)
    }
}

struct Member {
    name: String,
    method: u64,
    encrypted: bool,
    packed: u64,
    local: u64,
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let bytes = bytes.get(at..at + width).unwrap_or_default();
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn stopped(report: &mut Report, within: &[String], offset: u64, why: &str) {
    report.add(Danger::Suspicious, within, offset, What::Stopped { why: why.to_owned() });
}

impl Look<'_> {
    /// Unpacks gzip or zlib, and looks into what comes out.
    pub(super) fn unpack(&mut self, content: &dyn Content, as_what: ReadAs, within: &[String]) -> io::Result<()> {
        let bytes = content.read(0..content.length().min(MAX_WALKED))?;
        let inner = if bytes.starts_with(b"\x1f\x8b") {
            self.inflate(flate2::read::MultiGzDecoder::new(bytes.as_slice()))
        } else {
            self.inflate(flate2::read::ZlibDecoder::new(bytes.as_slice()))
        };
        match inner {
            Ok(inner) => self.inner(&inner.as_slice(), as_what, within),
            // Two bytes may look like compression by chance: only a name that says pickle makes that suspicious.
            Err(why) => {
                if as_what == ReadAs::Pickle || (within.is_empty() && bytes.starts_with(b"\x1f\x8b")) {
                    stopped(self.report, within, 0, why);
                }
                Ok(())
            }
        }
    }

    fn inflate(&mut self, reader: impl Read) -> Result<Vec<u8>, &'static str> {
        let most = self.unpacked_left.min(MAX_WALKED);
        let mut out = Vec::new();
        let outcome = reader.take(most + 1).read_to_end(&mut out);
        self.unpacked_left = self.unpacked_left.saturating_sub(out.len() as u64);
        match outcome {
            Err(_) => Err("it cannot be unpacked"),
            Ok(length) if length as u64 > most => Err("it unpacks to more than is looked into"),
            Ok(_) => Ok(out),
        }
    }

    fn inner(&mut self, content: &dyn Content, as_what: ReadAs, within: &[String]) -> io::Result<()> {
        self.depth += 1;
        let outcome = if self.depth > MAX_DEPTH {
            stopped(self.report, within, 0, "too many archives lie in one another");
            Ok(())
        } else {
            self.content(content, as_what, within).map(|_| ())
        };
        self.depth -= 1;
        outcome
    }

    fn count(&mut self, within: &[String]) -> bool {
        self.members_left = self.members_left.saturating_sub(1);
        if self.members_left == 0 {
            stopped(self.report, within, 0, "the archive has more members than are looked into");
        }
        self.members_left > 0
    }

    /// Looks into a zip, if content ends as one; answers where its first byte is, and none if it is no zip.
    pub(super) fn zip(&mut self, content: &dyn Content, within: &[String]) -> io::Result<Option<u64>> {
        let length = content.length();
        let tail_at = length - length.min(MAX_TAIL);
        let tail = content.read(tail_at..length)?;
        let Some(end) = tail.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").filter(|at| at + 22 <= tail.len())
        else {
            return Ok(None);
        };
        let mut directory_end = tail_at + end as u64;
        let (mut size, mut offset) = (number(&tail, end + 12, 4), number(&tail, end + 16, 4));
        if let Some(locator) = end.checked_sub(20).filter(|at| tail[*at..].starts_with(b"PK\x06\x07")) {
            // The record lies right before its locator, as zipfile reads it, whatever place the locator names.
            if let Some(record) = locator.checked_sub(56).filter(|at| tail[*at..].starts_with(b"PK\x06\x06")) {
                (size, offset) = (number(&tail, record + 40, 8), number(&tail, record + 48, 8));
                directory_end = tail_at + record as u64;
            }
        }
        let begins = content.read(0..length.min(4))?.starts_with(b"PK");
        let Some(start) = directory_end.checked_sub(size) else {
            if begins {
                stopped(self.report, within, directory_end, "the zip's directory lies outside the file");
            }
            return Ok(begins.then_some(0));
        };
        // Four bytes of numbers may look like a zip's end by chance; no reader opens one whose directory begins otherwise.
        if !begins && size > 0 && content.read(start..directory_end.min(start + 4))? != b"PK\x01\x02" {
            return Ok(None);
        }
        if size > MAX_WALKED {
            stopped(self.report, within, start, "the zip's directory is too long");
            return Ok(Some(0));
        }
        let directory = content.read(start..directory_end)?;
        let shift = start.wrapping_sub(offset);
        let mut ranges = Vec::new();
        let mut at = 0;
        while at < directory.len() {
            let Some((member, next)) = member(&directory, at) else {
                stopped(self.report, within, start + at as u64, "the zip's directory cannot be read");
                break;
            };
            at = next;
            if !self.count(within) {
                break;
            }
            if let Some(range) = self.member(content, &member, shift, within)? {
                ranges.push(range);
            }
        }
        ranges.sort_by_key(|range| range.start);
        let first = ranges.first().map_or(start, |range| range.start);
        let mut covered = 0;
        for range in ranges.into_iter().chain([start..start]) {
            if range.start > covered + DESCRIPTOR
                && content
                    .read(covered..range.start.min(covered.saturating_add(MAX_WALKED)))?
                    .windows(4)
                    .any(|b| b == b"PK\x03\x04")
            {
                stopped(self.report, within, covered, "a member is missing in the zip's directory");
            }
            covered = covered.max(range.end);
        }
        Ok(Some(first))
    }

    fn member(
        &mut self,
        content: &dyn Content,
        member: &Member,
        shift: u64,
        within: &[String],
    ) -> io::Result<Option<Range<u64>>> {
        let within: Vec<String> = within.iter().cloned().chain([member.name.clone()]).collect();
        let local = member.local.wrapping_add(shift);
        let header = match local.checked_add(30) {
            Some(end) if end <= content.length() => content.read(local..end)?,
            _ => Vec::new(),
        };
        let data = local.wrapping_add(30 + number(&header, 26, 2) + number(&header, 28, 2));
        let end = data.checked_add(member.packed).filter(|end| *end <= content.length());
        let (true, Some(end)) = (header.starts_with(b"PK\x03\x04"), end) else {
            stopped(self.report, &within, local, "the member lies where none is");
            return Ok(None);
        };
        if member.encrypted {
            stopped(self.report, &within, local, "the member says that it is encrypted");
        }
        if number(&header, 8, 2) != member.method {
            stopped(self.report, &within, local, "the member's header and the directory differ");
        }
        let part = Part { content, range: data..end };
        match member.method {
            0 => self.inner(&part, read_as(&member.name), &within)?,
            8 if member.packed <= MAX_WALKED => {
                let packed = part.read(0..member.packed)?;
                match self.inflate(flate2::read::DeflateDecoder::new(packed.as_slice())) {
                    Ok(inner) => self.inner(&inner.as_slice(), read_as(&member.name), &within)?,
                    Err(why) => stopped(self.report, &within, 0, why),
                }
            }
            _ => stopped(self.report, &within, local, "the member is packed in a way that is not unpacked here"),
        }
        Ok(Some(local..end))
    }

    /// Looks into the members of a tar.
    pub(super) fn tar(&mut self, content: &dyn Content, within: &[String]) -> io::Result<()> {
        let mut at = 0;
        while at + 512 <= content.length() {
            let header = content.read(at..at + 512)?;
            if header.iter().all(|byte| *byte == 0) {
                return Ok(());
            }
            let size = octal(&header[124..136]);
            let end =
                size.and_then(|size| at.checked_add(512)?.checked_add(size)).filter(|end| *end <= content.length());
            let (true, Some(end)) = (is_tar(&header), end) else {
                stopped(self.report, within, at, "the tar cannot be read further");
                return Ok(());
            };
            if !self.count(within) {
                return Ok(());
            }
            let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            // The one name without an ending under which PyTorch's oldest layout keeps a pickle.
            let as_what = if name == "pickle" { ReadAs::Pickle } else { read_as(&name) };
            let within: Vec<String> = within.iter().cloned().chain([name]).collect();
            self.inner(&Part { content, range: at + 512..end }, as_what, &within)?;
            at = end.next_multiple_of(512);
        }
        Ok(())
    }
}

fn member(directory: &[u8], at: usize) -> Option<(Member, usize)> {
    let header = directory.get(at..at + 46).filter(|header| header.starts_with(b"PK\x01\x02"))?;
    let lengths = [28, 30, 32].map(|place| usize::try_from(number(header, place, 2)).unwrap_or_default());
    let name = directory.get(at + 46..at + 46 + lengths[0])?;
    let mut extra = directory.get(at + 46 + lengths[0]..at + 46 + lengths[0] + lengths[1])?;
    let [mut packed, unpacked, mut local] = [20, 24, 42].map(|place| number(header, place, 4));
    while extra.len() >= 4 {
        let end = (4 + usize::try_from(number(extra, 2, 2)).ok()?).min(extra.len());
        if number(extra, 0, 2) == 1 {
            let mut place = if unpacked == 0xffff_ffff { 12 } else { 4 };
            if packed == 0xffff_ffff {
                packed = number(extra, place, 8);
                place += 8;
            }
            if local == 0xffff_ffff {
                local = number(extra, place, 8);
            }
        }
        extra = &extra[end..];
    }
    let name = String::from_utf8_lossy(&name[..name.len().min(300)]).into_owned();
    let member = Member { name, method: number(header, 10, 2), encrypted: header[8] & 1 == 1, packed, local };
    Some((member, at + 46 + lengths.iter().sum::<usize>()))
}

fn octal(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// Whether a block is a tar's header, by its sum.
pub(super) fn is_tar(header: &[u8]) -> bool {
    let Some(header) = header.get(..512) else {
        return false;
    };
    let others = header[..148].iter().chain(&header[156..]).map(|byte| u64::from(*byte)).sum::<u64>();
    header[0] != 0 && octal(&header[148..156]) == Some(others + 8 * u64::from(b' '))
}
