//! Level 0: do the files parse, and do config and tensors fit each other?

mod base;
mod fit;
mod laid;
mod subject;

use super::{
    Run,
    files::{self, Form, WeightFiles},
    folder::Folder,
    gguf as mapping,
    overlay::Overlay,
    plan::{Origin, Plan, Refusal},
    scan::named,
    tensors::{self, Tensors},
};
use crate::{
    formats::{
        config::{self, ModelConfig},
        gguf, shards,
    },
    smoke::Status,
};
pub(super) use subject::{Ids, Subject};

/// Checks the headers; `None` when there is nothing that further levels could look at.
///
/// An adapter or a difference is put together with `base`, which other models are only compared with.
pub(super) fn check(run: &mut Run, dir: &Folder, base: Option<&Folder>) -> Option<Subject> {
    let found = match files::find(dir) {
        Ok(found) => found,
        Err(reason) => {
            run.check("files.parse", Status::Failed, reason);
            return None;
        }
    };
    run.metric("format", found.form.as_str());
    match found.form {
        Form::Safetensors => safetensors(run, dir, base, &found),
        Form::Adapter => laid::adapter(run, dir, base, &found),
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

fn safetensors(run: &mut Run, dir: &Folder, base: Option<&Folder>, found: &WeightFiles) -> Option<Subject> {
    let (tensors, mut problems) = read_all(run, dir, found);
    let weights_parse = problems.is_empty();
    let config = read_config(dir);
    problems.extend(config.as_ref().err().cloned());
    report_parse(run, &tensors, &problems);
    if !weights_parse {
        return None;
    }
    let config = match config {
        Ok(Some(config)) => config,
        Ok(None) => {
            let reason = unknown(run, "there is no config.json, so nothing tells how to run these tensors");
            return Some(Subject::new(dir, tensors, Err(reason), None));
        }
        Err(_) => return Some(Subject::new(dir, tensors, Err("config.json is not usable".to_owned()), None)),
    };
    if let Some(difference) = laid::recognize(dir) {
        return Some(laid::difference(run, dir, base, tensors, &config, difference));
    }
    let plan = fit::plan(run, &config, &tensors, Origin::Transformers);
    Some(Subject::new(dir, tensors, plan, Some(&config)))
}

fn read_config(dir: &Folder) -> Result<Option<ModelConfig>, String> {
    match dir.read_capped("config.json", config::MAX_CONFIG)? {
        Some(bytes) => config::parse(&bytes).map(Some).map_err(|error| error.to_string()),
        None => Ok(None),
    }
}

fn read_all(run: &mut Run, dir: &Folder, found: &WeightFiles) -> (Tensors, Vec<String>) {
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

/// Notes that nothing can be run, and returns the reason.
fn unknown(run: &mut Run, reason: &str) -> String {
    run.check("arch.known", Status::Skipped, reason);
    reason.to_owned()
}

fn gguf(run: &mut Run, dir: &Folder, found: &WeightFiles) -> Option<Subject> {
    let mut problems = Vec::new();
    let mut first: Option<(gguf::Header, Tensors)> = None;
    // Several files of a folder are usually the same model in several encodings: each stands alone, unless a file says
    // that it is a part of several. The first is run.
    for name in &found.model {
        let mut tensors = Tensors::default();
        let header = match tensors.add_gguf(dir, name) {
            Ok(header) => header,
            Err(reason) => {
                problems.push(reason);
                continue;
            }
        };
        let parts = header.integer("split.count").unwrap_or(0);
        match &mut first {
            None => {
                run.metric("gguf_file", name.as_str());
                first = Some((header, tensors));
            }
            Some((_, whole)) if parts > 1 => problems.extend(whole.add_gguf(dir, name).err()),
            Some(_) => {}
        }
    }
    let (header, tensors) = first.unwrap_or_default();
    report_parse(run, &tensors, &problems);
    if let Some(architecture) = header.architecture() {
        run.metric("architecture", architecture);
    }
    if !problems.is_empty() {
        return None;
    }
    Some(gguf_model(run, dir, &header, tensors))
}

fn gguf_model(run: &mut Run, dir: &Folder, header: &gguf::Header, mut tensors: Tensors) -> Subject {
    let architecture = header.architecture().unwrap_or_default().to_owned();
    let words = tensors.get("token_embd.weight").and_then(|entry| entry.shape.first().copied());
    let config = match words {
        Some(words) => mapping::config(header, words),
        None => Err(Refusal::Unsupported("the GGUF file has no `token_embd.weight`: it is no language model".into())),
    };
    let config = match config {
        Ok(config) => config,
        Err(refusal) => {
            let plan = Err(fit::refuse(run, refusal));
            return Subject::new(dir, tensors, plan, None);
        }
    };
    tensors.rename(|name| mapping::name(&architecture, name));
    let plan = fit::plan(run, &config, &tensors, Origin::Gguf);
    let plan = plan.and_then(|mut plan| match divide(&mut plan, &tensors) {
        Ok(()) => Ok(plan),
        Err(reason) => Err(unknown(run, &reason)),
    });
    Subject::new(dir, tensors, plan, Some(&config))
}

/// Divides the frequencies by the factors that the file brings.
fn divide(plan: &mut Plan, tensors: &Tensors) -> Result<(), String> {
    if tensors.get("rope_factors_long.weight").is_some() || tensors.get("rope_factors_short.weight").is_some() {
        return Err("GGUF files with factors for long and short texts are checked but not run".to_owned());
    }
    let Some(entry) = tensors.get(mapping::FREQUENCIES) else { return Ok(()) };
    let pairs = plan.ropes.first().map_or(0, super::plan::Rope::pairs);
    let (name, length) = (entry.name.clone(), entry.elements());
    if usize::try_from(length).ok() != Some(pairs) {
        return Err(format!("`{name}` has {length} factors for {pairs} frequencies"));
    }
    let factors = Overlay::read_numbers(tensors, &name, pairs)?;
    plan.ropes.iter_mut().for_each(|rope| rope.divide(&factors));
    Ok(())
}
