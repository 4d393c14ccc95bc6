//! Draws the path by which a license reaches a model: ancestors from left to right, what decides below its ancestor.

use std::fmt::Write as _;

use super::{
    escape,
    format::{self, Mark},
    pedigree::{look, shorten},
};
use crate::lineage::Graph;

const WIDTH: i32 = 206;
const HEIGHT: i32 = 64;
const GAP: i32 = 98;
const TOP: i32 = 6;
/// Characters of a line of the clause.
const LINE: usize = 31;
/// Lines of what the clause says.
const MOST_LINES: usize = 4;

/// A model on the way.
pub(super) struct Step {
    pub(super) id: String,
    pub(super) license: Option<String>,
    /// How the next one was made of it; `None` at the end, and where the link is not to be seen.
    pub(super) link: Option<Link>,
}

/// A link on the way.
pub(super) struct Link {
    class: &'static str,
    /// What the child is: `fine-tune`.
    pub(super) relation: String,
    /// What is known of it: `only stated`.
    pub(super) standing: String,
    url: String,
}

/// What decides: the words of the license of the first step.
pub(super) struct Term {
    pub(super) clause: String,
    pub(super) words: String,
    pub(super) mark: Mark,
}

/// Returns the steps of a path that is given from the model to the ancestor, the oldest first.
pub(super) fn steps(path: &[String], graph: &Graph) -> Vec<Step> {
    let oldest_first: Vec<&String> = path.iter().rev().collect();
    let step = |(at, id): (usize, &&String)| Step {
        id: (*id).clone(),
        license: graph.nodes.iter().find(|node| node.id == **id).and_then(|node| node.license.clone()),
        link: oldest_first.get(at + 1).and_then(|child| link(graph, child, id)),
    };
    oldest_first.iter().enumerate().map(step).collect()
}

fn link(graph: &Graph, child: &str, parent: &str) -> Option<Link> {
    let stated: Vec<_> = graph.edges.iter().filter(|edge| edge.child == child && edge.parent == parent).collect();
    let edge = stated.iter().find(|edge| edge.origin == "declared").or(stated.first())?;
    let (class, mark) = look(edge);
    let standing = match class {
        "declared" => "only stated".to_owned(),
        "detected" => "found, not stated".to_owned(),
        _ => mark.word,
    };
    let relation = format::relation(&edge.relation).to_owned();
    Some(Link { class, relation, standing, url: format!("/{child}/lineage/{parent}") })
}

/// Returns the drawing as SVG.
pub(super) fn draw(steps: &[Step], term: Option<&Term>) -> String {
    let lines = term.map(|term| wrap(&term.words)).unwrap_or_default();
    let below = if term.is_some() { 34 + int(lines.len()) * 16 } else { 0 };
    let width = int(steps.len()) * (WIDTH + GAP) - GAP + 8;
    let height = TOP + HEIGHT + below + 6;
    let names: Vec<&str> = steps.iter().map(|step| step.id.as_str()).collect();
    // Writing to a String cannot fail.
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"group\" \
         aria-label=\"Path: {}\">",
        escape(&names.join(", then "))
    );
    for (at, step) in steps.iter().enumerate() {
        let x = 4 + int(at) * (WIDTH + GAP);
        draw_node(&mut svg, step, x, at + 1 == steps.len(), term.filter(|_| at == 0));
        if at + 1 < steps.len() {
            draw_link(&mut svg, step.link.as_ref(), x + WIDTH);
        }
    }
    if let Some(term) = term {
        draw_term(&mut svg, term, &lines);
    }
    svg.push_str("</svg>");
    svg
}

fn draw_node(svg: &mut String, step: &Step, x: i32, is_self: bool, term: Option<&Term>) {
    let class = match (term, is_self) {
        (Some(term), _) => format!("decides {}", term.mark.class),
        (None, true) => "self".to_owned(),
        (None, false) => String::new(),
    };
    let license =
        step.license.as_deref().map_or_else(|| "no license declared".to_owned(), |label| format!("says {label}"));
    let (namespace, name) = step.id.split_once('/').unwrap_or(("", &step.id));
    let _ = write!(
        svg,
        "<a href=\"/{0}/license\" class=\"{class}\"><title>{0}, {1}</title>\
         <rect x=\"{x}\" y=\"{TOP}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\
         <text class=\"sub\" x=\"{2}\" y=\"{3}\">{4}/</text><text x=\"{2}\" y=\"{5}\">{6}</text>\
         <text class=\"sub\" x=\"{2}\" y=\"{7}\">{8}</text></a>",
        escape(&step.id),
        escape(&license),
        x + 10,
        TOP + 17,
        escape(&shorten(namespace, 31)),
        TOP + 35,
        escape(&shorten(name, 25)),
        TOP + 54,
        escape(&shorten(&license, 31)),
    );
}

