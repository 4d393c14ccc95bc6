//! Level 0: do the files parse, and do config and tensors fit each other?

use std::path::Path;

use serde_json::Value;

use super::{
    Run,
    files::{self, Form, WeightFiles},
    plan::{self, Plan, Refusal},
    read_capped,
    scan::named,
    tensors::{self, Tensors},
};
use crate::{
    formats::{
        adapter,
        config::{self, ModelConfig},
        gguf, shards,
    },
    smoke::Status,
};

/// Element types that the decoder computes with.
const COMPUTED: &[&str] = &["F32", "F16", "BF16", "F64"];

/// A folder whose headers were read.
pub(super) struct Subject {
    pub(super) tensors: Tensors,
    /// The way to run it, or why there is none.
    pub(super) plan: Result<Plan, String>,
    pub(super) bos: Option<u32>,
    pub(super) eos: Vec<u32>,
    pub(super) max_positions: usize,
}

/// Checks the headers; `None` when there is nothing that further levels could look at.
pub(super) fn check(run: &mut Run, dir: &Path) -> Option<Subject> {
    let found = match files::find(dir) {
        Ok(found) => found,
        Err(reason) => {
            run.check("files.parse", Status::Failed, reason);
            return None;
        }
    };
    run.metric("format", found.form.as_str());
    match found.form {
        Form::Safetensors => safetensors(run, dir, &found),
        Form::Adapter => adapter(run, dir, &found),
        Form::Gguf => gguf(run, dir, &found),
        Form::Pickle => {
            run.check("files.parse", Status::Skipped, "pickle-based weights are not loaded: they can run code");
            None
        }
        Form::Nothing => {
            run.check("files.parse", Status::Skipped, "there are no weights");
            None
        }
    }
}

fn safetensors(run: &mut Run, dir: &Path, found: &WeightFiles) -> Option<Subject> {
    let (tensors, mut problems) = read_all(run, dir, found);
    let weights_parse = problems.is_empty();
    let config = match read_capped(dir, "config.json", config::MAX_CONFIG) {
        Ok(Some(bytes)) => config::parse(&bytes).map(Some).map_err(|error| error.to_string()),
        other => other.map(|_| None),
    };
    problems.extend(config.as_ref().err().cloned());
    report_parse(run, &tensors, &problems);
    if !weights_parse {
        return None;
    }
    let plan = match &config {
        Ok(Some(config)) => plan(run, config, &tensors),
        Ok(None) => Err(unknown(run, "there is no config.json, so nothing tells how to run these tensors")),
        Err(_) => Err("config.json is not usable".to_owned()),
    };
    Some(subject(dir, tensors, plan, config.ok().flatten().as_ref()))
}

fn read_all(run: &mut Run, dir: &Path, found: &WeightFiles) -> (Tensors, Vec<String>) {
    let mut tensors = Tensors::default();
    let mut problems = Vec::new();
    let mut by_shard = std::collections::BTreeMap::new();
    for name in &found.model {
        match tensors.add_safetensors(dir, name) {
            Ok(entries) => drop(by_shard.insert(name.clone(), entries)),
            Err(reason) => problems.push(reason),
        }
    }
    for name in &found.others {
        problems.extend(tensors::read_safetensors(dir, name).err());
    }
    if let Some(index) = &found.index {
        // A shard that does not parse is no disagreement: it is reported for what it is.
        let disagreements = if problems.is_empty() { shards::disagreements(index, &by_shard, 20) } else { Vec::new() };
        match disagreements.as_slice() {
            [] => run.check(
                "index.consistent",
                Status::Passed,
                format!("{} shards hold what the index says", by_shard.len()),
            ),
            reasons => run.check("index.consistent", Status::Failed, named(reasons)),
        }
    }
    (tensors, problems)
}

fn report_parse(run: &mut Run, tensors: &Tensors, problems: &[String]) {
    run.metric("tensors", tensors.len() as u64);
    run.metric("parameters", tensors.parameters());
    run.metric("bytes", tensors.bytes());
    if problems.is_empty() {
        run.check("files.parse", Status::Passed, format!("{} tensors in files that parse", tensors.len()));
    } else {
        run.check("files.parse", Status::Failed, named(problems));
    }
}

fn subject(dir: &Path, tensors: Tensors, plan: Result<Plan, String>, config: Option<&ModelConfig>) -> Subject {
    let generation = read_capped(dir, "generation_config.json", config::MAX_CONFIG).ok().flatten();
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
    let longest = config.and_then(|config| config.max_positions).and_then(|n| usize::try_from(n).ok());
    Subject { tensors, plan, bos, eos, max_positions: longest.unwrap_or(2048) }
}

/// Notes that nothing can be run, and returns the reason.
fn unknown(run: &mut Run, reason: &str) -> String {
    run.check("arch.known", Status::Skipped, reason);
    reason.to_owned()
}

