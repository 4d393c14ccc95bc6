//! Names that outlive a report: package addresses, URLs, UUIDs, timestamps.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha1::{Digest as _, Sha1};
use time::{OffsetDateTime, UtcOffset};

use crate::license::report::ReportInfo;

/// What a URL and a package address may hold as it is (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What stands for a name that is empty, where a format wants one.
const NAMELESS: &str = "unnamed";

/// Spells a name for use between two slashes of a URL.
pub(super) fn segment(name: &str) -> String {
    utf8_percent_encode(name, RESERVED).to_string()
}

/// Spells `namespace/name` for use in a URL.
pub(super) fn path(id: &str) -> String {
    let segments: Vec<String> = id.split('/').filter(|part| !part.is_empty()).map(segment).collect();
    if segments.is_empty() { NAMELESS.to_owned() } else { segments.join("/") }
}

/// The package address of a model, `pkg:huggingface/NAMESPACE/NAME@COMMIT`
/// (<https://github.com/package-url/purl-spec/blob/main/types-doc/huggingface-definition.md>).
///
/// It does not say which hub: a mirrored model and its parents keep one address wherever they are served.
pub(super) fn package(id: &str, commit: Option<&str>) -> String {
    let version = commit.map(|commit| format!("@{}", segment(&commit.to_lowercase()))).unwrap_or_default();
    format!("pkg:huggingface/{}{version}", path(id))
}

/// Namespace and name of a model; a name alone has no namespace.
pub(super) fn parts(id: &str) -> (Option<&str>, &str) {
    let (namespace, name) = id.split_once('/').map_or((None, id), |(namespace, name)| (Some(namespace), name));
    (namespace, if name.is_empty() { NAMELESS } else { name })
}

/// Where the registry is; a report made without one gets an address that can never be one (RFC 2606, section 2).
pub(super) fn base(info: &ReportInfo) -> String {
    let is_url = info.endpoint.starts_with("http://") || info.endpoint.starts_with("https://");
    let is_plain = info.endpoint.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
    if is_url && is_plain {
        info.endpoint.trim_end_matches('/').to_owned()
    } else {
        "https://herdbook.invalid".to_owned()
    }
}

/// The page of a model.
pub(super) fn page(info: &ReportInfo, id: &str) -> String {
    format!("{}/{}", base(info), path(id))
}

/// The page of a license that the catalogue knows under this key or identifier.
pub(super) fn license_page(info: &ReportInfo, license: &str) -> String {
    format!("{}/licenses/{}", base(info), segment(license.strip_prefix("LicenseRef-").unwrap_or(license)))
}

/// The UUID of a name, by SHA-1 in the name space of URLs (RFC 9562, section 5.5).
pub(super) fn uuid(name: &str) -> String {
    const URLS: [u8; 16] =
        [0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
    let digest = Sha1::new().chain_update(URLS).chain_update(name).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x50;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = hex::encode(bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A moment as `2026-11-26T12:30:00Z`, the one spelling that all formats here accept.
pub(super) fn timestamp(moment: OffsetDateTime) -> String {
    let moment = moment.checked_to_offset(UtcOffset::UTC).unwrap_or(moment);
    let (year, month, day) = (moment.year().clamp(0, 9999), u8::from(moment.month()), moment.day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", moment.hour(), moment.minute(), moment.second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_the_one_that_others_compute() {
        // python3 -c "import uuid; print(uuid.uuid5(uuid.NAMESPACE_URL, 'https://example.org/'))"
        assert_eq!(uuid("https://example.org/"), "527dda32-a0de-5105-a042-cb475b5f7d11");
    }

    #[test]
    fn package_addresses_hold_any_name() {
        assert_eq!(
            package("meta-llama/Llama-3.1-8B", Some("0E9E39F")),
            "pkg:huggingface/meta-llama/Llama-3.1-8B@0e9e39f"
        );
        assert_eq!(package("gpt2", None), "pkg:huggingface/gpt2");
        assert_eq!(package("a/ü @?#", None), "pkg:huggingface/a/%C3%BC%20%40%3F%23");
    }
}
