//! A server that holds a catalogue of real models: imported once, used by every benchmark that asks questions.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::Value;

use crate::support::{Bench, Home, Server, print_note};

/// The herd that comes with the project: some 12,000 descendants of Llama.
const SHIPPED: &str = "src/demo/llama_herd.jsonl.zst";
/// A larger one that may lie beside the project.
const BESIDE: &str = "../shared/data/catalog.jsonl.zst";

/// The server with its data.
pub(crate) struct Herd {
    pub(crate) server: Server,
    // After the server, which writes here to its end.
    _home: Home,
}

impl Herd {
    /// Starts an empty server.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let home = Home::new()?;
        Ok(Self { server: Server::start(&home)?, _home: home })
    }

    /// Imports the catalogue; returns the summary.
    pub(crate) fn import(&self) -> anyhow::Result<Value> {
        let file = place();
        let told = self.server.run(&["import", "--json", file.to_str().context("the path is not UTF-8")?])?;
        Ok(serde_json::from_str(&told)?)
    }
}

impl Bench {
    /// The server with the catalogue; imports it when no benchmark before did.
    pub(crate) fn herd(&mut self) -> anyhow::Result<&Herd> {
        if self.herd.is_none() {
            let herd = Herd::start()?;
            herd.import()?;
            self.herd = Some(herd);
        }
        let herd = self.herd.as_ref().context("it was just started")?;
        print_note(&format!("over {}", origin(&place())));
        Ok(herd)
    }
}

/// The models that are imported.
pub(crate) struct Catalogue {
    pub(crate) origin: &'static str,
    pub(crate) lines: String,
}

/// Reads the catalogue.
pub(crate) fn catalogue() -> anyhow::Result<Catalogue> {
    let place = place();
    let mut lines = String::new();
    zstd::Decoder::new(std::fs::File::open(&place)?)?.read_to_string(&mut lines)?;
    Ok(Catalogue { origin: origin(&place), lines })
}

/// Names of models, evenly spread over the catalogue.
pub(crate) fn sample(count: usize) -> anyhow::Result<Vec<String>> {
    let lines = catalogue()?.lines;
    let step = (lines.lines().count() / count).max(1);
    let picked = lines.lines().step_by(step).map(|line| {
        let record: Value = serde_json::from_str(line)?;
        Ok(record["id"].as_str().context("a record without a name")?.to_owned())
    });
    picked.collect()
}

fn place() -> PathBuf {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    Some(project.join(BESIDE)).filter(|file| file.is_file()).unwrap_or_else(|| project.join(SHIPPED))
}

fn origin(place: &Path) -> &'static str {
    if place.ends_with(SHIPPED) { "the herd that comes with the project" } else { "the whole catalogue" }
}
