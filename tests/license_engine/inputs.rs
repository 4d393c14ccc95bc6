//! Digests of what judgements depend on: unchanged ones mean unchanged judgements.

use herdbook::{
    digest::Digest,
    license::{
        catalogue::{CATALOGUE, Catalogue, License},
        judge::Engine,
        offline,
        profile::Terms,
    },
};
use serde_json::{Value, json};

fn herd() -> Value {
    let model = |id: &str, license: &str| json!({ "id": id, "license": license });
    let edge = |child: &str, parent: &str| json!({ "child": child, "parent": parent, "relation": "finetune" });
    json!({
        "models": [model("a/root", "mit"), model("a/mid", "mit"), model("a/leaf", "mit"), model("b/other", "mit"),
            model("c/one", "mit"), model("c/two", "mit"), model("c/below", "mit")],
        "edges": [edge("a/mid", "a/root"), edge("a/leaf", "a/mid"), edge("c/one", "c/two"), edge("c/two", "c/one"),
            edge("c/below", "c/one")],
    })
}

fn digests(file: &Value, catalogue: &Catalogue, terms: impl Fn(usize) -> &'static Terms) -> Vec<Digest> {
    let given = offline::parse(catalogue, &file.to_string()).unwrap();
    Engine::new(catalogue, &given.graph).input_digests(terms)
}

fn plain() -> &'static Terms {
    static TERMS: std::sync::LazyLock<Terms> = std::sync::LazyLock::new(Terms::default);
    &TERMS
}

/// Which of the herd's digests a change touches.
fn touched(change: impl Fn(&mut Value)) -> Vec<usize> {
    let mut changed = herd();
    change(&mut changed);
    let (before, after) = (digests(&herd(), &CATALOGUE, |_| plain()), digests(&changed, &CATALOGUE, |_| plain()));
    (0..7).filter(|place| before[*place] != after[*place]).collect()
}

#[test]
fn a_change_touches_the_model_and_what_descends_from_it() {
    assert_eq!(touched(|_| {}), Vec::<usize>::new());
    assert_eq!(touched(|herd| herd["models"][0]["license"] = json!("gemma")), [0, 1, 2]);
    assert_eq!(touched(|herd| herd["models"][1]["files"] = json!({})), [1, 2]);
    assert_eq!(touched(|herd| herd["edges"][1]["verdict"] = json!("confirmed")), [2]);
    assert_eq!(touched(|herd| herd["models"][4]["license"] = json!("gemma")), [4, 5, 6], "a circle is one");
    assert_eq!(touched(|herd| herd["edges"].as_array_mut().unwrap().reverse()), Vec::<usize>::new());
    // An architecture passes nothing on.
    let architecture = json!({ "child": "b/other", "parent": "a/root", "relation": "architecture" });
    assert_eq!(touched(|herd| herd["edges"].as_array_mut().unwrap().push(architecture.clone())), Vec::<usize>::new());
}

#[test]
fn an_intended_use_touches_its_own_models_only() {
    static COMMERCIAL: std::sync::LazyLock<Terms> = std::sync::LazyLock::new(|| {
        let mut terms = Terms::default();
        terms.profile.commercial = true;
        terms
    });
    let before = digests(&herd(), &CATALOGUE, |_| plain());
    let after = digests(&herd(), &CATALOGUE, |model| if model == 0 { &COMMERCIAL } else { plain() });
    assert_eq!((0..7).filter(|place| before[*place] != after[*place]).collect::<Vec<_>>(), [0]);
}

fn acme() -> License {
    let term = |value: Value| json!({ "value": value, "clause": "§1", "basis": "text" });
    serde_json::from_value(json!({
        "key": "LicenseRef-acme", "name": "Acme Model Terms", "license_name_aliases": ["Acme Terms"],
        "category": "ai-community", "text_read": "full", "licensor": { "name": "Acme", "namespaces": ["acme"] },
        "terms": {
            "commercial_use": term(json!("no")), "redistribution": term(json!("allowed")), "derivatives": term(json!("allowed")),
            "relicense_derivative": term(json!("not_granted")), "outputs": term(json!({ "mode": "silent" })),
            "name_prefix": term(json!("Acme")), "license_copy": term(json!(true)),
        },
    }))
    .unwrap()
}

#[test]
fn a_license_that_is_added_at_run_time_counts_like_any_other() {
    let catalogue = CATALOGUE.extended_with(&[acme()]).unwrap();
    assert_ne!(catalogue.version, CATALOGUE.version);
    assert_ne!(digests(&herd(), &catalogue, |_| plain()), digests(&herd(), &CATALOGUE, |_| plain()));
    for label in ["acme terms", "LicenseRef-acme", "acme"] {
        let file = json!({
            "models": [{ "id": "acme/base", "license": label }, { "id": "a/x", "license": "mit" }],
            "edges": [{ "child": "a/x", "parent": "acme/base", "relation": "finetune" }], "subject": "a/x",
        });
        let given = offline::parse(&catalogue, &file.to_string()).unwrap();
        let engine = Engine::new(&catalogue, &given.graph);
        let judgement = given.judge(&engine).next().unwrap();
        let rules: Vec<&str> = judgement.findings.iter().map(|finding| finding.rule.as_str()).collect();
        assert_eq!(rules, ["NAME_PREFIX", "NC_DROPPED", "RELICENSED_WITHOUT_RIGHT"], "{label}");
        assert_eq!(judgement.expression.as_deref(), Some("MIT AND LicenseRef-acme"));
    }
}

#[test]
fn an_entry_that_is_incomplete_or_takes_a_key_is_refused() {
    let mut broken = acme();
    broken.terms["commercial_use"]["clause"] = Value::Null;
    let told = CATALOGUE.extended_with(&[broken]).unwrap_err().to_string();
    assert!(told.contains("license `LicenseRef-acme`, term `commercial_use`: `clause` is missing"), "{told}");
    let twice = CATALOGUE.extended_with(&[acme(), acme()]).unwrap_err().to_string();
    assert!(twice.contains("its key is taken"), "{twice}");
}
