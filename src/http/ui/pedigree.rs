//! Draws ancestors from left to right, as a horse's pedigree is drawn.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use super::{
    escape,
    format::{self, Mark},
};
use crate::lineage::{Claim, Graph, Node};

const WIDTH: i32 = 230;
const GAP: i32 = 132;
const HEIGHT: i32 = 46;
const STEP: i32 = 60;

/// Lines with what they mean.
pub(super) const LEGEND: [(&str, &str); 5] = [
    ("confirmed", "● confirmed by the weights"),
    ("family", "● the family is right, another parent is nearer"),
    ("declared", "○ stated only: not compared, or not to be told"),
    ("detected", "◐ stated by nobody, found in the weights"),
    ("contradicted", "✕ contradicted by the weights"),
];
/// Ancestors of one generation that are drawn.
const MOST: usize = 8;

/// Returns the drawing as SVG: the root at the left, each generation a column.
pub(super) fn draw(graph: &Graph) -> String {
    // Ancestors count down from the root.
    let oldest = graph.nodes.iter().map(|node| node.depth.abs()).max().unwrap_or(0);
    let generation = |age: i32| graph.nodes.iter().filter(move |node| node.depth.abs() == age).take(MOST).collect();
    let columns: Vec<Vec<&Node>> = (0..=oldest).map(generation).collect();
    let tallest = columns.iter().map(Vec::len).max().unwrap_or(1);
    let height = int(tallest) * STEP + 10;
    let mut places: HashMap<&str, (i32, i32)> = HashMap::new();
    for (depth, column) in columns.iter().enumerate() {
        let top = (height - int(column.len()) * STEP) / 2;
        for (row, node) in column.iter().enumerate() {
            places.insert(&node.id, (5 + int(depth) * (WIDTH + GAP), top + int(row) * STEP + 7));
        }
    }
    let width = 10 + int(columns.len()) * (WIDTH + GAP) - GAP;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"group\" aria-label=\"Ancestors of {}\">",
        escape(&graph.root)
    );
    // Several sources may state the same link; it is drawn once, as declared where somebody declared it.
    let mut links: BTreeMap<(&str, &str), &Claim> = BTreeMap::new();
    for edge in &graph.edges {
        let link = links.entry((&edge.child, &edge.parent)).or_insert(edge);
        if edge.origin == "declared" {
            *link = edge;
        }
    }
    let mut parents: HashMap<&str, usize> = HashMap::new();
    links.keys().for_each(|(child, _)| *parents.entry(child).or_default() += 1);
    for edge in links.values() {
        let has_several = parents.get(edge.child.as_str()).is_some_and(|number| *number > 1);
        draw_edge(&mut svg, edge, &places, has_several);
    }
    columns
        .iter()
        .flatten()
        .for_each(|node| draw_node(&mut svg, node, places[node.id.as_str()], node.id == graph.root));
    svg.push_str("</svg>");
    svg
}

/// How a link is drawn: the class of its line, and the mark of its verdict.
pub(super) fn look(edge: &Claim) -> (&'static str, Mark) {
    let class = match edge.verdict.as_str() {
        "contradicted" => "contradicted",
        "confirmed" => "confirmed",
        "confirmed_family" => "family",
        _ if edge.origin == "detected" => "detected",
        _ => "declared",
    };
    (class, Mark::lineage(&edge.verdict))
}

