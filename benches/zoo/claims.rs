//! Declares parents, true ones and others, and counts which verdicts they meet.

use std::collections::BTreeMap;

use super::{
    graph,
    rate::Rate,
    truth::{Claim, Truth},
};
use crate::support::{Server, print_note};

#[derive(Default)]
struct Verdicts {
    met: Rate,
    /// True claims that are contradicted.
    slandered: u32,
    /// By why the claim was made, what was expected, and what came.
    confusion: BTreeMap<(String, String, String), u32>,
    errors: Vec<String>,
}

/// Posts every claim, waits, and prints how the verdicts compare with what was expected.
pub(super) async fn run(server: &Server, truth: &Truth) -> anyhow::Result<()> {
    let mut verdicts = Verdicts::default();
    let mut waiting: Vec<&Claim> = truth.claims.iter().collect();
    // What would close a circle is refused, and declared once the others are withdrawn.
    while !waiting.is_empty() {
        let (mut declared, mut refused) = (Vec::new(), Vec::new());
        for claim in waiting {
            match graph::declare(server, claim).await {
                Ok(()) => declared.push(claim),
                Err(error) => refused.push((claim, error)),
            }
        }
        server.drain().await?;
        for claim in &declared {
            verdicts.add(server, truth, claim).await?;
        }
        if declared.is_empty() {
            let refusals = refused.drain(..).map(|(claim, error)| format!("{}: {error:#}", claim.child));
            verdicts.errors.extend(refusals);
        }
        waiting = refused.into_iter().map(|(claim, _)| claim).collect();
        if !waiting.is_empty() {
            for claim in declared {
                graph::withdraw(server, claim).await?;
            }
        }
    }
    verdicts.print();
    Ok(())
}

impl Verdicts {
    async fn add(&mut self, server: &Server, truth: &Truth, claim: &Claim) -> anyhow::Result<()> {
        let links = graph::parents(server, &claim.child).await?;
        let link = links.into_iter().find(|(parent, link)| *parent == claim.parent && link["origin"] == "declared");
        let (verdict, sentence) = link.map_or(("absent".to_owned(), String::new()), |(_, link)| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (text(&link["verdict"]), text(&link["evidence"]["sentence"]))
        });
        let Claim { child, parent, why, .. } = claim;
        let is_met = claim.expect.contains(&verdict);
        self.met.add(is_met);
        self.slandered += u32::from(verdict == "contradicted" && truth.descends(child, parent));
        if !is_met {
            self.errors.push(format!("{child} from {parent} ({why}): {verdict}: {sentence}"));
        }
        *self.confusion.entry((why.clone(), claim.expect.join(" or "), verdict)).or_default() += 1;
        Ok(())
    }

    fn print(&self) {
        print_note(&format!("claims that met the verdict expected: {}", self.met));
        for ((why, expected, verdict), count) in &self.confusion {
            print_note(&format!("  {count:>3} × {why}: expected {expected}, got {verdict}"));
        }
        print_note(&format!("  true claims contradicted: {}", self.slandered));
        self.errors.iter().for_each(|error| print_note(&format!("  wrong: {error}")));
    }
}
