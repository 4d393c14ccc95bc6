//! Trained models whose ancestry is known go through the real upload path, in several orders, without a word about their
//! parents; what the server then says of them is compared with the truth.
//!
//! `HERDBOOK_ZOO` names another folder with `truth.json` and `claims.json`, `HERDBOOK_ZOO_ORDERS` how many orders there
//! are: in the first, parents come before their children and the queue is empty between two pushes; in the others
//! everything comes at once, in any order.

mod absent;
mod claims;
mod figures;
mod graph;
mod rate;
mod truth;

use std::time::Instant;

use figures::Figures;
use graph::Graph;
use truth::Truth;

use crate::support::{Home, Server, print_note};

const ORDERS: u64 = 3;

pub(crate) async fn run() -> anyhow::Result<()> {
    let Some(truth) = Truth::find()? else {
        print_note("there is no zoo beside the project: nothing is measured");
        return Ok(());
    };
    let orders = std::env::var("HERDBOOK_ZOO_ORDERS").ok().and_then(|count| count.parse().ok()).unwrap_or(ORDERS);
    print_note(&format!("{} models, {} claims", truth.entries.len(), truth.claims.len()));
    let mut first: Option<Graph> = None;
    for number in 0..orders {
        let home = Home::new()?;
        let server = Server::start(&home)?;
        let graph = measure(&server, &truth, number).await?;
        match &first {
            Some(first) => print_differences(&truth, first, &graph),
            None => first = Some(graph),
        }
        match number {
            0 => claims::run(&server, &truth).await?,
            1 => absent::run(&server, &truth, absent::Gone::Roots).await?,
            2 => absent::run(&server, &truth, absent::Gone::Middle).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Pushes everything and prints how right the server is. Returns its graph, under exchanged names where weights cannot
/// tell two models apart.
async fn measure(server: &Server, truth: &Truth, number: u64) -> anyhow::Result<Graph> {
    let is_calm = number == 0;
    let order = truth.order(number, is_calm);
    let started = Instant::now();
    for name in &order {
        graph::push(server, truth, name)?;
        if is_calm {
            server.drain().await?;
        }
    }
    let pushed = started.elapsed();
    server.drain().await?;
    let how = if is_calm { "parents first, one at a time" } else { "any order, at once" };
    let (pushed, settled) = (pushed.as_secs_f64(), started.elapsed().as_secs_f64());
    print_note(&format!("order {number}, {how}: pushed after {pushed:.1} s, settled after {settled:.1} s"));
    let (graph, swapped) = figures::relabeled(truth, &graph::read(server, &order).await?);
    let figures = Figures::of(truth, &graph);
    for (figure, value) in figures.lines() {
        print_note(&format!("  {figure:<44} {value}"));
    }
    print_note(&format!("  {:<44} {}", "unrelated pairs called related", figures.accused()));
    print_note(&format!("  {:<44} {}", "symmetric pairs the other way around", swapped.join(", ")));
    figures.errors().iter().for_each(|error| print_note(&format!("  wrong: {error}")));
    Ok(graph)
}

/// Prints where two orders lead to different parents or relations; copies that compute the same count as one.
fn print_differences(truth: &Truth, first: &Graph, second: &Graph) {
    let (mut differences, mut symmetric) = (Vec::new(), 0);
    for (name, found) in first {
        let Some(other) = second.get(name) else { continue };
        // Of an adapter's base, weights show the family only.
        let is_adapter = truth.entries.get(name).is_some_and(truth::Entry::is_adapter);
        let parents = [found, other].map(|found| match is_adapter {
            true => truth.families(&found.parents),
            false => truth.originals(&found.parents),
        });
        if parents[0] != parents[1] || found.class() != other.class() {
            let [own, others] = parents;
            let (class, other_class) = (found.class(), other.class());
            differences.push(format!("{name}: {class} of {own:?} first, {other_class} of {others:?} now"));
        } else if found.parents != other.parents {
            symmetric += 1;
        }
    }
    print_note(&format!(
        "  against the first order: {} models differ, {symmetric} more name what weights cannot tell apart",
        differences.len()
    ));
    differences.iter().for_each(|difference| print_note(&format!("  differs: {difference}")));
}
