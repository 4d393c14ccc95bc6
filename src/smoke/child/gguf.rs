//! GGUF in the words of transformers: a config made from the metadata, and names made from names.
//!
//! So the same plan runs both. Metadata that would change the computation and is not known here is refused. What
//! converters change in the weights is left to the plan ([`super::plan::Origin`]): rows of queries and keys stand in
//! another order in the `llama` architecture, and Gemma's norms are stored whole.

use serde_json::{Map, Value, json};

use super::plan::Refusal;
use crate::formats::{
    config::{self, ModelConfig},
    gguf::{self, Header},
};

/// The tensor with which a file divides its frequencies.
pub(super) const FREQUENCIES: &str = "rope_freqs.weight";

/// Architectures whose conversion is known, and the class that runs them.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("llama", "LlamaForCausalLM"),
    ("qwen2", "Qwen2ForCausalLM"),
    ("qwen2moe", "Qwen2MoeForCausalLM"),
    ("qwen3", "Qwen3ForCausalLM"),
    ("qwen3moe", "Qwen3MoeForCausalLM"),
    ("phi3", "Phi3ForCausalLM"),
    ("gemma", "GemmaForCausalLM"),
    ("gemma2", "Gemma2ForCausalLM"),
    ("gemma3", "Gemma3ForCausalLM"),
    ("starcoder2", "Starcoder2ForCausalLM"),
    ("stablelm", "StableLmForCausalLM"),
    ("olmo2", "Olmo2ForCausalLM"),
    ("smollm3", "SmolLM3ForCausalLM"),
];

/// Metadata of an architecture that is understood, or says nothing about the computation.
const KNOWN: &[&str] = &[
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.sliding_window",
    "attention.causal",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "rope.freq_base",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",
    "rope.scale_linear",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
    "expert_shared_feed_forward_length",
    "tensor_data_layout",
    "use_parallel_residual",
];

/// Makes the config that the metadata describes; `vocabulary` is the number of rows of the embedding.
pub(super) fn config(header: &Header, vocabulary: u64) -> Result<ModelConfig, Refusal> {
    let named = header.architecture().unwrap_or_default();
    let Some((_, class)) = ARCHITECTURES.iter().find(|(name, _)| *name == named) else {
        let named: String = named.chars().take(60).collect();
        return unsupported(format!("the GGUF architecture `{named}` is checked but not run"));
    };
    let metadata = Metadata { header, named };
    metadata.all_known()?;
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
    let experts = metadata.whole("expert_count")?.filter(|count| *count > 0);
    let class = if named == "llama" && experts.is_some() { "MixtralForCausalLM" } else { class };
    let heads = metadata.need("attention.head_count")?;
    let hidden = metadata.need("embedding_length")?;
    let key = metadata.whole("attention.key_length")?;
    if key != metadata.whole("attention.value_length")? {
        return unsupported("a GGUF file whose keys and values have different widths");
    }
    let head_dim = key.unwrap_or(hidden / heads.max(1));
    set("architectures", json!([class]));
    set("model_type", named.into());
    set("hidden_size", hidden.into());
    set("num_attention_heads", heads.into());
    set("num_key_value_heads", metadata.whole("attention.head_count_kv")?.unwrap_or(heads).into());
    set("head_dim", head_dim.into());
    set("num_hidden_layers", metadata.need("block_count")?.into());
    set("intermediate_size", metadata.need("feed_forward_length")?.into());
    set("vocab_size", vocabulary.into());
    set("max_position_embeddings", metadata.whole("context_length")?.into());
    let eps = metadata.number("attention.layer_norm_rms_epsilon").or(metadata.number("attention.layer_norm_epsilon"));
    set("rms_norm_eps", eps.into());
    set("rope_theta", metadata.number("rope.freq_base").unwrap_or(10_000.0).into());
    set("rope_scaling", metadata.scaling()?);
    #[expect(clippy::cast_precision_loss, reason = "widths are small")]
    if let Some(turned) = metadata.whole("rope.dimension_count")?.filter(|turned| *turned < head_dim) {
        set("partial_rotary_factor", (turned as f64 / head_dim as f64).into());
    }
    if let Some(window) = metadata.whole("attention.sliding_window")?.filter(|window| *window > 0) {
        set("sliding_window", window.into());
    }
    for (from, to) in
        [("attn_logit_softcapping", "attn_logit_softcapping"), ("final_logit_softcapping", "final_logit_softcapping")]
    {
        set(to, metadata.number(from).into());
    }
    if let Some(count) = experts {
        set("num_experts", count.into());
        set("num_experts_per_tok", metadata.need("expert_used_count")?.into());
        set("moe_intermediate_size", metadata.whole("expert_feed_forward_length")?.into());
        set("shared_expert_intermediate_size", metadata.whole("expert_shared_feed_forward_length")?.into());
        set("norm_topk_prob", (named == "qwen3moe").into());
    }
    gemma_scale(named, hidden, heads, head_dim, metadata.need("block_count")?, &mut fields);
    if header.metadata.get(&format!("{named}.use_parallel_residual")) == Some(&gguf::Value::Bool(true)) {
        fields.insert("use_parallel_residual".to_owned(), true.into());
    }
    let token = |key: &str| header.integer(&format!("tokenizer.ggml.{key}_token_id"));
    fields.insert("bos_token_id".to_owned(), token("bos").into());
    fields.insert("eos_token_id".to_owned(), token("eos").into());
    let text = Value::Object(fields).to_string();
    config::parse(text.as_bytes()).map_err(|error| Refusal::Wrong(format!("the GGUF metadata as a {error}")))
}

