//! SPDX expressions over any names: `llama3.1 AND (MIT OR Apache 2.0)`.
//!
//! The grammar is that of the crate `spdx`; each name is replaced by a reference before, since the crate knows only the
//! names of SPDX, and cards also use those of the hub.

use std::ops::Range;

use spdx::{
    Expression, ParseMode,
    error::Reason,
    expression::{ExprNode, Operator},
};

/// More alternatives than these are no label but an attack.
const MAX_ALTERNATIVES: usize = 64;
/// The longest label that is read as an expression.
const MAX_LENGTH: usize = 2000;

/// A name with its exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) name: String,
    pub(super) exception: Option<String>,
}

/// Why an expression cannot be read, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken(pub(super) String);

/// Whether a label is written as an expression: an operator in capitals, or parentheses.
pub(super) fn is_expression(label: &str) -> bool {
    let has_operator = label.split_whitespace().any(|word| matches!(word, "AND" | "OR" | "WITH"));
    has_operator || (label.starts_with('(') && label.ends_with(')'))
}

/// Whether it may be one, with operators in small letters: the names decide.
pub(super) fn may_be_expression(label: &str) -> bool {
    label.split_whitespace().any(|word| matches!(word.to_ascii_lowercase().as_str(), "and" | "or"))
}

/// Parses into alternatives, each a list of names that all apply.
pub(super) fn parse(label: &str) -> Result<Vec<Vec<Term>>, Broken> {
    if label.len() > MAX_LENGTH {
        return Err(Broken(format!("it is longer than {MAX_LENGTH} characters")));
    }
    let tokens = tokens(label);
    let mut text = String::new();
    let mut places: Vec<Range<usize>> = Vec::new();
    let mut after_with = false;
    for (number, token) in tokens.iter().enumerate() {
        let start = text.len();
        match token.kind {
            Kind::Name if after_with => text.push_str(&format!("AdditionRef-{number}")),
            Kind::Name => text.push_str(&format!("LicenseRef-{number}")),
            Kind::Operator => text.push_str(&label[token.range.clone()].to_ascii_uppercase()),
            Kind::Parenthesis => text.push_str(&label[token.range.clone()]),
        }
        after_with = label[token.range.clone()].eq_ignore_ascii_case("with");
        places.push(start..text.len());
        text.push(' ');
    }
    let parsed = Expression::parse_mode(&text, ParseMode::STRICT).map_err(|error| {
        let token = places.iter().position(|place| place.end > error.span.start);
        let at = token.map_or(label.len(), |token| tokens[token].range.start);
        Broken(format!("at character {}: {}", label[..at].chars().count() + 1, reason(&error.reason)))
    })?;
    alternatives(&parsed, &tokens, label)
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::UnclosedParens => "the parenthesis is not closed".to_owned(),
        Reason::UnopenedParens => "this parenthesis was not opened".to_owned(),
        Reason::Empty => "a license is expected".to_owned(),
        Reason::Unexpected(expected) => format!("expected {}", expected.join(" or ")),
        other => format!("{other:?}"),
    }
}

fn alternatives(parsed: &Expression, tokens: &[Token], label: &str) -> Result<Vec<Vec<Term>>, Broken> {
    let mut stack: Vec<Vec<Vec<Term>>> = Vec::new();
    let name = |reference: &str| {
        let token = reference.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
        token.and_then(|token| tokens.get(token)).map(|token| label[token.range.clone()].to_owned())
    };
    for node in parsed.iter() {
        match node {
            ExprNode::Req(requirement) => {
                let exception = requirement.req.addition.as_ref().and_then(|addition| name(&addition.to_string()));
                let name = name(&requirement.req.license.to_string()).unwrap_or_default();
                stack.push(vec![vec![Term { name, exception }]]);
            }
            ExprNode::Op(operator) => {
                let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else {
                    return Err(Broken("a license is missing".to_owned()));
                };
                stack.push(match operator {
                    Operator::Or => left.into_iter().chain(right).collect(),
                    Operator::And => product(&left, &right)?,
                });
            }
        }
        if stack.last().is_some_and(|top| top.len() > MAX_ALTERNATIVES) {
            return Err(Broken(format!("it has more than {MAX_ALTERNATIVES} alternatives")));
        }
    }
    stack.pop().ok_or_else(|| Broken("a license is expected".to_owned()))
}

fn product(left: &[Vec<Term>], right: &[Vec<Term>]) -> Result<Vec<Vec<Term>>, Broken> {
    if left.len() * right.len() > MAX_ALTERNATIVES {
        return Err(Broken(format!("it has more than {MAX_ALTERNATIVES} alternatives")));
    }
    Ok(left.iter().flat_map(|one| right.iter().map(|other| [one.as_slice(), other].concat())).collect())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Name,
    Operator,
    Parenthesis,
}

#[derive(Debug, Clone)]
struct Token {
    kind: Kind,
    range: Range<usize>,
}

/// Names may consist of several words: `Apache License 2.0`.
fn tokens(label: &str) -> Vec<Token> {
    let mut words: Vec<Token> = Vec::new();
    let mut start = None;
    let flush = |start: &mut Option<usize>, end: usize, words: &mut Vec<Token>| {
        let Some(start) = start.take() else { return };
        let word = label[start..end].to_ascii_lowercase();
        let kind = if matches!(word.as_str(), "and" | "or" | "with") { Kind::Operator } else { Kind::Name };
        match words.last_mut() {
            Some(last) if last.kind == Kind::Name && kind == Kind::Name => last.range.end = end,
            _ => words.push(Token { kind, range: start..end }),
        }
    };
    for (at, character) in label.char_indices() {
        if character == '(' || character == ')' {
            flush(&mut start, at, &mut words);
            words.push(Token { kind: Kind::Parenthesis, range: at..at + 1 });
        } else if character.is_whitespace() {
            flush(&mut start, at, &mut words);
        } else if start.is_none() {
            start = Some(at);
        }
    }
    flush(&mut start, label.len(), &mut words);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(label: &str) -> Vec<String> {
        let branches = parse(label).unwrap();
        let spell = |term: &Term| match &term.exception {
            Some(exception) => format!("{} WITH {exception}", term.name),
            None => term.name.clone(),
        };
        branches.iter().map(|terms| terms.iter().map(spell).collect::<Vec<_>>().join(" & ")).collect()
    }

    #[test]
    fn operators_bind_as_spdx_says() {
        assert_eq!(read("MIT OR Apache 2.0 AND llama3.1"), ["MIT", "Apache 2.0 & llama3.1"]);
        assert_eq!(read("(MIT or gemma) AND cc-by-4.0"), ["MIT & cc-by-4.0", "gemma & cc-by-4.0"]);
        assert_eq!(read("GPL-3.0-only WITH GCC-exception-3.1"), ["GPL-3.0-only WITH GCC-exception-3.1"]);
    }

    #[test]
    fn a_broken_expression_names_the_place() {
        for (label, place) in [
            ("MIT AND", "at character"),
            ("(MIT OR gemma", "not closed"),
            ("MIT OR OR gemma", "at character 8"),
            ("MIT)", "not opened"),
            ("AND", "at character 1"),
            ("", "expected"),
        ] {
            assert!(parse(label).unwrap_err().0.contains(place), "{label}: {:?}", parse(label));
        }
        let many = ["(a OR b)"; 12].join(" AND ");
        assert!(parse(&many).unwrap_err().0.contains("more than 64"));
    }
}
