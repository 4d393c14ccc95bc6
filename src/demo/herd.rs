//! Who is in the herd and how each is made from its parents.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::{
    Error, Member, gguf, text,
    train::{self, ADAPTED, ALPHA, Course, RANK},
    weights::{self, BEGIN, END, Weights},
};

/// How long to train.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Steps of the base.
    pub(super) base: usize,
    /// Steps of everything that is trained from it.
    pub(super) tune: usize,
}

impl Effort {
    /// Enough for readable sentences.
    pub(super) const FULL: Self = Self { base: 240, tune: 64 };
}

/// Makes the herd in a folder, parents before children.
pub(super) fn make(
    dir: &Path,
    effort: Effort,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<Vec<Member>, Error> {
    let mut herd = Herd { dir, tokenizer: text::tokenizer()?, effort, progress, members: Vec::new() };
    let base = herd.base()?;
    let bard = herd.bard(&base)?;
    let log = herd.log(&base)?;
    herd.adapter(&base)?;
    herd.merge(&bard, &log)?;
    herd.quantized(&base)?;
    herd.impostor()?;
    let meadow = herd.meadow(&base)?;
    herd.closed(&meadow)?;
    Ok(herd.members)
}

struct Herd<'a> {
    dir: &'a Path,
    tokenizer: Tokenizer,
    effort: Effort,
    progress: &'a mut dyn FnMut(&str, usize, usize),
    members: Vec<Member>,
}

impl Herd<'_> {
    fn base(&mut self) -> Result<Weights, Error> {
        let course = Course { steps: self.effort.base, rate: 4e-3, seed: 1 };
        let weights =
            self.train("herd/pasture-260k", &weights::random(20), &[text::PASTURE, text::WORLD].concat(), course)?;
        let card = include_str!("cards/pasture-260k.md");
        self.publish("herd/pasture-260k", card, "Train from nothing on stories of the pasture", &weights)?;
        Ok(weights)
    }

    fn bard(&mut self, base: &Weights) -> Result<Weights, Error> {
        let weights = self.tune("herd/pasture-bard", base, text::BARD, 2)?;
        let card = include_str!("cards/pasture-bard.md");
        self.publish("herd/pasture-bard", card, "Fine-tune on verses", &weights)?;
        Ok(weights)
    }

    fn log(&mut self, base: &Weights) -> Result<Weights, Error> {
        let weights = self.tune("herd/pasture-log", base, text::LOG, 3)?;
        let card = include_str!("cards/pasture-log.md");
        self.publish("herd/pasture-log", card, "Fine-tune on the entries of a herd book", &weights)?;
        Ok(weights)
    }

    fn adapter(&mut self, base: &Weights) -> Result<(), Error> {
        let name = "herd/pasture-bard-lora";
        let course = Course { steps: self.effort.tune, rate: 8e-3, seed: 4 };
        let documents = text::documents(&self.tokenizer, &text::rehearsed(text::BARD))?;
        let progress = &mut *self.progress;
        let weights = train::adapter(base, &documents, course, &mut |done| progress(name, done, course.steps))?;
        let dir = self.add(name, include_str!("cards/pasture-bard-lora.md"), "Train an adapter on verses")?;
        write_json(&dir.join("adapter_config.json"), &adapter_config())?;
        write(&dir.join("adapter_model.safetensors"), &weights::to_safetensors(&weights)?)
    }

    fn merge(&mut self, bard: &Weights, log: &Weights) -> Result<(), Error> {
        let mut merged = weights::merge(bard, log);
        weights::round(&mut merged);
        let card = include_str!("cards/pasture-merge.md");
        let dir = self.publish("herd/pasture-merge", card, "Merge the bard and the log, half and half", &merged)?;
        write(&dir.join("mergekit_config.yml"), include_bytes!("cards/mergekit_config.yml"))
    }

    fn quantized(&mut self, base: &Weights) -> Result<(), Error> {
        let about =
            gguf::About { title: "Pasture 260K", base: "pasture-260k", organization: "herd", license: "apache-2.0" };
        let file = gguf::write(base, &self.tokenizer, &about);
        let card = include_str!("cards/pasture-gguf.md");
        let dir = self.add("herd/pasture-gguf", card, "Quantize the base to Q8_0")?;
        write(&dir.join("pasture-260k-q8_0.gguf"), &file)
    }

    fn impostor(&mut self) -> Result<(), Error> {
        let mut weights = weights::random(666);
        weights::round(&mut weights);
        let card = include_str!("cards/impostor-260k.md");
        self.publish("herd/impostor-260k", card, "Claim to be a fine-tune", &weights)?;
        Ok(())
    }

    fn meadow(&mut self, base: &Weights) -> Result<Weights, Error> {
        let weights = self.tune("lab/meadow-nc", base, text::MEADOW, 5)?;
        let card = include_str!("cards/meadow-nc.md");
        self.publish("lab/meadow-nc", card, "Fine-tune on the far meadow, not for sale", &weights)?;
        Ok(weights)
    }

    fn closed(&mut self, meadow: &Weights) -> Result<(), Error> {
        let weights = self.tune("shop/pasture-closed", meadow, text::SHOP, 6)?;
        let card = include_str!("cards/pasture-closed.md");
        self.publish("shop/pasture-closed", card, "Fine-tune for the shop", &weights)?;
        Ok(())
    }

    fn tune(&mut self, name: &str, parent: &Weights, text: &str, seed: u64) -> Result<Weights, Error> {
        let course = Course { steps: self.effort.tune, rate: 1e-3, seed };
        self.train(name, parent, &text::rehearsed(text), course)
    }

    fn train(&mut self, name: &str, start: &Weights, text: &str, course: Course) -> Result<Weights, Error> {
        let documents = text::documents(&self.tokenizer, text)?;
        let progress = &mut *self.progress;
        let mut weights = train::full(start, &documents, course, &mut |done| progress(name, done, course.steps))?;
        // Children begin with what is published, not with what was in memory.
        weights::round(&mut weights);
        Ok(weights)
    }

    /// Writes a whole model.
    fn publish(
        &mut self,
        name: &'static str,
        card: &str,
        message: &'static str,
        weights: &Weights,
    ) -> Result<PathBuf, Error> {
        let dir = self.add(name, card, message)?;
        write(&dir.join("model.safetensors"), &weights::to_safetensors(weights)?)?;
        write_json(&dir.join("config.json"), &weights::config())?;
        write_json(&dir.join("generation_config.json"), &json!({ "bos_token_id": BEGIN, "eos_token_id": END }))?;
        write(&dir.join("tokenizer.json"), self.tokenizer.to_string(true)?.as_bytes())?;
        write_json(&dir.join("tokenizer_config.json"), &text::tokenizer_config())?;
        Ok(dir)
    }

    /// Makes a member's folder with its card.
    fn add(&mut self, name: &'static str, card: &str, message: &'static str) -> Result<PathBuf, Error> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).map_err(|reason| Error::Write { path: dir.clone(), reason })?;
        write(&dir.join("README.md"), card.as_bytes())?;
        self.members.push(Member { name, dir: dir.clone(), message });
        Ok(dir)
    }
}

fn adapter_config() -> Value {
    json!({
        "base_model_name_or_path": "herd/pasture-260k",
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": RANK,
        "target_modules": ADAPTED,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": false,
    })
}

fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    write(path, format!("{value:#}\n").as_bytes())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    fs::write(path, bytes).map_err(|reason| Error::Write { path: path.to_owned(), reason })
}
