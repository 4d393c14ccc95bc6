//! Every URL of the product on one page.

use actix_web::web::{ServiceConfig, delete, get, head, post, put};

use super::{
    api::{
        audit, catalogue, evidence, files, hooks, import, license, lineage, models, openapi, policy, registry, smoke,
        uploads, waivers,
    },
    health, hub, ui,
};

/// Registers all routes; the first that matches answers.
pub fn configure(config: &mut ServiceConfig) {
    config
        .route("/healthz", get().to(health::healthz))
        .route("/readyz", get().to(health::readyz))
        .route("/metrics", get().to(health::metrics));
    api(config);
    hub_protocol(config);
    pages(config);
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
        .route("/api/v1/audit/counts", get().to(audit::get_counts))
        .route("/api/v1/license/what-if", post().to(license::post_what_if))
        .route("/api/v1/licenses", get().to(catalogue::list_licenses))
        .route("/api/v1/licenses/{key}", get().to(catalogue::get_license_terms))
        .route("/api/v1/licenses/{key}", put().to(catalogue::put_license))
        .route("/api/v1/licenses/{key}", delete().to(catalogue::delete_license))
        .route("/api/v1/policy", get().to(policy::get_policy))
        .route("/api/v1/policy", put().to(policy::put_policy))
        .route("/api/v1/waivers", get().to(waivers::list_waivers))
        .route("/api/v1/waivers", post().to(waivers::create_waiver))
        .route("/api/v1/waivers/{id}", delete().to(waivers::delete_waiver))
        .route("/api/v1/namespaces/{ns}/waiver-rights", get().to(waivers::get_rights))
        .route("/api/v1/namespaces/{ns}/waiver-rights", put().to(waivers::put_right))
        .route("/api/v1/namespaces/{ns}/webhooks", get().to(hooks::list_hooks))
        .route("/api/v1/namespaces/{ns}/webhooks", post().to(hooks::create_hook))
        .route("/api/v1/namespaces/{ns}/webhooks/{id}", delete().to(hooks::delete_hook))
        .route("/api/v1/identify", post().to(evidence::post_identify))
        .route("/api/v1/namespaces/{ns}/lineage-policy", get().to(evidence::get_policy))
        .route("/api/v1/namespaces/{ns}/lineage-policy", put().to(evidence::put_policy))
        .route("/api/v1/lineage/path", get().to(lineage::get_path))
        .route("/api/v1/lineage/common-ancestor", get().to(lineage::get_common_ancestor))
        .route("/api/v1/models", get().to(models::list_models))
        .route("/api/v1/models/{ns}/{name}", get().to(models::get_model))
        .route("/api/v1/models/{ns}/{name}", put().to(models::put_model))
        .route("/api/v1/models/{ns}/{name}", delete().to(models::delete_model))
        .route("/api/v1/models/{ns}/{name}/license", get().to(license::get_license))
        .route("/api/v1/models/{ns}/{name}/license/kit", get().to(license::get_kit))
        .route("/api/v1/models/{ns}/{name}/license/kit", post().to(license::post_kit))
        .route("/api/v1/models/{ns}/{name}/lineage", get().to(lineage::get_lineage))
        .route("/api/v1/models/{ns}/{name}/lineage/{parent_ns}/{parent_name}", get().to(evidence::get_link))
        .route(
            "/api/v1/models/{ns}/{name}/lineage/{parent_ns}/{parent_name}/decisions",
            post().to(evidence::post_decision),
        )
        .route("/api/v1/models/{ns}/{name}/fingerprint", get().to(evidence::get_fingerprint))
        .route("/api/v1/models/{ns}/{name}/claims", post().to(lineage::post_claim))
        .route("/api/v1/models/{ns}/{name}/smoke-tests", get().to(smoke::list_smoke_tests))
        .route("/api/v1/models/{ns}/{name}/smoke-tests", post().to(smoke::run_smoke_test))
        .route("/api/v1/models/{ns}/{name}/smoke-tests/{id}", get().to(smoke::get_smoke_test))
        .route("/api/v1/models/{ns}/{name}/smoke-tests/release", post().to(smoke::release_revision))
        .route("/api/v1/namespaces/{ns}/smoke-policy", get().to(smoke::get_smoke_policy))
        .route("/api/v1/namespaces/{ns}/smoke-policy", put().to(smoke::put_smoke_policy))
        .route("/api/v1/models/{ns}/{name}/uploads", post().to(uploads::create_upload))
        .route("/api/v1/models/{ns}/{name}/uploads/{id}/known", post().to(uploads::take_known))
        .route("/api/v1/models/{ns}/{name}/uploads/{id}/commit", post().to(uploads::commit_upload))
        .route("/api/v1/models/{ns}/{name}/files/{path:.*}", head().to(files::head_file))
        .route("/api/v1/models/{ns}/{name}/files/{path:.*}", get().to(files::get_file))
        .route("/api/v1/models/{ns}/{name}/files/{path:.*}", put().to(files::put_file));
}

