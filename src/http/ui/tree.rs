//! The descendants of a model: a map of the whole herd, and an outline that opens.

use std::fmt::Write as _;

use actix_web::{
    HttpRequest,
    web::{Data, Path, Query},
};
use askama::Template;
use serde::Deserialize;

use super::{
    Frame,
    error::PageResult,
    escape,
    format::{self, Mark},
    herdmap::{self, Color, Herd},
    model::{Head, Loaded, load},
    page, query_string,
};
use crate::{
    app::App,
    auth::Caller,
    http::extract::ModelPath,
    lineage::{
        self, Direction, Relation,
        db::{MAX_NODES, Walk},
    },
};

/// Lines of the outline, and of one parent's children within it.
const MAX_LINES: usize = 160;
/// Herds up to this size begin unfolded.
const OPEN: usize = 40;
const MAX_SIBLINGS: usize = 25;

/// What the page shows.
#[derive(Debug, Deserialize)]
pub struct TreeQuery {
    #[serde(default)]
    color: String,
    #[serde(default)]
    relation: String,
}

struct Switch {
    word: &'static str,
    url: String,
    is_here: bool,
}

struct Key {
    class: &'static str,
    word: &'static str,
}

#[derive(Template)]
#[template(path = "model/tree.html")]
struct TreePage {
    frame: Frame,
    head: Head,
    total: String,
    has_descendants: bool,
    map: String,
    outline: String,
    colors: Vec<Switch>,
    relations: Vec<Switch>,
    key: Vec<Key>,
    truncated: bool,
}

/// `GET /{ns}/{name}/tree`
pub async fn get_tree(
    app: Data<App>,
    request: HttpRequest,
    caller: Caller,
    path: Path<ModelPath>,
    query: Query<TreeQuery>,
) -> PageResult {
    let mut db = app.db.acquire().await?;
    let Loaded { model, head, mut frame, .. } = load(&mut db, &app, &caller, &request, &path, "Tree").await?;
    frame.twin = format!("/api/v1/models/{}/lineage?direction=descendants", model.name);
    let relation = query.relation.parse::<Relation>().ok().filter(|_| !query.relation.is_empty());
    let walk = Walk { direction: Direction::Descendants, depth: 64, relation, limit: MAX_NODES, with_evidence: false };
    let graph = lineage::db::walk(&mut db, &model, &walk, &caller.viewer()).await?;
    drop(db);
    let color = match query.color.as_str() {
        "relation" => Color::Relation,
        "verdict" => Color::Verdict,
        _ => Color::Position,
    };
    let herd = Herd::new(&graph);
    let url = |color: &str, relation: &str| {
        format!("/{}/tree?{}", model.name, query_string(&[("color", color), ("relation", relation)]))
    };
    let colors = [
        ("License position", "", Color::Position),
        ("Relation", "relation", Color::Relation),
        ("Smoke test", "verdict", Color::Verdict),
    ];
    let relations = [
        ("all", ""),
        ("fine-tunes", "finetune"),
        ("adapters", "adapter"),
        ("merges", "merge"),
        ("quantizations", "quantized"),
    ];
    page(&TreePage {
        total: format::plural(i64::try_from(graph.nodes.len().saturating_sub(1)).unwrap_or(0), "descendant"),
        has_descendants: graph.nodes.len() > 1,
        map: herdmap::draw(&herd, color),
        outline: outline(&herd),
        colors: colors
            .map(|(word, name, this)| Switch { word, url: url(name, &query.relation), is_here: this == color })
            .into(),
        relations: relations
            .map(|(word, name)| Switch { word, url: url(&query.color, name), is_here: name == query.relation })
            .into(),
        key: key(color),
        truncated: graph.truncated,
        frame,
        head,
    })
}

fn key(color: Color) -> Vec<Key> {
    let keys: &[(&'static str, &'static str)] = match color {
        Color::Position => &[
            ("c-clear", "● clear"),
            ("c-notice", "◐ notice, incomplete"),
            ("c-review", "▲ review"),
            ("c-violation", "✕ violation"),
            ("c-unknown", "○ unknown"),
        ],
        Color::Verdict => &[
            ("c-clear", "● passed"),
            ("c-notice", "◐ warned"),
            ("c-violation", "✕ failed"),
            ("c-unknown", "○ not run"),
        ],
        Color::Relation => &[
            ("c-1", "fine-tune"),
            ("c-2", "quantized"),
            ("c-3", "adapter"),
            ("c-4", "merge"),
            ("c-5", "other"),
            ("c-unknown", "not said"),
        ],
    };
    let mut keys: Vec<Key> = keys.iter().map(|(class, word)| Key { class, word }).collect();
    keys.push(Key { class: "c-folded", word: "folded" });
    keys
}

