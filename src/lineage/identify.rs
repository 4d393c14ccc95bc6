//! Answers what a fingerprint is of, without its weights: ranked relatives, each with evidence, license and position.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Error, Relation,
    check::{ALGORITHM, affordable, settle},
    db::{self, Standing},
    relatives::{self, Member, PrintCache},
    weights::{
        Fingerprint,
        claim::{self, Claim},
        family::{self, Seen},
        herd::{Herd, Tie},
        judgment::{Kind, Tree},
    },
};
use crate::{auth::Viewer, storage::BlobStore};

/// Answers that are worked out at the same time: anybody may ask, and each takes seconds of a core at worst.
static TURNS: Semaphore = Semaphore::const_new(2);
/// Callers that may wait for a turn, each with a fingerprint of up to 16 MiB in memory.
static WAITING: Semaphore = Semaphore::const_new(16);
/// Relatives that are told.
const MOST_TOLD: usize = 25;

/// A relative of what was asked about.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Relative {
    /// `namespace/name`.
    pub id: String,
    /// What it is: `parent`, `ancestor`, `descendant`, `relative`, `shared-start`.
    pub role: &'static str,
    /// How the weights came from it, for parents.
    pub relation: Option<&'static str>,
    /// In words.
    pub sentence: String,
    /// Mean cosine of the sampled matrices.
    pub similarity: f64,
    /// Relative change of the weights.
    pub change: f64,
    /// The license that it declares.
    pub license: Option<String>,
    /// Its license position.
    pub position: String,
    /// What was measured, for parents.
    pub measured: Option<Value>,
}

/// What a fingerprint turned out to be of.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Identified {
    /// The answer in one sentence.
    pub sentence: String,
    /// `base`, `copy`, `finetune`, `quantized`, …, `common-origin`.
    pub kind: String,
    /// Relatives, the nearest first.
    pub relatives: Vec<Relative>,
    /// Models that were compared.
    pub compared: usize,
    /// Share of the parameters that the fingerprint covers.
    pub coverage: f64,
    /// Version of the decision procedure.
    pub algorithm: i32,
}

/// The right to work out an answer.
#[must_use]
pub struct Turn {
    _permit: SemaphorePermit<'static>,
}

/// Waits for a turn; to be taken before anything else that is scarce, a connection to the database above all.
///
/// [`Error::Busy`] when as many as may wait are waiting already.
pub async fn take_turn() -> Result<Turn, Error> {
    let _place = WAITING.try_acquire().map_err(|_| Error::Busy)?;
    let permit = TURNS.acquire().await.expect("turns are never closed");
    Ok(Turn { _permit: permit })
}

/// Says what a fingerprint is of, as far as the viewer may read what is here. Nothing is kept.
///
/// Takes the pool, not a connection: none is held while prints come from the store and while the answer is worked out.
pub async fn identify(
    db: &PgPool,
    store: &BlobStore,
    cache: &PrintCache,
    print: Fingerprint,
    viewer: &Viewer,
    turn: Turn,
) -> Result<Identified, Error> {
    let print = Arc::new(print);
    let found = {
        let mut db = db.acquire().await?;
        relatives::find_candidates(&mut db, &print, &[], viewer).await?
    };
    let mut members = relatives::load(store, cache, found).await?;
    members.truncate(affordable(&print) - 1);
    members.sort_by_key(|member| (member.row.first_revision_id, member.row.revision_id));
    let ids: Vec<i64> = members.iter().map(|member| member.row.model_id).collect();
    let standings = {
        let mut db = db.acquire().await?;
        db::list_standings(&mut db, &ids).await?
    };
    let answered = tokio::task::spawn_blocking(move || {
        // The turn ends with the work, also when the caller has left meanwhile.
        let _turn = turn;
        answer(&members, &print, &standings)
    });
    answered.await.map_err(|panic| Error::Weights(std::io::Error::other(panic)))
}

fn answer(members: &[Member], print: &Fingerprint, standings: &HashMap<i64, Standing>) -> Identified {
    let own = members.len();
    let prints = members.iter().map(|member| &*member.print).chain(std::iter::once(print)).collect();
    let herd = Herd::new(prints);
    // What was asked about came last, and may be an ancestor of what is here all the same.
    let seen: Vec<Seen> = (0..=own).map(|at| Seen { rank: at as u64, attested: false }).collect();
    let tree = family::judge_all(&herd, &seen);
    let teller = Teller { members, standings, herd: &herd, tree: &tree, own };
    let judgment = &tree.judged[&own];
    let mut relatives: Vec<Relative> = judgment.parents.iter().map(|parent| teller.parent(*parent)).collect();
    let others = judgment.related.iter().filter(|other| !judgment.parents.contains(other));
    relatives.extend(others.take(MOST_TOLD).map(|other| teller.other(*other)));
    relatives.extend(judgment.shared_start.iter().take(3).map(|other| teller.other(*other)));
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let coverage = print.covered.0 as f64 / print.covered.1.max(1) as f64;
    Identified {
        sentence: sentence(&judgment.kind, &relatives),
        kind: serde_json::to_value(&judgment.kind)
            .ok()
            .and_then(|v| v["kind"].as_str().map(str::to_owned))
            .unwrap_or_default(),
        relatives,
        compared: own,
        coverage,
        algorithm: ALGORITHM,
    }
}