fn draw_link(svg: &mut String, link: Option<&Link>, x: i32) {
    let (from, to, y) = (x + 3, x + GAP - 3, TOP + HEIGHT / 2);
    let class = link.map_or("declared", |link| link.class);
    let _ = write!(
        svg,
        "<path class=\"{class}\" d=\"M{from} {y}H{0}\"/><path class=\"tip {class}\" d=\"M{0} {1}l8 5-8 5\"/>",
        to - 8,
        y - 5
    );
    let Some(link) = link else { return };
    let middle = i32::midpoint(from, to) - 3;
    let _ = write!(
        svg,
        "<a href=\"{0}\" aria-label=\"Evidence: {1}, {2}\"><title>{1}, {2}. The evidence</title>\
         <text class=\"sub in\" x=\"{middle}\" y=\"{3}\">{1}</text><text class=\"sub in\" x=\"{middle}\" y=\"{4}\">{2}</text></a>",
        escape(&link.url),
        escape(&link.relation),
        escape(&link.standing),
        y - 8,
        y + 18,
    );
}

fn draw_term(svg: &mut String, term: &Term, lines: &[String]) {
    let top = TOP + HEIGHT + 10;
    let _ = write!(
        svg,
        "<g class=\"term {0}\"><path d=\"M24 {1}v10\"/><rect x=\"4\" y=\"{top}\" width=\"{WIDTH}\" height=\"{2}\" rx=\"6\"/>\
         <text class=\"clause\" x=\"14\" y=\"{3}\">{4} {5}</text>",
        term.mark.class,
        TOP + HEIGHT,
        22 + int(lines.len()) * 16,
        top + 16,
        term.mark.symbol,
        escape(&first(&term.clause, 25)),
    );
    for (at, line) in lines.iter().enumerate() {
        let _ = write!(svg, "<text x=\"14\" y=\"{}\">{}</text>", top + 33 + int(at) * 16, escape(line));
    }
    svg.push_str("</g>");
}

/// The beginning of a clause, which tells more than its end.
fn first(text: &str, most: usize) -> String {
    let cut: String = text.chars().take(most).collect();
    if cut.len() < text.len() { format!("{}…", cut.trim_end()) } else { cut }
}

/// Breaks words into lines.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let word: String = word.chars().take(LINE).collect();
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < LINE => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES);
        lines[MOST_LINES - 1].push('…');
    }
    lines
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_comes_first_and_its_term_below_it() {
        let path = ["a/child", "a/middle", "x/base"].map(str::to_owned);
        let graph = Graph { root: "a/child".into(), nodes: Vec::new(), edges: Vec::new(), truncated: false };
        let steps = steps(&path, &graph);
        assert_eq!(steps.iter().map(|step| step.id.as_str()).collect::<Vec<_>>(), ["x/base", "a/middle", "a/child"]);
        let term = Term { clause: "§2".into(), words: "No <b> use".into(), mark: Mark::position("violation") };
        let svg = draw(&steps, Some(&term));
        assert_eq!(svg.matches("<rect").count(), 4, "{svg}");
        assert!(svg.contains("No &lt;b&gt; use") && svg.contains("class=\"decides violation\""), "{svg}");
        assert!(svg.contains("<a href=\"/a/child/license\" class=\"self\">"), "{svg}");
    }

    #[test]
    fn long_words_are_broken_and_long_texts_end() {
        let lines = wrap(&"word ".repeat(60));
        assert_eq!(lines.len(), MOST_LINES);
        assert!(lines.iter().all(|line| line.chars().count() <= LINE + 1) && lines[3].ends_with('…'), "{lines:?}");
    }
}
