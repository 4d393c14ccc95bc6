//! Checks an adapter's claims: its base is of the family that it couples to.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::{
    super::{
        Error, Relation,
        db::{self, BaseRow, PrintRow},
        fingerprint,
        relatives::PrintCache,
        weights::{
            adapter::{self, Attribution, Candidate, Coupling, Mismatch, Target},
            herd::{Herd, Tie},
            make,
            slots::Role,
        },
    },
    Checked, Circle, keep,
    settle::{Link, Settled},
};
use crate::{
    catalog::{Model, Visibility},
    storage::BlobStore,
};

/// Values of the largest matrix of a base that is looked at, and of all of them.
const MAX_VALUES: usize = 24 << 20;
const ALL_VALUES: usize = 256 << 20;
/// Families that are compared.
const MOST_BASES: i64 = 12;

/// A base with what was measured on it.
type Measured = (BaseRow, Result<Coupling, Mismatch>);

/// Checks the claims of an adapter.
pub(super) async fn check(
    db: &mut PgConnection,
    store: &BlobStore,
    cache: &PrintCache,
    model: &Model,
    row: &PrintRow,
    checked: &mut Checked,
) -> Result<(), Error> {
    let plan = fingerprint::gather(db, store, model.id, row.revision_id).await?;
    let targets = choose(fingerprint::read_adapter(store, &plan).await?);
    if targets.is_empty() {
        let reason = "the adapter has no low-rank pair that is understood";
        return keep::keep_unverifiable(db, model, reason, checked).await;
    }
    let circle = match model.visibility {
        Visibility::Private => Circle::Namespace(model.name.namespace().to_lowercase()),
        Visibility::Public => Circle::Public,
    };
    let claims = db::list_claim_rows(db, model.id).await?;
    let claims: Vec<_> = claims.into_iter().filter(|claim| claim.source != "weights").collect();
    let named: Vec<i64> = claims.iter().filter_map(|claim| claim.parent_head).collect();
    let width = width(&targets);
    db::update_hidden(db, row.revision_id, width).await?;
    let bases = db::list_bases(db, width, &named, &circle.viewer(), MOST_BASES).await?;
    let bases = by_family(store, cache, bases).await?;
    let mut measured: Vec<Measured> = Vec::new();
    for base in bases {
        let coupling = couple(db, store, &base, &targets).await?;
        measured.push((base, coupling));
    }
    let attribution = attribute(&measured);
    let mut links: Vec<Link> = Vec::new();
    for claim in claims.iter().filter(|claim| circle != Circle::Public || !claim.parent_is_private) {
        if links.iter().any(|link| link.parent_id == claim.parent_id) {
            continue;
        }
        let mut link = judge(&measured, attribution, claim.parent_head, &claim.parent_name);
        link.parent_id = claim.parent_id;
        link.parent_is_private = claim.parent_is_private;
        link.relation = claim.relation.parse().unwrap_or(Relation::Adapter);
        links.push(link);
    }
    if let Some(link) = detect(&measured, attribution)
        && !links.iter().any(|known| known.verdict == "confirmed" || known.parent_id == link.parent_id)
    {
        links.push(link);
    }
    let settled = Settled {
        model_id: model.id,
        revision_id: row.revision_id,
        is_private: model.visibility == Visibility::Private,
        kind: "adapter".to_owned(),
        related: Vec::new(),
        shared_start: Vec::new(),
        detail: json!({ "reason": "adapters are attributed by how they couple to a base" }),
        links,
        to_compare: Vec::new(),
    };
    keep::keep(db, &circle, vec![settled], checked).await
}

/// Gives bases that are related the same family: leaders tell it only roughly.
async fn by_family(store: &BlobStore, cache: &PrintCache, bases: Vec<BaseRow>) -> Result<Vec<BaseRow>, Error> {
    let mut prints = Vec::new();
    let mut readable = Vec::new();
    for base in bases {
        if let Some(print) = cache.get(store, &base.blob).await? {
            prints.push(print);
            readable.push(base);
        }
    }
    let families = tokio::task::spawn_blocking(move || {
        let herd = Herd::new(prints.iter().map(|print| &**print).collect());
        let mut families: Vec<usize> = (0..herd.len()).collect();
        for a in 0..herd.len() {
            for b in 0..a {
                if matches!(herd.tie(a, b), Some(Tie::Direct | Tie::Invariant)) {
                    let (of_a, of_b) = (families[a], families[b]);
                    families.iter_mut().filter(|family| **family == of_a).for_each(|family| *family = of_b);
                }
            }
        }
        families
    });
    let families = families.await.map_err(|panic| Error::Weights(std::io::Error::other(panic)))?;
    for (base, family) in readable.iter_mut().zip(families) {
        base.family = i64::try_from(family).unwrap_or(0);
    }
    Ok(readable)
}

/// As many of the adapter's targets as are worth reading, spread over the layers.
fn choose(mut targets: Vec<Target>) -> Vec<Target> {
    let values = |target: &Target| target.up.nrows().saturating_mul(target.down.ncols());
    targets.retain(|target| values(target) <= MAX_VALUES);
    let all = targets.iter().map(values).fold(0, usize::saturating_add);
    let step = all.div_ceil(ALL_VALUES).max(1);
    targets.into_iter().step_by(step).collect()
}

/// The width of the base's residual stream: columns of what reads from it.
fn width(targets: &[Target]) -> i64 {
    let reads = [Role::Query, Role::Key, Role::Value, Role::Gate, Role::Up];
    let found = targets.iter().find(|target| reads.contains(&target.slot.role));
    let columns = found.or(targets.first()).map_or(0, |target| target.down.ncols());
    i64::try_from(columns).unwrap_or(0)
}

