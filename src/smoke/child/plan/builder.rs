//! Looks tensors up by name and shape, and remembers what it used, missed, or found in another shape.

use serde_json::Value;

use super::{Activation, Chunk, Found, Head, Matrix, Norm, NormKind, Origin, Refusal, Vector};
use crate::{formats::config::ModelConfig, smoke::child::tensors::Tensors};

/// What may stand in front of a decoder's own names: wrappers for chat, for vision, for the base class.
const WRAPPERS: &[&str] = &["", "model.", "language_model.", "language_model.model.", "model.language_model."];

/// Most missing tensors that are remembered: a config may claim a million experts.
const MAX_MISSING: usize = 1000;

pub(super) struct Builder<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) tensors: &'a Tensors,
    pub(super) origin: Origin,
    /// The width of heads in families whose configs may leave it, and the number of heads, to their class.
    pub(super) usual_head_dim: Option<usize>,
    /// What stands in front of all names but the head's.
    pub(super) prefix: String,
    /// What stands in front of a layer's number.
    pub(super) layers_at: String,
    pub(super) found: Found,
}

impl<'a> Builder<'a> {
    pub(super) fn new(config: &'a ModelConfig, tensors: &'a Tensors, origin: Origin) -> Self {
        let usual_head_dim = None;
        Self {
            config,
            tensors,
            origin,
            usual_head_dim,
            prefix: String::new(),
            layers_at: String::new(),
            found: Found::default(),
        }
    }

    /// Finds what stands in front of the names, by the embedding; `own` is the family's usual prefix.
    pub(super) fn locate(&mut self, own: &str, embedding: &str, layers: &str) {
        let usual = std::iter::once(own.to_owned());
        let others = WRAPPERS.iter().flat_map(|wrapper| [format!("{wrapper}{own}"), (*wrapper).to_owned()]);
        let known = |prefix: &String| self.tensors.contains(&format!("{prefix}{embedding}.weight"));
        self.prefix = usual.chain(others).find(known).unwrap_or_else(|| own.to_owned());
        self.layers_at = format!("{}{layers}", self.prefix);
        self.found.layers = layers_in(self.tensors, &self.layers_at);
    }

