//! Tells a webhook what happened.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Job, Outcome, queue};
use crate::{
    app::App,
    hooks,
    license::{current::Change, graph::namespace_key},
};

/// Tells one hook of one event; tried again with growing pauses when the receiver does not take it.
#[derive(Debug, Serialize, Deserialize)]
pub struct DeliverHook {
    /// The hook.
    pub hook_id: i64,
    /// Which event.
    pub event: String,
    /// The body.
    pub body: Value,
}

impl Job for DeliverHook {
    const KIND: &'static str = "deliver_hook";

    async fn run(&self, app: &App) -> Outcome {
        match deliver(app, self).await {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }
}

async fn deliver(app: &App, job: &DeliverHook) -> Result<(), hooks::Error> {
    let found = hooks::db::find(&mut *app.db.acquire().await?, job.hook_id).await?;
    let Some(hook) = found else { return Ok(()) };
    let told = hooks::deliver(&hook, &job.event, job.body.to_string().into_bytes(), app.options.webhook_private).await;
    let status = match &told {
        Ok(()) => "delivered".to_owned(),
        Err(error) => error.to_string(),
    };
    hooks::db::set_status(&mut *app.db.acquire().await?, hook.id, &status).await?;
    told
}

/// Enqueues what the hooks of the models' namespaces are told of changed positions.
pub(crate) async fn announce(db: &mut PgConnection, changes: &[Change]) -> Result<(), queue::Error> {
    let namespace = |change: &Change| namespace_key(&change.model);
    let mut namespaces: Vec<String> = changes.iter().map(namespace).collect();
    namespaces.sort();
    namespaces.dedup();
    let hooks = hooks::db::list_of(db, &namespaces).await?;
    if hooks.is_empty() {
        return Ok(());
    }
    let at = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    for change in changes {
        for (_, hook_id) in hooks.iter().filter(|(of, _)| *of == namespace(change)) {
            let body = json!({
                "event": "position.changed", "at": at, "model": change.model, "previous": change.previous,
                "position": change.position, "reason": change.reason,
            });
            let event = "position.changed".to_owned();
            queue::enqueue(db, &DeliverHook { hook_id: *hook_id, event, body }).await?;
        }
    }
    Ok(())
}
