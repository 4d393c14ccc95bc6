//! Whether config and tensors describe a model that can be run.

use crate::{
    formats::config::ModelConfig,
    smoke::{
        Status,
        child::{
            Run,
            gguf::FREQUENCIES,
            plan::{self, Origin, Plan, Refusal},
            scan::named,
            stored::Stored,
            tensors::Tensors,
        },
    },
};

/// Tensors that are computed from the config, which files may hold all the same.
const BUFFERS: &[&str] =
    &["rotary_emb.inv_freq", "masked_bias", "attn.bias", "attention.bias", "position_ids", "embed_positions.inv_freq"];

/// Plans the model and reports how tensors and config fit; an error is the reason why nothing is run.
pub(super) fn plan(run: &mut Run, config: &ModelConfig, tensors: &Tensors, origin: Origin) -> Result<Plan, String> {
    let architecture = config.architecture().unwrap_or_default().to_owned();
    run.metric("architecture", architecture.as_str());
    if let Some(reason) = packed(tensors) {
        return Err(super::unknown(run, &reason));
    }
    let plan = plan::make(config, tensors, origin).map_err(|refusal| refuse(run, refusal))?;
    let mut used = plan.found.used.iter().filter_map(|name| tensors.get(name));
    if let Some(entry) = used.find(|entry| Stored::named(entry.dtype).is_none()) {
        let reason = format!("tensor `{}` is {}, which is not run, only checked", entry.name, entry.dtype);
        return Err(super::unknown(run, &reason));
    }
    run.check("arch.known", Status::Passed, format!("{architecture}, {} layers", plan.depth()));
    let source = origin.source();
    depth(run, &plan, source);
    missing(run, &plan, source);
    unexpected(run, &plan, tensors);
    dtype(run, config, tensors);
    if run.failed() { Err(format!("{source} and the tensors do not fit each other")) } else { Ok(plan) }
}

/// Reports why there is no plan.
pub(super) fn refuse(run: &mut Run, refusal: Refusal) -> String {
    match refusal {
        Refusal::Unsupported(reason) => super::unknown(run, &reason),
        Refusal::Wrong(reason) => {
            run.check("arch.known", Status::Failed, reason.as_str());
            reason
        }
    }
}

/// Recognizes weights that are packed into other tensors, by the tensors that come with them.
fn packed(tensors: &Tensors) -> Option<String> {
    let marks: &[(&str, &str)] = &[
        (".qweight", "GPTQ or AWQ"),
        (".weight.quant_map", "bitsandbytes"),
        (".weight.absmax", "bitsandbytes"),
        (".weight_scale_inv", "FP8 with scales"),
        (".weight_scale", "scaled (FP8 or compressed-tensors)"),
        (".weight_packed", "compressed-tensors"),
        ("_proj_blocks", "MXFP4"),
        (".SCB", "bitsandbytes"),
    ];
    let mark = |name: &str| marks.iter().find(|(ending, _)| name.ends_with(ending));
    let (name, (_, method)) = tensors.iter().find_map(|entry| mark(&entry.name).map(|mark| (&entry.name, mark)))?;
    Some(format!("`{name}`: weights quantized as {method} are not run, only checked"))
}

fn depth(run: &mut Run, plan: &Plan, source: &str) {
    let (said, found) = (plan.depth(), plan.found.layers);
    if said == found && said > 0 {
        return run.check("layers.count", Status::Passed, format!("{said} layers, as {source} says"));
    }
    run.check("layers.count", Status::Failed, format!("{source} says {said} layers, the files hold {found}"));
}

fn missing(run: &mut Run, plan: &Plan, source: &str) {
    let missing: Vec<String> = plan.found.missing.iter().map(|name| format!("`{name}` is missing")).collect();
    match missing.as_slice() {
        [] => run.check("tensors.missing", Status::Passed, "no tensor is missing"),
        names => run.check("tensors.missing", Status::Failed, named(names)),
    }
    match plan.found.misshaped.as_slice() {
        [] => run.check("tensors.shape", Status::Passed, format!("all shapes are as {source} says")),
        reasons => run.check("tensors.shape", Status::Failed, named(reasons)),
    }
}

fn unexpected(run: &mut Run, plan: &Plan, tensors: &Tensors) {
    let known = |name: &str| {
        plan.found.used.contains(name)
            || name == FREQUENCIES
            || name == "lm_head.weight" && plan.head.is_some()
            || BUFFERS.iter().any(|buffer| name.ends_with(buffer))
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

/// Whether the matrices are of the type that the config names.
fn dtype(run: &mut Run, config: &ModelConfig, tensors: &Tensors) {
    let mut counts = std::collections::BTreeMap::new();
    for entry in tensors.iter().filter(|entry| entry.shape.len() > 1) {
        *counts.entry(entry.dtype).or_insert(0_u64) += entry.elements();
    }
    let most = counts.iter().max_by_key(|(_, count)| **count).map(|(dtype, _)| *dtype);
    let (Some(most), Some(said)) = (most, &config.dtype) else { return };
    if most == said {
        return run.check("dtype", Status::Passed, format!("matrices are {most}, as config.json says"));
    }
    run.check("dtype", Status::Warned, format!("matrices are {most}, config.json says {said}"));
}
