//! What the smoke test's words mean to people: checks, levels, stages, causes.

use crate::smoke::Status;

/// A check in plain words.
pub(super) struct CheckWords {
    /// What it asks for.
    pub(super) title: &'static str,
    /// What is the matter where it is not so, as half a sentence about the model.
    pub(super) matter: &'static str,
    /// Where the bounds are; empty: it is so or not.
    pub(super) bounds: &'static str,
}

const fn words(title: &'static str, matter: &'static str, bounds: &'static str) -> CheckWords {
    CheckWords { title, matter, bounds }
}

/// Returns the words for a check; `None`: another version made it.
pub(super) fn check(id: &str) -> Option<CheckWords> {
    Some(match id {
        "files.parse" => words("Files can be read", "its files cannot be read as what they claim to be", ""),
        "index.consistent" => words("Index and files agree", "its index and its files do not agree", ""),
        "arch.known" => words(
            "Architecture is known",
            "its config does not describe a model that can be run",
            "What is not known is skipped, never guessed.",
        ),
        "adapter.fits" => words("Fits its base", "it does not fit the base that it names", ""),
        "tensors.missing" => words("No tensor is missing", "tensors that its architecture needs are missing", ""),
        "tensors.shape" => words("Shapes are as stated", "tensors have other shapes than its config says", ""),
        "tensors.unexpected" => words(
            "No tensor is left over",
            "some tensors have no place in its architecture",
            "Tensors that are left over are worth a look, no failure.",
        ),
        "tensors.unused" => words("Every part has its place", "parts of it belong to nothing in its base", ""),
        "layers.count" => words("As many layers as stated", "it has another number of layers than its config says", ""),
        "layers.duplicate" => words(
            "No layer twice",
            "one of its layers is a copy of another",
            "Merges that stack layers repeat them on purpose: worth a look, no failure.",
        ),
        "dtype" => words(
            "Element type is as stated",
            "its weights are of another type than its config says",
            "Another type is worth a look, no failure.",
        ),
        "tokenizer.loads" => words("Tokenizer loads", "its tokenizer does not load", ""),
        "tokenizer.vocab_fits" => words(
            "Every token has a row",
            "its tokenizer and its embedding do not fit together",
            "Fails where a token has no row; worth a look where more than 1,024 rows, or 2 %, are spare.",
        ),
        "tokenizer.roundtrip" => words(
            "Text comes back from its tokens",
            "its tokenizer does not give text back",
            "Fails where more than 5 % of plain English is unknown to it.",
        ),
        "template.renders" => words("Chat template works", "its chat template does not work", ""),
        "values.readable" => words("Values can be read", "its weights cannot be read", ""),
        "values.finite" => words(
            "Every value is a number",
            "its weights hold values that are no finite numbers",
            "One NaN or infinite value fails.",
        ),
        "values.zero" => words(
            "No matrix is empty",
            "parts of its weights are empty",
            "Fails where an embedding or a whole layer is zero; another matrix of zeros is worth a look.",
        ),
        "values.range" => words(
            "Values are of usual size",
            "its weights hold values far larger than training makes them",
            "Passes up to 1,000, fails above 1,000,000.",
        ),
        "forward.finite" => words(
            "Runs, with finite results",
            "running it does not give finite numbers",
            "Worth a look above 65,504, where half precision overflows.",
        ),
        "logits.spread" => words(
            "Prefers some words to others",
            "it prefers no word to another, as weights do that nobody trained",
            "Of the largest possible entropy: passes up to 95 %, fails above 98 %.",
        ),
        "base.runs" => words("Its base was run", "its base could not be run", ""),
        "ppl.absolute" => words(
            "Finds plain English likely",
            "plain English is as unlikely to it as to a model that knows nothing",
            "Perplexity: passes below 100, fails above half of its vocabulary.",
        ),
        "ppl.vs_base" => {
            words("Reads as well as its base", "plain English surprises it far more than it surprises its base", "")
        }
        "drift.kl" => words("Predicts what its base does", "it predicts other words than its base", ""),
        "drift.weights" => words("Weights beside its base's", "its weights cannot be those of its base", ""),
        "drift.config" => words(
            "Computes what its base does",
            "it has its base's weights and computes something else",
            "The same weights under another config are worth a look.",
        ),
        "gen.repetition" => words(
            "Writes without looping",
            "it repeats itself when it writes",
            "Sound small models loop too: worth a look, never a failure.",
        ),
        "run.completed" => words("The run ended", "it broke off", ""),
        _ => return None,
    })
}