async fn couple(
    db: &mut PgConnection,
    store: &BlobStore,
    base: &BaseRow,
    targets: &[Target],
) -> Result<Result<Coupling, Mismatch>, Error> {
    let plan = fingerprint::gather(db, store, base.model_id, base.revision_id).await?;
    let Some((model, mut source)) = fingerprint::open(store, &plan).await? else {
        return Ok(Err(Mismatch::Missing("any".to_owned())));
    };
    let targets = targets.to_vec();
    let measured = tokio::task::spawn_blocking(move || {
        let mut broken = None;
        let coupling = adapter::coupling(&targets, &mut |slot| {
            make::matrix(&model, &mut source, slot, MAX_VALUES).unwrap_or_else(|error| {
                broken = Some(error);
                None
            })
        });
        broken.map_or(Ok(coupling), Err)
    });
    measured.await.map_err(|panic| Error::Weights(std::io::Error::other(panic)))?.map_err(Error::Weights)
}

fn attribute(measured: &[Measured]) -> Attribution {
    let mut families: BTreeMap<i64, usize> = BTreeMap::new();
    let candidates: Vec<Candidate> = measured
        .iter()
        .enumerate()
        .filter_map(|(member, (base, coupling))| {
            let next = families.len();
            let family = *families.entry(base.family).or_insert(next);
            coupling.as_ref().ok().map(|coupling| Candidate { member, family, coupling: *coupling })
        })
        .collect();
    adapter::attribute(&candidates)
}

fn family_of(measured: &[Measured], member: usize) -> i64 {
    measured[member].0.family
}

fn link(sentence: String) -> Link {
    Link {
        parent_id: 0,
        parent_revision_id: None,
        parent_is_private: false,
        is_detected: false,
        relation: Relation::Adapter,
        verdict: "unverifiable",
        level: "none",
        confidence: 0.0,
        sentence,
        nearer_id: None,
        evidence: json!({}),
    }
}

/// What the coupling says of a named base.
fn judge(measured: &[Measured], attribution: Attribution, head: Option<i64>, name: &str) -> Link {
    let at = measured.iter().position(|(base, _)| Some(base.revision_id) == head);
    let Some(at) = at else {
        let reason = "the base's weights are not in this registry, or of another width than the adapter fits";
        return link(format!("Whether it was trained on `{name}` cannot be told: {reason}."));
    };
    let (base, coupling) = &measured[at];
    let told = |text: String| Link { parent_revision_id: Some(base.revision_id), ..link(text) };
    let coupling = match coupling {
        Ok(coupling) => coupling,
        Err(mismatch) => return told(format!("Whether it was trained on `{name}` cannot be told: {mismatch}.")),
    };
    let evidence = evidence(coupling, attribution);
    match attribution {
        Attribution::Family { nearest, z, .. } if family_of(measured, nearest) == base.family => Link {
            verdict: "confirmed",
            level: "probable",
            confidence: 0.9,
            evidence,
            ..told(format!(
                "The declared base `{name}` is confirmed: the adapter couples to its family {z:.0} standard deviations \
                 above what is not its base. An adapter shows the family; which member it was trained on cannot be told."
            ))
        },
        Attribution::Family { nearest, z, compared, .. } if compared >= 5 => Link {
            verdict: "contradicted",
            level: "probable",
            confidence: 0.9,
            nearer_id: Some(measured[nearest].0.model_id),
            evidence,
            ..told(format!(
                "The declared base `{name}` is contradicted: the adapter couples to the family of `{}` ({z:.0} standard \
                 deviations above {compared} unrelated models), and no more to `{name}` than unrelated models do. All \
                 values of {} of the matrices that it changes were compared.",
                measured[nearest].0.name, coupling.targets
            ))
        },
        Attribution::Family { nearest, .. } => Link {
            evidence,
            ..told(format!(
                "Whether it was trained on `{name}` cannot be told: it couples more to `{}`, but too few unrelated models \
                 of this shape are here to be sure.",
                measured[nearest].0.name
            ))
        },
        Attribution::Unverifiable => Link {
            evidence,
            ..told(format!(
                "Whether it was trained on `{name}` cannot be told: the adapter couples to no model here more than chance."
            ))
        },
    }
}

fn detect(measured: &[Measured], attribution: Attribution) -> Option<Link> {
    let Attribution::Family { nearest, z, .. } = attribution else { return None };
    // Any member of the family couples alike: the one that was here first stands for it.
    let leader = family_of(measured, nearest);
    let of_family = measured.iter().filter(|(base, coupling)| base.family == leader && coupling.is_ok());
    let (base, coupling) = of_family.min_by_key(|(base, _)| base.first_revision_id)?;
    let coupling = coupling.as_ref().ok()?;
    let sentence = format!(
        "Nobody declared it: the adapter couples to the family of `{}` {z:.0} standard deviations above what is not its \
         base. Which member of the family it was trained on cannot be told.",
        base.name
    );
    Some(Link {
        parent_id: base.model_id,
        parent_revision_id: Some(base.revision_id),
        parent_is_private: base.is_private,
        is_detected: true,
        verdict: "detected",
        level: "probable",
        confidence: 0.9,
        evidence: evidence(coupling, attribution),
        ..link(sentence)
    })
}

fn evidence(coupling: &Coupling, attribution: Attribution) -> Value {
    let mut value = json!({ "coupling": coupling, "attribution": attribution });
    // Numbers of candidates mean nothing outside.
    if let Some(fields) = value["attribution"].as_object_mut() {
        fields.remove("family");
        fields.remove("nearest");
    }
    value
}
