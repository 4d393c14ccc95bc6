//! The herd map: all descendants as one icicle, width by descendants, drawn on the server.

use std::{collections::HashMap, fmt::Write as _};

use super::{escape, format};
use crate::lineage::Graph;

const WIDTH: f64 = 1160.0;
const ROW: f64 = 30.0;
/// Generations that are drawn; deeper ones are folded into their ancestor.
const DEEPEST: usize = 9;
/// Shapes of one drawing: keeps it below 60 kB.
const MOST: usize = 260;

/// A descendant in the spanning tree that the map and the outline show.
pub(super) struct Member {
    pub(super) id: String,
    pub(super) relation: String,
    /// Its parent in this tree, and what the weights say of the link to it.
    pub(super) parent: String,
    pub(super) link: String,
    pub(super) position: String,
    pub(super) verdict: String,
    pub(super) license: Option<String>,
    /// Places of its children in the list.
    pub(super) children: Vec<usize>,
    /// Itself and everything below it.
    pub(super) weight: usize,
}

/// Descendants as a tree: each model below the first parent that leads to it.
pub(super) struct Herd {
    pub(super) members: Vec<Member>,
}

impl Herd {
    /// Makes the tree of a graph of descendants; the root is member 0.
    pub(super) fn new(graph: &Graph) -> Self {
        let mut members: Vec<Member> = Vec::with_capacity(graph.nodes.len());
        let mut places: HashMap<&str, usize> = HashMap::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            places.insert(&node.id, members.len());
            members.push(Member {
                id: node.id.clone(),
                relation: String::new(),
                parent: String::new(),
                link: String::new(),
                position: node.position.clone(),
                verdict: node.verdict.clone(),
                license: node.license.clone(),
                children: Vec::new(),
                weight: 1,
            });
        }
        let mut has_parent = vec![false; members.len()];
        for edge in &graph.edges {
            let (Some(&child), Some(&parent)) = (places.get(edge.child.as_str()), places.get(edge.parent.as_str()))
            else {
                continue;
            };
            let is_next = graph.nodes[child].depth == graph.nodes[parent].depth + 1;
            if is_next && !has_parent[child] {
                has_parent[child] = true;
                members[child].relation.clone_from(&edge.relation);
                members[child].parent.clone_from(&edge.parent);
                members[child].link.clone_from(&edge.verdict);
                members[parent].children.push(child);
            }
        }
        // Nodes come nearest first: from the far end, every child is summed before its parent.
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(graph.nodes[*place].depth));
        for place in order {
            members[place].weight =
                1 + members[place].children.iter().map(|child| members[*child].weight).sum::<usize>();
            let mut children = std::mem::take(&mut members[place].children);
            children.sort_by(|a, b| {
                members[*b].weight.cmp(&members[*a].weight).then_with(|| members[*a].id.cmp(&members[*b].id))
            });
            members[place].children = children;
        }
        Self { members }
    }
}

/// What colors the shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Color {
    Position,
    Relation,
    Verdict,
    Lineage,
}

struct Shape {
    x: f64,
    width: f64,
    depth: usize,
    what: What,
}

enum What {
    One(usize),
    Folded { models: usize, below: usize },
}

/// Draws the map; below a width that grows with the herd, siblings are folded and counted.
pub(super) fn draw(herd: &Herd, color: Color) -> String {
    if herd.members.is_empty() {
        return String::new();
    }
    let mut least = 2.0;
    let mut shapes = layout(herd, least);
    while shapes.len() > MOST {
        least *= 1.3;
        shapes = layout(herd, least);
    }
    let rows = shapes.iter().map(|shape| shape.depth).max().unwrap_or(0) + 1;
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let height = rows as f64 * ROW;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" role=\"group\" aria-label=\"{} and its {}; width is the number of descendants\">",
        escape(&herd.members[0].id),
        format::plural(count(herd.members.len() - 1), "descendant"),
    );
    for shape in &shapes {
        draw_shape(&mut svg, herd, shape, color);
    }
    svg.push_str("</svg>");
    svg
}

