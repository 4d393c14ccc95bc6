//! What a model would be, and what would be clear.

use herdbook::{
    license::{
        catalogue::CATALOGUE,
        graph::{Graph, Link},
        offline,
        profile::{Distribution, Terms},
        what_if::{Answer, Error, Plan, what_if},
    },
    lineage::Relation,
};
use serde_json::json;

fn herd() -> Graph {
    let file = json!({
        "models": [
            { "id": "meta-llama/Meta-Llama-3-8B", "license": "llama3" },
            { "id": "meta-llama/Llama-3.1-8B", "license": "llama3.1" },
            { "id": "o/free", "license": "apache-2.0" },
            { "id": "o/nc", "license": "cc-by-nc-4.0" },
            { "id": "o/nd", "license": "cc-by-nd-4.0" },
            { "id": "x/tune", "license": "llama3.1" },
        ],
        "edges": [{ "child": "x/tune", "parent": "meta-llama/Llama-3.1-8B", "relation": "finetune" }],
    });
    offline::parse(&CATALOGUE, &file.to_string()).unwrap().graph
}

fn ask(name: &str, license: Option<&str>, parents: &[(&str, Relation)]) -> Result<Answer, Error> {
    let parents = parents.iter().map(|(id, relation)| ((*id).to_owned(), Link::Made(*relation))).collect();
    let plan = Plan { name: name.to_owned(), license: license.map(str::to_owned), parents };
    what_if(&CATALOGUE, &herd(), &plan, &Terms::default())
}

#[test]
fn a_plan_that_drops_terms_is_told_label_name_and_files() {
    let answer = ask("acme/chat", Some("mit"), &[("X/tune", Relation::Finetune)]).unwrap();
    assert_eq!(answer.judgement.position, "violation");
    let advice = answer.advice;
    assert_eq!((advice.license.as_deref(), advice.name.as_str()), (Some("llama3.1"), "acme/Llama-chat"));
    assert_eq!((advice.position.as_str(), advice.remains.len()), ("clear", 0), "{:?}", advice.remains);
    let files: Vec<(&str, &str)> =
        advice.ships.iter().map(|ship| (ship.file.as_str(), ship.license.as_str())).collect();
    assert_eq!(files, [("LICENSE", "llama3.1"), ("NOTICE", "llama3.1"), ("README.md", "llama3.1")]);
    assert!(advice.ships.iter().any(|ship| ship.content == "Built with Llama" && ship.section == "§1.b.i(B)"));
}

#[test]
fn a_plan_that_is_fine_stays_as_it_is() {
    let answer = ask("acme/chat", Some("mit"), &[("o/free", Relation::Finetune)]).unwrap();
    assert_eq!(answer.judgement.position, "clear");
    assert_eq!((answer.advice.license.as_deref(), answer.advice.name.as_str()), (Some("mit"), "acme/chat"));
    assert_eq!(answer.advice.ships.iter().filter(|ship| ship.license == "apache-2.0").count(), 1);
}

#[test]
fn a_merge_of_two_versions_gets_an_expression_and_one_name_for_both() {
    let parents = [("meta-llama/Meta-Llama-3-8B", Relation::Merge), ("meta-llama/Llama-3.1-8B", Relation::Merge)];
    let answer = ask("acme/mix", None, &parents).unwrap();
    assert_eq!(answer.advice.name, "acme/Llama-3-mix");
    assert_eq!(answer.advice.license.as_deref(), Some("llama3 AND llama3.1"));
    assert_eq!(answer.advice.position, "clear", "{:?}", answer.advice.remains);
}

#[test]
fn what_cannot_be_mended_remains() {
    let answer = ask("acme/new", Some("cc-by-nd-4.0"), &[("o/nd", Relation::Finetune)]).unwrap();
    assert_eq!(answer.advice.remains[0].rule, "ND_DERIVATIVE_SHARED");
    let nc = ask("acme/new", Some("mit"), &[("o/nc", Relation::Finetune)]).unwrap();
    assert_eq!((nc.advice.license.as_deref(), nc.advice.position.as_str()), (Some("cc-by-nc-4.0"), "clear"));
}

#[test]
fn a_plan_over_nothing_is_refused() {
    assert_eq!(ask("a/b", None, &[("o/nobody", Relation::Merge)]), Err(Error::UnknownParent("o/nobody".to_owned())));
    assert_eq!(ask("O/nc", None, &[("o/nc", Relation::Copy)]), Err(Error::NameOfAncestor("O/nc".to_owned())));
}

#[test]
fn the_intended_use_counts() {
    let mut terms = Terms::default();
    terms.profile.visibility = Some(Distribution::Private);
    terms.profile.commercial = true;
    let parents = vec![("o/nc".to_owned(), Link::Made(Relation::Finetune))];
    let plan = Plan { name: "acme/inside".to_owned(), license: None, parents };
    let answer = what_if(&CATALOGUE, &herd(), &plan, &terms).unwrap();
    assert!(answer.judgement.findings.iter().any(|finding| finding.rule == "NC_USE"));
    assert!(answer.advice.remains.iter().any(|finding| finding.rule == "NC_USE"));
}
