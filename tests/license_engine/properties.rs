//! Properties that hold for every graph.

use herdbook::license::{Judgement, catalogue::CATALOGUE, graph::ModelFacts, judge::Engine, label, offline, text};
use proptest::prelude::*;
use serde_json::{Value, json};

const LICENSES: &[&str] = &[
    "apache-2.0",
    "mit",
    "llama2",
    "llama3",
    "llama3.1",
    "gemma",
    "cc-by-nc-4.0",
    "cc-by-sa-4.0",
    "cc-by-nd-4.0",
    "gpl-3.0",
    "agpl-3.0",
    "creativeml-openrail-m",
    "openrail",
    "MIT OR gpl-3.0",
    "acme terms",
    "isc",
];
const RELATIONS: &[&str] = &[
    "finetune",
    "adapter",
    "merge",
    "quantized",
    "copy",
    "pruned",
    "distill",
    "unspecified",
    "adapter_merged",
    "trained_on",
    "generated_by",
    "architecture",
];

fn a_model() -> impl Strategy<Value = (Option<usize>, bool)> {
    (proptest::option::weighted(0.8, 0..LICENSES.len()), any::<bool>())
}

/// Models of two owners, and links of any direction: cycles included.
fn a_graph(is_acyclic: bool) -> impl Strategy<Value = Value> {
    let edges = proptest::collection::vec((0..6usize, 0..6usize, 0..RELATIONS.len(), 0..4usize), 0..10);
    (proptest::collection::vec(a_model(), 6), edges, any::<(bool, bool)>()).prop_map(
        move |(models, edges, (commercial, eu))| {
            let id = |place: usize| format!("{}/Llama-3-m{place}", if place.is_multiple_of(2) { "a" } else { "b" });
            let models: Vec<Value> = models
                .iter()
                .enumerate()
                .map(|(place, (license, has_files))| {
                    let mut model = json!({ "id": id(place), "license": license.map(|license| LICENSES[license]) });
                    if *has_files {
                        model["files"] = json!({ "license_texts": ["llama3"] });
                    }
                    model
                })
                .collect();
            let edges: Vec<Value> = edges
                .iter()
                .map(|(child, parent, relation, kind)| match is_acyclic {
                    true => (child.min(parent), child.max(parent), relation, kind),
                    false => (child, parent, relation, kind),
                })
                .filter(|(child, parent, ..)| !is_acyclic || child != parent)
                .map(|(child, parent, relation, kind)| {
                    json!({
                        "child": id(*child), "parent": id(*parent), "relation": RELATIONS[*relation],
                        "origin": if *kind == 1 { "detected" } else { "declared" },
                        "verdict": (*kind == 2).then_some("contradicted"),
                    })
                })
                .collect();
            json!({ "models": models, "edges": edges, "profile": { "commercial": commercial, "eu": eu } })
        },
    )
}

fn judge_all(file: &Value) -> Vec<Judgement> {
    let given = offline::parse(&CATALOGUE, &file.to_string()).unwrap();
    let engine = Engine::new(&CATALOGUE, &given.graph);
    given.judge(&engine).collect()
}

