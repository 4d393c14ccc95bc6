//! Questions about the graph, one after the other. The baseline is `/healthz`: a request that does nothing.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value;

use crate::support::{Bench, Times, Unit, Visitor, print, send};

const SAMPLES: usize = 25;
const AUDITS: usize = 3;
const ROOT: &str = "meta-llama/Llama-2-7b-hf";

pub(crate) async fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let herd = bench.herd()?;
    let visitor = herd.server.visitor()?;
    let idle = ask(&visitor, "/healthz").await?;
    let of = |model: &str, direction: &str| format!("/api/v1/models/{model}/lineage?direction={direction}");
    let graph = send(herd.server.request(Method::GET, &of(ROOT, "descendants"))).await?.bytes().await?;
    let graph: Value = serde_json::from_slice(&graph)?;
    let nodes = graph["nodes"].as_array().context("an answer without nodes")?;
    // They come by generation: the last is among the deepest, and the one in the middle is far from it.
    let id = |node: &Value| node["id"].as_str().map(str::to_owned).context("a node without a name");
    let deep = id(nodes.last().context("the model is not there")?)?;
    let cousin = id(&nodes[nodes.len() / 2])?;
    let descendants = ask(&visitor, &of(ROOT, "descendants")).await?;
    let ancestors = ask(&visitor, &of(&deep, "ancestors")).await?;
    let path = ask(&visitor, &format!("/api/v1/lineage/path?from={deep}&to={ROOT}")).await?;
    let common = format!("/api/v1/lineage/common-ancestor?a={deep}&b={cousin}");
    let common = ask(&visitor, &common).await?;
    let tree = ask(&visitor, &format!("/{ROOT}/tree")).await?;
    let mut command = Times::default();
    let mut findings = 0;
    for _ in 0..AUDITS {
        let report = command.take(|| herd.server.run(&["audit", "--all", "--format", "csv"]))?;
        findings = report.lines().count().saturating_sub(1);
    }
    let idle = [("a request that does nothing", &idle)];
    let ms = Unit::Milliseconds;
    print(&format!("{} descendants of {ROOT}", nodes.len() - 1), &descendants, ms, &idle);
    print("their tree page", &tree, ms, &idle);
    print(&format!("ancestors of {deep}"), &ancestors, ms, &idle);
    print("path from there to the root", &path, ms, &idle);
    print("nearest common ancestor of two", &common, ms, &idle);
    print(&format!("audit of everything, {findings} findings"), &command, Unit::Seconds, &[]);
    print("  baseline: /healthz", idle[0].1, ms, &[]);
    Ok(())
}

/// Asks several times.
async fn ask(visitor: &Visitor, path: &str) -> anyhow::Result<Times> {
    // The first opens the connection and warms what is cold.
    send(visitor.get(path)).await?.bytes().await?;
    let mut times = Times::default();
    for _ in 0..SAMPLES {
        times.wait(async { Ok(send(visitor.get(path)).await?.bytes().await?) }).await?;
    }
    Ok(times)
}
