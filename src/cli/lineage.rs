//! `herdbook lineage`: where a model comes from and what comes from it.

use std::{collections::HashMap, collections::HashSet, process::ExitCode};

use serde_json::Value;

use super::client::{self, Client, printable};
use crate::name::ModelName;

/// Shows a model's ancestors and descendants.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  herdbook lineage alice/my-llama
  herdbook lineage meta-llama/Llama-2-7b-hf --direction descendants --depth 2 --json")]
pub(super) struct Args {
    /// NAMESPACE/NAME
    model: ModelName,
    /// Which way
    #[arg(long, default_value = "both", value_parser = ["ancestors", "descendants", "both"])]
    direction: String,
    /// How many generations
    #[arg(long)]
    depth: Option<u8>,
    /// Most descendants to print
    #[arg(long, default_value_t = 200)]
    limit: usize,
    /// Prints the graph as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: client::Options,
}

pub(super) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = Client::new(&args.client)?;
    let depth = args.depth.unwrap_or(64).to_string();
    let query = [("direction", args.direction.as_str()), ("depth", &depth)];
    let graph = client.get(&format!("/api/v1/models/{}/lineage", args.model), &query).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&graph)?);
        return Ok(ExitCode::SUCCESS);
    }
    let tree = Tree::new(&graph, args.limit);
    let root = graph["root"].as_str().unwrap_or_default();
    if args.direction != "descendants" {
        println!("Comes from");
        if !tree.parents.contains_key(root) {
            println!("  nothing that is known");
        }
        tree.print(root, 1, &tree.parents, &mut HashSet::new(), &mut 0);
    }
    println!("{}", tree.line(root, ""));
    if args.direction != "ancestors" {
        let mut printed = 0;
        tree.print(root, 1, &tree.children, &mut HashSet::new(), &mut printed);
        if printed == 0 {
            println!("  no descendants are known");
        }
        if printed >= args.limit || graph["truncated"] == true {
            println!("  … more: raise --limit or use --json");
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Tree<'a> {
    nodes: HashMap<&'a str, &'a Value>,
    parents: HashMap<&'a str, Vec<(&'a str, &'a str)>>,
    children: HashMap<&'a str, Vec<(&'a str, &'a str)>>,
    limit: usize,
}

impl<'a> Tree<'a> {
    fn new(graph: &'a Value, limit: usize) -> Self {
        let array = |field: &str| graph[field].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |value: &'a Value, field: &str| value[field].as_str().unwrap_or_default();
        let nodes = array("nodes").iter().map(|node| (text(node, "id"), node)).collect();
        let mut tree = Self { nodes, parents: HashMap::new(), children: HashMap::new(), limit };
        for edge in array("edges") {
            let (child, parent, relation) = (text(edge, "child"), text(edge, "parent"), text(edge, "relation"));
            tree.parents.entry(child).or_default().push((parent, relation));
            tree.children.entry(parent).or_default().push((child, relation));
        }
        for list in tree.parents.values_mut().chain(tree.children.values_mut()) {
            list.sort_unstable();
            list.dedup_by_key(|(id, _)| *id);
        }
        tree
    }

    fn print(
        &self,
        id: &'a str,
        indent: usize,
        links: &HashMap<&'a str, Vec<(&'a str, &'a str)>>,
        seen: &mut HashSet<&'a str>,
        printed: &mut usize,
    ) {
        for (next, relation) in links.get(id).into_iter().flatten() {
            if *printed >= self.limit {
                return;
            }
            *printed += 1;
            let is_new = seen.insert(next);
            let note = if is_new { "" } else { " (shown above)" };
            println!("{}{}{note}", "  ".repeat(indent), self.line(next, relation));
            if is_new {
                self.print(next, indent + 1, links, seen, printed);
            }
        }
    }

    fn line(&self, id: &str, relation: &str) -> String {
        let node = self.nodes.get(id);
        let position = node.and_then(|node| node["position"].as_str()).unwrap_or("unknown");
        let relation = if relation.is_empty() { String::new() } else { format!("  {relation}") };
        format!("{}{relation}  [license: {position}]", printable(id))
    }
}