/// The largest Gemmas scale scores by something else than the heads' width, and only their depth tells.
fn gemma_scale(named: &str, hidden: u64, heads: u64, head_dim: u64, layers: u64, fields: &mut Map<String, Value>) {
    let largest = match named {
        "gemma2" => 46,
        "gemma3" => 62,
        _ => return,
    };
    let scalar = if layers == largest { hidden / heads.max(1) } else { head_dim };
    fields.insert("query_pre_attn_scalar".to_owned(), scalar.into());
}

fn unsupported<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unsupported(reason.into()))
}

struct Metadata<'a> {
    header: &'a Header,
    named: &'a str,
}

impl Metadata<'_> {
    fn all_known(&self) -> Result<(), Refusal> {
        let start = format!("{}.", self.named);
        let mut own = self.header.metadata.keys().filter_map(|key| key.strip_prefix(&start));
        match own.find(|key| !KNOWN.contains(key)) {
            Some(key) => {
                let key: String = key.chars().take(60).collect();
                unsupported(format!("the GGUF metadata `{start}{key}` is not known"))
            }
            None => Ok(()),
        }
    }

    fn value(&self, key: &str) -> Option<&gguf::Value> {
        self.header.metadata.get(&format!("{}.{key}", self.named))
    }

    fn whole(&self, key: &str) -> Result<Option<u64>, Refusal> {
        match self.value(key) {
            None => Ok(None),
            Some(gguf::Value::Integer(number)) => Ok(u64::try_from(*number).ok()),
            Some(gguf::Value::Array(..)) => {
                unsupported(format!("a GGUF file whose `{key}` differs from layer to layer"))
            }
            Some(_) => Err(Refusal::Wrong(format!("the GGUF metadata `{key}` is no whole number"))),
        }
    }

    fn need(&self, key: &str) -> Result<u64, Refusal> {
        self.whole(key)?.ok_or_else(|| Refusal::Wrong(format!("the GGUF metadata has no `{}.{key}`", self.named)))
    }

    fn number(&self, key: &str) -> Option<f64> {
        match self.value(key) {
            Some(gguf::Value::Float(number)) => Some(*number).filter(|number| number.is_finite()),
            _ => None,
        }
    }

    /// How positions are stretched, as transformers writes it.
    fn scaling(&self) -> Result<Value, Refusal> {
        let factor = self.number("rope.scaling.factor").or(self.number("rope.scale_linear"));
        let kind = match self.value("rope.scaling.type") {
            Some(gguf::Value::String(kind)) => kind.as_str(),
            _ if factor.is_some_and(|factor| factor != 1.0) => "linear",
            _ => "none",
        };
        let original = self.whole("rope.scaling.original_context_length")?;
        Ok(match (kind, factor) {
            ("none", _) => Value::Null,
            ("linear", Some(factor)) => json!({"rope_type": "linear", "factor": factor}),
            ("yarn", Some(factor)) => {
                json!({"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original})
            }
            (other, _) => return unsupported(format!("the GGUF position embedding `{other}` is not supported")),
        })
    }
}

/// Gives a tensor the name that transformers has for it.
pub(super) fn name(architecture: &str, gguf: &str) -> Option<String> {
    match gguf {
        "token_embd.weight" => return Some("model.embed_tokens.weight".to_owned()),
        "output_norm.weight" => return Some("model.norm.weight".to_owned()),
        "output_norm.bias" => return Some("model.norm.bias".to_owned()),
        "output.weight" => return Some("lm_head.weight".to_owned()),
        _ => {}
    }
    let (layer, rest) = gguf.strip_prefix("blk.")?.split_once('.')?;
    layer.parse::<u32>().ok()?;
    let (part, kind) = rest.rsplit_once('.')?;
    let stacked = |name: &str| Some(format!("model.layers.{layer}.mlp.experts.{name}"));
    match part {
        "ffn_gate_exps" => return stacked("gate_proj"),
        "ffn_up_exps" => return stacked("up_proj"),
        "ffn_down_exps" => return stacked("down_proj"),
        _ => {}
    }
    let sandwich = matches!(architecture, "gemma2" | "gemma3");
    let after = architecture == "olmo2";
    let name = match part {
        "attn_norm" => "input_layernorm",
        "ffn_norm" if sandwich => "pre_feedforward_layernorm",
        "ffn_norm" => "post_attention_layernorm",
        "post_attention_norm" | "attn_post_norm" if sandwich || after => "post_attention_layernorm",
        "post_ffw_norm" | "ffn_post_norm" if sandwich || after => "post_feedforward_layernorm",
        "attn_q" => "self_attn.q_proj",
        "attn_k" => "self_attn.k_proj",
        "attn_v" => "self_attn.v_proj",
        "attn_qkv" => "self_attn.qkv_proj",
        "attn_output" => "self_attn.o_proj",
        "attn_q_norm" => "self_attn.q_norm",
        "attn_k_norm" => "self_attn.k_norm",
        "ffn_gate" => "mlp.gate_proj",
        "ffn_up" if architecture == "phi3" => "mlp.gate_up_proj",
        "ffn_up" if architecture == "starcoder2" => "mlp.c_fc",
        "ffn_down" if architecture == "starcoder2" => "mlp.c_proj",
        "ffn_up" => "mlp.up_proj",
        "ffn_down" => "mlp.down_proj",
        "ffn_gate_inp" => "mlp.gate",
        "ffn_gate_inp_shexp" => "mlp.shared_expert_gate",
        "ffn_gate_shexp" => "mlp.shared_expert.gate_proj",
        "ffn_up_shexp" => "mlp.shared_expert.up_proj",
        "ffn_down_shexp" => "mlp.shared_expert.down_proj",
        _ => return None,
    };
    Some(format!("model.layers.{layer}.{name}.{kind}"))
}
