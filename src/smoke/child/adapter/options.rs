//! The options of adapter configs: which are known, and what they say of a module.

use serde_json::Value;

use crate::formats::adapter::{AdapterConfig, Layout};
use crate::smoke::child::plan::Refusal;

/// Options of PEFT that are honored, or that say nothing about the merged weights.
const KNOWN: &[&str] = &[
    "peft_type",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "task_type",
    "inference_mode",
    "auto_mapping",
    "runtime_config",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "fan_in_fan_out",
    "modules_to_save",
    "init_lora_weights",
    "use_dora",
    "use_rslora",
    "lora_bias",
    "ensure_weight_tying",
    "megatron_core",
    "qalora_group_size",
    "eva_config",
    "enable_lora",
    "merge_weights",
    "_framework_version",
    "_unsloth_fixed",
    "unsloth_fixed",
];
/// Ways to begin training that leave the base as it is.
const BEGINNINGS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// Refuses options that would change the computation in a way that is not known.
pub(super) fn check(config: &AdapterConfig) -> Result<(), Refusal> {
    let refuse = |reason: String| Err(Refusal::Unsupported(reason));
    if config.layout == Layout::Mlx {
        return match config.kind.as_str() {
            "LORA" | "DORA" => Ok(()),
            other => refuse(format!("MLX fine-tuning of the kind `{}` is not supported", short(other))),
        };
    }
    if config.kind != "LORA" {
        return refuse(format!("adapters of the kind `{}` are not supported", short(&config.kind)));
    }
    for (name, value) in config.raw.as_object().into_iter().flatten() {
        if !KNOWN.contains(&name.as_str()) && !is_off(value) {
            return refuse(format!("the adapter's option `{}` is not known", short(name)));
        }
    }
    match config.raw.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => {}
        Some(Value::String(way)) if BEGINNINGS.contains(&way.as_str()) => {}
        Some(other) => {
            let way = short(&other.to_string());
            return refuse(format!("`init_lora_weights` is {way}: the base itself was changed for it"));
        }
    }
    for patterns in ["rank_pattern", "alpha_pattern"] {
        let keys = config.raw.get(patterns).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key);
        let plain = |key: &&String| key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if let Some(key) = keys.into_iter().find(|key| !plain(key)) {
            return refuse(format!("`{patterns}` has the expression `{}`", short(key)));
        }
    }
    Ok(())
}

/// What stands for "not used".
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Complains when none of the modules that the config names has tensors, or a tensor belongs to no such module.
pub(super) fn check_targets<'a>(
    config: &AdapterConfig,
    modules: impl Iterator<Item = &'a String>,
    problems: &mut Vec<String>,
) {
    // One text is an expression, or a word for all of them.
    if config.layout == Layout::Mlx || !config.raw.get("target_modules").is_some_and(Value::is_array) {
        return;
    }
    let modules: Vec<&String> = modules.collect();
    let matches = |module: &str, target: &str| module == target || module.ends_with(&format!(".{target}"));
    for target in &config.target_modules {
        if !modules.iter().any(|module| matches(module, target)) {
            problems.push(format!("the config adapts `{}`, the file has no tensors for it", short(target)));
        }
    }
}

/// The rank that the config states for a module.
pub(super) fn rank(config: &AdapterConfig, module: &str) -> Option<u64> {
    pattern(config, "rank_pattern", module).and_then(Value::as_u64).or(config.rank)
}

/// What a module's change is multiplied with.
pub(super) fn scale(config: &AdapterConfig, module: &str, rank: u64) -> Result<f64, Refusal> {
    #[expect(clippy::cast_precision_loss, reason = "ranks are at most 65536")]
    let rank = rank.max(1) as f64;
    let absent = |field: &str| Refusal::Wrong(format!("adapter_config.json has no `{field}`"));
    if config.layout == Layout::Mlx {
        let parameters = config.raw.get("lora_parameters");
        let number = |name: &str| parameters.and_then(|p| p.get(name)).and_then(Value::as_f64);
        // Early versions had both, and multiplied.
        return match (number("scale"), number("alpha")) {
            (Some(scale), Some(alpha)) => Ok(scale * alpha / rank),
            (Some(scale), None) => Ok(scale),
            (None, Some(alpha)) => Ok(alpha / rank),
            (None, None) => Err(absent("lora_parameters.scale")),
        };
    }
    let alpha = pattern(config, "alpha_pattern", module).and_then(Value::as_f64).or(config.alpha);
    let alpha = alpha.ok_or_else(|| absent("lora_alpha"))?;
    Ok(if config.is_rslora { alpha / rank.sqrt() } else { alpha / rank })
}

/// The entry whose key is the module's name or its end.
fn pattern<'a>(config: &'a AdapterConfig, field: &str, module: &str) -> Option<&'a Value> {
    let entries = config.raw.get(field).and_then(Value::as_object)?;
    let fits = |key: &str| module == key || module.ends_with(&format!(".{key}"));
    entries.iter().find(|(key, _)| fits(key)).map(|(_, value)| value)
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