/// Draws a link, its words where lines are apart: beside the parent when the child has several, else beside the child.
fn draw_edge(svg: &mut String, edge: &Claim, places: &HashMap<&str, (i32, i32)>, has_several: bool) {
    let (Some((cx, cy)), Some((px, py))) = (places.get(edge.child.as_str()), places.get(edge.parent.as_str())) else {
        return;
    };
    let (x1, y1, x2, y2) = (cx + WIDTH, cy + HEIGHT / 2, *px, py + HEIGHT / 2);
    let mx = i32::midpoint(x1, x2);
    let (anchor, tx, ty) = if has_several { ("end", x2 - 8, y2) } else { ("start", x1 + 8, y1) };
    let (class, mark) = look(edge);
    // Writing to a String cannot fail.
    let _ = write!(
        svg,
        "<path class=\"{class}\" d=\"M{x1} {y1}C{mx} {y1} {mx} {y2} {x2} {y2}\"/>\
         <a href=\"/{0}/lineage/{1}\" aria-label=\"Evidence: {0} from {1}, {2}\"><title>{2}; {3}, stated in {4}. The evidence</title>\
         <text class=\"sub edge\" x=\"{tx}\" y=\"{5}\" text-anchor=\"{anchor}\">{6}</text>\
         <text class=\"sub edge state {class}\" x=\"{tx}\" y=\"{7}\" text-anchor=\"{anchor}\">{8} {2}</text></a>",
        escape(&edge.child),
        escape(&edge.parent),
        escape(&mark.word),
        escape(&edge.origin),
        escape(format::source(&edge.source)),
        ty - 6,
        escape(format::relation(&edge.relation)),
        ty + 15,
        mark.symbol,
    );
}

fn draw_node(svg: &mut String, node: &Node, (x, y): (i32, i32), is_self: bool) {
    let mark = Mark::position(&node.position);
    let class = if is_self { " class=\"self\"" } else { "" };
    let label = format!("{} {} · {}", mark.symbol, mark.word, node.license.as_deref().unwrap_or("no license"));
    let _ = write!(
        svg,
        "<a href=\"/{0}\"{class}><title>{0}</title><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\
         <text x=\"{1}\" y=\"{2}\">{3}</text><text class=\"sub\" x=\"{1}\" y=\"{4}\">{5}</text></a>",
        escape(&node.id),
        x + 10,
        y + 20,
        escape(&shorten(&node.id, 29)),
        y + 37,
        escape(&shorten(&label, 38))
    );
}

/// Keeps the end of a long name, which tells more than its beginning.
pub(super) fn shorten(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    format!("…{}", text.chars().skip(length - most + 1).collect::<String>())
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, depth: i32) -> Node {
        let words = ["hosted", "clear", "passed", "declared"].map(str::to_owned);
        let [kind, position, verdict, lineage] = words;
        let id = id.to_owned();
        let (license, parameters, downloads, descendants) = (None, None, 0, 0);
        Node { id, depth, kind, license, position, verdict, lineage, parameters, downloads, descendants }
    }

    fn link(child: &str, parent: &str, origin: &str) -> Claim {
        let words = ["merge", origin, "card", "pending"].map(str::to_owned);
        let [relation, origin, source, verdict] = words;
        let (child, parent) = (child.to_owned(), parent.to_owned());
        let (parent_revision, confidence, evidence, in_cycle) = (None, 0.8, serde_json::Value::Null, false);
        Claim { child, parent, parent_revision, relation, origin, source, verdict, confidence, evidence, in_cycle }
    }

    #[test]
    fn each_link_to_an_ancestor_is_drawn_once() {
        let edges =
            vec![link("a/c", "a/x", "inferred"), link("a/c", "a/x", "declared"), link("a/c", "a/y", "inferred")];
        let nodes = vec![node("a/c", 0), node("a/x", -1), node("a/y", -1)];
        let svg = draw(&Graph { root: "a/c".into(), nodes, edges, truncated: false });
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        assert_eq!(svg.matches("<path").count(), 2, "{svg}");
        assert!(svg.contains("href=\"/a/c/lineage/a/x\"") && svg.contains("href=\"/a/c/lineage/a/y\""), "{svg}");
    }

    #[test]
    fn a_link_looks_like_its_verdict() {
        let judged = |verdict: &str, origin: &str| Claim { verdict: verdict.into(), ..link("a/c", "a/x", origin) };
        assert_eq!(look(&judged("pending", "declared")).0, "declared");
        assert_eq!(look(&judged("unverifiable", "inferred")).0, "declared");
        assert_eq!(look(&judged("detected", "detected")).0, "detected");
        assert_eq!(look(&judged("confirmed", "declared")).0, "confirmed");
        assert_eq!(look(&judged("confirmed_family", "declared")).0, "family");
        assert_eq!(look(&judged("contradicted", "declared")).0, "contradicted");
    }
}
