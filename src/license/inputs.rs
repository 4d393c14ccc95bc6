//! What a judgement depends on, as a digest: where it is unchanged, so is the judgement.
//!
//! A model's digest holds its own evidence, its links, and its parents' digests; the members of a circle share one over
//! the circle. The intended use counts for the model itself only, so that a change in one namespace re-judges no other.

use super::{
    graph::{Edge, ModelFacts},
    judge::Engine,
    profile::Terms,
    walk::components,
};
use crate::digest::Digest;

/// Raised whenever a rule changes, so that stored judgements are made anew.
pub const RULES_REVISION: u32 = 1;

impl Engine<'_> {
    /// Returns a digest for each model. Linear in models and links.
    pub fn input_digests<'t>(&self, terms_of: impl Fn(usize) -> &'t Terms) -> Vec<Digest> {
        let lineage = self.lineage_digests();
        let mut text = Vec::new();
        let mut digests = Vec::with_capacity(lineage.len());
        for (model, lineage) in lineage.iter().enumerate() {
            text.clear();
            text.extend_from_slice(&RULES_REVISION.to_be_bytes());
            put(&mut text, self.catalogue.version.as_bytes());
            text.extend_from_slice(lineage.as_bytes());
            put(&mut text, &serde_json::to_vec(terms_of(model)).unwrap_or_default());
            digests.push(Digest::of(&text));
        }
        digests
    }

    /// What is above each model, and its own evidence.
    fn lineage_digests(&self) -> Vec<Digest> {
        let count = self.graph.models.len();
        let all: Vec<usize> = (0..count).collect();
        let parents = |model: usize| self.passing(model).map(|edge| edge.parent);
        let mut digests = vec![Digest::from_bytes([0; 32]); count];
        for mut members in components(count, &all, parents) {
            members.sort_by_key(|member| self.ways.rank(*member));
            let mut text = Vec::new();
            for member in &members {
                evidence(&mut text, &self.graph.models[*member]);
                self.links(&mut text, *member, &members, &digests);
            }
            let whole = Digest::of(&text);
            for member in &members {
                let own = [whole.as_bytes(), self.graph.models[*member].id.as_bytes()].concat();
                digests[*member] = if members.len() == 1 { whole } else { Digest::of(&own) };
            }
        }
        digests
    }

    /// Links through which something passes, before cycles are cut.
    fn passing(&self, model: usize) -> impl Iterator<Item = &Edge> {
        let edges = self.graph.parents.get(model).map(Vec::as_slice).unwrap_or_default();
        edges.iter().filter(|edge| !edge.is_contradicted && !edge.link.carries_nothing())
    }

    fn links(&self, text: &mut Vec<u8>, model: usize, circle: &[usize], digests: &[Digest]) {
        let edges = self.graph.parents.get(model).map(Vec::as_slice).unwrap_or_default();
        let mut links: Vec<Vec<u8>> = Vec::with_capacity(edges.len());
        for edge in edges.iter().filter(|edge| edge.is_contradicted || !edge.link.carries_nothing()) {
            let mut link = Vec::new();
            let parent = &self.graph.models[edge.parent];
            put(&mut link, parent.id.as_bytes());
            put(&mut link, edge.link.as_str().as_bytes());
            link.extend_from_slice(&[edge.certainty as u8, u8::from(edge.is_contradicted)]);
            // Of a contradicted parent only the name counts; a member of the circle is in the digest already.
            if !edge.is_contradicted
                && circle.binary_search_by_key(&self.ways.rank(edge.parent), |m| self.ways.rank(*m)).is_err()
            {
                link.extend_from_slice(digests[edge.parent].as_bytes());
            }
            links.push(link);
        }
        links.sort();
        links.dedup();
        for link in links {
            put(text, &link);
        }
    }
}

/// Everything that the engine reads of a model.
fn evidence(text: &mut Vec<u8>, model: &ModelFacts) {
    let ModelFacts { row: _, id, labels, license_name, license_link, is_private, is_multimodal, files } = model;
    put(text, id.as_bytes());
    put(text, &[u8::try_from(labels.len()).unwrap_or(u8::MAX)]);
    for label in labels {
        put(text, label.as_bytes());
    }
    for name in [license_name, license_link] {
        put_option(text, name.as_deref());
    }
    let multimodal = match is_multimodal {
        None => 0,
        Some(false) => 1,
        Some(true) => 2,
    };
    text.extend_from_slice(&[u8::from(*is_private), multimodal, u8::from(files.is_some())]);
    let Some(files) = files else { return };
    let mut texts: Vec<Vec<u8>> = Vec::new();
    for file in &files.license_texts {
        let mut entry = Vec::new();
        put(&mut entry, file.path.as_bytes());
        put_option(&mut entry, file.key.as_deref());
        texts.push(entry);
    }
    for entry in texts {
        put(text, &entry);
    }
    put(text, Digest::of(files.notice.as_bytes()).as_bytes());
    put(text, Digest::of(files.readme.as_bytes()).as_bytes());
}

/// Bytes with their length before them, so that no two lists look alike.
fn put(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    text.extend_from_slice(bytes);
}

fn put_option(text: &mut Vec<u8>, value: Option<&str>) {
    text.push(u8::from(value.is_some()));
    put(text, value.unwrap_or_default().as_bytes());
}
