//! Brief herds: every member parses as what it says it is.

use std::{collections::BTreeSet, fs, path::Path};

use tempfile::TempDir;

use super::{herd::Effort, *};
use crate::{
    formats::{adapter, card, config, gguf, mergekit, safetensors},
    import,
};

/// Enough to have learned something, little enough for a test.
const BRIEF: Effort = Effort { base: 12, tune: 2 };

fn brief_herd() -> (TempDir, Vec<Member>) {
    let dir = tempfile::tempdir().unwrap();
    let members = herd::make(dir.path(), BRIEF, &mut |_, _, _| {}).unwrap();
    (dir, members)
}

fn tensors(file: &Path) -> safetensors::Header {
    let bytes = fs::read(file).unwrap();
    let length = safetensors::header_length(&bytes[..8], bytes.len() as u64).unwrap();
    let end = 8 + usize::try_from(length).unwrap();
    safetensors::parse(&bytes[8..end], bytes.len() as u64).unwrap()
}

fn text(member: &Member, file: &str) -> String {
    fs::read_to_string(member.dir.join(file)).unwrap()
}

#[test]
fn every_member_is_a_sound_folder_and_comes_after_its_parents() {
    let (_dir, members) = brief_herd();
    assert_eq!(members.len(), 9);
    let mut published = BTreeSet::new();
    for member in &members {
        let card = card::parse(&text(member, "README.md")).unwrap();
        assert_eq!(card.problems, Vec::<String>::new());
        assert!(card.base_models.iter().all(|base| published.contains(base)), "{}", member.name);
        assert!(card::description(&card.text).len() > 60, "{}", member.name);
        published.insert(member.name.to_owned());
        if member.dir.join("model.safetensors").exists() {
            let parsed = config::parse(text(member, "config.json").as_bytes()).unwrap();
            assert_eq!(parsed.architecture(), Some("LlamaForCausalLM"));
            assert_eq!(tensors(&member.dir.join("model.safetensors")).tensors.len(), 39);
            let tokenizer: tokenizers::Tokenizer = text(member, "tokenizer.json").parse().unwrap();
            assert_eq!(tokenizer.get_vocab_size(true), weights::VOCABULARY);
        }
    }
}

#[test]
fn the_adapter_the_recipe_and_the_quantized_file_name_their_parents() {
    let (_dir, members) = brief_herd();
    let of = |name: &str| members.iter().find(|member| member.name == name).unwrap();
    let lora = of("herd/pasture-bard-lora");
    let parsed = adapter::parse(text(lora, "adapter_config.json").as_bytes()).unwrap();
    assert_eq!((parsed.base.as_deref(), parsed.rank), (Some("herd/pasture-260k"), Some(8)));
    let header = tensors(&lora.dir.join("adapter_model.safetensors"));
    let name = "base_model.model.model.layers.3.self_attn.q_proj.lora_B.weight";
    assert!(header.tensors.iter().any(|tensor| tensor.name == name && tensor.shape == [64, 8]));
    let recipe = mergekit::parse(&text(of("herd/pasture-merge"), "mergekit_config.yml")).unwrap();
    assert_eq!(recipe.parents, ["herd/pasture-bard", "herd/pasture-log"]);
    let file = fs::read(of("herd/pasture-gguf").dir.join("pasture-260k-q8_0.gguf")).unwrap();
    let header = gguf::parse(&file, file.len() as u64).unwrap();
    assert_eq!(header.architecture(), Some("llama"));
    assert_eq!(header.base_models(), ["herd/pasture-260k"]);
    assert_eq!(header.tensors.len(), 39);
}

#[test]
fn the_same_herd_is_made_twice() {
    let ((_first_dir, first), (_second_dir, second)) = (brief_herd(), brief_herd());
    for (first, second) in first.iter().zip(&second) {
        for entry in fs::read_dir(&first.dir).unwrap() {
            let path = entry.unwrap().path();
            let twin = second.dir.join(path.file_name().unwrap());
            assert!(fs::read(&path).unwrap() == fs::read(twin).unwrap(), "{} differs", path.display());
        }
    }
}

#[test]
fn training_lowers_the_surprise() {
    let documents = text::documents(&text::tokenizer().unwrap(), text::PASTURE).unwrap();
    let course = train::Course { steps: 40, rate: 4e-3, seed: 1 };
    let trained = train::full(&weights::random(20), &documents, course, &mut |_| {}).unwrap();
    let before = train::surprise(&weights::random(20), &documents).unwrap();
    let after = train::surprise(&trained, &documents).unwrap();
    let chance = 496_f32.ln();
    assert!((before - chance).abs() < 0.1, "an untrained model knows nothing: {before}");
    assert!(after < 0.75 * chance, "a trained one does: {after}");
}

#[test]
fn the_whole_pedigree_of_llama_can_be_imported() {
    let lines = zstd::decode_all(LLAMA_HERD).unwrap();
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert!(lines.len() > 12_000);
    let records: Vec<import::Record> = lines.iter().map(|line| import::parse(line).unwrap()).collect();
    assert!(records.iter().any(|record| record.name.to_string() == "meta-llama/Llama-3.1-8B"));
    assert!(records.iter().filter(|record| !record.parents.is_empty()).count() > 11_000);
}
