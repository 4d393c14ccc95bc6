//! Adapters: which tensors of the base they change, and how.
//!
//! The config of PEFT has options by the dozen. Those that change the computation and are not known here are refused:
//! an ignored option gives another model silently.

mod options;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    overlay::{Change, Factor},
    plan::Refusal,
    tensors::Tensors,
};
use crate::formats::adapter::{AdapterConfig, Layout};
use target::Bases;

/// What an adapter does to its base.
#[derive(Debug, Default)]
pub(super) struct Adaption {
    /// Changes of tensors of the base, by name.
    pub(super) changes: BTreeMap<String, Change>,
    /// Tensors of the base that are replaced, and the adapter's tensors that replace them.
    pub(super) replaced: BTreeMap<String, String>,
    /// What does not fit.
    pub(super) problems: Vec<String>,
    /// Tensors of the adapter that change nothing.
    pub(super) unused: Vec<String>,
}

/// The tensors of one adapted module.
#[derive(Debug, Default, Clone)]
struct Module {
    a: Option<String>,
    b: Option<String>,
    bias: Option<String>,
    magnitude: Option<String>,
    is_embedding: bool,
}

/// Finds out what an adapter does to a base.
pub(super) fn plan(config: &AdapterConfig, adapter: &Tensors, base: &Tensors) -> Result<Adaption, Refusal> {
    options::check(config)?;
    let mut adaption = Adaption::default();
    let mut modules: BTreeMap<String, Module> = BTreeMap::new();
    let mut whole: Vec<(String, String)> = Vec::new();
    for entry in adapter.iter() {
        match part(config.layout, &entry.name) {
            Part::Factor(module, place) => {
                *place_of(modules.entry(module).or_default(), place) = Some(entry.name.clone());
            }
            Part::EmbeddingFactor(module, place) => {
                let module = modules.entry(module).or_default();
                module.is_embedding = true;
                *place_of(module, place) = Some(entry.name.clone());
            }
            Part::Whole(name) => whole.push((name, entry.name.clone())),
        }
    }
    let bases = Bases::new(base);
    for (name, module) in &modules {
        if let Err(problem) = low_rank(config, &bases, adapter, name, module, &mut adaption)? {
            adaption.problems.push(problem);
        }
    }
    let saved: BTreeSet<&str> = whole.iter().map(|(name, _)| name.as_str()).collect();
    for (name, from) in &whole {
        match bases.find(name).or_else(|| is_head(name).then(|| name.clone())) {
            Some(name) => drop(adaption.replaced.insert(name, from.clone())),
            None => adaption.unused.push(from.clone()),
        }
    }
    if modules.is_empty() && saved.is_empty() {
        adaption.problems.push("the adapter has no tensors that change anything".to_owned());
    }
    options::check_targets(config, modules.keys(), &mut adaption.problems);
    Ok(adaption)
}

/// A tied base has no head of its own until an adapter brings one.
fn is_head(name: &str) -> bool {
    name == "lm_head.weight"
}

enum Part {
    Factor(String, Place),
    EmbeddingFactor(String, Place),
    Whole(String),
}

#[derive(Clone, Copy)]
enum Place {
    A,
    B,
    Bias,
    Magnitude,
}

fn place_of(module: &mut Module, place: Place) -> &mut Option<String> {
    match place {
        Place::A => &mut module.a,
        Place::B => &mut module.b,
        Place::Bias => &mut module.bias,
        Place::Magnitude => &mut module.magnitude,
    }
}

