//! The order of a test: headers and tokenizer, values, a short forward pass, the likelihood of a text, a sample.

use super::{
    Options, Run,
    decoder::{Decoder, Position, Wanted, Weights},
    drift,
    folder::{Folder, Parent},
    generate,
    headers::{self, Subject},
    judge,
    plan::Plan,
    probe_text, scan, template,
    text::{self, Text},
};
use crate::smoke::{Line, Record, Relation, Status};

/// Tokens of the short forward pass.
const SHORT: usize = 16;
/// Bytes of weights that are kept in memory, of what the process may use.
const KEPT_SHARE: u64 = 4;

/// Tests the folder as deeply as was asked.
pub(super) fn run(run: &mut Run, options: &Options, parent: Option<Parent>) {
    run.environment.insert("candle".to_owned(), "0.11".into());
    run.environment.insert("compute_dtype".to_owned(), "f32".into());
    let dir = Folder::new(&options.dir, parent.as_ref(), false);
    let base = options.base.as_deref().map(|dir| Folder::new(dir, parent.as_ref(), true));
    let base = base.as_ref();
    let record = parent.and_then(|parent| parent.hello.record).filter(Record::is_usable);
    run.begin("headers", 0);
    let Some(subject) = headers::check(run, &dir, base) else { return };
    run.begin("tokenizer", 0);
    let text = tokenizer(run, &subject, base);
    if options.level >= 1 {
        run.begin("scan", 1);
        scan::check(run, subject.own(), subject.is_difference);
    }
    if options.level >= 2 {
        run.begin("forward", 2);
        deeper(run, options, &subject, text.as_ref(), (record, base));
    }
    run.bytes_read += subject.bytes_read();
}

/// The levels that run the model.
fn deeper(
    run: &mut Run,
    options: &Options,
    subject: &Subject,
    text: Option<&Text>,
    base: (Option<Record>, Option<&Folder>),
) {
    let plan = match &subject.plan {
        Ok(plan) => plan,
        Err(reason) => return run.check("forward.finite", Status::Skipped, format!("not run: {reason}")),
    };
    let memory = options.memory / KEPT_SHARE;
    if let Some(ids) = &options.input_ids {
        return logits(run, subject, plan, ids, memory);
    }
    if !forward(run, subject, plan, text, memory) || plan.is_encoder {
        return;
    }
    if options.level >= 3 {
        likelihood(run, options, subject, plan, text, base, memory);
    }
    if options.level >= 4 {
        run.begin("sample", 4);
        generate::sample(run, subject, plan, text, memory);
    }
}

fn decoder<'a>(subject: &'a Subject, plan: &'a Plan, memory: u64) -> Decoder<'a> {
    Decoder::new(plan, Weights::new(&subject.tensors, &subject.overlay, memory))
}

fn tokenizer(run: &mut Run, subject: &Subject, base: Option<&Folder>) -> Option<Text> {
    let mut found = None;
    for dir in &subject.text {
        match text::load(dir) {
            Ok(Some(text)) => {
                found = Some((dir, text));
                break;
            }
            Ok(None) => {}
            Err(reason) => {
                run.check("tokenizer.loads", Status::Failed, reason);
                return None;
            }
        }
    }
    let Some((dir, text)) = found else { return lent(run, subject, base) };
    run.check("tokenizer.loads", Status::Passed, "tokenizer.json loads");
    if let Ok(plan) = &subject.plan {
        judge::vocabulary(run, &text, &subject.ids, plan.embedding.tokens.rows);
    }
    judge::roundtrip(run, &text);
    template::check(run, dir, &text);
    Some(text)
}

