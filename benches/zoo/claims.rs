//! Declares parents, true ones and others, and counts which verdicts they meet.

use std::collections::BTreeMap;

use super::{graph, rate::Rate, truth::Truth};
use crate::support::{Server, print_note};

/// Posts every claim, waits, and prints how the verdicts compare with what was expected.
pub(super) async fn run(server: &Server, truth: &Truth) -> anyhow::Result<()> {
    for claim in &truth.claims {
        if let Err(error) = graph::claim(server, &claim.child, &claim.parent, &claim.relation).await {
            print_note(&format!("  {} from {}: not accepted: {error:#}", claim.child, claim.parent));
        }
    }
    server.drain().await?;
    let mut confusion: BTreeMap<(String, String, String), u32> = BTreeMap::new();
    let mut met = Rate::default();
    let mut slandered = 0;
    let mut errors = Vec::new();
    for claim in &truth.claims {
        let links = graph::parents(server, &claim.child).await?;
        let link = links.into_iter().find(|(parent, link)| *parent == claim.parent && link["origin"] == "declared");
        let (verdict, sentence) = link.map_or(("absent".to_owned(), String::new()), |(_, link)| {
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (text(&link["verdict"]), text(&link["evidence"]["sentence"]))
        });
        let is_met = claim.expect.contains(&verdict);
        met.add(is_met);
        if verdict == "contradicted" && truth.descends(&claim.child, &claim.parent) {
            slandered += 1;
        }
        if !is_met {
            errors.push(format!("{} from {} ({}): {verdict}: {sentence}", claim.child, claim.parent, claim.why));
        }
        *confusion.entry((claim.why.clone(), claim.expect.join(" or "), verdict)).or_default() += 1;
    }
    print_note(&format!("claims that met the verdict expected: {met}"));
    for ((why, expected, verdict), count) in &confusion {
        print_note(&format!("  {count:>3} × {why}: expected {expected}, got {verdict}"));
    }
    print_note(&format!("truthful claims contradicted: {slandered}"));
    errors.iter().for_each(|error| print_note(&format!("  wrong: {error}")));
    Ok(())
}