/// What a tensor of an adapter is, by its name.
fn part(layout: Layout, name: &str) -> Part {
    let plain = name.strip_prefix("base_model.model.").unwrap_or(name).replace(".default.", ".");
    let plain = plain.strip_suffix(".default").unwrap_or(&plain).to_owned();
    let endings: &[(&str, Place, bool)] = match layout {
        Layout::Mlx => &[(".lora_a", Place::A, false), (".lora_b", Place::B, false), (".m", Place::Magnitude, false)],
        Layout::Peft => &[
            (".lora_A.weight", Place::A, false),
            (".lora_B.weight", Place::B, false),
            (".lora_B.bias", Place::Bias, false),
            (".lora_embedding_A", Place::A, true),
            (".lora_embedding_B", Place::B, true),
            (".lora_magnitude_vector.weight", Place::Magnitude, false),
            (".lora_magnitude_vector", Place::Magnitude, false),
        ],
    };
    for (ending, place, is_embedding) in endings {
        if let Some(module) = plain.strip_suffix(ending) {
            let module = module.to_owned();
            return if *is_embedding { Part::EmbeddingFactor(module, *place) } else { Part::Factor(module, *place) };
        }
    }
    Part::Whole(plain.replace(".base_layer.", ".").replace(".modules_to_save.", "."))
}

/// Plans one module; the inner error is something that does not fit.
fn low_rank(
    config: &AdapterConfig,
    bases: &Bases<'_>,
    adapter: &Tensors,
    name: &str,
    module: &Module,
    adaption: &mut Adaption,
) -> Result<Result<(), String>, Refusal> {
    let (Some(a), Some(b)) = (&module.a, &module.b) else {
        return Ok(Err(format!("`{name}` has only one of its two factors")));
    };
    let shape = |name: &str| adapter.get(name).map(|entry| entry.shape.clone()).unwrap_or_default();
    let (shape_a, shape_b) = (shape(a), shape(b));
    let ([a0, a1], [b0, b1]) = (&shape_a[..], &shape_b[..]) else {
        return Ok(Err(format!("the factors of `{name}` are no matrices: {shape_a:?} and {shape_b:?}")));
    };
    // PEFT: A is [rank, inputs], B is [outputs, rank]. MLX: A is [inputs, rank], B is [rank, outputs].
    let mlx = config.layout == Layout::Mlx;
    let (rank, inputs, outputs, other) = if mlx { (*a1, *a0, *b1, *b0) } else { (*a0, *a1, *b0, *b1) };
    let stated = options::rank(config, name);
    if rank != other || stated.is_some_and(|stated| stated != rank) {
        let stated = stated.map_or_else(String::new, |rank| format!(", the config says {rank}"));
        return Ok(Err(format!("the factors of `{name}` have the ranks {rank} and {other}{stated}")));
    }
    let Some(target) = bases.find(&format!("{name}.weight")) else {
        return Ok(Err(format!("the base has no `{name}.weight`")));
    };
    let held = bases.shape(&target);
    // Where rows of the stored tensor are inputs, the factors change places.
    let sideways =
        module.is_embedding || (config.raw.get("fan_in_fan_out").and_then(serde_json::Value::as_bool) == Some(true));
    let expected = if sideways { [inputs, outputs] } else { [outputs, inputs] };
    if held != expected {
        return Ok(Err(format!("`{target}` of the base has shape {held:?}, the adapter is made for {expected:?}")));
    }
    if module.magnitude.is_some() && sideways {
        return Err(Refusal::Unsupported("DoRA on a matrix that is stored sideways is not supported".into()));
    }
    if config.is_dora && module.magnitude.is_none() {
        return Ok(Err(format!("`{name}` has no magnitude, which DoRA needs")));
    }
    let scale = options::scale(config, name, rank)?;
    let (left, right) = if sideways { (a, b) } else { (b, a) };
    let turned = sideways != mlx;
    let rank = usize::try_from(rank).unwrap_or(usize::MAX);
    let change = Change::LowRank {
        left: Factor { name: left.clone(), turned },
        right: Factor { name: right.clone(), turned },
        rank,
        scale,
        magnitude: module.magnitude.clone(),
    };
    adaption.changes.insert(target, change);
    if let Some(bias) = &module.bias {
        let Some(target) = bases.find(&format!("{name}.bias")) else {
            return Err(Refusal::Unsupported(format!("a bias for `{name}`, which has none in the base")));
        };
        adaption.changes.insert(target, Change::Vector { name: bias.clone(), scale });
    }
    Ok(Ok(()))
}
