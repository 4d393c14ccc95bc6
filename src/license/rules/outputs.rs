//! Models trained on the outputs of others, and on data.

use super::{
    super::{
        Finding, Severity,
        catalogue::{Family, Outputs},
        graph::Link,
        walk::Mode,
    },
    subject::Case,
    texts,
};
use crate::lineage::Relation;

/// Rules about outputs.
pub(super) fn about(case: &Case<'_>) -> Option<Finding> {
    let (license, ancestor) = (case.license, case.ancestor());
    // Where the text is silent on outputs, what it says of the model is the question.
    let terms = ["outputs", "commercial_use", "relicense_derivative"];
    let review = |rule: &str, message: String, remedy: &str| {
        let section = terms.iter().find_map(|term| license.clause(term));
        Some(case.finding_at(rule, Severity::Review, ("outputs", section), message, remedy.to_owned()))
    };
    match &license.traits.outputs {
        Outputs::UseLimitsFollow => limits_follow(case),
        // A data set is no model: what holds for those trained on it is theirs to meet.
        _ if is_data_set(case) => None,
        Outputs::BanOther => ban(case),
        Outputs::BanFoundational => {
            let message = format!(
                "{} of `{ancestor}` forbids making or improving foundational models with its outputs: is this one?",
                license.name
            );
            review("OUTPUT_BAN_REVIEW", message, "use outputs of a model that allows it, or say why this is none")
        }
        Outputs::Naming => texts::name_prefix(case),
        Outputs::Display(_) => case.subject.files().and_then(|files| texts::display(case, files)),
        Outputs::Derivative { is_qualified } => derivative(case, *is_qualified),
        Outputs::Service => Some(service(case)),
        Outputs::UseLimited => {
            let message =
                format!("{} limits where `{ancestor}` may run: did making the training data keep to it?", license.name);
            review("OUTPUT_REVIEW", message, "ask the licensor, or use outputs of a model that allows it")
        }
        Outputs::Silent if license.is_noncommercial() || license.family() == Family::ShareAlike => {
            let kind = if license.is_noncommercial() { "is non-commercial" } else { "asks to share alike" };
            let message = format!("{} of `{ancestor}` {kind} and does not settle its outputs", license.name);
            review("OUTPUT_REVIEW", message, "ask the licensor, or use outputs of a model that allows it")
        }
        Outputs::Silent | Outputs::Free | Outputs::Unknown => None,
    }
}

/// Whether the subject itself was generated, and is put together from nothing but such.
fn is_data_set(case: &Case<'_>) -> bool {
    let edges = case.subject.engine.graph.parents.get(case.subject.model).map(Vec::as_slice).unwrap_or_default();
    let of_data = |link: Link| {
        matches!(link, Link::GeneratedBy | Link::Made(Relation::Copy | Relation::Merge)) || link.carries_nothing()
    };
    edges.iter().all(|edge| of_data(edge.link)) && edges.iter().any(|edge| edge.link == Link::GeneratedBy)
}

/// “… to improve any other large language model (excluding K or derivative works thereof)”.
fn ban(case: &Case<'_>) -> Option<Finding> {
    let subject = case.subject;
    let key = &case.license.key;
    let mut own_family = subject
        .carried
        .iter()
        .filter(|carried| carried.class.mode <= Mode::Adapter)
        .map(|carried| (subject.license(carried.license), carried.class.is_uncertain))
        .chain(subject.licenses(subject.own).into_iter().map(|own| (own, true)))
        .filter(|(own, _)| own.stem() == case.license.stem());
    let mut is_relative = false;
    let is_derivative = own_family.any(|(own, is_unsure)| {
        is_relative = true;
        own.key == *key && !is_unsure
    });
    if is_derivative {
        return None;
    }
    let message = format!(
        "{} forbids improving other language models with the outputs of `{}`",
        case.license.name,
        case.ancestor()
    );
    if is_relative {
        let message = format!("{message}, except derivatives of its own: is this one?");
        let remedy = "say why this model is such a derivative, or use outputs of a model that allows it".to_owned();
        return Some(case.finding("OUTPUT_BAN_REVIEW", Severity::Review, "outputs", message, remedy));
    }
    let remedy = "use outputs of a model that allows it".to_owned();
    Some(case.finding("OUTPUT_BAN", Severity::Violation, "outputs", message, remedy))
}

/// A model trained on outputs is a derivative by the license's own definition.
fn derivative(case: &Case<'_>, is_qualified: bool) -> Option<Finding> {
    let declared = case.subject.licenses(case.subject.own);
    let is_permissive = !declared.is_empty() && declared.iter().all(|own| own.is_permissive());
    if !is_permissive {
        return None;
    }
    let question = if is_qualified { ", if it was made to perform similarly: was it?" } else { "" };
    let message = format!(
        "{} counts a model trained on outputs of `{}` as a derivative, whose use restrictions `{}` drops{question}",
        case.license.name,
        case.ancestor(),
        case.subject.spell(case.subject.own)
    );
    let severity = if is_qualified { Severity::Review } else { Severity::Violation };
    let remedy = format!("declare `{}`, or a license that passes its restrictions on", case.license.key);
    Some(case.finding("USE_RESTRICTIONS_DROPPED", severity, "outputs", message, remedy))
}

/// Outputs only for research, or for non-commercial use.
fn limits_follow(case: &Case<'_>) -> Option<Finding> {
    let subject = case.subject;
    let declared = subject.licenses(subject.own);
    let is_labeled = super::is_published(subject)
        && declared.iter().any(|own| own.traits.allows_commerce)
        && !declared.iter().any(|own| own.is_noncommercial());
    if !subject.profile.commercial && !is_labeled {
        return None;
    }
    let why =
        if subject.profile.commercial { "it is meant for commercial use" } else { "its label allows commercial use" };
    let message =
        format!("{why}, and {} limits outputs of `{}` as it limits the model", case.license.name, case.ancestor());
    let remedy = "declare a non-commercial license, or use outputs of a model that allows it".to_owned();
    Some(case.finding("OUTPUT_NC", Severity::Violation, "outputs", message, remedy))
}

fn service(case: &Case<'_>) -> Finding {
    let message = format!(
        "it was trained on outputs of `{}`, whose {} forbid account holders to develop competing models: who made the data?",
        case.ancestor(),
        case.license.name
    );
    let remedy = "find out who generated the data and whether these terms bound them".to_owned();
    case.finding("SERVICE_TERMS_REVIEW", Severity::Review, "outputs", message, remedy)
}

/// Rules about data sets.
pub(super) fn about_data(case: &Case<'_>) -> Option<Finding> {
    if case.license.traits.is_service {
        return Some(service(case));
    }
    if !case.license.is_noncommercial() {
        return None;
    }
    let message = format!(
        "it was trained on `{}`, which is under {}: whether that limits the model is open",
        case.ancestor(),
        case.license.name
    );
    let remedy = "ask the licensor of the data, or keep the model non-commercial".to_owned();
    Some(case.finding("DATASET_NC_REVIEW", Severity::Review, "commercial_use", message, remedy))
}
