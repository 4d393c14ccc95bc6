//! Which files of a revision or a folder are its weights.

use std::collections::BTreeMap;

use crate::formats::{self, FileKind};

/// What a set of files holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// A model's weights, in these files by number.
    Model(Vec<usize>),
    /// An adapter's.
    Adapter(Vec<usize>),
}

/// Chooses the weight files among paths with their sizes in bytes, or says why there are none.
///
/// All shards of safetensors, as the index lists them when there is one; else the largest GGUF with its parts.
pub(super) fn choose(files: &[(&str, u64)], listed: &[String]) -> Result<Choice, String> {
    let of_kind = |kind: FileKind| {
        let found = files.iter().enumerate().filter(move |(_, (path, _))| formats::kind(path) == kind);
        found.map(|(number, _)| number).collect::<Vec<usize>>()
    };
    let tensors = of_kind(FileKind::Safetensors);
    let (adapters, others): (Vec<usize>, Vec<usize>) = tensors.iter().partition(|file| is_adapter(files[**file].0));
    let whole: Vec<usize> = others.into_iter().filter(|file| !files[*file].0.contains('/')).collect();
    // What lies beside an adapter under another name than a model's is no model.
    let is_model =
        |file: &usize| files[*file].0.starts_with("model") || listed.iter().any(|name| name == files[*file].0);
    if !whole.is_empty() && (adapters.is_empty() || whole.iter().any(is_model)) {
        return Ok(Choice::Model(without_second_copies(files, whole, listed)));
    }
    if !adapters.is_empty() {
        return Ok(Choice::Adapter(adapters));
    }
    let ggufs = of_kind(FileKind::Gguf);
    if !ggufs.is_empty() {
        return Ok(Choice::Model(largest_group(files, &ggufs)));
    }
    Err(if !of_kind(FileKind::Pickle).is_empty() {
        "pickle-based weights are scanned for imports, never loaded"
    } else if tensors.is_empty() {
        "there are no weights"
    } else {
        "the weights lie in folders, which are parts of something larger"
    }
    .to_owned())
}

fn is_adapter(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.starts_with("adapter_model") || name == "adapters.safetensors"
}

/// Some publishers add the same weights under other names: the index, or else the usual names, say which count.
fn without_second_copies(files: &[(&str, u64)], whole: Vec<usize>, listed: &[String]) -> Vec<usize> {
    let by_index: Vec<usize> =
        whole.iter().copied().filter(|file| listed.iter().any(|name| name == files[*file].0)).collect();
    if !by_index.is_empty() {
        return by_index;
    }
    let usual: Vec<usize> = whole.iter().copied().filter(|file| files[*file].0.starts_with("model")).collect();
    if usual.is_empty() { whole } else { usual }
}

/// GGUF files beside each other are alternatives, unless they are numbered parts of one: the largest has lost least.
fn largest_group(files: &[(&str, u64)], ggufs: &[usize]) -> Vec<usize> {
    let stem = |path: &str| path.find("-00").filter(|_| path.contains("-of-")).map_or(path.len(), |at| at);
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for file in ggufs {
        let path = files[*file].0;
        groups.entry(&path[..stem(path)]).or_default().push(*file);
    }
    let size = |group: &Vec<usize>| group.iter().map(|file| files[*file].1).sum::<u64>();
    groups.into_values().max_by_key(size).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_tells_shards_from_second_copies() {
        let files = [("consolidated.safetensors", 9), ("a-1.safetensors", 4), ("a-2.safetensors", 5)];
        let listed = ["a-1.safetensors".to_owned(), "a-2.safetensors".to_owned()];
        assert_eq!(choose(&files, &listed), Ok(Choice::Model(vec![1, 2])));
        let files = [("consolidated.safetensors", 9), ("model.safetensors", 9)];
        assert_eq!(choose(&files, &[]), Ok(Choice::Model(vec![1])));
    }

    #[test]
    fn the_largest_of_several_gguf_files_has_lost_least() {
        let files =
            [("m-q4.gguf", 4), ("m-f16-00001-of-00002.gguf", 8), ("m-f16-00002-of-00002.gguf", 8), ("m.txt", 99)];
        assert_eq!(choose(&files, &[]), Ok(Choice::Model(vec![1, 2])));
    }

    #[test]
    fn what_cannot_be_taken_says_why() {
        assert_eq!(choose(&[("adapter_model.safetensors", 1)], &[]), Ok(Choice::Adapter(vec![0])));
        let beside = [("adapter_model.safetensors", 1), ("optimizer.safetensors", 9)];
        assert_eq!(choose(&beside, &[]), Ok(Choice::Adapter(vec![0])));
        assert!(choose(&[("pytorch_model.bin", 1)], &[]).unwrap_err().contains("pickle"));
        assert!(choose(&[("unet/model.safetensors", 1)], &[]).unwrap_err().contains("folders"));
        assert!(choose(&[("README.md", 1)], &[]).unwrap_err().contains("no weights"));
    }
}