/// Writes the outline: the largest branches first, long lists cut with a link to the rest.
fn outline(herd: &Herd) -> String {
    let mut html = String::from("<ul class=\"outline\">");
    if !herd.members.is_empty() {
        list(herd, 0, 0, MAX_LINES, &mut html);
    }
    html.push_str("</ul>");
    html
}

/// Writes the children of a member in so many lines at most, and returns how many it took. Every child that is shown
/// has its line before any grandchild has one.
fn list(herd: &Herd, place: usize, depth: usize, lines: usize, html: &mut String) -> usize {
    let children = &herd.members[place].children;
    let shown = children.len().min(MAX_SIBLINGS).min(lines);
    let mut left = lines - shown;
    for (at, child) in children.iter().take(shown).enumerate() {
        left -= line(herd, *child, depth, left / (shown - at), html);
    }
    let more = children.len() - shown;
    if more > 0 {
        let base = query_string(&[("base", &herd.members[place].id)]);
        // Writing to a String cannot fail.
        let _ = write!(
            html,
            "<li><a href=\"/models?{}\">{} more</a></li>",
            escape(&base),
            format::count(i64::try_from(more).unwrap_or(0))
        );
    }
    lines - left
}

/// Writes a member, and what is below it in so many lines at most; returns how many those were.
fn line(herd: &Herd, place: usize, depth: usize, lines: usize, html: &mut String) -> usize {
    let member = &herd.members[place];
    let mark = Mark::position(&member.position);
    let text = format!(
        "<a href=\"/{0}\">{0}</a> <span class=\"rel\">{1} · {2}</span> <span class=\"mark {3}\"><span aria-hidden=\"true\">{4}</span>{5}</span>",
        escape(&member.id),
        escape(format::relation(&member.relation)),
        escape(member.license.as_deref().unwrap_or("no license")),
        mark.class,
        mark.symbol,
        mark.word
    );
    if member.children.is_empty() {
        let _ = write!(html, "<li>{text}</li>");
        return 0;
    }
    let open = if depth < 1 && herd.members.len() <= OPEN { " open" } else { "" };
    let below = format::count(i64::try_from(member.weight - 1).unwrap_or(0));
    let _ = write!(html, "<li>{text} <details{open}><summary>{below} below</summary><ul>");
    let taken = list(herd, place, depth + 1, lines, html);
    html.push_str("</ul></details></li>");
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineage::{Claim, Graph, Node};

    fn node(id: String, depth: i32) -> Node {
        let (kind, position, verdict, lineage) = ("catalogued".into(), "clear".into(), "none".into(), "none".into());
        Node {
            id,
            depth,
            kind,
            license: None,
            position,
            verdict,
            lineage,
            parameters: None,
            downloads: 0,
            descendants: 0,
        }
    }

    #[test]
    fn a_herd_of_many_thousands_stays_small() {
        let mut graph =
            Graph { root: "a/root".into(), nodes: vec![node("a/root".into(), 0)], edges: Vec::new(), truncated: false };
        for number in 1..12_000_u32 {
            let (parent, depth) =
                if number < 200 { ("a/root".to_owned(), 1) } else { (format!("a/m{}", number % 199 + 1), 2) };
            graph.nodes.push(node(format!("a/m{number}"), depth));
            graph.edges.push(Claim {
                child: format!("a/m{number}"),
                parent,
                parent_revision: None,
                relation: "finetune".into(),
                origin: "declared".into(),
                source: "card".into(),
                verdict: "pending".into(),
                confidence: 1.0,
                evidence: serde_json::Value::Null,
                in_cycle: false,
            });
        }
        let herd = Herd::new(&graph);
        assert_eq!(herd.members[0].weight, 12_000);
        let map = herdmap::draw(&herd, Color::Position);
        assert!(map.len() < 60_000, "{} bytes", map.len());
        assert!(outline(&herd).len() < 200_000);
    }
}
