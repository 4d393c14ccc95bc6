//! The base that an adapter or a difference is laid over.

use crate::{
    formats::config::ModelConfig,
    smoke::child::{
        files::{self, Form},
        folder::Folder,
        tensors::Tensors,
    },
};

/// A base: its config and its tensors.
pub(super) struct Base {
    pub(super) config: ModelConfig,
    pub(super) tensors: Tensors,
}

/// Reads the headers of a base; an error says why it cannot be one.
pub(super) fn read(dir: &Folder) -> Result<Base, String> {
    let found = files::find(dir)?;
    if found.form != Form::Safetensors {
        return Err(format!("the base is of the form `{}`, only safetensors can be built on", found.form.as_str()));
    }
    let mut tensors = Tensors::default();
    for name in &found.model {
        tensors.add_safetensors(dir, name)?;
    }
    let config = super::read_config(dir)?.ok_or("the base has no config.json")?;
    Ok(Base { config, tensors })
}
