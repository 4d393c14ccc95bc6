//! Draws ancestors from left to right, as a horse's pedigree is drawn.

use std::{collections::HashMap, fmt::Write as _};

use super::{escape, format::Mark};
use crate::lineage::{Claim, Graph, Node};

const WIDTH: i32 = 230;
const GAP: i32 = 70;
const HEIGHT: i32 = 46;
const STEP: i32 = 60;
/// Ancestors of one generation that are drawn.
const MOST: usize = 8;

/// Returns the drawing as SVG: the root at the left, each generation a column.
pub(super) fn draw(graph: &Graph) -> String {
    let deepest = graph.nodes.iter().map(|node| node.depth).max().unwrap_or(0);
    let columns: Vec<Vec<&Node>> =
        (0..=deepest).map(|depth| graph.nodes.iter().filter(|node| node.depth == depth).take(MOST).collect()).collect();
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
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" aria-label=\"Ancestors of {}\">",
        escape(&graph.root)
    );
    graph.edges.iter().for_each(|edge| draw_edge(&mut svg, edge, &places));
    columns
        .iter()
        .flatten()
        .for_each(|node| draw_node(&mut svg, node, places[node.id.as_str()], node.id == graph.root));
    svg.push_str("</svg>");
    svg
}

fn draw_edge(svg: &mut String, edge: &Claim, places: &HashMap<&str, (i32, i32)>) {
    let (Some((cx, cy)), Some((px, py))) = (places.get(edge.child.as_str()), places.get(edge.parent.as_str())) else {
        return;
    };
    let (x1, y1, x2, y2) = (cx + WIDTH, cy + HEIGHT / 2, *px, py + HEIGHT / 2);
    let middle = i32::midpoint(x1, x2);
    let class = if edge.verdict == "contradicted" { "contradicted" } else { edge.origin.as_str() };
    // Writing to a String cannot fail.
    let _ = write!(
        svg,
        "<path class=\"{}\" d=\"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}\"><title>{}: {}, stated in {}</title></path>",
        escape(class),
        escape(&edge.relation),
        escape(&edge.origin),
        escape(&edge.source)
    );
    let _ = write!(
        svg,
        "<text class=\"sub\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        i32::midpoint(y1, y2) - 4,
        escape(&edge.relation)
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
        escape(&shorten(&node.id, 31)),
        y + 37,
        escape(&shorten(&label, 38))
    );
}

/// Keeps the end of a long name, which tells more than its beginning.
fn shorten(text: &str, most: usize) -> String {
    let length = text.chars().count();
    if length <= most {
        return text.to_owned();
    }
    format!("…{}", text.chars().skip(length - most + 1).collect::<String>())
}

fn int(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
