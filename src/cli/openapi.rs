//! `herdbook openapi`: the REST API's description.

use std::process::ExitCode;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    println!("{}", crate::http::api::openapi::document().to_pretty_json()?);
    Ok(ExitCode::SUCCESS)
}