#[expect(clippy::cast_precision_loss, reason = "pixels")]
fn layout(herd: &Herd, least: f64) -> Vec<Shape> {
    let mut shapes = Vec::new();
    let mut waiting = vec![(0, 0.0, WIDTH, 0)];
    while let Some((place, x, width, depth)) = waiting.pop() {
        shapes.push(Shape { x, width, depth, what: What::One(place) });
        let member = &herd.members[place];
        if member.children.is_empty() || depth + 1 >= DEEPEST {
            continue;
        }
        let unit = width / (member.weight - 1).max(1) as f64;
        let mut at = x;
        let mut folded = (0, 0);
        for child in &member.children {
            let weight = herd.members[*child].weight;
            let wide = weight as f64 * unit;
            if wide >= least {
                waiting.push((*child, at, wide, depth + 1));
                at += wide;
            } else {
                folded = (folded.0 + 1, folded.1 + weight);
            }
        }
        if folded.0 > 0 {
            let what = What::Folded { models: folded.0, below: folded.1 };
            shapes.push(Shape { x: at, width: (x + width - at).max(1.0), depth: depth + 1, what });
        }
    }
    shapes
}

fn draw_shape(svg: &mut String, herd: &Herd, shape: &Shape, color: Color) {
    #[expect(clippy::cast_precision_loss, reason = "a handful of rows")]
    let y = shape.depth as f64 * ROW;
    let (x, width) = (shape.x, shape.width);
    // Writing to a String cannot fail.
    match shape.what {
        What::Folded { models, below } => {
            let title = format!(
                "{} more, {} with what descends from them",
                format::count(count(models)),
                format::count(count(below))
            );
            let _ = write!(
                svg,
                "<g><title>{title}</title><rect class=\"c-folded\" x=\"{x:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{ROW:.0}\"/>"
            );
            if width > 70.0 {
                let _ = write!(
                    svg,
                    "<text x=\"{:.1}\" y=\"{:.0}\">{} more</text>",
                    x + 5.0,
                    y + 19.0,
                    format::count(count(models))
                );
            }
            svg.push_str("</g>");
        }
        What::One(place) => {
            let member = &herd.members[place];
            let below = if member.weight > 1 {
                format!(", {} descendants", format::count(count(member.weight - 1)))
            } else {
                String::new()
            };
            let _ = write!(
                svg,
                "<a href=\"/{0}/tree\"><title>{0}{1}{below} · {2}</title><rect class=\"{3}\" x=\"{x:.1}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{ROW:.0}\"/>",
                escape(&member.id),
                if member.relation.is_empty() { String::new() } else { format!(" ({})", escape(&member.relation)) },
                escape(&member.position),
                class(member, color),
            );
            if width > 46.0 {
                let label = label(&member.id, width);
                let _ = write!(svg, "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>", x + 5.0, y + 19.0, escape(&label));
            }
            svg.push_str("</a>");
        }
    }
}

/// As much of the name as fits.
fn label(id: &str, width: f64) -> String {
    let name = id.split_once('/').map_or(id, |(_, name)| name);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred pixels")]
    let most = ((width - 8.0) / 6.3) as usize;
    let shown = if id.chars().count() <= most { id } else { name };
    if shown.chars().count() <= most {
        return shown.to_owned();
    }
    format!("{}…", shown.chars().take(most.saturating_sub(1)).collect::<String>())
}

fn class(member: &Member, color: Color) -> &'static str {
    match color {
        Color::Position => match member.position.as_str() {
            "clear" => "c-clear",
            "notice" | "incomplete" => "c-notice",
            "review" => "c-review",
            "violation" => "c-violation",
            _ => "c-unknown",
        },
        Color::Verdict => match member.verdict.as_str() {
            "passed" => "c-clear",
            "warned" => "c-notice",
            "failed" => "c-violation",
            "error" => "c-review",
            _ => "c-unknown",
        },
        Color::Lineage => match member.link.as_str() {
            "confirmed" | "confirmed_family" => "c-clear",
            "detected" => "c-notice",
            "contradicted" => "c-violation",
            _ => "c-unknown",
        },
        Color::Relation => match member.relation.as_str() {
            "finetune" => "c-1",
            "quantized" => "c-2",
            "adapter" => "c-3",
            "merge" => "c-4",
            "" | "unknown" => "c-unknown",
            _ => "c-5",
        },
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
