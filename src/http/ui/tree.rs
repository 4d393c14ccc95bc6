//! The descendants of a model: a map of the whole herd, and an outline that opens.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

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
    herdmap::{self, Color, Herd, Member},
    model::{Head, Loaded, load},
    page, query_string,
};
use crate::{
    app::App,
    auth::Caller,
    http::extract::ModelPath,
    lineage::{
        self, Direction, Graph, Relation,
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
    #[serde(default)]
    lineage: String,
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
    verdicts: Vec<Switch>,
    is_filtered: bool,
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
    let mut graph = lineage::db::walk(&mut db, &model, &walk, &caller.viewer()).await?;
    drop(db);
    let known = graph.nodes.len().saturating_sub(1);
    let found = keep_only(&mut graph, &query.lineage);
    let color = match query.color.as_str() {
        "relation" => Color::Relation,
        "verdict" => Color::Verdict,
        "lineage" => Color::Lineage,
        _ => Color::Position,
    };
    let herd = Herd::new(&graph);
    let url = |color: &str, relation: &str, lineage: &str| {
        let pairs = [("color", color), ("relation", relation), ("lineage", lineage)];
        format!("/{}/tree?{}", model.name, query_string(&pairs))
    };
    let colors = [
        ("License position", "", Color::Position),
        ("Relation", "relation", Color::Relation),
        ("Smoke test", "verdict", Color::Verdict),
        ("Lineage", "lineage", Color::Lineage),
    ];
    let relations = [
        ("all", ""),
        ("fine-tunes", "finetune"),
        ("adapters", "adapter"),
        ("merges", "merge"),
        ("quantizations", "quantized"),
    ];
    page(&TreePage {
        total: match found {
            Some(found) => format!("{} of {}", format::count(count(found)), format::plural(count(known), "descendant")),
            None => format::plural(count(known), "descendant"),
        },
        has_descendants: graph.nodes.len() > 1,
        is_filtered: !query.lineage.is_empty() || !query.relation.is_empty(),
        map: herdmap::draw(&herd, color),
        outline: outline(&herd),
        colors: colors
            .map(|(word, name, this)| Switch {
                word,
                url: url(name, &query.relation, &query.lineage),
                is_here: this == color,
            })
            .into(),
        relations: relations
            .map(|(word, name)| Switch {
                word,
                url: url(&query.color, name, &query.lineage),
                is_here: name == query.relation,
            })
            .into(),
        verdicts: LINKS
            .map(|(word, name)| Switch {
                word,
                url: url(&query.color, &query.relation, name),
                is_here: name == query.lineage,
            })
            .into(),
        key: key(color),
        truncated: graph.truncated,
        frame,
        head,
    })
}

/// What the weights may say of a link, and how it is asked for.
const LINKS: [(&str, &str); 5] = [
    ("all", ""),
    ("✕ contradicted", "contradicted"),
    ("◐ detected", "detected"),
    ("○ unverifiable", "unverifiable"),
    ("● confirmed", "confirmed"),
];

/// Keeps the descendants whose link to a parent is of this verdict, and who leads to them; returns how many there are.
fn keep_only(graph: &mut Graph, wanted: &str) -> Option<usize> {
    if !LINKS.iter().any(|(_, name)| *name == wanted && !name.is_empty()) {
        return None;
    }
    let is_wanted = |verdict: &str| verdict == wanted || verdict == "confirmed_family" && wanted == "confirmed";
    let found: HashSet<String> =
        graph.edges.iter().filter(|edge| is_wanted(&edge.verdict)).map(|edge| edge.child.clone()).collect();
    let mut kept = found.clone();
    kept.insert(graph.root.clone());
    let depths: HashMap<&str, i32> = graph.nodes.iter().map(|node| (node.id.as_str(), node.depth)).collect();
    let mut parents: HashMap<&str, Vec<&str>> = HashMap::new();
    for edge in &graph.edges {
        let depth = |id: &str| depths.get(id).copied().unwrap_or(0);
        if depth(&edge.child) == depth(&edge.parent) + 1 {
            parents.entry(&edge.child).or_default().push(&edge.parent);
        }
    }
    let mut waiting: Vec<&str> = found.iter().map(String::as_str).collect();
    while let Some(id) = waiting.pop() {
        for parent in parents.get(id).map(Vec::as_slice).unwrap_or_default() {
            if kept.insert((*parent).to_owned()) {
                waiting.push(parent);
            }
        }
    }
    graph.nodes.retain(|node| kept.contains(&node.id));
    graph.edges.retain(|edge| kept.contains(&edge.child) && kept.contains(&edge.parent));
    Some(found.len())
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
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
        Color::Lineage => &[
            ("c-clear", "● confirmed"),
            ("c-notice", "◐ detected"),
            ("c-violation", "✕ contradicted"),
            ("c-unknown", "○ not compared, or not to be told"),
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
    let text = text + &link_mark(member);
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

/// The verdict over the link to the parent, where there is something to know.
fn link_mark(member: &Member) -> String {
    match member.link.as_str() {
        "contradicted" | "detected" => {}
        // Whole catalogs are: a word each keeps the page small.
        "unverifiable" => return " <span class=\"rel\">○ unverifiable</span>".to_owned(),
        _ => return String::new(),
    }
    let mark = Mark::lineage(&member.link);
    format!(
        " <a class=\"mark {}\" href=\"/{}/lineage/{}\"><span aria-hidden=\"true\">{}</span>{}</a>",
        mark.class,
        escape(&member.id),
        escape(&member.parent),
        mark.symbol,
        mark.word
    )
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
    fn a_filter_keeps_what_leads_to_what_it_finds() {
        let edge = |child: &str, parent: &str, verdict: &str| Claim {
            child: child.into(),
            parent: parent.into(),
            parent_revision: None,
            relation: "finetune".into(),
            origin: "declared".into(),
            source: "card".into(),
            verdict: verdict.into(),
            confidence: 1.0,
            evidence: serde_json::Value::Null,
            in_cycle: false,
        };
        let herd = [("a/root", 0), ("a/b", 1), ("a/c", 1), ("a/d", 2)];
        let edges = vec![
            edge("a/b", "a/root", "confirmed"),
            edge("a/c", "a/root", "pending"),
            edge("a/d", "a/b", "contradicted"),
        ];
        let nodes = herd.map(|(id, depth)| node(id.into(), depth)).into();
        let mut graph = Graph { root: "a/root".into(), nodes, edges, truncated: false };
        assert_eq!(keep_only(&mut graph, "anything"), None);
        assert_eq!(keep_only(&mut graph, "contradicted"), Some(1));
        let kept: Vec<&str> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(kept, ["a/root", "a/b", "a/d"]);
        assert!(outline(&Herd::new(&graph)).contains("/a/d/lineage/a/b"));
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
