//! Weight files as their bytes pass, when nobody has said yet what comes and how long it is.

use serde_json::Value;

/// Longest header of a safetensors file that is worth waiting for, in bytes.
const MAX_HEADER: u64 = 32 << 20;

/// What a file begins like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// More must come to tell.
    Wait,
    /// Not like weights.
    Other,
    /// GGUF, which does not say its length.
    Gguf,
    /// Safetensors with a whole header.
    Safetensors {
        /// Where the header ends, in bytes from the beginning of the file.
        header_end: usize,
        /// Length of the file, if its header is right.
        length: u64,
    },
}

/// Tells weight files by their first bytes.
pub fn recognize(buffer: &[u8]) -> Beginning {
    let Some((first, rest)) = buffer.split_first_chunk::<8>() else { return Beginning::Wait };
    if first.starts_with(b"GGUF") {
        return Beginning::Gguf;
    }
    let length = u64::from_le_bytes(*first);
    if length > MAX_HEADER || rest.first().is_some_and(|byte| *byte != b'{') {
        return Beginning::Other;
    }
    let Some(header) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
        return Beginning::Wait;
    };
    let header_end = 8 + header.len();
    match end_of_tensors(header).and_then(|end| (header_end as u64).checked_add(end)) {
        Some(length) => Beginning::Safetensors { header_end, length },
        None => Beginning::Other,
    }
}

/// How many bytes the tensors of a safetensors header take.
fn end_of_tensors(header: &[u8]) -> Option<u64> {
    let header: Value = serde_json::from_slice(header).ok()?;
    let ends = header.as_object()?.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    ends.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_told_apart() {
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        assert_eq!(recognize(&file[..5]), Beginning::Wait);
        assert_eq!(recognize(&file[..20]), Beginning::Wait);
        let header_end = file.len();
        assert_eq!(recognize(&file), Beginning::Safetensors { header_end, length: header_end as u64 + 4 });
        assert_eq!(recognize(b"GGUF\x03\0\0\0"), Beginning::Gguf);
        assert_eq!(recognize(b"# A card that is long"), Beginning::Other);
        assert_eq!(recognize(&u64::MAX.to_le_bytes()), Beginning::Other);
        assert_eq!(recognize(b"\x02\0\0\0\0\0\0\0[]"), Beginning::Other);
    }
}
