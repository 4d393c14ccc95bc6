//! The OpenAPI document of REST v1.

use actix_web::HttpResponse;
use utoipa::OpenApi;

use super::{
    audit, catalogue, evidence, files, hooks, import, license, lineage, models, policy, registry, smoke, uploads,
    waivers,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Herdbook REST API", description = "Errors are problem+json (RFC 9457) with a stable `code`."),
    paths(
        models::list_models,
        models::get_model,
        models::put_model,
        models::delete_model,
        files::put_file,
        files::head_file,
        files::get_file,
        uploads::create_upload,
        uploads::take_known,
        uploads::commit_upload,
        lineage::get_lineage,
        lineage::get_path,
        lineage::get_common_ancestor,
        lineage::post_claim,
        evidence::get_link,
        evidence::post_decision,
        evidence::get_fingerprint,
        evidence::post_identify,
        evidence::get_policy,
        evidence::put_policy,
        audit::get_audit,
        audit::get_counts,
        license::get_license,
        license::post_what_if,
        license::get_kit,
        license::post_kit,
        catalogue::list_licenses,
        catalogue::get_license_terms,
        catalogue::put_license,
        catalogue::delete_license,
        policy::get_policy,
        policy::put_policy,
        waivers::list_waivers,
        waivers::create_waiver,
        waivers::delete_waiver,
        waivers::get_rights,
        waivers::put_right,
        hooks::list_hooks,
        hooks::create_hook,
        hooks::delete_hook,
        smoke::list_smoke_tests,
        smoke::get_smoke_test,
        smoke::run_smoke_test,
        smoke::release_revision,
        smoke::get_smoke_policy,
        smoke::put_smoke_policy,
        import::post_import,
        registry::whoami,
        registry::list_tokens,
        registry::create_token,
        registry::delete_token,
        registry::list_jobs,
        registry::list_events,
        registry::get_stats,
    ),
    components(schemas(
        models::ModelPage,
        models::CreateModel,
        uploads::Offer,
        uploads::Known,
        uploads::CommitBody,
        lineage::ClaimBody,
        evidence::DecisionBody,
        evidence::PolicyBody,
        smoke::SmokePolicyBody,
        smoke::ReleaseBody,
        license::PlannedBody,
        policy::LicensePolicyBody,
        waivers::RightBody,
        hooks::HookBody,
        registry::NewToken
    ))
)]
struct Document;

/// Returns the document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Answers with the document.
pub async fn get_document() -> HttpResponse {
    HttpResponse::Ok().json(document())
}
