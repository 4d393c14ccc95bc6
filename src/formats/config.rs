//! `config.json` of transformers, in the forms of versions 4 and 5, normalized to one.

use serde_json::Value;

/// Longest config that is read, in bytes.
pub const MAX_CONFIG: u64 = 1024 * 1024;

/// A way in which a config can be wrong.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Too long.
    #[error("config.json has {0} bytes, at most {MAX_CONFIG} are read")]
    TooLong(u64),
    /// No JSON object.
    #[error("config.json is not valid: {0}")]
    NotJson(String),
    /// A field of another type.
    #[error("config.json: `{field}` is {found}, expected {expected}")]
    WrongType {
        /// The field.
        field: &'static str,
        /// What is there.
        found: String,
        /// What should be.
        expected: &'static str,
    },
    /// A number that no model has.
    #[error("config.json: `{field}` is {found}, at most {limit} is accepted")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// What is there.
        found: u64,
        /// The cap.
        limit: u64,
    },
    /// Numbers that contradict each other.
    #[error("config.json: {0}")]
    Contradiction(String),
}

/// Rotary position embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f64,
    /// `default`, `linear`, `dynamic`, `llama3`, `yarn`, `longrope`, …
    pub kind: String,
    /// Everything the config says about it.
    pub parameters: Value,
}

/// What a config says of a decoder; absent fields stay absent.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// `llama`, `mistral`, …
    pub model_type: Option<String>,
    /// Class names; the first decides.
    pub architectures: Vec<String>,
    /// Width of the residual stream.
    pub hidden_size: Option<u64>,
    /// Width of the feed-forward layer.
    pub intermediate_size: Option<u64>,
    /// Number of layers.
    pub layers: Option<u64>,
    /// Number of attention heads.
    pub heads: Option<u64>,
    /// Number of key and value heads.
    pub kv_heads: Option<u64>,
    /// Width of a head.
    pub head_dim: Option<u64>,
    /// Number of tokens.
    pub vocab_size: Option<u64>,
    /// Longest sequence.
    pub max_positions: Option<u64>,
    /// Epsilon of the norms.
    pub norm_eps: Option<f64>,
    /// Activation of the feed-forward layer.
    pub activation: Option<String>,
    /// Position embedding.
    pub rope: Rope,
    /// Whether the head is the embedding.
    pub tied: Option<bool>,
    /// Width of the attention window.
    pub sliding_window: Option<u64>,
    /// First token of a text.
    pub bos: Option<u64>,
    /// Tokens that end a text.
    pub eos: Vec<u64>,
    /// Element type in safetensors' words.
    pub dtype: Option<String>,
    /// The method of quantization, when the weights are quantized.
    pub quantization: Option<String>,
    /// The text model's part of the config, for quirks.
    pub raw: Value,
}

impl ModelConfig {
    /// The class that decides.
    pub fn architecture(&self) -> Option<&str> {
        self.architectures.first().map(String::as_str)
    }
}

/// Parses and caps a config.
pub fn parse(bytes: &[u8]) -> Result<ModelConfig, Error> {
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(Error::TooLong(bytes.len() as u64));
    }
    let whole: Value = match serde_json::from_slice(bytes) {
        Ok(whole) => whole,
        // Python writes what JSON does not have.
        Err(error) => {
            serde_json::from_str(&without_bare_numbers(bytes)).map_err(|_| Error::NotJson(error.to_string()))?
        }
    };
    let Value::Object(outer) = &whole else { return Err(Error::NotJson("it is no object".to_owned())) };
    // Vision-language models keep the decoder's numbers one level down.
    let nested = outer.get("text_config").filter(|text| text.get("hidden_size").is_some());
    let raw = nested.unwrap_or(&whole);
    let architectures = match outer.get("architectures") {
        Some(Value::Array(names)) => names.iter().take(8).filter_map(|n| n.as_str().map(short)).collect(),
        _ => Vec::new(),
    };
    let config = ModelConfig {
        model_type: text(raw, "model_type")?.or(text(&whole, "model_type")?),
        architectures,
        hidden_size: capped(raw, &["hidden_size", "n_embd", "d_model"], 65_536)?,
        intermediate_size: capped(raw, &["intermediate_size", "n_inner", "ffn_dim"], 1 << 20)?,
        layers: capped(raw, &["num_hidden_layers", "n_layer", "n_layers", "num_layers"], 1024)?,
        heads: capped(raw, &["num_attention_heads", "n_head", "n_heads"], 4096)?,
        kv_heads: capped(raw, &["num_key_value_heads"], 4096)?,
        head_dim: capped(raw, &["head_dim"], 1024)?,
        vocab_size: capped(raw, &["vocab_size"], 4 << 20)?,
        max_positions: capped(raw, &["max_position_embeddings", "n_positions", "max_seq_len"], 1 << 40)?,
        norm_eps: float(raw, &["rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"])?,
        activation: text(raw, "hidden_act")?.or(text(raw, "hidden_activation")?).or(text(raw, "activation_function")?),
        rope: rope(raw)?,
        tied: raw.get("tie_word_embeddings").or(outer.get("tie_word_embeddings")).and_then(Value::as_bool),
        sliding_window: capped(raw, &["sliding_window"], 1 << 40)?,
        bos: capped(raw, &["bos_token_id"], 4 << 20)?,
        eos: token_list(raw.get("eos_token_id")),
        dtype: text(raw, "dtype")?.or(text(raw, "torch_dtype")?).or(text(&whole, "torch_dtype")?).map(|t| dtype(&t)),
        quantization: quantization(&whole),
        raw: raw.clone(),
    };
    check(&config)?;
    Ok(config)
}

