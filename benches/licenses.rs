//! License positions: judged again after a change, for another use, and exported. The baseline of a change is the same
//! change of a model without descendants.

use std::fs;

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Bench, Server, Times, Unit, print, print_note, send};

const DESCENDANTS: usize = 10_000;
const CHANGES: usize = 5;
const FORMATS: [&str; 5] = ["json", "csv", "cyclonedx", "spdx", "sarif"];

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let server = &bench.herd()?.server;
    for model in ["admin/bench-root", "admin/bench-leaf"] {
        server.create_model(model).await?;
        label(server, model, "apache-2.0").await?;
    }
    descend(server)?;
    server.drain().await?;
    let (mut root, mut leaf) = (Times::default(), Times::default());
    for change in 0..CHANGES {
        let license = if change % 2 == 0 { "cc-by-nc-4.0" } else { "apache-2.0" };
        leaf.push(judged(server, "admin/bench-leaf", license).await?);
        root.push(judged(server, "admin/bench-root", license).await?);
    }
    let counts = audit(server, "/api/v1/audit/counts?scope=bench").await?;
    let all: i64 = counts["positions"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_i64()).sum();
    ensure!(all == i64::try_from(DESCENDANTS)?, "{all} of {DESCENDANTS} descendants are there: {counts}");

    let mut everything = Times::default();
    for _ in 0..2 {
        let place = "/api/v1/licenses/LicenseRef-bench";
        send(server.request(Method::PUT, place).json(&own_license())).await?;
        everything.wait(server.drain()).await?;
        send(server.request(Method::DELETE, place)).await?;
        everything.wait(server.drain()).await?;
    }
    let mut sold = Times::default();
    sold.wait(audit(server, "/api/v1/audit/counts?commercial=true")).await?;

    let ms = Unit::Milliseconds;
    let of = [("the same without descendants", &leaf)];
    print(&format!("a label at a root with {DESCENDANTS} descendants, all judged again"), &root, ms, &of);
    print("every model judged again after a license was added", &everything, Unit::Seconds, &[]);
    print("every model judged for commercial use, nothing kept", &sold, Unit::Seconds, &[]);
    print("  baseline: a label of a model without descendants", &leaf, ms, &[]);
    for format in FORMATS {
        let (mut times, mut bytes) = (Times::default(), 0_usize);
        let before = server.resident_mib().unwrap_or_default();
        let mut most = before;
        let export = async {
            let answer = send(server.request(Method::GET, &format!("/api/v1/audit?format={format}"))).await?;
            let mut body = answer.bytes_stream();
            while let Some(piece) = body.next().await {
                bytes += piece?.len();
                most = most.max(server.resident_mib().unwrap_or_default());
            }
            Ok(())
        };
        times.wait(export).await?;
        print(&format!("everything as {format}, {} MiB", bytes >> 20), &times, Unit::Seconds, &[]);
        print_note(&format!("  memory of the server: {before:.0} MiB before, {most:.0} MiB at most"));
    }
    Ok(())
}

/// Changes a label, and returns how long the judge worked: from the start of its job to the end.
async fn judged(server: &Server, model: &str, license: &str) -> anyhow::Result<std::time::Duration> {
    label(server, model, license).await?;
    server.drain().await?;
    let jobs: Value = send(server.request(Method::GET, "/api/v1/jobs?state=done&limit=50")).await?.json().await?;
    let is_meant = |job: &&Value| job["kind"] == "judge_license" && job["model"] == model;
    let job = jobs["jobs"].as_array().into_iter().flatten().find(is_meant).context("nothing judged it")?;
    let took = job["took_ms"].as_f64().context("a job without a duration")?;
    Ok(std::time::Duration::from_secs_f64(took / 1000.0))
}

async fn label(server: &Server, model: &str, license: &str) -> anyhow::Result<()> {
    let card = format!("---\nlicense: {license}\n---\n# A root\n");
    let place = format!("/api/v1/models/{model}/files/README.md?message=Label");
    send(server.request(Method::PUT, &place).body(card)).await.map(drop)
}

/// Imports a generation of children, and nine of theirs each.
fn descend(server: &Server) -> anyhow::Result<()> {
    let line = |number: usize| {
        let base = if number.is_multiple_of(10) {
            "admin/bench-root".to_owned()
        } else {
            format!("bench/m{}", number / 10 * 10)
        };
        json!({ "id": format!("bench/m{number}"), "license": "mit", "base_models": [base], "relation": "finetune" })
            .to_string()
    };
    let lines: Vec<String> = (0..DESCENDANTS).map(line).collect();
    let file = tempfile::Builder::new().suffix(".jsonl").tempfile()?;
    fs::write(file.path(), lines.join("\n"))?;
    server.run(&["import", "--json", file.path().to_str().context("the path is not UTF-8")?]).map(drop)
}

async fn audit(server: &Server, place: &str) -> anyhow::Result<Value> {
    Ok(send(server.request(Method::GET, place)).await?.json().await?)
}

fn own_license() -> Value {
    let term = |value: Value| json!({ "value": value, "clause": "§1", "basis": "text" });
    json!({
        "name": "A license of our own", "hf_ids": [], "license_name_aliases": [], "spdx": null,
        "category": "ai-community", "text_read": "full",
        "terms": {
            "commercial_use": term(json!("no")), "redistribution": term(json!("allowed")),
            "derivatives": term(json!("allowed")), "relicense_derivative": term(json!("not_granted")),
            "license_copy": term(json!(true)), "adapters": term(json!("not defined")),
            "outputs": term(json!({ "mode": "silent" })),
        },
    })
}
