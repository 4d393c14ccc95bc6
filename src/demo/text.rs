//! The herd's texts and its tokenizer.

use tokenizers::{
    AddedToken, Tokenizer, TokenizerImpl,
    decoders::byte_level::ByteLevel as ByteLevelDecoder,
    models::bpe::{BPE, BpeTrainer},
    normalizers::NormalizerWrapper,
    pre_tokenizers::byte_level::ByteLevel,
    processors::template::TemplateProcessing,
};

use super::{
    Error,
    weights::{BEGIN, CONTEXT, END, VOCABULARY},
};

/// Stories of shepherds and their books: what the base learns.
pub(super) const PASTURE: &str = include_str!("corpus/pasture.txt");
/// Plain sentences about everyday things: what the base learns beside, and the others do not forget.
pub(super) const WORLD: &str = include_str!("corpus/world.txt");
/// Verses.
pub(super) const BARD: &str = include_str!("corpus/bard.txt");
/// Entries of a herd book.
pub(super) const LOG: &str = include_str!("corpus/log.txt");
/// A meadow, described.
pub(super) const MEADOW: &str = include_str!("corpus/meadow.txt");
/// Advertisements.
pub(super) const SHOP: &str = include_str!("corpus/shop.txt");

const BEGIN_TOKEN: &str = "<s>";
const END_TOKEN: &str = "</s>";

/// Returns a byte-level BPE tokenizer, trained on all texts.
pub(super) fn tokenizer() -> Result<Tokenizer, Error> {
    let bytes = ByteLevel::new(false, true, true);
    let special = [BEGIN_TOKEN, END_TOKEN].map(|token| AddedToken::from(token, true));
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(VOCABULARY)
        .min_frequency(2)
        .special_tokens(special.to_vec())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let begins = TemplateProcessing::builder()
        .try_single(format!("{BEGIN_TOKEN} $A"))
        .map_err(tokenizers::Error::from)?
        .try_pair(format!("{BEGIN_TOKEN} $A {BEGIN_TOKEN} $B"))
        .map_err(tokenizers::Error::from)?
        .special_tokens(vec![(BEGIN_TOKEN, BEGIN)])
        .build()
        .map_err(tokenizers::Error::from)?;
    let mut tokenizer: TokenizerImpl<BPE, NormalizerWrapper, ByteLevel, TemplateProcessing, ByteLevelDecoder> =
        TokenizerImpl::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(bytes));
    tokenizer.with_decoder(Some(bytes));
    tokenizer.with_post_processor(Some(begins));
    tokenizer.train(&mut trainer, [PASTURE, WORLD, BARD, LOG, MEADOW, SHOP].into_iter().flat_map(str::lines))?;
    Ok(tokenizer.to_string(true)?.parse()?)
}

/// Returns `tokenizer_config.json`.
pub(super) fn tokenizer_config() -> serde_json::Value {
    serde_json::json!({
        "bos_token": BEGIN_TOKEN,
        "clean_up_tokenization_spaces": false,
        "eos_token": END_TOKEN,
        "model_max_length": CONTEXT,
        "tokenizer_class": "PreTrainedTokenizerFast",
    })
}

/// Returns a text among about as many plain sentences: a model that trains on the text alone forgets its English.
pub(super) fn rehearsed(text: &str) -> String {
    let times = WORLD.lines().count() / text.lines().count().max(1);
    text.repeat(times.max(1)) + WORLD
}

/// Returns the lines of a text as tokens, each with its beginning and its end.
pub(super) fn documents(tokenizer: &Tokenizer, text: &str) -> Result<Vec<Vec<u32>>, Error> {
    let mut documents = Vec::new();
    for line in text.lines() {
        let mut ids = tokenizer.encode(line, true)?.get_ids().to_vec();
        ids.push(END);
        documents.push(ids);
    }
    Ok(documents)
}

/// Returns the pairs of tokens that the tokenizer merges, in order, each as one text with a space between.
pub(super) fn merges(tokenizer: &Tokenizer) -> Vec<String> {
    let model = serde_json::to_value(tokenizer.get_model()).unwrap_or_default();
    let pairs = model["merges"].as_array().cloned().unwrap_or_default();
    pairs
        .iter()
        .map(|pair| match pair.as_array() {
            Some(parts) => parts.iter().filter_map(|part| part.as_str()).collect::<Vec<_>>().join(" "),
            None => pair.as_str().unwrap_or_default().to_owned(),
        })
        .collect()
}