/// Replaces the bare words `Infinity` and `NaN` outside texts by null: nothing that is read here is infinite.
fn without_bare_numbers(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(quote) = rest.find('"') {
        let end = end_of_text(&rest[quote + 1..]).map_or(rest.len(), |end| quote + 1 + end);
        kept.push_str(&replaced(&rest[..quote]));
        kept.push_str(&rest[quote..end]);
        rest = &rest[end..];
    }
    kept.push_str(&replaced(rest));
    kept
}

fn replaced(outside: &str) -> String {
    ["-Infinity", "Infinity", "NaN"].iter().fold(outside.to_owned(), |text, word| text.replace(word, "null"))
}

/// The byte behind a text's closing quote.
fn end_of_text(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(index + 1),
            _ => {}
        }
    }
    None
}

fn check(config: &ModelConfig) -> Result<(), Error> {
    let contradiction = |text: String| Err(Error::Contradiction(text));
    for (field, value) in [
        ("num_attention_heads", config.heads),
        ("num_key_value_heads", config.kv_heads),
        ("hidden_size", config.hidden_size),
        ("head_dim", config.head_dim),
    ] {
        if value == Some(0) {
            return contradiction(format!("`{field}` is 0"));
        }
    }
    if let (Some(heads), Some(kv)) = (config.heads, config.kv_heads)
        && heads % kv != 0
    {
        return contradiction(format!("{heads} attention heads cannot share {kv} key and value heads"));
    }
    if let (Some(hidden), Some(heads), None) = (config.hidden_size, config.heads, config.head_dim)
        && hidden % heads != 0
    {
        return contradiction(format!("a hidden size of {hidden} cannot be split into {heads} heads"));
    }
    Ok(())
}

/// Version 4 has `rope_theta` and `rope_scaling`, version 5 one `rope_parameters`.
fn rope(raw: &Value) -> Result<Rope, Error> {
    let parameters =
        [raw.get("rope_parameters"), raw.get("rope_scaling")].into_iter().flatten().find(|v| v.is_object());
    let parameters = parameters.cloned().unwrap_or(Value::Null);
    // Gemma 3 and others nest one set per layer type.
    let inner = parameters.get("full_attention").cloned().unwrap_or(parameters);
    let theta = float(&inner, &["rope_theta"])?.or(float(raw, &["rope_theta", "rotary_emb_base"])?).unwrap_or(10_000.0);
    let kind = text(&inner, "rope_type")?.or(text(&inner, "type")?).unwrap_or_else(|| "default".to_owned());
    Ok(Rope { theta, kind, parameters: inner })
}

fn quantization(whole: &Value) -> Option<String> {
    let config = whole.get("quantization_config").or_else(|| whole.get("quantization")).filter(|v| v.is_object())?;
    let method = config.get("quant_method").and_then(Value::as_str);
    Some(short(method.unwrap_or("unnamed")))
}

fn capped(raw: &Value, names: &[&'static str], limit: u64) -> Result<Option<u64>, Error> {
    for field in names.iter().copied() {
        let found = match raw.get(field) {
            None | Some(Value::Null) => continue,
            Some(value) => value,
        };
        // Some ids are lists; the first decides.
        let single = found.as_array().and_then(|list| list.first()).unwrap_or(found);
        let number = single.as_u64().or_else(|| whole_number(single));
        let Some(number) = number else {
            return Err(Error::WrongType { field, found: short(&found.to_string()), expected: "a whole number" });
        };
        if number > limit {
            return Err(Error::TooLarge { field, found: number, limit });
        }
        return Ok(Some(number));
    }
    Ok(None)
}

/// Reads `1e12` or `32.0`, which JSON has as a float.
fn whole_number(value: &Value) -> Option<u64> {
    let number = value.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked in the condition"
    )]
    ((0.0..1e18).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

fn float(raw: &Value, names: &[&'static str]) -> Result<Option<f64>, Error> {
    for field in names.iter().copied() {
        match raw.get(field) {
            None | Some(Value::Null) => {}
            Some(value) => {
                let number = value.as_f64().filter(|number| number.is_finite());
                let wrong = || Error::WrongType { field, found: short(&value.to_string()), expected: "a number" };
                return number.map(Some).ok_or_else(wrong);
            }
        }
    }
    Ok(None)
}

fn text(raw: &Value, field: &'static str) -> Result<Option<String>, Error> {
    match raw.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(short(text))),
        Some(other) => Err(Error::WrongType { field, found: short(&other.to_string()), expected: "text" }),
    }
}

fn token_list(value: Option<&Value>) -> Vec<u64> {
    match value {
        Some(Value::Array(list)) => list.iter().take(64).filter_map(Value::as_u64).collect(),
        Some(single) => single.as_u64().into_iter().collect(),
        None => Vec::new(),
    }
}

fn dtype(torch: &str) -> String {
    match torch.trim_start_matches("torch.") {
        "float32" | "float" => "F32",
        "float16" | "half" => "F16",
        "bfloat16" => "BF16",
        "float64" => "F64",
        other => return other.to_uppercase(),
    }
    .to_owned()
}

fn short(text: &str) -> String {
    text.chars().take(120).collect()
}