/// A model without a tokenizer of its own is read with its base's, if the words are as many. What is wrong with that is no
/// fault of the model.
fn lent(run: &mut Run, subject: &Subject, base: Option<&Folder>) -> Option<Text> {
    let text = base.map(text::load).transpose();
    let rows = subject.plan.as_ref().ok().map(|plan| plan.embedding.tokens.rows);
    let (detail, text) = match text {
        Err(reason) => (format!("there is no tokenizer.json, and the base's is of no use: {reason}"), None),
        Ok(None | Some(None)) => ("there is no tokenizer.json".to_owned(), None),
        Ok(Some(Some(text))) => match rows {
            Some(rows) if !judge::fits(&text, rows) => {
                (format!("there is no tokenizer.json, and the base's has other words than the {rows} rows"), None)
            }
            _ => ("there is no tokenizer.json; text is read with the base's".to_owned(), Some(text)),
        },
    };
    run.check("tokenizer.loads", if text.is_some() { Status::Passed } else { Status::Skipped }, detail);
    text
}

/// Runs the model on given tokens and hands out what it says.
fn logits(run: &mut Run, subject: &Subject, plan: &Plan, ids: &[u32], memory: u64) {
    let mut decoder = decoder(subject, plan, memory);
    let passed = decoder.read(ids).and_then(|trace| {
        decoder.logits(&trace.states, |row| super::print(&Line::Logits { values: encode(&row) }))?;
        let positions = decoder.words(&trace.states, &Wanted::default())?;
        Ok((trace, positions))
    });
    match passed {
        Ok((trace, positions)) => drop(judge::finite(run, &trace, &positions)),
        Err(error) => {
            run.check("forward.finite", Status::Error, format!("the engine could not run the model: {error}"));
        }
    }
}

/// Runs the model on a few tokens; returns whether what came out is finite.
fn forward(run: &mut Run, subject: &Subject, plan: &Plan, text: Option<&Text>, memory: u64) -> bool {
    let longest = SHORT.min(subject.ids.max_positions.max(1));
    let ids = match text.map(|text| probe_text::tokens(text, &subject.ids, plan.embedding.tokens.rows, longest)) {
        Some(Ok(tokens)) => tokens.ids,
        Some(Err(reason)) => {
            run.check("forward.finite", Status::Skipped, format!("not run: {reason}"));
            return false;
        }
        None => probe_text::any(plan.embedding.tokens.rows, longest),
    };
    if ids.is_empty() {
        run.check("forward.finite", Status::Skipped, "not run: the tokenizer makes no tokens of plain English");
        return false;
    }
    let mut decoder = decoder(subject, plan, memory);
    let passed = decoder.read(&ids).and_then(|trace| {
        let positions = decoder.words(&trace.states, &Wanted::default())?;
        Ok((trace, positions))
    });
    let (trace, positions) = match passed {
        Ok(passed) => passed,
        Err(error) => {
            run.check("forward.finite", Status::Error, format!("the engine could not run the model: {error}"));
            return false;
        }
    };
    run.metric("forward_tokens", ids.len() as u64);
    run.metric("hidden_absmax", trace.absmax.iter().map(|size| f64::from(*size)).collect::<Vec<_>>());
    if !judge::finite(run, &trace, &positions) {
        return false;
    }
    if let Some(head) = &plan.head {
        let seen = subject.text.first().is_some_and(judge::is_for_tests);
        judge::spread(run, &positions, head.matrix.rows, seen);
    }
    true
}

