//! Keeps positions current: judges what depends on a change, and nothing whose input is as it was.
//!
//! A public model's position rests on public models alone, a private one's also on private models of its namespace: a
//! position must not tell of models that its readers may not read. What further ancestors cause is kept as findings
//! whose path names them, for those who may read the whole path.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex},
};

use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    Error, Finding, Judgement,
    catalogue::{CATALOGUE, Catalogue, License},
    db::{self, Kept, Known},
    finding::gravest_open,
    graph::Graph,
    judge::Engine,
    profile::Terms,
    waiver::{self, Waiver},
};
use crate::digest::{Digest, Hasher};

/// Models that are stored at once.
const BATCH: usize = 2000;
/// Batches that wait to be stored.
const AHEAD: usize = 2;

/// What is to be judged again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subjects {
    /// A model, and everything that descends from it.
    Model(i64),
    /// A model alone: nothing changed that descendants depend on.
    Only(i64),
    /// The models of a namespace, by its name in lower case.
    Namespace(String),
    /// Every model.
    All,
}

/// A position that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The model.
    pub model_id: i64,
    /// Its name.
    pub model: String,
    /// The position that it had; `None`: it was never judged.
    pub previous: Option<String>,
    /// The position that it has.
    pub position: String,
    /// The gravest finding that is not accepted, as `RULE@about`.
    pub reason: String,
}

/// What came of judging again.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Models that were looked at.
    pub looked_at: usize,
    /// Models whose input had changed, which were judged.
    pub judged: usize,
    /// Positions that changed.
    pub changes: Vec<Change>,
}

/// Judges subjects again, in the caller's transaction; models whose input is as it was are left alone.
pub async fn rejudge(db: &mut PgConnection, subjects: &Subjects) -> Result<Outcome, Error> {
    db::lock_judging(db).await?;
    let ids = match subjects {
        Subjects::Model(id) => Some(db::list_with_descendants(db, *id).await?),
        Subjects::Only(id) => Some(vec![*id]),
        Subjects::Namespace(key) => Some(db::list_of_namespace(db, key).await?),
        Subjects::All => None,
    };
    let graph = db::load_graph(db, ids.as_deref()).await?;
    let wanted: HashSet<i64> =
        ids.unwrap_or_else(|| graph.models.iter().map(|model| model.row).collect()).into_iter().collect();
    let listed: Vec<i64> = wanted.iter().copied().collect();
    let input = Input {
        catalogue: load_catalogue(db).await?,
        terms: db::list_terms(db).await?,
        waivers: db::list_waivers_in_force(db).await?,
        known: db::list_known(db, &listed).await?,
        now: OffsetDateTime::now_utc(),
        wanted,
        graph,
    };
    // One thread judges while the database stores what was judged before.
    let (send, mut receive) = tokio::sync::mpsc::channel::<db::Batch>(AHEAD);
    let looked_at = input.wanted.len();
    let judging = tokio::task::spawn_blocking(move || {
        let rows: HashMap<&str, i64> = input.graph.models.iter().map(|model| (model.id.as_str(), model.row)).collect();
        let mut outcome = Outcome { looked_at, ..Outcome::default() };
        let mut batch = Vec::new();
        input.judge(|kept| {
            outcome.judged += 1;
            outcome.changes.extend(kept.change());
            batch.push(kept);
            if batch.len() < BATCH {
                return true;
            }
            let is_wanted = send.blocking_send(db::Batch::new(&batch, &rows)).is_ok();
            batch.clear();
            is_wanted
        });
        // Where nobody waits for it, storing has failed, which is told below.
        let _ = send.blocking_send(db::Batch::new(&batch, &rows));
        outcome
    });
    while let Some(batch) = receive.recv().await {
        db::store(db, &batch).await?;
    }
    judging.await.map_err(|error| Error::Engine(error.to_string()))
}

/// Returns the catalogue with the licenses that administrators added.
pub async fn load_catalogue(db: &mut PgConnection) -> Result<Arc<Catalogue>, Error> {
    static PLAIN: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(CATALOGUE.clone()));
    static EXTENDED: Mutex<Option<(Digest, Arc<Catalogue>)>> = Mutex::new(None);
    let entries = db::list_custom_licenses(db).await?;
    if entries.is_empty() {
        return Ok(PLAIN.clone());
    }
    let digest = Digest::of(json!(entries).to_string().as_bytes());
    let kept = EXTENDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    if let Some((_, catalogue)) = kept.filter(|(of, _)| *of == digest) {
        return Ok(catalogue);
    }
    // Entries are checked before they are kept; one that this version no longer understands is left out.
    let licenses: Vec<License> = entries.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect();
    let extended = Arc::new(CATALOGUE.extended_with(&licenses).map_err(|problem| Error::Entry(problem.to_string()))?);
    *EXTENDED.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((digest, extended.clone()));
    Ok(extended)
}

/// Everything that judgements are made from.
struct Input {
    graph: Graph,
    catalogue: Arc<Catalogue>,
    terms: HashMap<String, Terms>,
    waivers: Vec<Waiver>,
    known: HashMap<i64, Known>,
    wanted: HashSet<i64>,
    now: OffsetDateTime,
}

