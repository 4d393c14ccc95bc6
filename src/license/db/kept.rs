//! The figures of an audit, kept until the data changes.

use std::sync::Arc;

use sqlx::PgConnection;

use super::{
    super::Error,
    findings::{Offender, RuleCount, count_positions, count_rules, list_offenders},
};
use crate::{auth::Viewer, tally::Tally};

/// As [`count_positions`].
pub async fn kept_positions(
    tally: &Tally,
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace: Option<&str>,
) -> Result<Arc<Vec<(String, i64)>>, Error> {
    let what = format!("positions {namespace:?}");
    tally.get(db, viewer, &what, async |db| count_positions(db, viewer, namespace).await).await
}

/// As [`count_rules`].
pub async fn kept_rules(
    tally: &Tally,
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace: Option<&str>,
) -> Result<Arc<Vec<RuleCount>>, Error> {
    let what = format!("rules {namespace:?}");
    tally.get(db, viewer, &what, async |db| count_rules(db, viewer, namespace).await).await
}

/// As [`list_offenders`].
pub async fn kept_offenders(
    tally: &Tally,
    db: &mut PgConnection,
    viewer: &Viewer,
    namespace: Option<&str>,
    limit: i64,
) -> Result<Arc<Vec<Offender>>, Error> {
    let what = format!("offenders {namespace:?} {limit}");
    tally.get(db, viewer, &what, async |db| list_offenders(db, viewer, namespace, limit).await).await
}
