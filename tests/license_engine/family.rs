//! Families that everybody names: positions as their licenses say.

use serde_json::Value;

use super::graph::Graph;

fn alone(id: &str, label: &str) -> String {
    Graph::of(id, label).judge().position
}

fn llama1() -> Graph {
    Graph::of("a/x", Value::Null).model("huggyllama/llama-7b", "other").with(
        "huggyllama/llama-7b",
        "license_name",
        "llama1",
    )
}

#[test]
fn llama_1_derivatives_are_research_only() {
    let alpaca = llama1().with("a/x", "license", "apache-2.0").from("finetune", "huggyllama/llama-7b");
    alpaca.finds(&["violation:NC_DROPPED@llama1", "violation:RELICENSED_WITHOUT_RIGHT@llama1"]);
    let diff = llama1().with("a/x", "license", "cc-by-nc-4.0").from("weight_diff", "huggyllama/llama-7b");
    diff.finds(&["review:TERMS_DIFFER@llama1"]);
    let vicuna13 = llama1().from("finetune", "huggyllama/llama-7b").profile("commercial", true);
    vicuna13.finds(&["review:LICENSE_UNDECLARED@a/x", "violation:NC_USE@llama1"]);
}

#[test]
fn vicuna_1_5_is_under_llama_2() {
    let vicuna = |label: &str| {
        Graph::of("lmsys/vicuna-7b-v1.5", label)
            .model("meta-llama/Llama-2-7b-hf", "llama2")
            .from("finetune", "meta-llama/Llama-2-7b-hf")
    };
    vicuna("llama2").finds(&[]);
    vicuna("apache-2.0").finds(&["violation:RELICENSED_WITHOUT_RIGHT@llama2"]);
}

#[test]
fn free_families_are_clear() {
    Graph::of("databricks/dolly-v2-3b", "mit")
        .model("EleutherAI/pythia-2.8b", "apache-2.0")
        .from("finetune", "EleutherAI/pythia-2.8b")
        .finds(&[]);
    Graph::of("databricks/dolly-v1-6b", "cc-by-nc-4.0")
        .model("EleutherAI/gpt-j-6b", "apache-2.0")
        .from("finetune", "EleutherAI/gpt-j-6b")
        .finds(&[]);
    for id in [
        "togethercomputer/RedPajama-INCITE-Base-3B-v1",
        "mistralai/Mistral-7B-v0.1",
        "tiiuae/falcon-7b",
        "tiiuae/falcon-40b",
    ] {
        assert_eq!(alone(id, "apache-2.0"), "clear", "{id}");
    }
}

#[test]
fn falcon_180b_was_not_read_in_full() {
    let falcon = Graph::of("a/x", "apache-2.0")
        .model("tiiuae/falcon-180B", "other")
        .with("tiiuae/falcon-180B", "license_name", "falcon-180b-tii-license")
        .from("finetune", "tiiuae/falcon-180B");
    falcon.finds(&["review:TEXT_NOT_READ@falcon-180b-1.0", "review:USE_RESTRICTIONS_DROPPED@falcon-180b-1.0"]);
}

#[test]
fn code_llama_is_under_llama_2_whatever_its_label() {
    Graph::of("a/coder", "mit")
        .model("codellama/CodeLlama-7b-hf", "other")
        .from("finetune", "codellama/CodeLlama-7b-hf")
        .finds(&["violation:RELICENSED_WITHOUT_RIGHT@llama2"]);
}

#[test]
fn gemma_4_is_not_gemma() {
    let child = |base: &str, license: &str| Graph::of("a/x", "apache-2.0").model(base, license).from("finetune", base);
    child("google/gemma-4-9b", "apache-2.0").finds(&[]);
    child("google/gemma-3-4b-it", "apache-2.0").finds(&["violation:USE_RESTRICTIONS_DROPPED@gemma"]);
}
