//! The order of a test: headers, values, tokenizer, a short forward pass, a sample.

use super::{
    Options, Run, generate,
    headers::{self, Subject},
    plan::Plan,
    scan,
    text::{self, Text},
};
use crate::smoke::{Line, Status};

/// What a model is asked to read: plain English that any model of it finds likely.
const PROSE: &str = "Once upon a time there was a little girl who liked to play in the park. \
                     One day she went there with her mother, and they saw a big red ball under a tree.";
/// Tokens of the forward pass.
const TOKENS: usize = 16;
/// Bytes of weights that are kept in memory, of what the process may use.
const KEPT_SHARE: u64 = 4;

/// Tests the folder as deeply as was asked.
pub(super) fn run(run: &mut Run, options: &Options) {
    run.environment.insert("candle".to_owned(), "0.11".into());
    run.environment.insert("compute_dtype".to_owned(), "f32".into());
    run.begin("headers", 0);
    let Some(subject) = headers::check(run, &options.dir) else { return };
    if options.level >= 1 {
        run.begin("scan", 1);
        scan::check(run, &subject.tensors);
    }
    if options.level < 2 {
        return;
    }
    let plan = match &subject.plan {
        Ok(plan) => plan,
        Err(reason) => {
            run.begin("forward", 2);
            return run.check("forward.finite", Status::Skipped, format!("not run: {reason}"));
        }
    };
    run.begin("tokenizer", 0);
    let text = tokenizer(run, options, plan);
    run.begin("forward", 2);
    let memory = options.memory / KEPT_SHARE;
    let sound = forward(run, options, &subject, plan, text.as_ref(), memory);
    if sound && options.input_ids.is_none() {
        run.begin("sample", 2);
        generate::sample(run, &subject, plan, text.as_ref(), memory);
    }
}

fn tokenizer(run: &mut Run, options: &Options, plan: &Plan) -> Option<Text> {
    let text = match text::load(&options.dir) {
        Ok(Some(text)) => text,
        Ok(None) => {
            run.check("tokenizer.loads", Status::Skipped, "there is no tokenizer.json");
            return None;
        }
        Err(reason) => {
            run.check("tokenizer.loads", Status::Failed, reason);
            return None;
        }
    };
    run.check("tokenizer.loads", Status::Passed, "tokenizer.json loads");
    let rows = plan.embedding.rows;
    match text.largest() {
        Some((id, token)) if usize::try_from(id).is_ok_and(|id| id >= rows) => {
            let detail = format!("token `{token}` has id {id}, the embedding has {rows} rows");
            run.check("tokenizer.vocab_fits", Status::Failed, detail);
        }
        _ => run.check("tokenizer.vocab_fits", Status::Passed, format!("every token has one of the {rows} rows")),
    }
    Some(text)
}

/// Returns the tokens to read, and how many at the front are no text.
fn tokens(options: &Options, subject: &Subject, plan: &Plan, text: Option<&Text>) -> Result<(Vec<u32>, bool), String> {
    if let Some(ids) = &options.input_ids {
        return Ok((ids.clone(), false));
    }
    let rows = u32::try_from(plan.embedding.rows).unwrap_or(u32::MAX);
    let longest = TOKENS.min(subject.max_positions.max(1));
    let Some(text) = text else {
        // No tokenizer: any tokens, spread over the vocabulary.
        let spread = (0..longest).filter_map(|i| u32::try_from(i).ok());
        return Ok((spread.map(|i| i.wrapping_mul(2_654_435_761) % rows.max(1)).collect(), false));
    };
    let mut ids: Vec<u32> = subject.bos.filter(|bos| *bos < rows).into_iter().collect();
    ids.extend(text.encode(PROSE)?.into_iter().filter(|id| *id < rows));
    ids.truncate(longest);
    Ok((ids, true))
}

/// Runs the model once; returns whether what came out is finite.
fn forward(run: &mut Run, options: &Options, subject: &Subject, plan: &Plan, text: Option<&Text>, memory: u64) -> bool {
    let (ids, is_text) = match tokens(options, subject, plan, text) {
        Ok((ids, _)) if ids.is_empty() => {
            run.check("forward.finite", Status::Skipped, "not run: the tokenizer makes no tokens of plain English");
            return false;
        }
        Ok(tokens) => tokens,
        Err(reason) => {
            run.check("forward.finite", Status::Skipped, format!("not run: {reason}"));
            return false;
        }
    };
    let pass = match super::decoder::Decoder::new(plan, &subject.tensors, memory).forward(&ids) {
        Ok(pass) => pass,
        Err(error) => {
            run.check("forward.finite", Status::Error, format!("the engine could not run the model: {error}"));
            return false;
        }
    };
    if options.input_ids.is_some() {
        pass.logits.iter().for_each(|row| super::print(&Line::Logits { values: encode(row) }));
    }
    run.metric("forward_tokens", ids.len() as u64);
    run.metric("hidden_absmax", pass.absmax.iter().map(|size| f64::from(*size)).collect::<Vec<_>>());
    super::judge::finite(run, &pass) && {
        super::judge::spread(run, &pass);
        if is_text {
            super::judge::likelihood(run, &pass, &ids);
        }
        true
    }
}

fn encode(row: &[f32]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
