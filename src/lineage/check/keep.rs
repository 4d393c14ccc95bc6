//! Keeps what a check concluded, and tells what changed.

use std::collections::HashSet;

use serde_json::json;
use sqlx::PgConnection;

use super::{
    super::{
        Error,
        db::{self, Detected, NewJudgment, NewVerdict},
        settle_status,
    },
    ALGORITHM, Checked, Circle,
    settle::{Link, Settled},
};
use crate::{
    auth::Viewer,
    catalog::{self, Model},
};

/// Keeps the conclusions of a circle.
pub(super) async fn keep(
    db: &mut PgConnection,
    circle: &Circle,
    settled: Vec<Settled>,
    checked: &mut Checked,
) -> Result<(), Error> {
    for member in settled {
        keep_member(db, circle, &member, checked).await?;
    }
    Ok(())
}

async fn keep_member(
    db: &mut PgConnection,
    circle: &Circle,
    member: &Settled,
    checked: &mut Checked,
) -> Result<(), Error> {
    let judgment = NewJudgment {
        model_id: member.model_id,
        revision_id: member.revision_id,
        audience: circle.audience(),
        algorithm: ALGORITHM,
        kind: &member.kind,
        related: &member.related,
        shared_start: &member.shared_start,
        detail: &member.detail,
    };
    db::insert_judgment(db, &judgment).await?;
    let mut changed = false;
    let mut linked = HashSet::new();
    for link in &member.links {
        // Public links of public models are what everybody's circle says of them.
        let is_elsewhere = *circle != Circle::Public && !member.is_private && !link.parent_is_private;
        if is_elsewhere {
            continue;
        }
        linked.insert(link.parent_id);
        changed |= keep_link(db, member, link).await?;
    }
    for claim in db::list_claim_rows(db, member.model_id).await? {
        let is_ours = match circle {
            Circle::Public => !claim.parent_is_private,
            Circle::Namespace(_) => member.is_private || claim.parent_is_private,
        };
        let was_detected = claim.source == "weights"
            && !member.links.iter().any(|link| link.parent_id == claim.parent_id && link.is_detected);
        if is_ours && was_detected {
            changed |= db::withdraw_detected(db, member.model_id, claim.parent_id).await?;
            if !linked.contains(&claim.parent_id) {
                db::supersede_verdict(db, member.model_id, claim.parent_id).await?;
            }
        }
    }
    settle_status(db, member.model_id).await?;
    if changed {
        checked.changed(member.model_id);
    }
    checked.to_compare.extend(member.to_compare.iter().copied());
    Ok(())
}

async fn keep_link(db: &mut PgConnection, member: &Settled, link: &Link) -> Result<bool, Error> {
    let mut changed = false;
    if link.is_detected {
        let cycle = db::find_cycle(db, member.model_id, link.parent_id, &Viewer::everything()).await?;
        let parent_commit = match link.parent_revision_id {
            Some(id) => catalog::find_revision_by_id(db, id).await?.map(|found| found.commit.as_str().to_owned()),
            None => None,
        };
        let detected = Detected {
            child_id: member.model_id,
            child_revision_id: member.revision_id,
            parent_id: link.parent_id,
            parent_commit,
            relation: link.relation,
            confidence: link.confidence,
            in_cycle: cycle.is_some(),
            evidence: &json!({}),
        };
        changed |= db::upsert_detected(db, &detected).await?;
    }
    let verdict = NewVerdict {
        child_id: member.model_id,
        child_revision_id: Some(member.revision_id),
        parent_id: link.parent_id,
        parent_revision_id: link.parent_revision_id,
        relation: link.relation.as_str(),
        verdict: link.verdict,
        level: link.level,
        confidence: link.confidence,
        sentence: &link.sentence,
        nearer_id: link.nearer_id,
        algorithm: ALGORITHM,
        evidence: &link.evidence,
    };
    changed |= db::insert_verdict(db, &verdict).await?;
    Ok(changed)
}

/// Says of all claims of a model that they cannot be verified, and why.
pub(super) async fn keep_unverifiable(
    db: &mut PgConnection,
    model: &Model,
    reason: &str,
    checked: &mut Checked,
) -> Result<(), Error> {
    let mut changed = false;
    for claim in db::list_claim_rows(db, model.id).await? {
        if claim.source == "weights" {
            changed |= db::withdraw_detected(db, model.id, claim.parent_id).await?;
            continue;
        }
        let verdict = NewVerdict {
            child_id: model.id,
            child_revision_id: model.head_revision_id,
            parent_id: claim.parent_id,
            parent_revision_id: claim.parent_head,
            relation: &claim.relation,
            verdict: "unverifiable",
            level: "none",
            confidence: 0.0,
            sentence: &format!("Whether it descends from `{}` cannot be told: {reason}.", claim.parent_name),
            nearer_id: None,
            algorithm: ALGORITHM,
            evidence: &json!({}),
        };
        changed |= db::insert_verdict(db, &verdict).await?;
    }
    settle_status(db, model.id).await?;
    if changed {
        checked.changed(model.id);
    }
    Ok(())
}
