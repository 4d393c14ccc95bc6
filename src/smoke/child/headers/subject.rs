//! What further levels look at.

use serde_json::Value;

use crate::{
    formats::config::{self, ModelConfig},
    smoke::child::{folder::Folder, overlay::Overlay, plan::Plan, tensors::Tensors},
};

/// A folder whose headers were read.
pub(in crate::smoke::child) struct Subject {
    pub(in crate::smoke::child) tensors: Tensors,
    /// What is laid over them.
    pub(in crate::smoke::child) overlay: Overlay,
    /// An adapter: its own tensors are those laid over.
    pub(in crate::smoke::child) is_adapter: bool,
    /// A difference to its base.
    pub(in crate::smoke::child) is_difference: bool,
    /// The way to run it, or why there is none.
    pub(in crate::smoke::child) plan: Result<Plan, String>,
    pub(in crate::smoke::child) ids: Ids,
    /// The folders in which a tokenizer may lie, the first that has one counts.
    pub(in crate::smoke::child) text: Vec<Folder>,
}

/// What config files say of special tokens and lengths.
#[derive(Debug, Clone)]
pub(in crate::smoke::child) struct Ids {
    pub(in crate::smoke::child) bos: Option<u32>,
    pub(in crate::smoke::child) eos: Vec<u32>,
    pub(in crate::smoke::child) pad: Option<u32>,
    pub(in crate::smoke::child) max_positions: usize,
}

impl Subject {
    pub(super) fn new(
        dir: &Folder,
        tensors: Tensors,
        plan: Result<Plan, String>,
        config: Option<&ModelConfig>,
    ) -> Self {
        let ids = Ids::read(dir, config);
        let text = vec![dir.clone()];
        Self { tensors, overlay: Overlay::default(), is_adapter: false, is_difference: false, plan, ids, text }
    }

    /// The tensors that the folder itself brings.
    pub(in crate::smoke::child) fn own(&self) -> &Tensors {
        if self.is_adapter { &self.overlay.parts } else { &self.tensors }
    }

    /// Bytes of weights read so far, those laid over included.
    pub(in crate::smoke::child) fn bytes_read(&self) -> u64 {
        self.tensors.bytes_read() + self.overlay.parts.bytes_read()
    }
}

impl Ids {
    fn read(dir: &Folder, config: Option<&ModelConfig>) -> Self {
        let generation = dir.read_capped("generation_config.json", config::MAX_CONFIG).ok().flatten();
        let generation: Value = generation.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null);
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let mut eos: Vec<u32> = match generation.get("eos_token_id") {
            Some(Value::Array(ids)) => ids.iter().take(64).filter_map(id).collect(),
            Some(single) => id(single).into_iter().collect(),
            None => Vec::new(),
        };
        eos.extend(config.iter().flat_map(|config| &config.eos).filter_map(|id| u32::try_from(*id).ok()));
        let bos = config.and_then(|config| config.bos).and_then(|id| u32::try_from(id).ok());
        let bos = bos.or_else(|| generation.get("bos_token_id").and_then(id));
        let pad = config.and_then(|config| config.raw.get("pad_token_id")).and_then(id);
        let longest = config.and_then(|config| config.max_positions).and_then(|n| usize::try_from(n).ok());
        Self { bos, eos, pad, max_positions: longest.unwrap_or(2048) }
    }
}
