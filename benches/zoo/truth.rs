//! What is known of a zoo: who was made from whom, and how; which claims are true.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use herdbook::lineage::weights::sample::splitmix64;
use serde::Deserialize;

/// Where zoos are, beside the project.
const BESIDE: &str = "../shared/weights/zoo";

/// How one model was made.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    pub(super) parents: Vec<String>,
    /// None of a base.
    pub(super) relation: Option<String>,
    pub(super) family: String,
    pub(super) kind: String,
    pub(super) method: Option<String>,
    /// Of each parent of a merge.
    coef: Option<Vec<f64>>,
    /// What the changes of a merge were taken relative to.
    pub(super) merge_base: Option<String>,
}

impl Entry {
    pub(super) fn is_adapter(&self) -> bool {
        self.relation.as_deref() == Some("adapter")
    }

    /// The relation, or `base`.
    pub(super) fn class(&self) -> &str {
        self.relation.as_deref().unwrap_or("base")
    }
}

/// A declared parent, and the verdicts that are right about it.
#[derive(Debug, Deserialize)]
pub(super) struct Claim {
    pub(super) child: String,
    pub(super) parent: String,
    pub(super) relation: String,
    pub(super) expect: Vec<String>,
    pub(super) why: String,
}

/// A zoo on the disk.
pub(super) struct Truth {
    pub(super) folder: PathBuf,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) claims: Vec<Claim>,
}

#[derive(Deserialize)]
struct TruthFile {
    entries: BTreeMap<String, Entry>,
}

impl Truth {
    /// Reads the zoo that lies beside the project, or the one that `HERDBOOK_ZOO` names; `None` when there is none.
    pub(super) fn find() -> anyhow::Result<Option<Self>> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join(BESIDE);
        let folder = std::env::var_os("HERDBOOK_ZOO").map_or(beside, PathBuf::from);
        if !folder.join("truth.json").is_file() {
            return Ok(None);
        }
        let entries = serde_json::from_slice::<TruthFile>(&fs::read(folder.join("truth.json"))?);
        let entries = entries.context("truth.json is not understood")?.entries;
        let claims = match fs::read(folder.join("claims.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).context("claims.json is not understood")?,
            Err(_) => Vec::new(),
        };
        Ok(Some(Self { folder, entries, claims }))
    }

    pub(super) fn parents(&self, name: &str) -> BTreeSet<String> {
        self.entries.get(name).map(|entry| entry.parents.iter().cloned().collect()).unwrap_or_default()
    }

    /// The model that a copy computes the same as.
    pub(super) fn original(&self, name: &str) -> String {
        let mut name = name;
        while let Some(entry) = self.entries.get(name)
            && entry.relation.as_deref() == Some("copy")
            && let [parent, ..] = entry.parents.as_slice()
        {
            name = parent;
        }
        name.to_owned()
    }

    pub(super) fn originals<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        names.into_iter().map(|name| self.original(name)).collect()
    }

    pub(super) fn families<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        names.into_iter().filter_map(|name| self.entries.get(name)).map(|entry| entry.family.clone()).collect()
    }

    pub(super) fn ancestors(&self, name: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(at) = open.pop() {
            for parent in self.parents(&at) {
                if all.insert(parent.clone()) {
                    open.push(parent);
                }
            }
        }
        all
    }

    /// Whether it is true that `child` descends from what computes the same as `parent`.
    pub(super) fn descends(&self, child: &str, parent: &str) -> bool {
        self.originals(&self.ancestors(child)).contains(&self.original(parent))
    }

    /// Models of a family, adapters left out.
    pub(super) fn family_size(&self, family: &str) -> usize {
        self.entries.values().filter(|entry| entry.family == family && !entry.is_adapter()).count()
    }

    /// What merging multiplied a parent, or what computes the same, with.
    pub(super) fn coefficient(&self, merge: &str, parent: &str) -> Option<f64> {
        let entry = self.entries.get(merge)?;
        let is_same = |other: &String| self.original(other) == self.original(parent);
        entry.coef.as_ref()?.get(entry.parents.iter().position(is_same)?).copied()
    }

    /// Names in a random order; parents before their children if so wished.
    pub(super) fn order(&self, seed: u64, is_parents_first: bool) -> Vec<String> {
        let mut left: BTreeSet<&String> = self.entries.keys().collect();
        let mut order = Vec::new();
        let mut state = splitmix64(seed);
        while !left.is_empty() {
            let has_come = |name: &&&String| self.parents(name).iter().all(|parent| !left.contains(parent));
            let ready: Vec<&String> = left.iter().filter(|name| !is_parents_first || has_come(name)).copied().collect();
            state = splitmix64(state);
            let Some(next) = usize::try_from(state >> 32).ok().and_then(|at| ready.get(at % ready.len().max(1))) else {
                break;
            };
            left.remove(*next);
            order.push((*next).clone());
        }
        order
    }
}