/// Plans the decoder and reports how tensors and config fit.
fn plan(run: &mut Run, config: &ModelConfig, tensors: &Tensors) -> Result<Plan, String> {
    let architecture = config.architecture().unwrap_or_default().to_owned();
    run.metric("architecture", architecture.as_str());
    let plan = match plan::make(config, tensors) {
        Ok(plan) => plan,
        Err(Refusal::Unsupported(reason)) => return Err(unknown(run, &reason)),
        Err(Refusal::Wrong(reason)) => {
            run.check("arch.known", Status::Failed, reason.as_str());
            return Err(reason);
        }
    };
    let strange = plan.found.used.iter().filter_map(|name| tensors.get(name));
    if let Some(entry) = strange.into_iter().find(|entry| !COMPUTED.contains(&entry.dtype)) {
        let reason = format!("tensor `{}` is {}, which is not run, only checked", entry.name, entry.dtype);
        return Err(unknown(run, &reason));
    }
    run.check("arch.known", Status::Passed, format!("{architecture}, {} layers", plan.layers.len()));
    depth(run, &plan);
    missing(run, &plan);
    unexpected(run, &plan, tensors);
    if run.failed() { Err("config.json and the tensors do not fit each other".to_owned()) } else { Ok(plan) }
}

fn depth(run: &mut Run, plan: &Plan) {
    let (said, found) = (plan.layers.len(), plan.found.layers);
    if said == found && said > 0 {
        return run.check("layers.count", Status::Passed, format!("{said} layers, as config.json says"));
    }
    run.check("layers.count", Status::Failed, format!("config.json says {said} layers, the files hold {found}"));
}

fn missing(run: &mut Run, plan: &Plan) {
    let missing: Vec<String> = plan.found.missing.iter().map(|name| format!("`{name}` is missing")).collect();
    match missing.as_slice() {
        [] => run.check("tensors.missing", Status::Passed, "no tensor is missing"),
        names => run.check("tensors.missing", Status::Failed, named(names)),
    }
    match plan.found.misshaped.as_slice() {
        [] => run.check("tensors.shape", Status::Passed, "all shapes are as config.json says"),
        reasons => run.check("tensors.shape", Status::Failed, named(reasons)),
    }
}

fn unexpected(run: &mut Run, plan: &Plan, tensors: &Tensors) {
    let known = |name: &str| {
        plan.found.used.contains(name)
            || ["rotary_emb.inv_freq", "masked_bias", "attn.bias"].iter().any(|buffer| name.ends_with(buffer))
    };
    let extra: Vec<String> = tensors
        .iter()
        .filter(|entry| !known(&entry.name))
        .map(|entry| format!("`{}` is not used", entry.name))
        .collect();
    match extra.as_slice() {
        [] => run.check("tensors.unexpected", Status::Passed, "every tensor is used"),
        names => run.check("tensors.unexpected", Status::Warned, named(names)),
    }
}

fn adapter(run: &mut Run, dir: &Path, found: &WeightFiles) -> Option<Subject> {
    let (tensors, mut problems) = read_all(run, dir, found);
    let config = match read_capped(dir, "adapter_config.json", adapter::MAX_CONFIG) {
        Ok(Some(bytes)) => adapter::parse(&bytes).map(Some),
        other => other.map(|_| None),
    };
    problems.extend(config.as_ref().err().cloned());
    report_parse(run, &tensors, &problems);
    if !problems.is_empty() {
        return None;
    }
    let base = config.ok().flatten().and_then(|config| config.base);
    let base = base.map_or_else(|| "its base model".to_owned(), |base| format!("its base model `{base}`"));
    let reason = unknown(run, &format!("an adapter runs only on {base}, which is not part of this test"));
    Some(subject(dir, tensors, Err(reason), None))
}

fn gguf(run: &mut Run, dir: &Path, found: &WeightFiles) -> Option<Subject> {
    let mut headers: Vec<gguf::Header> = Vec::new();
    let mut problems = Vec::new();
    let mut first = None;
    // Several files of a folder are usually the same model in several encodings: each stands alone.
    for name in &found.model {
        let mut tensors = Tensors::default();
        match tensors.add_gguf(dir, name) {
            Ok(header) => {
                headers.push(header);
                first.get_or_insert(tensors);
            }
            Err(reason) => problems.push(reason),
        }
    }
    let tensors = first.unwrap_or_default();
    report_parse(run, &tensors, &problems);
    if let Some(architecture) = headers.first().and_then(gguf::Header::architecture) {
        run.metric("architecture", architecture);
    }
    if !problems.is_empty() {
        return None;
    }
    let reason = unknown(run, "GGUF files are checked but not run yet");
    Some(subject(dir, tensors, Err(reason), None))
}
