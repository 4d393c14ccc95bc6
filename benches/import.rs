//! A catalogue of real models comes in, and comes in again. The baseline is reading the same lines as JSON.

use serde_json::Value;

use crate::{
    herd::{Herd, catalogue},
    support::{Bench, Times, Unit, print, print_note},
};

pub(crate) fn run(bench: &mut Bench) -> anyhow::Result<()> {
    let catalogue = catalogue()?;
    let mut parsing = Times::default();
    let models = parsing.take(|| parse(&catalogue.lines))?;
    let mut first = Times::default();
    let mut second = Times::default();
    let herd = Herd::start()?;
    first.take(|| herd.import())?;
    let summary = second.take(|| herd.import())?;
    bench.herd = Some(herd);

    print_note(&format!("{models} models of {}", catalogue.origin));
    print("import", &first, Unit::Seconds, &[("parsing alone", &parsing)]);
    print("  as a rate", &first, Unit::Rate(models, "models/s"), &[]);
    print("the same again", &second, Unit::Seconds, &[("the first import", &first)]);
    print("  baseline: parsing alone", &parsing, Unit::Seconds, &[]);
    let count = |field: &str| summary[field].as_u64().unwrap_or(0);
    let changes = count("created") + count("updated") + count("parents_created") + count("claims");
    print_note(&format!("changes that the second import made: {changes}"));
    Ok(())
}

fn parse(lines: &str) -> anyhow::Result<f64> {
    let mut models = 0.0;
    for line in lines.lines() {
        serde_json::from_str::<Value>(line)?;
        models += 1.0;
    }
    Ok(models)
}
