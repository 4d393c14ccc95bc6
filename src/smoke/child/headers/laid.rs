//! What is no model by itself: adapters, and differences to a base.

use std::collections::BTreeMap;

use super::{Subject, base, fit, read_all, report_parse, unknown};
use crate::{
    formats::{
        adapter::{self as adapter_config, AdapterConfig},
        card::{self, WeightDifference},
        config::ModelConfig,
    },
    smoke::{
        Status,
        child::{
            Run, adapter,
            files::WeightFiles,
            folder::Folder,
            overlay::{Change, Overlay},
            plan::Origin,
            scan::named,
            tensors::Tensors,
        },
    },
};

/// Checks an adapter by itself, and on its base where there is one.
pub(super) fn adapter(run: &mut Run, dir: &Folder, base: Option<&Folder>, found: &WeightFiles) -> Option<Subject> {
    let (tensors, mut problems) = read_all(run, dir, found);
    let config = match dir.read_capped("adapter_config.json", adapter_config::MAX_CONFIG) {
        Ok(Some(bytes)) => adapter_config::parse(&bytes).map(Some),
        other => other.map(|_| None),
    };
    problems.extend(config.as_ref().err().cloned());
    report_parse(run, &tensors, &problems);
    if !problems.is_empty() {
        return None;
    }
    let alone = |tensors, reason| Some(Subject::new(dir, tensors, Err(reason), None));
    let Some(config) = config.ok().flatten() else {
        let reason = unknown(run, "there is no adapter_config.json, so nothing tells how these tensors are meant");
        return alone(tensors, reason);
    };
    let Some(base_dir) = base else {
        let name =
            config.base.as_deref().map_or_else(|| "its base model".to_owned(), |b| format!("its base model `{b}`"));
        let reason = unknown(run, &format!("an adapter runs only on {name}, which is not part of this test"));
        return alone(tensors, reason);
    };
    match base::read(base_dir) {
        Ok(base) => Some(on_base(run, dir, base_dir, tensors, &config, base, found)),
        Err(reason) => {
            let reason = unknown(run, &reason);
            alone(tensors, reason)
        }
    }
}

fn on_base(
    run: &mut Run,
    dir: &Folder,
    base_dir: &Folder,
    tensors: Tensors,
    config: &AdapterConfig,
    mut base: base::Base,
    found: &WeightFiles,
) -> Subject {
    let adaption = match adapter::plan(config, &tensors, &base.tensors) {
        Ok(adaption) => adaption,
        Err(refusal) => {
            let reason = fit::refuse(run, refusal);
            return Subject::new(dir, tensors, Err(reason), None);
        }
    };
    match adaption.problems.as_slice() {
        [] => run.check(
            "adapter.fits",
            Status::Passed,
            format!("{} tensors of the base are changed, {} replaced", adaption.changes.len(), adaption.replaced.len()),
        ),
        problems => {
            run.check("adapter.fits", Status::Failed, named(problems));
            let reason = "the adapter does not fit its base".to_owned();
            return Subject::new(dir, tensors, Err(reason), None);
        }
    }
    if !adaption.unused.is_empty() {
        let unused: Vec<String> =
            adaption.unused.iter().map(|name| format!("`{name}` belongs to nothing in the base")).collect();
        run.check("tensors.unused", Status::Warned, named(&unused));
    }
    for file in &found.model {
        if let Err(reason) = base.tensors.replace(dir, file, &adaption.replaced) {
            let reason = unknown(run, &reason);
            return Subject::new(dir, tensors, Err(reason), None);
        }
    }
    // New tokens come as whole tables, which the base's config knows nothing of.
    let mut base_config = base.config;
    let words = adaption
        .replaced
        .keys()
        .filter(|name| name.contains("embed") || name.contains("wte") || name.contains("lm_head"));
    let words = words.filter_map(|name| base.tensors.get(name)).filter_map(|entry| entry.shape.first().copied()).max();
    base_config.vocab_size = words.or(base_config.vocab_size);
    let plan = fit::plan(run, &base_config, &base.tensors, Origin::Transformers);
    let overlay = Overlay::new(tensors, adaption.changes);
    let text = vec![dir.clone(), base_dir.clone()];
    let ids = Subject::new(base_dir, Tensors::default(), Err(String::new()), Some(&base_config)).ids;
    Subject { tensors: base.tensors, overlay, is_adapter: true, is_difference: false, plan, ids, text }
}

/// Most of a card that is read.
const MAX_CARD: u64 = 1024 * 1024;

/// Recognizes, by its card, a model that was released as a difference to another.
pub(super) fn recognize(dir: &Folder) -> Option<WeightDifference> {
    // A card that cannot be read says nothing.
    let card = dir.read_capped("README.md", MAX_CARD).ok().flatten()?;
    card::weight_difference(&String::from_utf8_lossy(&card))
}

/// Adds a difference to its base, or says that it needs one.
pub(super) fn difference(
    run: &mut Run,
    dir: &Folder,
    base: Option<&Folder>,
    tensors: Tensors,
    config: &ModelConfig,
    difference: WeightDifference,
) -> Subject {
    let subject = summed(run, dir, base, tensors, config, difference);
    Subject { is_difference: true, ..subject }
}

fn summed(
    run: &mut Run,
    dir: &Folder,
    base: Option<&Folder>,
    tensors: Tensors,
    config: &ModelConfig,
    difference: WeightDifference,
) -> Subject {
    run.metric("is_difference", true);
    let Some(base_dir) = base else {
        let reason =
            "its card says that this is a difference to another model's weights, which is not part of this test";
        let reason = unknown(run, reason);
        return Subject::new(dir, tensors, Err(reason), Some(config));
    };
    let base = match base::read(base_dir) {
        Ok(base) => base,
        Err(reason) => {
            let reason = unknown(run, &reason);
            return Subject::new(dir, tensors, Err(reason), Some(config));
        }
    };
    let mut changes = BTreeMap::new();
    let mut problems = Vec::new();
    for entry in tensors.iter().filter(|entry| !entry.name.ends_with("inv_freq")) {
        let held = base.tensors.get(&entry.name).map(|base| base.shape.clone());
        let longer = |held: &[u64]| held.len() == 2 && held[1..] == entry.shape[1..] && held[0] < entry.shape[0];
        match held {
            None => problems.push(format!("the base has no `{}`", entry.name)),
            Some(held) if held == entry.shape || (entry.shape.len() == 2 && longer(&held)) => {
                changes.insert(entry.name.clone(), Change::Base { mean_for_new: difference.mean_for_new });
            }
            Some(held) => {
                problems
                    .push(format!("`{}` of the base has shape {held:?}, the difference {:?}", entry.name, entry.shape));
            }
        }
    }
    if !problems.is_empty() {
        run.check("adapter.fits", Status::Failed, named(&problems));
        let reason = "the difference does not fit its base".to_owned();
        return Subject::new(dir, tensors, Err(reason), Some(config));
    }
    let detail = format!("a difference to its base in {} tensors; the sum is tested", changes.len());
    run.check("adapter.fits", Status::Passed, detail);
    let plan = fit::plan(run, config, &tensors, Origin::Transformers);
    let mut subject = Subject::new(dir, tensors, plan, Some(config));
    subject.overlay = Overlay::new(base.tensors, changes);
    subject.text.push(base_dir.clone());
    subject
}
