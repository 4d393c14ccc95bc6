//! Graph files: models, links and an intended use in one JSON file, judged without a server.
//!
//! A parent, or a child, that has no record of its own is a model of which nothing is known but its name: real lineage
//! is full of them. What cannot be understood is an error with its place.

mod file;

use std::io::{self, Write};

use serde_json::json;

use super::{DISCLAIMER, Judgement, catalogue::Catalogue, graph::Graph, judge::Engine, profile::Terms};

pub use file::Error;

/// A graph file, read.
#[derive(Debug)]
pub struct Offline {
    /// Models and links; models that only links name come last.
    pub graph: Graph,
    /// The intended use.
    pub terms: Terms,
    /// The models that are asked about.
    pub subjects: Vec<usize>,
}

/// Reads a graph file. Linear in its length.
pub fn parse(catalogue: &Catalogue, text: &str) -> Result<Offline, Error> {
    file::parse(catalogue, text)
}

impl Offline {
    /// Judges the models that are asked about, one after the other.
    pub fn judge<'a>(&'a self, engine: &'a Engine<'a>) -> impl Iterator<Item = Judgement> + 'a {
        self.subjects.iter().map(|subject| engine.judge(*subject, &self.terms))
    }
}

/// Writes judgements as JSON, one after the other, so that memory does not grow with their number.
pub fn write_json(out: &mut impl Write, judgements: impl Iterator<Item = Judgement>) -> io::Result<()> {
    write!(out, "{{\"disclaimer\":{},\"models\":[", json!(DISCLAIMER))?;
    for (place, judgement) in judgements.enumerate() {
        let separator = if place == 0 { "\n" } else { ",\n" };
        write!(out, "{separator}{}", serde_json::to_string(&judgement)?)?;
    }
    writeln!(out, "\n]}}")
}