fn keys(judgement: &Judgement) -> Vec<(String, String)> {
    judgement.findings.iter().map(|finding| (finding.rule.clone(), finding.about.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_order_of_models_and_links_changes_nothing(file in a_graph(false), seed in any::<u64>()) {
        let mut shuffled = file.clone();
        for list in ["models", "edges"] {
            let list = shuffled[list].as_array_mut().unwrap();
            let count = list.len().max(1);
            let turn = usize::try_from(seed % count as u64).unwrap() % list.len().max(1);
            list.rotate_left(turn);
            if seed.is_multiple_of(2) {
                list.reverse();
            }
        }
        let (mut one, mut other) = (judge_all(&file), judge_all(&shuffled));
        one.sort_by(|a, b| a.id.cmp(&b.id));
        other.sort_by(|a, b| a.id.cmp(&b.id));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn another_ancestor_removes_no_finding_that_another_path_causes(
        file in a_graph(true), license in 0..LICENSES.len(), child in 0..6usize, relation in 0..4usize,
    ) {
        // Where a label offers alternatives, another ancestor may make another one the mildest.
        let file: Value = serde_json::from_str(&file.to_string().replace("MIT OR gpl-3.0", "gpl-3.0")).unwrap();
        let mut more = file.clone();
        more["models"].as_array_mut().unwrap().push(json!({ "id": "c/new", "license": LICENSES[license].replace("MIT OR ", "") }));
        let child = more["models"][child]["id"].clone();
        let edge = json!({ "child": child, "parent": "c/new", "relation": RELATIONS[relation], "origin": "declared" });
        more["edges"].as_array_mut().unwrap().push(edge);
        for (before, after) in judge_all(&file).iter().zip(judge_all(&more)) {
            let after_keys = keys(&after);
            for key in keys(before) {
                // By its own license the new ancestor may answer a question: an exception then applies, or both versions
                // of a family are there.
                let is_answered = matches!(
                    key.0.as_str(),
                    "OUTPUT_BAN" | "OUTPUT_BAN_REVIEW" | "VERSION_MISMATCH" | "MULTI_LICENSE_REVIEW"
                );
                let is_same_license = CATALOGUE.find(LICENSES[license]).is_some_and(|new| CATALOGUE.license(new).key == key.1);
                prop_assert!(is_answered || is_same_license || after_keys.contains(&key), "{:?} {:?} {:?}", key, before, after);
            }
        }
    }

    #[test]
    fn another_name_within_a_namespace_changes_only_what_is_about_names(file in a_graph(true), subject in 0..6usize) {
        let mut renamed = file.to_string();
        let id = file["models"][subject]["id"].as_str().unwrap();
        let new = format!("{}/other", id.split('/').next().unwrap());
        renamed = renamed.replace(&format!("\"{id}\""), &format!("\"{new}\""));
        let renamed: Value = serde_json::from_str(&renamed).unwrap();
        let rules = |judgement: &Judgement| {
            let mut rules: Vec<(String, String)> =
                judgement.findings.iter().filter(|f| f.rule != "NAME_PREFIX")
                    .map(|f| (f.rule.clone(), f.about.replace(&new, id))).collect();
            rules.sort();
            rules
        };
        for (before, after) in judge_all(&file).iter().zip(judge_all(&renamed)) {
            prop_assert_eq!(rules(before), rules(&after));
        }
    }

    #[test]
    fn cycles_end(file in a_graph(false)) {
        prop_assert_eq!(judge_all(&file).len(), 6);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let lossy = String::from_utf8_lossy(&bytes).into_owned();
        for text in [text, lossy] {
            let _ = offline::parse(&CATALOGUE, &text);
            let _ = text::recognize(&CATALOGUE, &text);
            let model = ModelFacts {
                id: text.clone(), labels: vec![text.clone(), "other".to_owned()], license_name: Some(text.clone()),
                license_link: Some(text.clone()), ..ModelFacts::default()
            };
            let _ = label::resolve(&CATALOGUE, &model);
        }
    }

    #[test]
    fn arbitrary_expressions_never_panic(words in proptest::collection::vec(
        proptest::sample::select(vec!["MIT", "AND", "OR", "WITH", "(", ")", "gemma", "+", "Apache-2.0", "é", "LicenseRef-x", ":", "/"]), 0..12,
    )) {
        let model = ModelFacts { id: "a/b".to_owned(), labels: vec![words.join(" ")], ..ModelFacts::default() };
        let _ = label::resolve(&CATALOGUE, &model);
    }

    #[test]
    fn a_damaged_graph_file_is_an_error_or_a_judgement(file in a_graph(false), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = file.to_string().into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(given) = offline::parse(&CATALOGUE, &text)
        {
            let engine = Engine::new(&CATALOGUE, &given.graph);
            prop_assert!(given.judge(&engine).count() <= 6);
        }
    }
}