/// The answer in one sentence.
fn sentence(kind: &Kind, relatives: &[Relative]) -> String {
    let Some(first) = relatives.first().filter(|first| first.role != "shared-start") else {
        return "Nothing here that you may read is related to these weights.".to_owned();
    };
    let license =
        first.license.as_deref().map_or("which declares no license".to_owned(), |label| format!("licensed {label}"));
    let position = match first.position.as_str() {
        "unknown" => String::new(),
        position => format!(", position {position}"),
    };
    let rest = format!("`{}` ({license}{position})", first.id);
    match kind {
        Kind::Copy { how } => format!("These weights are a copy ({how}) of {rest}."),
        Kind::Quantized { grid } => format!("These weights are a quantization ({grid}) of {rest}."),
        Kind::Finetune => format!("These weights are a fine-tune of {rest}."),
        Kind::MergedAdapter { .. } => format!("These weights are {rest} with a low-rank adapter merged in."),
        Kind::Merge { method, .. } => {
            let parents: Vec<String> =
                relatives.iter().filter(|r| r.role == "parent").map(|r| format!("`{}`", r.id)).collect();
            format!("These weights are a {method} merge of {}.", parents.join(" and "))
        }
        Kind::Pruned { what } => format!("These weights are pruned ({what}) from {rest}."),
        Kind::Extended { what } => format!("These weights extend ({what}) {rest}."),
        Kind::Base if first.role == "descendant" => {
            format!("These weights are an ancestor of {rest}; their own parent is not among what you may read here.")
        }
        Kind::Base | Kind::CommonOrigin => format!(
            "These weights are related to {rest}; which model they were made from is not among what you may read here."
        ),
    }
}

struct Teller<'a> {
    members: &'a [Member],
    standings: &'a HashMap<i64, Standing>,
    herd: &'a Herd<'a>,
    tree: &'a Tree,
    own: usize,
}

impl Teller<'_> {
    fn name(&self, member: usize) -> String {
        self.members.get(member).map_or_else(|| "these weights".to_owned(), |member| member.row.name.clone())
    }

    fn parent(&self, parent: usize) -> Relative {
        let relation = self.tree.judged[&self.own].kind.relation();
        let claim = Claim { parent: Ok(parent), relation: relation.unwrap_or(Relation::Unknown) };
        let name = |member: usize| format!("`{}`", self.name(member));
        let found = claim::verdict(self.herd, self.tree, self.own, &claim, &name);
        let names = |member: usize| serde_json::json!(self.name(member));
        Relative {
            relation: relation.map(Relation::as_str),
            sentence: format!("These weights descend from it.{}", settle::reasons(&found, &name(parent))),
            measured: Some(settle::evidence(self.herd, self.tree, self.own, parent, &names)),
            ..self.relative(parent, "parent")
        }
    }

    fn other(&self, other: usize) -> Relative {
        let parents = self.tree.parents(self.own);
        let role = if self.herd.tie(self.own, other) == Some(Tie::SharedStart) {
            "shared-start"
        } else if self.tree.descends(other, self.own) {
            "descendant"
        } else if parents.iter().any(|parent| self.tree.descends(*parent, other)) {
            "ancestor"
        } else {
            "relative"
        };
        self.relative(other, role)
    }

    fn relative(&self, other: usize, role: &'static str) -> Relative {
        let comparison = self.herd.compare(self.own, other);
        let standing = self.standings.get(&self.members[other].row.model_id);
        let sentence = match role {
            "descendant" => "It descends from these weights.",
            "ancestor" => "These weights descend from it.",
            "shared-start" => "Both began from the same random numbers, which is no evidence of copying.",
            _ => "It is of the same family.",
        };
        Relative {
            id: self.name(other),
            role,
            relation: None,
            sentence: sentence.to_owned(),
            similarity: comparison.similarity,
            change: comparison.distance,
            license: standing.and_then(|standing| standing.license.clone()),
            position: standing.map_or_else(|| "unknown".to_owned(), |standing| standing.position.clone()),
            measured: None,
        }
    }
}
