//! Which of a folder's files hold the model.

use crate::formats::{self, FileKind, shards};

use super::folder::Folder;

/// In what form a folder holds weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A model as safetensors.
    Safetensors,
    /// A PEFT or MLX adapter, which needs a base.
    Adapter,
    /// GGUF.
    Gguf,
    /// Only pickles, which are never loaded.
    Pickle,
    /// None at all.
    Nothing,
}

impl Form {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Adapter => "adapter",
            Self::Gguf => "gguf",
            Self::Pickle => "pickle",
            Self::Nothing => "none",
        }
    }
}

/// The weight files of a folder.
#[derive(Debug)]
pub(super) struct WeightFiles {
    pub(super) form: Form,
    /// The files that make up the model, in order.
    pub(super) model: Vec<String>,
    /// Further safetensors files, which must parse but are not part of the model.
    pub(super) others: Vec<String>,
    /// The shards' index where there is one.
    pub(super) index: Option<shards::Index>,
}

/// Looks for the weights of a folder; an error tells what about the folder is wrong.
pub(super) fn find(dir: &Folder) -> Result<WeightFiles, String> {
    let names = dir.list()?;
    let of_kind = |kind: FileKind| names.iter().filter(move |name| formats::kind(name) == kind).cloned();
    let all: Vec<String> = of_kind(FileKind::Safetensors).collect();
    let index = of_kind(FileKind::SafetensorsIndex).next();
    let index = index.and_then(|name| dir.read_capped(&name, shards::MAX_INDEX).transpose()).transpose()?;
    let index = index.map(|bytes| shards::parse(&bytes)).transpose()?;
    let (form, model) = match choose(&all, index.as_ref()) {
        Some(chosen) => chosen,
        None => match (of_kind(FileKind::Gguf).collect::<Vec<_>>(), of_kind(FileKind::Pickle).next()) {
            (gguf, _) if !gguf.is_empty() => (Form::Gguf, gguf),
            (_, Some(_)) => (Form::Pickle, Vec::new()),
            _ => (Form::Nothing, Vec::new()),
        },
    };
    let others = all.into_iter().filter(|name| !model.contains(name)).collect();
    Ok(WeightFiles { form, model, others, index })
}

/// An index decides; else `model.safetensors`, numbered shards, an adapter, or whatever there is.
fn choose(all: &[String], index: Option<&shards::Index>) -> Option<(Form, Vec<String>)> {
    if let Some(index) = index {
        let mut named: Vec<String> = index.weight_map.values().cloned().collect();
        named.sort();
        named.dedup();
        // A shard that is missing is reported by the comparison with the index.
        named.retain(|name| all.contains(name));
        return Some((Form::Safetensors, named));
    }
    let single = |name: &str| all.iter().any(|n| n == name).then(|| vec![name.to_owned()]);
    if let Some(model) = single("model.safetensors") {
        return Some((Form::Safetensors, model));
    }
    let numbered: Vec<String> = all.iter().filter(|n| n.starts_with("model-") && n.contains("-of-")).cloned().collect();
    if !numbered.is_empty() {
        return Some((Form::Safetensors, numbered));
    }
    if let Some(adapter) = single("adapter_model.safetensors").or_else(|| single("adapters.safetensors")) {
        return Some((Form::Adapter, adapter));
    }
    (!all.is_empty()).then(|| (Form::Safetensors, all.to_vec()))
}
