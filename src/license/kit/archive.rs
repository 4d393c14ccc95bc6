//! The kit as one download.

use std::io::{Cursor, Write as _};

use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use super::KitFile;

/// Packs files into a ZIP archive: in the given order, without compression and with the earliest date that the format
/// knows, so that equal files make equal archives.
pub fn archive(files: &[KitFile]) -> Vec<u8> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files {
        // A name that stands twice, and nothing else, is refused: the first one stays.
        if writer.start_file(file.path.as_str(), options).is_ok() {
            writer.write_all(file.text.as_bytes()).expect("memory takes what is written");
        }
    }
    writer.finish().expect("memory takes what is written").into_inner()
}