    // What the config says.

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.config.raw.get(name).and_then(Value::as_f64).filter(|number| number.is_finite())
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.config.raw.get(name).and_then(Value::as_bool)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.config.raw.get(name).and_then(Value::as_str)
    }

    /// A whole number of at most a million: a width, a count.
    pub(super) fn size(&self, name: &str) -> Option<usize> {
        let number = self.config.raw.get(name).and_then(Value::as_u64).filter(|number| *number <= 1 << 20);
        number.and_then(|number| usize::try_from(number).ok())
    }

    pub(super) fn need_size(&self, name: &str) -> Result<usize, Refusal> {
        self.size(name).filter(|size| *size > 0).ok_or_else(|| Refusal::absent(name))
    }

    pub(super) fn hidden(&self) -> Result<usize, Refusal> {
        whole(self.config.hidden_size, "hidden_size")
    }

    pub(super) fn layers(&self) -> Result<usize, Refusal> {
        self.config.layers.and_then(|n| usize::try_from(n).ok()).ok_or_else(|| Refusal::absent("num_hidden_layers"))
    }

    pub(super) fn heads(&self) -> Result<usize, Refusal> {
        match self.usual_head_dim {
            Some(dim) if self.config.heads.is_none() => self.heads_of("q_proj", dim),
            _ => whole(self.config.heads, "num_attention_heads"),
        }
    }

    pub(super) fn kv_heads(&self) -> Result<usize, Refusal> {
        match self.usual_head_dim {
            Some(dim) if self.config.kv_heads.is_none() => self.heads_of("k_proj", dim),
            _ => whole(self.config.kv_heads.or(self.config.heads), "num_key_value_heads"),
        }
    }

    /// Heads of a projection, of families whose configs leave them out.
    fn heads_of(&self, projection: &str, usual: usize) -> Result<usize, Refusal> {
        let rows = self.shape(&self.in_layer(0, &format!("self_attn.{projection}.weight")));
        let dim = self.config.head_dim.and_then(|dim| usize::try_from(dim).ok()).unwrap_or(usual);
        let heads = rows.and_then(|shape| shape.first().copied()).map(|rows| rows / dim.max(1));
        heads.filter(|heads| *heads > 0).ok_or_else(|| Refusal::absent("num_attention_heads"))
    }

    pub(super) fn vocabulary(&self) -> Result<usize, Refusal> {
        whole(self.config.vocab_size, "vocab_size")
    }

    /// The rows of the embedding, where the config leaves them to its class.
    pub(super) fn words(&self, embedding: &str) -> Result<usize, Refusal> {
        let rows = || self.shape(&format!("{embedding}.weight")).and_then(|shape| shape.first().copied());
        match self.config.vocab_size {
            None if self.usual_head_dim.is_some() => rows().ok_or_else(|| Refusal::absent("vocab_size")),
            _ => self.vocabulary(),
        }
    }

    /// The width of a head: as the config says, else the hidden size shared out.
    pub(super) fn head_dim(&self) -> Result<usize, Refusal> {
        match self.config.head_dim {
            Some(dim) => whole(Some(dim), "head_dim"),
            None if self.usual_head_dim.is_some() => Ok(self.usual_head_dim.unwrap_or(1)),
            None => Ok(self.hidden()? / self.heads()?),
        }
    }

    pub(super) fn eps(&self, usual: f64) -> f64 {
        self.config.norm_eps.unwrap_or(usual)
    }

    pub(super) fn activation(&self, usual: &str) -> Result<Activation, Refusal> {
        Activation::named(self.config.activation.as_deref().unwrap_or(usual))
    }

    // What the files hold.

    pub(super) fn in_layer(&self, index: usize, name: &str) -> String {
        format!("{}.{index}.{name}", self.layers_at)
    }

    /// Returns whether any layer has a tensor of this name.
    pub(super) fn any_layer_has(&self, name: &str) -> bool {
        let layers = self.config.layers.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        (0..layers.min(1024)).any(|index| self.tensors.contains(&self.in_layer(index, name)))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains(name)
    }

    /// The dimensions of a tensor, or none.
    pub(super) fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let entry = self.tensors.get(name)?;
        entry.shape.iter().map(|size| usize::try_from(*size).ok()).collect()
    }

    /// The outputs of the linear layer `name`, where the config leaves them open.
    pub(super) fn rows_of(&self, name: &str, usual: usize) -> usize {
        self.shape(&format!("{name}.weight")).and_then(|shape| shape.first().copied()).unwrap_or(usual)
    }

    /// A linear layer `name`, with its bias where there is one.
    pub(super) fn linear(&mut self, name: &str, rows: usize, cols: usize) -> Matrix {
        let weight = format!("{name}.weight");
        self.expect(&weight, &[rows, cols]);
        let bias = self.optional(&format!("{name}.bias"), rows);
        Matrix { name: weight, first: 0, rows, cols, transposed: false, bias }
    }

    /// A linear layer that is stored as inputs by outputs.
    pub(super) fn transposed(&mut self, name: &str, rows: usize, cols: usize) -> Matrix {
        let weight = format!("{name}.weight");
        self.expect(&weight, &[cols, rows]);
        let bias = self.optional(&format!("{name}.bias"), rows);
        Matrix { name: weight, first: 0, rows, cols, transposed: true, bias }
    }

    /// A table of rows, such as an embedding.
    pub(super) fn table(&mut self, name: &str, rows: usize, cols: usize) -> Matrix {
        let weight = format!("{name}.weight");
        self.expect(&weight, &[rows, cols]);
        Matrix { name: weight, first: 0, rows, cols, transposed: false, bias: None }
    }

    /// A norm of this width; the bias is optional.
    pub(super) fn norm(&mut self, kind: NormKind, eps: f64, name: &str, width: usize) -> Norm {
        // The first releases of BERT have other names.
        let old = self.has(&format!("{name}.gamma"));
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        let weight = Some(self.vector(&format!("{name}.{weight}"), width));
        let bias = self.optional(&format!("{name}.{bias}"), width);
        Norm { kind, eps, weight, bias }
    }

    /// A tensor of numbers that must be there.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Vector {
        self.expect(name, &[length]);
        Vector { name: name.to_owned(), start: 0, length }
    }

    /// A tensor of numbers of more dimensions, read as a list.
    pub(super) fn numbers(&mut self, name: &str, shape: &[usize]) -> Vector {
        self.expect(name, shape);
        Vector { name: name.to_owned(), start: 0, length: shape.iter().product() }
    }

    pub(super) fn optional(&mut self, name: &str, length: usize) -> Option<Vector> {
        self.tensors.contains(name).then(|| self.vector(name, length))
    }

    pub(super) fn convolution(&mut self, name: &str, channels: usize, width: usize) -> Chunk {
        let weight = self.numbers(&format!("{name}.weight"), &[channels, 1, width]);
        let bias = self.optional(&format!("{name}.bias"), channels);
        Chunk { weight, bias, channels, width }
    }

    /// The head: the first of these that is there, else the embedding unless the config says that they differ.
    pub(super) fn head(&mut self, names: &[&str], embedding: &Matrix, usually_tied: bool) -> Head {
        let candidates = WRAPPERS.iter().flat_map(|wrapper| names.iter().map(move |name| format!("{wrapper}{name}")));
        let own = candidates.into_iter().find(|name| self.has(&format!("{name}.weight")));
        let (rows, cols) = (embedding.rows, embedding.cols);
        // GGUF says by leaving it out.
        let says_nothing = self.config.tied.is_none() || self.origin == Origin::Gguf;
        let usually_tied = usually_tied || self.origin == Origin::Gguf;
        let matrix = match own {
            Some(name) => self.linear(&name, rows, cols),
            None if (self.config.tied == Some(false) && !says_nothing) || (says_nothing && !usually_tied) => {
                self.linear(names.first().copied().unwrap_or("lm_head"), rows, cols)
            }
            None => Matrix { bias: None, ..embedding.clone() },
        };
        Head { matrix, scale: 1.0, cap: None }
    }

    /// Notes that a tensor is used, and whether it is there in this shape.
    pub(super) fn expect(&mut self, name: &str, shape: &[usize]) {
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
            let (found, source) = (&entry.shape, self.origin.source());
            self.found.misshaped.push(format!("`{name}` has shape {found:?}, {source} asks for {shape:?}"));
        }
    }
}

fn whole(value: Option<u64>, name: &str) -> Result<usize, Refusal> {
    value.and_then(|value| usize::try_from(value).ok()).filter(|value| *value > 0).ok_or_else(|| Refusal::absent(name))
}

/// The number of layers that the tensors' names count up to.
fn layers_in(tensors: &Tensors, layers_at: &str) -> usize {
    let start = format!("{layers_at}.");
    let number = |name: &str| name.strip_prefix(&start)?.split('.').next()?.parse::<usize>().ok();
    tensors.iter().filter_map(|entry| number(&entry.name)).max().map_or(0, |last| last.saturating_add(1))
}
