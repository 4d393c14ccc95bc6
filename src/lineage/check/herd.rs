//! Brings together the fingerprints that a decision needs, and what is claimed about them.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;

use super::{
    super::{
        Error, Relation,
        db::{self, ClaimRow},
        relatives::{self, MOST, Member, PrintCache},
    },
    Circle, Subject, affordable,
};
use crate::storage::BlobStore;

/// A parent that somebody or some file names.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) parent_id: i64,
    pub(super) parent_revision_id: Option<i64>,
    pub(super) parent_name: String,
    pub(super) parent_is_private: bool,
    pub(super) relation: Relation,
    /// The member, or why there is none.
    pub(super) member: Result<usize, Absence>,
}

/// Why a parent cannot be compared.
#[derive(Debug, Clone)]
pub(super) enum Absence {
    /// It cannot be compared, for this reason.
    For(String),
    /// Its fingerprint is being made.
    Pending,
}

/// A herd to be judged.
pub(super) struct Gathered {
    pub(super) members: Vec<Member>,
    pub(super) attested: Vec<bool>,
    /// The member in question.
    pub(super) own: usize,
    /// Members that are judged and kept: all their relatives are here.
    pub(super) complete: Vec<usize>,
    /// Whether the herd holds everybody who may be related to one of it, not only the nearest.
    pub(super) is_whole: bool,
    /// The parents that members claim.
    pub(super) named: BTreeMap<usize, Vec<Named>>,
    /// Full comparisons by revisions of child and parent.
    pub(super) comparisons: HashMap<(i64, i64), serde_json::Value>,
}

/// Gathers the herd of a model as a circle sees it.
pub(super) async fn gather(
    db: &mut PgConnection,
    store: &BlobStore,
    cache: &PrintCache,
    subject: &Subject<'_>,
    circle: &Circle,
) -> Result<Gathered, Error> {
    let Subject { model, print, is_attested } = subject;
    let viewer = circle.viewer();
    let mut wanted: Vec<i64> = model.head_revision_id.into_iter().collect();
    wanted.extend(db::list_claimed_tips(db, &[model.id]).await?);
    let first = wanted.clone();
    wanted.extend(db::list_claiming_tips(db, model.id).await?);
    wanted.truncate(MOST / 2);
    let found = relatives::find_candidates(db, print, &wanted, &viewer).await?;
    let mut members = relatives::load(store, cache, found).await?;
    let is_closed = enlarge(db, store, cache, circle, &mut members).await?;
    let most = affordable(print);
    let is_whole = is_closed && members.len() <= most;
    members.sort_by_key(|member| !first.contains(&member.row.revision_id));
    members.truncate(most);
    members.sort_by_key(|member| (member.row.first_revision_id, member.row.revision_id));
    let places = relatives::places(&members);
    let own = model.head_revision_id.and_then(|head| places.get(&head).copied());
    let own = own.ok_or_else(|| Error::Weights(std::io::Error::other("the model's own fingerprint is gone")))?;
    let is_complete = |place: &usize| {
        let member = &members[*place];
        let belongs = match circle {
            Circle::Public => !member.row.is_private,
            Circle::Namespace(name) => member.row.namespace_key == *name,
        };
        belongs && (*place == own || is_whole)
    };
    let complete: Vec<usize> = (0..members.len()).filter(is_complete).collect();
    let attested = members.iter().map(|member| is_attested(&member.row.name)).collect();
    let mut named = BTreeMap::new();
    let mut comparisons = HashMap::new();
    for (place, member) in members.iter().enumerate() {
        let claims = db::list_claim_rows(db, member.row.model_id).await?;
        let claimed = name_parents(db, circle, member, claims, &places).await?;
        for parent in claimed.iter().filter(|_| complete.contains(&place)) {
            let child_revision = member.row.revision_id;
            if let Some(parent_revision) = parent.parent_revision_id
                && let Some(result) = db::find_comparison(db, child_revision, parent_revision).await?
            {
                comparisons.insert((child_revision, parent_revision), result);
            }
        }
        named.insert(place, claimed);
    }
    Ok(Gathered { members, attested, own, complete, is_whole, named, comparisons })
}

/// Adds the relatives of relatives behind the nearest, so that these can be judged again too; returns whether all of them
/// found room.
async fn enlarge(
    db: &mut PgConnection,
    store: &BlobStore,
    cache: &PrintCache,
    circle: &Circle,
    members: &mut Vec<Member>,
) -> Result<bool, Error> {
    for _ in 0..4 {
        let revisions: Vec<i64> = members.iter().map(|member| member.row.revision_id).collect();
        let ids: Vec<i64> = members.iter().map(|member| member.row.model_id).collect();
        let leaders = db::list_near_leaders(db, &revisions).await?;
        let judged = db::list_judgments(db, &ids, circle.audience()).await?;
        let mut named: Vec<i64> = judged.iter().flat_map(|row| row.related.iter().copied()).collect();
        named.extend(db::list_claimed_tips(db, &ids).await?);
        let mut more = db::list_candidates(db, &leaders, &named, &revisions, &circle.viewer(), MOST + 1).await?;
        if more.is_empty() {
            return Ok(true);
        }
        if members.len() + more.len() > MOST {
            more.truncate(MOST.saturating_sub(members.len()));
            members.extend(relatives::load(store, cache, more).await?);
            return Ok(false);
        }
        members.extend(relatives::load(store, cache, more).await?);
    }
    Ok(false)
}

/// The parents that a member's claims name, each once, as far as the circle is to hear of them.
async fn name_parents(
    db: &mut PgConnection,
    circle: &Circle,
    child: &Member,
    claims: Vec<ClaimRow>,
    places: &HashMap<i64, usize>,
) -> Result<Vec<Named>, Error> {
    let mut named: Vec<Named> = Vec::new();
    for claim in claims.into_iter().filter(|claim| claim.source != "weights") {
        let is_known = named.iter().any(|known| known.parent_id == claim.parent_id);
        // A public model's link to a public parent is judged with public models alone.
        let is_elsewhere = match circle {
            Circle::Public => claim.parent_is_private,
            Circle::Namespace(_) => !child.row.is_private && !claim.parent_is_private,
        };
        if is_known || is_elsewhere {
            continue;
        }
        let at = claim.parent_head.and_then(|head| places.get(&head).copied());
        let member = match at {
            Some(member) => Ok(member),
            None => Err(absence(db, claim.parent_head).await?),
        };
        named.push(Named {
            parent_id: claim.parent_id,
            parent_revision_id: claim.parent_head,
            parent_name: claim.parent_name,
            parent_is_private: claim.parent_is_private,
            relation: claim.relation.parse().unwrap_or(Relation::Unknown),
            member,
        });
    }
    Ok(named)
}

async fn absence(db: &mut PgConnection, head: Option<i64>) -> Result<Absence, Error> {
    let Some(head) = head else { return Ok(Absence::For("its weights are not in this registry".to_owned())) };
    let Some(row) = db::find_print(db, head).await? else { return Ok(Absence::Pending) };
    Ok(Absence::For(match (row.kind.as_str(), row.reason) {
        ("adapter", _) => "it is an adapter, which has no weights of its own to compare".to_owned(),
        (_, Some(reason)) => format!("it is not fingerprinted: {reason}"),
        _ => "its fingerprint cannot be read by this version".to_owned(),
    }))
}