/// The Hugging Face protocol.
fn hub_protocol(config: &mut ServiceConfig) {
    config
        .route("/api/whoami-v2", get().to(hub::account::whoami))
        .route("/api/repos/create", post().to(hub::repos::create))
        .route("/api/repos/delete", delete().to(hub::repos::remove))
        .route("/api/repos/move", post().to(hub::repos::relocate))
        .route("/api/validate-yaml", post().to(hub::repos::validate_yaml))
        .route("/api/models", get().to(hub::models::list_models))
        .route("/api/models/{name}", get().to(hub::repos::no_namespace))
        .route("/api/models/{ns}/{name}", get().to(hub::models::get_model))
        .route("/api/models/{ns}/{name}/revision/{rev}", get().to(hub::models::get_revision))
        .route("/api/models/{ns}/{name}/tree/{rev}", get().to(hub::tree::get_tree))
        .route("/api/models/{ns}/{name}/tree/{rev}/{path:.*}", get().to(hub::tree::get_tree))
        .route("/api/models/{ns}/{name}/paths-info/{rev}", post().to(hub::tree::get_paths))
        .route("/api/models/{ns}/{name}/commits/{rev}", get().to(hub::tree::list_commits))
        .route("/api/models/{ns}/{name}/refs", get().to(hub::refs::list))
        .route("/api/models/{ns}/{name}/branch/{reference}", post().to(hub::refs::create_branch))
        .route("/api/models/{ns}/{name}/branch/{reference}", delete().to(hub::refs::delete_branch))
        .route("/api/models/{ns}/{name}/tag/{rev}", post().to(hub::refs::create_tag))
        .route("/api/models/{ns}/{name}/tag/{reference}", delete().to(hub::refs::delete_tag))
        .route("/api/models/{ns}/{name}/super-squash/{rev}", post().to(hub::refs::squash))
        .route("/api/models/{ns}/{name}/settings", put().to(hub::repos::settings))
        .route("/api/models/{ns}/{name}/auth-check", get().to(hub::repos::auth_check))
        .route("/api/models/{ns}/{name}/discussions", get().to(hub::repos::discussions))
        .route("/api/models/{ns}/{name}/preupload/{rev}", post().to(hub::commit::preupload))
        .route("/api/models/{ns}/{name}/commit/{rev}", post().to(hub::commit::commit))
        .route("/api/models/{ns}/{name}/xet-write-token/{rev}", get().to(hub::xet::write_token))
        .route("/xet/{place}/v1/xorbs/default/{hash}", post().to(hub::xet::post_xorb))
        .route("/xet/{place}/v1/shards", post().to(hub::xet::post_shard))
        .route("/xet/{place}/v2/shards", post().to(hub::xet::post_shard_with_progress))
        .route("/{ns}/{name}.git/info/lfs/objects/batch", post().to(hub::lfs::batch))
        .route("/{ns}/{name}.git/info/lfs/objects/verify", post().to(hub::lfs::verify))
        .route("/lfs/object/{oid}", put().to(hub::lfs::put_object))
        .route("/lfs/part/{oid}", put().to(hub::lfs::put_part))
        .route("/lfs/complete/{oid}", post().to(hub::lfs::complete))
        .route("/{ns}/{name}/resolve/{rev}/{path:.*}", head().to(hub::resolve::get_file))
        .route("/{ns}/{name}/resolve/{rev}/{path:.*}", get().to(hub::resolve::get_file));
}

/// The pages.
fn pages(config: &mut ServiceConfig) {
    config
        .route("/", get().to(ui::home::get_home))
        .route("/static/{file}", get().to(ui::assets::get_asset))
        .route("/favicon.ico", get().to(ui::assets::favicon))
        .route("/robots.txt", get().to(ui::assets::robots))
        .route("/models", get().to(ui::browse::get_models))
        .route("/compliance", get().to(ui::compliance::get_compliance))
        .route("/compliance", post().to(ui::compliance_forms::change_compliance))
        .route("/policy", get().to(ui::policy::get_policy))
        .route("/policy", post().to(ui::policy::change_policy))
        .route("/what-if", get().to(ui::what_if::get_what_if))
        .route("/licenses", get().to(ui::licenses::list_licenses))
        .route("/licenses/{key}", get().to(ui::licenses::get_license))
        .route("/identify", get().to(ui::identify::get_identify))
        .route("/identify", post().to(ui::identify::post_identify))
        .route("/upload", get().to(ui::upload::get_upload))
        .route("/sign-in", get().to(ui::account::get_sign_in))
        .route("/sign-in", post().to(ui::account::sign_in))
        .route("/sign-out", post().to(ui::account::sign_out))
        .route("/settings/tokens", get().to(ui::account::get_tokens))
        .route("/settings/tokens", post().to(ui::account::change_tokens))
        .route("/{ns}", get().to(ui::browse::get_namespace))
        .route("/{ns}/{name}", get().to(ui::model::get_card))
        .route("/{ns}/{name}/files", get().to(ui::tabs::files::get_files))
        .route("/{ns}/{name}/pedigree", get().to(ui::tabs::pedigree::get_pedigree))
        .route("/{ns}/{name}/lineage/{parent_ns}/{parent_name}", get().to(ui::evidence::get_evidence))
        .route("/{ns}/{name}/lineage/{parent_ns}/{parent_name}", post().to(ui::evidence::post_decision))
        .route("/{ns}/{name}/tree", get().to(ui::tree::get_tree))
        .route("/{ns}/{name}/license", get().to(ui::tabs::license::get_license))
        .route("/{ns}/{name}/license", post().to(ui::tabs::license_forms::change_license))
        .route("/{ns}/{name}/smoke-test", get().to(ui::tabs::smoke::get_smoke))
        .route("/{ns}/{name}/smoke-test", post().to(ui::tabs::smoke::change_smoke))
        .route("/{ns}/{name}/smoke-test/{id}", get().to(ui::tabs::smoke::get_run))
        .route("/{ns}/{name}/tensors", get().to(ui::tabs::tensors::get_tensors))
        .route("/{ns}/{name}/history", get().to(ui::tabs::history::get_history))
        .route("/{ns}/{name}/settings", get().to(ui::settings::get_settings))
        .route("/{ns}/{name}/settings", post().to(ui::settings::change_settings))
        .route("/{ns}/{name}/commit/{rev}", get().to(ui::tabs::history::get_commit))
        .default_service(get().to(ui::error::nothing_here));
}