/// Reads the text that all models read; compares with the base where there is one.
fn likelihood(
    run: &mut Run,
    options: &Options,
    subject: &Subject,
    plan: &Plan,
    text: Option<&Text>,
    (record, base): (Option<Record>, Option<&Folder>),
    memory: u64,
) {
    let Some(text) = text else {
        run.begin("text", 3);
        return run.check("ppl.absolute", Status::Skipped, "there is no tokenizer, so no text can be read");
    };
    // What an adapter is laid over is its base, too.
    let base = base.filter(|_| record.is_none());
    let base = base.map(|dir| {
        run.begin("base", 3);
        base_record(run, dir, memory)
    });
    let (record, base) = match base {
        Some((record, base)) => (record, base),
        None => (record, None),
    };
    let (mut relation, mut distance) = (options.relation, None);
    if let Some(base) = &base {
        let (judged, measured) = drift::weights(run, subject, base);
        relation = relation.or(judged);
        distance = measured;
        run.bytes_read += base.bytes_read();
    }
    if subject.is_adapter {
        relation = relation.or(Some(Relation::Adapter));
    }
    run.begin("text", 3);
    let longest = probe_text::TOKENS.min(subject.ids.max_positions.max(1));
    let tokens = match probe_text::tokens(text, &subject.ids, plan.embedding.tokens.rows, longest) {
        Ok(tokens) => tokens,
        Err(reason) => return run.check("ppl.absolute", Status::Skipped, reason),
    };
    let words = plan.head.as_ref().map_or(0, |head| head.matrix.rows);
    let compared = record.as_ref().filter(|record| drift::is_comparable(record, &tokens.ids, words));
    let others: Vec<Vec<u32>> = compared.map(drift::words).unwrap_or_default();
    let wanted = Wanted { next: tokens.ids.get(1..).unwrap_or_default(), others: &others };
    let positions = match read(&mut decoder(subject, plan, memory), &tokens.ids, &wanted) {
        Ok(positions) => positions,
        Err(error) => {
            return run.check("ppl.absolute", Status::Error, format!("the engine could not run the model: {error}"));
        }
    };
    if positions.iter().any(|position| !position.finite) {
        return run.check("ppl.absolute", Status::Failed, "the text gives NaN or infinity");
    }
    let Some(measured) = judge::likelihood(run, &positions, &tokens, words) else { return };
    run.record = Some(drift::keep(&tokens, &positions, words, measured.surprise));
    if let Some(record) = &record {
        let encoding = drift::Encoding::of(subject);
        drift::compare(run, record, compared.is_some(), &positions, measured, (relation, encoding, distance));
    }
}

fn read(decoder: &mut Decoder<'_>, ids: &[u32], wanted: &Wanted<'_>) -> candle_core::Result<Vec<Position>> {
    let trace = decoder.read(ids)?;
    decoder.words(&trace.states, wanted)
}

/// Reads the text with the base, as its own test would.
fn base_record(run: &mut Run, dir: &Folder, memory: u64) -> (Option<Record>, Option<Subject>) {
    let mut silent = Run { silent: true, ..Run::default() };
    silent.begin("headers", 0);
    let Some(base) = headers::check(&mut silent, dir, None) else {
        run.check("base.runs", Status::Skipped, "the base cannot be read, so nothing can be compared with it");
        return (None, None);
    };
    let record = match (&base.plan, text::load(dir)) {
        (Ok(plan), Ok(Some(text))) => record(&base, plan, &text, memory),
        (Err(reason), _) => Err(reason.clone()),
        (_, Err(reason)) => Err(reason),
        (_, Ok(None)) => Err("it has no tokenizer".to_owned()),
    };
    let record = match record {
        Ok(record) => {
            run.check("base.runs", Status::Passed, "the base was run on the same text");
            Some(record)
        }
        Err(reason) => {
            run.check("base.runs", Status::Skipped, format!("the base was not run: {reason}"));
            None
        }
    };
    (record, Some(base))
}

fn record(base: &Subject, plan: &Plan, text: &Text, memory: u64) -> Result<Record, String> {
    let longest = probe_text::TOKENS.min(base.ids.max_positions.max(1));
    let tokens = probe_text::tokens(text, &base.ids, plan.embedding.tokens.rows, longest)?;
    let wanted = Wanted { next: tokens.ids.get(1..).unwrap_or_default(), others: &[] };
    let positions = read(&mut decoder(base, plan, memory), &tokens.ids, &wanted).map_err(|error| error.to_string())?;
    let surprises: Vec<f64> = positions.iter().filter_map(|position| position.surprise).collect();
    if plan.is_encoder || surprises.is_empty() || positions.iter().any(|position| !position.finite) {
        return Err("it gives no likelihood of a text".to_owned());
    }
    let words = plan.head.as_ref().map_or(0, |head| head.matrix.rows);
    Ok(drift::keep(&tokens, &positions, words, judge::mean(surprises.into_iter())))
}

fn encode(row: &[f32]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bytes: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
