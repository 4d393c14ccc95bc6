//! Answers for a use that is not the one on record: another profile, another policy, a model that does not exist yet.
//!
//! Nothing is kept. The graph holds what the asker may read, and no more.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    Error, Judgement,
    current::{self, load_catalogue, position_of},
    db,
    graph::{Graph, ModelFacts},
    judge::Engine,
    profile::{Profile, Terms},
    waiver,
    what_if::{Answer, Plan, what_if},
};
use crate::auth::Viewer;

/// Which models, and for which use.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Rows of the models; `None`: every model that the asker may read.
    pub models: Option<Vec<i64>>,
    /// The use, in place of that of each model's namespace.
    pub profile: Option<Profile>,
    /// Use and accepted licenses of a namespace (lower case), in place of those on record.
    pub terms: Option<(String, Terms)>,
}

/// Judges models as the question says, without those that the asker may not read; by name.
pub async fn judge(db: &mut PgConnection, viewer: &Viewer, question: Question) -> Result<Vec<Judgement>, Error> {
    let mut judgements = fold(db, viewer, question, Vec::new(), Vec::push).await?;
    judgements.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(judgements)
}

/// Judges models as [`judge`] does, in no order, and keeps of each judgement only what `step` takes into the result: all
/// judgements of a large registry are more than memory should hold.
pub async fn fold<T: Send + 'static>(
    db: &mut PgConnection,
    viewer: &Viewer,
    question: Question,
    mut result: T,
    step: impl Fn(&mut T, Judgement) + Send + 'static,
) -> Result<T, Error> {
    let graph = load(db, viewer, question.models.as_deref()).await?;
    let catalogue = load_catalogue(db).await?;
    let terms = db::list_terms(db).await?;
    let waivers = db::list_waivers_in_force(db).await?;
    let viewer = viewer.clone();
    let judged = tokio::task::spawn_blocking(move || {
        let engine = Engine::new(&catalogue, &graph);
        let wanted: Option<std::collections::HashSet<i64>> =
            question.models.as_ref().map(|ids| ids.iter().copied().collect());
        for (index, model) in graph.models.iter().enumerate() {
            if !wanted.as_ref().is_none_or(|ids| ids.contains(&model.row)) || !may_read(&viewer, model) {
                continue;
            }
            let terms = terms_for(model, &terms, &question);
            let mut judgement = engine.judge(index, &terms);
            waiver::apply(&mut judgement.findings, &model.id, &waivers, OffsetDateTime::now_utc());
            judgement.position = position_of(&judgement);
            step(&mut result, judgement);
        }
        result
    });
    judged.await.map_err(|error| Error::Engine(error.to_string()))
}

fn terms_for(model: &ModelFacts, on_record: &HashMap<String, Terms>, question: &Question) -> Terms {
    let namespace = model.namespace_key();
    let mut terms = match &question.terms {
        Some((of, terms)) if *of == namespace => terms.clone(),
        _ => on_record.get(&namespace).cloned().unwrap_or_default(),
    };
    if let Some(profile) = &question.profile {
        terms.profile = profile.clone();
    }
    terms
}

fn may_read(viewer: &Viewer, model: &ModelFacts) -> bool {
    !model.is_private || may_know(viewer, &model.namespace_key())
}

/// Whether the asker belongs to a namespace.
fn may_know(viewer: &Viewer, namespace_key: &str) -> bool {
    viewer.everything || viewer.namespaces.iter().any(|namespace| namespace == namespace_key)
}

/// Loads what the asker may read.
async fn load(db: &mut PgConnection, viewer: &Viewer, models: Option<&[i64]>) -> Result<Graph, Error> {
    let graph = db::load_graph(db, models).await?;
    Ok(current::restrict(&graph, |model| may_read(viewer, model)))
}

/// Judges a model that does not exist yet, and says what would be clear. `parents` are the rows of the plan's parents;
/// without a profile, the use is that of the namespace in its name. What that namespace sells and accepts is for those
/// who belong to it; others are answered as if it had said nothing.
pub async fn judge_plan(
    db: &mut PgConnection,
    viewer: &Viewer,
    plan: Plan,
    parents: &[i64],
    profile: Option<Profile>,
) -> Result<Answer, Error> {
    let graph = load(db, viewer, Some(parents)).await?;
    let catalogue = load_catalogue(db).await?;
    let mut on_record = db::list_terms(db).await?;
    on_record.retain(|namespace, _| may_know(viewer, namespace));
    let question = Question { profile, ..Question::default() };
    let planned = ModelFacts { id: plan.name.clone(), ..ModelFacts::default() };
    let terms = terms_for(&planned, &on_record, &question);
    let judged = tokio::task::spawn_blocking(move || what_if(&catalogue, &graph, &plan, &terms));
    let answer = judged.await.map_err(|error| Error::Engine(error.to_string()))?;
    answer.map_err(|error| Error::Invalid(error.to_string()))
}
