//! Every URL of the product on one page.

use actix_web::web::{self, ServiceConfig, delete, get, head, post, put};

use super::{api, health, hub, ui};

/// Registers all routes; the first that matches answers.
pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/healthz", get().to(health::healthz))
        .route("/readyz", get().to(health::readyz))
        .route("/metrics", get().to(health::metrics));
    api(config);
    hub(config);
    ui(config);
}