static NO_TERMS: LazyLock<Terms> = LazyLock::new(Terms::default);

impl Input {
    fn terms_of(&self, model: usize) -> &Terms {
        self.terms.get(&self.graph.models[model].namespace_key()).unwrap_or(&NO_TERMS)
    }

    /// Judges the subjects whose input changed, and hands each over; ends early where `keep` wants no more.
    fn judge(&self, mut keep: impl FnMut(Kept) -> bool) {
        let subjects: Vec<usize> =
            (0..self.graph.models.len()).filter(|index| self.wanted.contains(&self.graph.models[*index].row)).collect();
        let whole = Engine::new(&self.catalogue, &self.graph);
        let whole_digests = whole.input_digests(|model| self.terms_of(model));
        let circles: BTreeSet<Option<String>> = subjects.iter().map(|index| circle(&self.graph, *index)).collect();
        let has_private = self.graph.models.iter().any(|model| model.is_private);
        for of in circles {
            let mut members = subjects.iter().copied().filter(|index| circle(&self.graph, *index) == of);
            if !has_private {
                members.all(|index| self.judge_one(index, &whole, &whole_digests, None).is_none_or(&mut keep));
                continue;
            }
            let graph = restrict(&self.graph, |model| {
                !model.is_private || of.as_ref().is_some_and(|of| *of == model.namespace_key())
            });
            let engine = Engine::new(&self.catalogue, &graph);
            let digests = engine.input_digests(|model| self.terms_of(model));
            let beyond = Some((&whole, whole_digests.as_slice()));
            members.all(|index| self.judge_one(index, &engine, &digests, beyond).is_none_or(&mut keep));
        }
    }

    /// Judges one model, unless its input is as it was. `beyond` knows ancestors that not all its readers may read.
    fn judge_one(
        &self,
        index: usize,
        engine: &Engine<'_>,
        digests: &[Digest],
        beyond: Option<(&Engine<'_>, &[Digest])>,
    ) -> Option<Kept> {
        let facts = &self.graph.models[index];
        let beyond = beyond.filter(|(_, whole)| whole[index] != digests[index]);
        let waivers = self.waivers_of(&facts.id);
        let mut hasher = Hasher::default();
        hasher.update(digests[index].as_bytes());
        if let Some((_, whole)) = beyond {
            hasher.update(whole[index].as_bytes());
        }
        for waiver in &waivers {
            hasher.update(&waiver.id.to_le_bytes());
        }
        let digest = hasher.finish().as_bytes().to_vec();
        let known = self.known.get(&facts.row);
        if known.is_some_and(|known| known.digest == digest) {
            return None;
        }
        let terms = self.terms_of(index);
        let mut judgement = engine.judge(index, terms);
        waiver::apply(&mut judgement.findings, &facts.id, &waivers, self.now);
        judgement.position = position_of(&judgement);
        let seen_by_all = judgement.findings.len();
        if let Some((whole, _)) = beyond {
            let mut more = whole.judge(index, terms).findings;
            more.retain(|finding| !judgement.findings.iter().any(|known| same(known, finding)));
            waiver::apply(&mut more, &facts.id, &waivers, self.now);
            judgement.findings.extend(more);
        }
        let texts = facts.files.iter().flat_map(|files| &files.license_texts);
        let detected = texts.map(|text| json!({ "path": text.path, "license": text.key })).collect();
        let previous = known.map(|known| known.position.clone());
        Some(Kept { model_id: facts.row, digest, judgement, seen_by_all, detected, previous })
    }

    fn waivers_of(&self, id: &str) -> Vec<Waiver> {
        self.waivers.iter().filter(|waiver| waiver.covers(id)).cloned().collect()
    }
}

impl Kept {
    /// How the position changed, if it did.
    fn change(&self) -> Option<Change> {
        let position = &self.judgement.position;
        (self.previous.as_ref() != Some(position)).then(|| Change {
            model_id: self.model_id,
            model: self.judgement.id.clone(),
            previous: self.previous.clone(),
            position: position.clone(),
            reason: self.reason(),
        })
    }
}

fn same(a: &Finding, b: &Finding) -> bool {
    (&a.rule, a.severity, &a.about, &a.path) == (&b.rule, b.severity, &b.about, &b.path)
}

/// The gravest finding that is not accepted decides.
pub(super) fn position_of(judgement: &Judgement) -> String {
    if judgement.position == "unknown" {
        return judgement.position.clone();
    }
    gravest_open(&judgement.findings).map_or("clear", super::Severity::as_str).to_owned()
}

/// Whose private models a model's readers may read: nobody's for a public one, its namespace's for a private one.
fn circle(graph: &Graph, index: usize) -> Option<String> {
    let model = &graph.models[index];
    model.is_private.then(|| model.namespace_key())
}

/// The same graph without links to parents that may not be known.
pub(super) fn restrict(graph: &Graph, may_know: impl Fn(&super::graph::ModelFacts) -> bool) -> Graph {
    let known: Vec<bool> = graph.models.iter().map(may_know).collect();
    let mut graph = graph.clone();
    for edges in &mut graph.parents {
        edges.retain(|edge| known[edge.parent]);
    }
    graph
}