/// The bounds of a comparison with the base, which depend on how the model was made of it.
pub(super) fn bounds_by_relation(id: &str, relation: &str) -> &'static str {
    match (id, relation) {
        ("ppl.vs_base", "copy") => "As a copy: passes up to 1.002 times, fails above 1.02.",
        ("ppl.vs_base", "quantized") => "As a quantization: passes up to 1.05 times, fails above 1.5.",
        ("ppl.vs_base", "finetune") => {
            "As a fine-tune: passes up to 1.5 times, fails above 5. Milder where it was trained on other text: perplexity \
             below 100, and weights near its base's or not compared."
        }
        ("ppl.vs_base", "adapter") => "As an adapter: passes up to 5 times, worth a look above.",
        ("ppl.vs_base", "merge") => {
            "As a merge: passes up to 2 times, fails above 10. Milder where it was trained on other text: perplexity below \
             100, and weights near its base's or not compared."
        }
        ("drift.kl", "copy") => "As a copy: passes up to 0.001 nats, fails above 0.01.",
        ("drift.kl", "quantized") => {
            "As a quantization, by its bits: passes up to 0.005 nats with 8, 0.05 with 5 or 6, 0.15 with 4, 0.6 with fewer."
        }
        ("drift.kl", "finetune" | "adapter") => "Only reported, but no change at all is worth a look.",
        ("drift.kl" | "ppl.vs_base", _) => "Only reported.",
        _ => "",
    }
}

/// The levels: a name, and what is looked at.
pub(super) const LEVELS: [(&str, &str); 5] = [
    ("Headers", "Files, config and tokenizer, before any weight is read."),
    ("Values", "Every value of every weight, from the raw bytes."),
    ("Short run", "The model reads 16 tokens, all layers are computed."),
    ("Likelihood", "How likely a page of plain English is to it, and how far it is from its base."),
    ("Sample", "What it writes when nobody asks it anything."),
];

/// Returns what a stage of a run does.
pub(super) fn stage(name: &str) -> &str {
    match name {
        "start" => "start",
        "headers" => "headers",
        "tokenizer" => "tokenizer",
        "scan" => "reading all values",
        "forward" => "short run",
        "base" => "running the base",
        "text" => "reading the text",
        "sample" => "writing the sample",
        "finish" => "calibration",
        other => other,
    }
}

/// Returns why a run broke off, as half a sentence.
pub(super) fn cause(word: &str) -> &str {
    match word {
        "timeout" => "it took longer than a test may",
        "memory_exceeded" => "it asked for more memory than a test may use",
        "cpu_exceeded" => "it used more processor time than a test may",
        "engine_panic" => "the engine gave up on it",
        "crash" => "the process that ran it ended without a word",
        "cancelled" => "nobody waited for it any longer",
        other => other,
    }
}

/// Returns the group that a check is shown with, the ones to look at first.
pub(super) fn rank(status: Status) -> u8 {
    match status {
        Status::Failed => 0,
        Status::Error => 1,
        Status::Warned => 2,
        Status::Skipped => 3,
        Status::Passed => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_that_the_engine_makes_has_words() {
        // The engine's own text: what it checks is written there as `check("values.finite"`.
        let sources = [
            include_str!("../../smoke/child/scan.rs"),
            include_str!("../../smoke/child/judge.rs"),
            include_str!("../../smoke/child/drift.rs"),
            include_str!("../../smoke/child/trial.rs"),
            include_str!("../../smoke/child/generate.rs"),
            include_str!("../../smoke/child/template.rs"),
            include_str!("../../smoke/child/headers/mod.rs"),
            include_str!("../../smoke/child/headers/fit.rs"),
            include_str!("../../smoke/child/headers/laid.rs"),
        ];
        let mut seen = 0;
        for id in sources.iter().flat_map(|source| source.split("check(\"").skip(1)) {
            let id = id.split('"').next().unwrap();
            assert!(check(id).is_some(), "`{id}` has no words");
            seen += 1;
        }
        assert!(seen > 50, "only {seen} checks were found");
    }
}
