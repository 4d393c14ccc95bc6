//! Asks of every published file what loading it would run, and says it in words.
//!
//! An answer belongs to a content and the way its path says that it is read, never to the name under which it came first.

use std::{io, ops::Range};

use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::runtime::Handle;

use super::{Error, File, db};
pub use crate::formats::scan::Danger;
use crate::{
    digest::Digest,
    formats::scan::{self, Content, Finding, Report, What},
    storage::{self, BlobStore},
};

/// Most files that are named in flags, the gravest first.
const MAX_FLAGS: usize = 100;
/// Longest text out of a file that is repeated, in characters.
const MAX_WORD: usize = 200;

/// Scans what no scan of this version has answered yet. That the store cannot be read is an error, never an answer.
pub async fn scan_all(db: &mut PgConnection, store: &BlobStore, files: &[File]) -> Result<(), Error> {
    let mut known = db::find_scans(db, &digests(files)).await?;
    for file in files {
        let key = (file.digest, scan::read_as(file.path.as_str()));
        if known.contains_key(&key) {
            continue;
        }
        let report = look(store, file).await?;
        db::upsert_scan(db, &key.0, key.1, &report).await?;
        known.insert(key, report);
    }
    Ok(())
}

/// Returns what is known of each file, in their order; `None` for one that was not scanned.
pub async fn find(db: &mut PgConnection, files: &[File]) -> Result<Vec<Option<Report>>, Error> {
    let known = db::find_scans(db, &digests(files)).await?;
    Ok(files.iter().map(|file| known.get(&(file.digest, scan::read_as(file.path.as_str()))).cloned()).collect())
}

fn digests(files: &[File]) -> Vec<Vec<u8>> {
    files.iter().map(|file| file.digest.as_bytes().to_vec()).collect()
}

async fn look(store: &BlobStore, file: &File) -> Result<Report, Error> {
    let blob =
        Blob { store: store.clone(), digest: file.digest, size: file.size.cast_unsigned(), runtime: Handle::current() };
    let read_as = scan::read_as(file.path.as_str());
    match tokio::task::spawn_blocking(move || scan::scan(&blob, read_as)).await {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) => Err(error.downcast::<storage::Error>().unwrap_or_else(storage::Error::Io).into()),
        // Bytes that break the scanner must not pass for sound.
        Err(error) => Ok(stopped(format!("the scan broke off: {error}"))),
    }
}

fn stopped(why: String) -> Report {
    let what = What::Stopped { why };
    let finding = Finding { danger: Danger::Suspicious, within: Vec::new(), offset: 0, what };
    Report { content: "other".to_owned(), findings: vec![finding], ..Report::default() }
}

/// A blob of the store, read from a thread that may block.
struct Blob {
    store: BlobStore,
    digest: Digest,
    size: u64,
    runtime: Handle,
}

impl Content for Blob {
    fn length(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let read = self.runtime.block_on(self.store.read_bytes(&self.digest, range));
        read.map(|bytes| bytes.to_vec()).map_err(io::Error::other)
    }
}

/// Says what was found in files, a flag for each file that is not sound; `on` names a ref other than `main`.
pub fn flags(files: &[File], reports: &[Option<Report>], on: Option<&str>) -> Vec<Value> {
    let mut found: Vec<(&File, &Finding, usize)> = files
        .iter()
        .zip(reports)
        .filter_map(|(file, report)| {
            let findings = &report.as_ref()?.findings;
            let gravest = findings.iter().rev().max_by_key(|finding| finding.danger)?;
            (gravest.danger > Danger::Sound).then_some((file, gravest, findings.len() - 1))
        })
        .collect();
    found.sort_by_key(|(_, finding, _)| std::cmp::Reverse(finding.danger));
    let place = on.map_or_else(String::new, |name| format!(" on `{name}`"));
    let mut flags: Vec<Value> = found
        .iter()
        .take(MAX_FLAGS)
        .map(|(file, finding, others)| {
            let more = if *others > 0 { format!("; {others} more findings") } else { String::new() };
            let detail = format!("{}{place}: {}{more}", file.path, describe(finding));
            flag(code(finding), &detail, on)
        })
        .collect();
    if let Some((_, finding, _)) = found.get(MAX_FLAGS) {
        let detail = format!("{} more files{place} were found to be like this or milder", found.len() - MAX_FLAGS);
        flags.push(flag(code(finding), &detail, on));
    }
    flags
}

fn flag(code: &str, detail: &str, on: Option<&str>) -> Value {
    let mut flag = json!({ "code": code, "detail": detail });
    if let Some(name) = on {
        flag["ref"] = json!(name);
    }
    flag
}

/// Says what was found that is at least so bad, a sentence for each file.
pub fn details(files: &[File], reports: &[Option<Report>], at_least: Danger) -> Vec<String> {
    let mut details = Vec::new();
    for (file, report) in files.iter().zip(reports) {
        let findings = report.iter().flat_map(|report| &report.findings);
        if let Some(finding) = findings.max_by_key(|finding| finding.danger).filter(|f| f.danger >= at_least) {
            details.push(format!("{}: {}", file.path, describe(finding)));
        }
    }
    details
}

fn code(finding: &Finding) -> &'static str {
    match (finding.danger, &finding.what) {
        (Danger::Dangerous, What::Import { .. }) => "pickle-dangerous",
        (Danger::Dangerous, _) => "code-dangerous",
        (Danger::Suspicious, What::Code { .. }) => "code-suspicious",
        (Danger::Suspicious, _) => "pickle-suspicious",
        (Danger::CustomCode | Danger::Sound, _) => "custom-code",
    }
}

/// Says what was found and where, in half a sentence.
fn describe(finding: &Finding) -> String {
    let inside = finding.within.iter().fold(String::new(), |inside, member| inside + " in `" + &short(member) + "`");
    let at = finding.offset;
    match &finding.what {
        What::Import { opcode, module, name } => {
            let effect = match finding.danger {
                Danger::Dangerous => "it would run code when loaded",
                _ => "it imports more than weights need",
            };
            format!("{effect}: {opcode} at byte {at}{inside} imports `{} {}`", short(module), short(name))
        }
        What::Stopped { why } => {
            format!("it was not looked through: the scan stopped at byte {at}{inside}: {}", short(why))
        }
        What::Code { what } => format!("{} (byte {at}{inside})", short(what)),
    }
}

/// Text out of a file, so that it can stand in a line and in a header.
fn short(text: &str) -> String {
    text.chars().take(MAX_WORD).map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
