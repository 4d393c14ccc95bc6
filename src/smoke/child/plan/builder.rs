//! Looks tensors up by name and shape, and remembers what it used, missed, or found in another shape.

use crate::formats::config::ModelConfig;

use super::{Family, Found, Matrix, Norm, Refusal};
use crate::smoke::child::tensors::Tensors;

/// Where decoders keep their layers, as prefixes of `embed_tokens` and `layers`.
const PREFIXES: &[&str] = &["model.", "", "language_model.model.", "model.language_model.", "transformer."];

/// Most missing tensors that are remembered: a config may claim a million experts.
const MAX_MISSING: usize = 1000;

pub(super) struct Builder<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) tensors: &'a Tensors,
    pub(super) family: &'a Family,
    pub(super) prefix: &'static str,
    pub(super) vocab: usize,
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    pub(super) head_dim: usize,
    pub(super) found: Found,
}

impl<'a> Builder<'a> {
    pub(super) fn new(config: &'a ModelConfig, tensors: &'a Tensors, family: &'a Family) -> Result<Self, Refusal> {
        let need = |name: &str, value: Option<u64>| {
            let absent = || Refusal::Wrong(format!("config.json has no `{name}`"));
            usize::try_from(value.ok_or_else(absent)?).map_err(|_| absent())
        };
        let hidden = need("hidden_size", config.hidden_size)?;
        let heads = need("num_attention_heads", config.heads)?;
        let head_dim = config.head_dim.map_or(hidden / heads, |dim| usize::try_from(dim).unwrap_or(0));
        let kv_heads = need("num_key_value_heads", config.kv_heads.or(config.heads))?;
        let layers = need("num_hidden_layers", config.layers)?;
        let vocab = need("vocab_size", config.vocab_size)?;
        if head_dim == 0 || head_dim % 2 == 1 {
            return Err(Refusal::Wrong(format!("heads of width {head_dim} have no position embedding")));
        }
        let known = |prefix: &&&str| tensors.contains(&format!("{prefix}embed_tokens.weight"));
        let prefix = PREFIXES.iter().find(known).copied().unwrap_or("model.");
        let found = Found { layers: layers_in(tensors, prefix), ..Found::default() };
        Ok(Self { config, tensors, family, prefix, vocab, hidden, layers, heads, kv_heads, head_dim, found })
    }

    /// Returns whether any layer has a tensor of this name.
    pub(super) fn any_layer_has(&self, name: &str) -> bool {
        (0..self.layers).any(|index| self.tensors.contains(&self.in_layer(index, name)))
    }

    pub(super) fn in_layer(&self, index: usize, name: &str) -> String {
        format!("{}layers.{index}.{name}", self.prefix)
    }

    /// A linear layer `name`, with its bias where there is one.
    pub(super) fn linear(&mut self, name: &str, rows: usize, cols: usize) -> Matrix {
        let weight = format!("{name}.weight");
        self.expect(&weight, &[rows, cols]);
        let bias = format!("{name}.bias");
        let bias = self.tensors.contains(&bias).then_some(bias);
        if let Some(bias) = &bias {
            self.expect(bias, &[rows]);
        }
        Matrix { name: weight, rows, cols, bias }
    }

    /// A norm of this width; the bias is optional.
    pub(super) fn norm(&mut self, name: &str, width: usize) -> Norm {
        if self.family.norms_without_weights {
            return Norm { weight: None, bias: None };
        }
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.expect(&weight, &[width]);
        let bias = self.tensors.contains(&bias).then_some(bias);
        if let Some(bias) = &bias {
            self.expect(bias, &[width]);
        }
        Norm { weight: Some(weight), bias }
    }

    pub(super) fn embedding(&mut self) -> Matrix {
        let name = format!("{}embed_tokens", self.prefix);
        self.linear(&name, self.vocab, self.hidden)
    }

    pub(super) fn final_norm(&mut self) -> Norm {
        self.norm(&format!("{}norm", self.prefix), self.hidden)
    }

    /// The output head: its own tensor, else the embedding unless the config says that they differ.
    pub(super) fn head(&mut self, embedding: &Matrix) -> Matrix {
        let own = ["lm_head", "language_model.lm_head"].into_iter();
        let own = own.clone().find(|name| self.tensors.contains(&format!("{name}.weight")));
        match own {
            Some(name) => self.linear(name, self.vocab, self.hidden),
            None if self.config.tied == Some(false) => self.linear("lm_head", self.vocab, self.hidden),
            None => embedding.clone(),
        }
    }

    fn expect(&mut self, name: &str, shape: &[usize]) {
        self.found.used.insert(name.to_owned());
        let Some(entry) = self.tensors.get(name) else {
            if self.found.missing.len() < MAX_MISSING {
                self.found.missing.push(name.to_owned());
            }
            return;
        };
        let same = entry.shape.len() == shape.len()
            && entry.shape.iter().zip(shape).all(|(found, expected)| *found == *expected as u64);
        if !same {
            let found = &entry.shape;
            self.found.misshaped.push(format!("`{name}` has shape {found:?}, config.json asks for {shape:?}"));
        }
    }
}

/// The number of layers that the tensors' names count up to.
fn layers_in(tensors: &Tensors, prefix: &str) -> usize {
    let start = format!("{prefix}layers.");
    let number = |name: &str| name.strip_prefix(&start)?.split('.').next()?.parse::<usize>().ok();
    tensors.iter().filter_map(|entry| number(&entry.name)).max().map_or(0, |last| last.saturating_add(1))
}
