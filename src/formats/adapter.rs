//! `adapter_config.json`: of PEFT, and of MLX.

use serde_json::Value;

/// Longest adapter config that is read, in bytes.
pub const MAX_CONFIG: u64 = 1024 * 1024;

/// What an adapter config says.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterConfig {
    /// Who wrote it.
    pub layout: Layout,
    /// The base as written: a model name, or a path on somebody's disk.
    pub base: Option<String>,
    /// The base's revision, when given.
    pub revision: Option<String>,
    /// `LORA`, `IA3`, …
    pub kind: String,
    /// Rank.
    pub rank: Option<u64>,
    /// Scaling numerator.
    pub alpha: Option<f64>,
    /// Names of adapted modules, or one pattern.
    pub target_modules: Vec<String>,
    /// Weight-decomposed.
    pub is_dora: bool,
    /// Scaled by the square root of the rank.
    pub is_rslora: bool,
    /// Everything it says.
    pub raw: Value,
}

/// Which library an adapter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Hugging Face PEFT.
    Peft,
    /// Apple MLX.
    Mlx,
}

/// Parses an adapter config; says in words what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<AdapterConfig, String> {
    if bytes.len() as u64 > MAX_CONFIG {
        return Err(format!("adapter_config.json has {} bytes, at most {MAX_CONFIG} are read", bytes.len()));
    }
    let raw: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("adapter_config.json is not valid: {error}"))?;
    if !raw.is_object() {
        return Err("adapter_config.json is no object".to_owned());
    }
    let text = |field: &str| raw.get(field).and_then(Value::as_str).filter(|t| !t.is_empty()).map(short);
    let truth = |field: &str| raw.get(field).and_then(Value::as_bool).unwrap_or(false);
    let Some(kind) = text("peft_type") else { return parse_mlx(&raw) };
    let rank = whole(raw.get("r"), "r", 65_536)?;
    let target_modules = match raw.get("target_modules") {
        Some(Value::Array(names)) => names.iter().take(1000).filter_map(|n| n.as_str().map(short)).collect(),
        Some(Value::String(pattern)) => vec![short(pattern)],
        _ => Vec::new(),
    };
    Ok(AdapterConfig {
        layout: Layout::Peft,
        base: text("base_model_name_or_path"),
        revision: text("revision"),
        kind,
        rank,
        alpha: raw.get("lora_alpha").and_then(Value::as_f64),
        target_modules,
        is_dora: truth("use_dora"),
        is_rslora: truth("use_rslora"),
        raw,
    })
}

fn parse_mlx(raw: &Value) -> Result<AdapterConfig, String> {
    let lora = raw.get("lora_parameters").filter(|v| v.is_object());
    let is_mlx = lora.is_some() || raw.get("fine_tune_type").is_some() || raw.get("lora_layers").is_some();
    if !is_mlx {
        return Err("adapter_config.json has neither `peft_type` (PEFT) nor `lora_parameters` (MLX)".to_owned());
    }
    let text = |field: &str| raw.get(field).and_then(Value::as_str).filter(|t| !t.is_empty()).map(short);
    let keys = lora.and_then(|l| l.get("keys")).and_then(Value::as_array);
    Ok(AdapterConfig {
        layout: Layout::Mlx,
        base: text("model"),
        revision: None,
        kind: text("fine_tune_type").unwrap_or_else(|| "lora".to_owned()).to_uppercase(),
        rank: whole(lora.and_then(|l| l.get("rank")), "rank", 65_536)?,
        alpha: lora.and_then(|l| l.get("scale").or_else(|| l.get("alpha"))).and_then(Value::as_f64),
        target_modules: keys.into_iter().flatten().take(1000).filter_map(|n| n.as_str().map(short)).collect(),
        is_dora: raw.get("fine_tune_type").and_then(Value::as_str) == Some("dora"),
        is_rslora: false,
        raw: raw.clone(),
    })
}

fn whole(value: Option<&Value>, field: &str, limit: u64) -> Result<Option<u64>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) if number <= limit => Ok(Some(number)),
            _ => Err(format!("adapter_config.json: `{field}` is {}, expected 0 to {limit}", short(&value.to_string()))),
        },
    }
}

fn short(text: &str) -> String {
    text.chars().take(300).collect()
}
