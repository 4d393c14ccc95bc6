//! Every URL of the product on one page.

use actix_web::web::{ServiceConfig, delete, get, head, post, put};

use super::{
    api::{audit, files, import, lineage, models, openapi, registry, smoke, uploads},
    health,
};

/// Registers all routes; the first that matches answers.
pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/healthz", get().to(health::healthz))
        .route("/readyz", get().to(health::readyz))
        .route("/metrics", get().to(health::metrics));
    api(config);
}

/// REST v1.
fn api(config: &mut ServiceConfig) {
    config
        .route("/api/v1/openapi.json", get().to(openapi::get_document))
        .route("/api/v1/whoami", get().to(registry::whoami))
        .route("/api/v1/stats", get().to(registry::get_stats))
        .route("/api/v1/tokens", get().to(registry::list_tokens))
        .route("/api/v1/tokens", post().to(registry::create_token))
        .route("/api/v1/tokens/{id}", delete().to(registry::delete_token))
        .route("/api/v1/jobs", get().to(registry::list_jobs))
        .route("/api/v1/events", get().to(registry::list_events))
        .route("/api/v1/import", post().to(import::post_import))
        .route("/api/v1/audit", get().to(audit::get_audit))
        .route("/api/v1/licenses", get().to(audit::list_licenses))
        .route("/api/v1/licenses/{key}", get().to(audit::get_license_terms))
        .route("/api/v1/lineage/path", get().to(lineage::get_path))
        .route("/api/v1/lineage/common-ancestor", get().to(lineage::get_common_ancestor))
        .route("/api/v1/models", get().to(models::list_models))
        .route("/api/v1/models/{ns}/{name}", get().to(models::get_model))
        .route("/api/v1/models/{ns}/{name}", put().to(models::put_model))
        .route("/api/v1/models/{ns}/{name}", delete().to(models::delete_model))
        .route("/api/v1/models/{ns}/{name}/license", get().to(audit::get_license))
        .route("/api/v1/models/{ns}/{name}/lineage", get().to(lineage::get_lineage))
        .route("/api/v1/models/{ns}/{name}/claims", post().to(lineage::post_claim))
        .route("/api/v1/models/{ns}/{name}/smoke-tests", get().to(smoke::list_smoke_tests))
        .route("/api/v1/models/{ns}/{name}/smoke-tests", post().to(smoke::run_smoke_test))
        .route("/api/v1/models/{ns}/{name}/uploads", post().to(uploads::create_upload))
        .route("/api/v1/models/{ns}/{name}/uploads/{id}/known", post().to(uploads::take_known))
        .route("/api/v1/models/{ns}/{name}/uploads/{id}/commit", post().to(uploads::commit_upload))
        .route("/api/v1/models/{ns}/{name}/files/{path:.*}", head().to(files::head_file))
        .route("/api/v1/models/{ns}/{name}/files/{path:.*}", get().to(files::get_file))
        .route("/api/v1/models/{ns}/{name}/files/{path:.*}", put().to(files::put_file));
}
