//! A greedy sample: what the model writes when nobody asks it anything.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    Run,
    decoder::{Decoder, Wanted, Weights},
    headers::Subject,
    plan::Plan,
    text::Text,
};
use crate::smoke::Status;

/// Tokens to write.
const TOKENS: usize = 32;
/// Largest model that writes: larger ones read all their weights again for each token.
const MAX_PARAMETERS: u64 = 1_000_000_000;
/// What a model reads that has no token for the beginning of a text.
const OPENING: &str = "Once upon a time";
/// When a slow one is cut short: the verdict must not wait for the sample.
const PATIENCE: Duration = Duration::from_mins(1);

/// Lets the model write and looks whether it repeats itself.
pub(super) fn sample(run: &mut Run, subject: &Subject, plan: &Plan, text: Option<&Text>, memory: u64) {
    let parameters = subject.tensors.parameters();
    if parameters > MAX_PARAMETERS {
        let detail = format!("no sample: {parameters} parameters are more than {MAX_PARAMETERS}");
        return run.check("gen.repetition", Status::Skipped, detail);
    }
    let rows = u32::try_from(plan.embedding.tokens.rows).unwrap_or(u32::MAX);
    let prompt = match subject.ids.bos.filter(|bos| *bos < rows) {
        Some(bos) => vec![bos],
        None => {
            let encoded = text.and_then(|text| text.encode(OPENING).ok()).unwrap_or_default();
            encoded.into_iter().map(|(id, _)| id).collect()
        }
    };
    if prompt.is_empty() || prompt.iter().any(|id| *id >= rows) {
        return run.check("gen.repetition", Status::Skipped, "no sample: nothing to begin with");
    }
    let began = Instant::now();
    let written = match write(subject, plan, &prompt, memory) {
        Ok(written) => written,
        Err(error) => {
            let detail = format!("the engine could not generate: {error}");
            return run.check("gen.repetition", Status::Error, detail);
        }
    };
    run.metric("sample_prompt_ids", prompt.as_slice());
    run.metric("sample_ids", written.as_slice());
    run.metric("sample_ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    let whole: Vec<u32> = if prompt.len() > 1 { [prompt, written.clone()].concat() } else { written.clone() };
    run.sample = text.and_then(|text| text.decode(&whole).ok());
    match repetition(&written) {
        Some(reason) => run.check("gen.repetition", Status::Warned, reason),
        None => run.check("gen.repetition", Status::Passed, format!("wrote {} tokens without looping", written.len())),
    }
}

fn write(subject: &Subject, plan: &Plan, prompt: &[u32], memory: u64) -> candle_core::Result<Vec<u32>> {
    let began = Instant::now();
    let mut decoder = Decoder::new(plan, Weights::new(&subject.tensors, &subject.overlay, memory));
    let mut written = Vec::with_capacity(TOKENS);
    let mut input = prompt.to_vec();
    let room = subject.ids.max_positions.saturating_sub(prompt.len()).saturating_add(1);
    while written.len() < TOKENS.min(room) && began.elapsed() < PATIENCE {
        let trace = decoder.read(&input)?;
        let last = trace.states.narrow(0, input.len() - 1, 1)?;
        let positions = decoder.words(&last, &Wanted::default())?;
        let Some((next, _)) = positions.first().and_then(|position| position.best.first().copied()) else { break };
        if subject.ids.eos.contains(&next) {
            break;
        }
        written.push(next);
        input = vec![next];
    }
    Ok(written)
}

/// Says how a text repeats itself, if it does badly.
fn repetition(ids: &[u32]) -> Option<String> {
    let longest = ids.chunk_by(|a, b| a == b).map(<[u32]>::len).max().unwrap_or(0);
    if longest >= 16 {
        return Some(format!("it writes one token {longest} times in a row"));
    }
    for length in 1..=16 {
        let Some(tail) = ids.len().checked_sub(4 * length).map(|start| &ids[start..]) else { break };
        if length > 1 && tail.chunks(length).all(|part| part == &tail[..length]) {
            return Some(format!("it ends in a loop of {length} tokens"));
        }
    }
    let pairs = ids.windows(2).count();
    let distinct = ids.windows(2).collect::<BTreeSet<_>>().len();
    (pairs >= 16 && distinct * 5 < pairs).then(|| format!("only {distinct} of its {pairs} pairs of tokens differ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_noticed_and_prose_is_not() {
        assert!(repetition(&[7; 32]).unwrap().contains("32 times in a row"));
        let looping: Vec<u32> = (0..32).map(|i| i % 3).collect();
        assert!(repetition(&looping).unwrap().contains("loop of 3 tokens"));
        let counting: Vec<u32> = (0..32).collect();
        assert_eq!(repetition(&counting), None);
        assert_eq!(repetition(&[]), None);
    }
}
