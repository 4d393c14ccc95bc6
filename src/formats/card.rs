//! The model card: the front matter and text of `README.md`.

use serde_json::{Map, Value};

/// Longest card that is read, in bytes.
pub const MAX_CARD: u64 = 8 * 1024 * 1024;
/// Longest front matter, in bytes.
const MAX_FRONT_MATTER: usize = 1024 * 1024;

/// A card whose front matter cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too long.
    #[error("the front matter has {0} bytes, at most {MAX_FRONT_MATTER} are read")]
    TooLong(usize),
    /// Opened and never closed.
    #[error("the front matter begins with `---` but has no closing `---` line")]
    NotClosed,
    /// Broken YAML.
    #[error("the front matter is not valid YAML: {0}")]
    NotYaml(String),
    /// YAML of another shape.
    #[error("the front matter must be a list of `key: value` lines, found {0}")]
    NotAMapping(&'static str),
}

/// What a card says. Labels stay as written; whoever uses them normalizes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Card {
    /// The front matter.
    pub metadata: Map<String, Value>,
    /// The text below it.
    pub text: String,
    /// Fields that are there with another type than they should have.
    pub problems: Vec<String>,
    /// `license`, or `licence` as some spell it; one entry each.
    pub licenses: Vec<String>,
    /// `license_name`.
    pub license_name: Option<String>,
    /// `license_link`.
    pub license_link: Option<String>,
    /// `base_model`, text or list.
    pub base_models: Vec<String>,
    /// `base_model_relation`.
    pub base_model_relation: Option<String>,
    /// `tags`.
    pub tags: Vec<String>,
    /// `datasets`.
    pub datasets: Vec<String>,
    /// `language`.
    pub languages: Vec<String>,
    /// `library_name`.
    pub library: Option<String>,
    /// `pipeline_tag`.
    pub pipeline_tag: Option<String>,
}

/// Parses a card. A card without front matter is fine; broken front matter is an error that says where.
pub fn parse(source: &str) -> Result<Card, Error> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    let (front, text) = split(source)?;
    let metadata = if front.trim().is_empty() { Map::new() } else { read_yaml(front)? };
    let mut card = Card { text: text.to_owned(), ..Card::default() };
    let mut fields = Fields { metadata: &metadata, problems: Vec::new() };
    card.licenses = fields.list(&["license", "licence", "License", "Licence"]);
    card.license_name = fields.text("license_name");
    card.license_link = fields.text("license_link");
    card.base_models = fields.list(&["base_model"]);
    card.base_model_relation = fields.text("base_model_relation");
    card.tags = fields.list(&["tags"]);
    card.datasets = fields.list(&["datasets"]);
    card.languages = fields.list(&["language"]);
    card.library = fields.text("library_name");
    card.pipeline_tag = fields.text("pipeline_tag");
    card.problems = fields.problems;
    card.metadata = metadata;
    Ok(card)
}

/// Returns the text of a card whose front matter cannot be read: what follows it, or all of it.
pub fn text_below(source: &str) -> &str {
    split(source).map_or(source, |(_, text)| text)
}

/// Splits front matter from text.
fn split(source: &str) -> Result<(&str, &str), Error> {
    let mut lines = source.split_inclusive('\n');
    let Some(first) = lines.next() else { return Ok(("", "")) };
    if first.trim_end() != "---" {
        return Ok(("", source));
    }
    let mut end = first.len();
    for line in lines {
        if line.trim_end() == "---" {
            if end - first.len() > MAX_FRONT_MATTER {
                return Err(Error::TooLong(end - first.len()));
            }
            return Ok((&source[first.len()..end], &source[end + line.len()..]));
        }
        end += line.len();
    }
    Err(Error::NotClosed)
}

fn read_yaml(front: &str) -> Result<Map<String, Value>, Error> {
    // Tabs in front of a key are common in real cards, and no YAML.
    let value: Value = serde_saphyr::from_str(front).map_err(|error| Error::NotYaml(first_line(&error.to_string())))?;
    match value {
        Value::Object(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        Value::Array(_) => Err(Error::NotAMapping("a list")),
        _ => Err(Error::NotAMapping("a single value")),
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

struct Fields<'a> {
    metadata: &'a Map<String, Value>,
    problems: Vec<String>,
}

impl Fields<'_> {
    fn text(&mut self, name: &str) -> Option<String> {
        match self.metadata.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(tidy(text)),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::Array(list)) if list.len() == 1 => list[0].as_str().map(tidy),
            Some(_) => {
                self.problems.push(format!("`{name}` should be text"));
                None
            }
        }
    }

    fn list(&mut self, names: &[&str]) -> Vec<String> {
        let found = names.iter().find_map(|name| Some((name, self.metadata.get(*name)?)));
        let Some((name, value)) = found else { return Vec::new() };
        match value {
            Value::Null => Vec::new(),
            Value::String(text) => vec![tidy(text)],
            Value::Array(list) => {
                let texts: Vec<String> = list.iter().take(1000).filter_map(Value::as_str).map(tidy).collect();
                if texts.len() < list.len() {
                    self.problems.push(format!("`{name}` has entries that are no text"));
                }
                texts
            }
            Value::Bool(truth) => vec![truth.to_string()],
            Value::Number(number) => vec![number.to_string()],
            Value::Object(_) => {
                self.problems.push(format!("`{name}` should be text or a list"));
                Vec::new()
            }
        }
    }
}

fn tidy(text: &str) -> String {
    text.trim().chars().take(1000).collect()
}

/// Returns the first paragraph of a card's text as plain words, at most 280 characters: the line that lists show.
pub fn description(text: &str) -> String {
    let is_prose = |line: &&str| {
        let line = line.trim();
        let skipped = ["#", "<", "!", "[!", "|", "```", "---", "===", "- ", "* ", ">", "[![", "    "];
        !line.is_empty() && !skipped.iter().any(|start| line.starts_with(start))
    };
    let mut paragraph = String::new();
    let mut in_code = false;
    for line in text.lines().take(400) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
            continue;
        }
        if !in_code && is_prose(&line) {
            paragraph.push_str(line.trim());
            paragraph.push(' ');
        } else if !paragraph.is_empty() {
            break;
        }
    }
    plain(&paragraph)
}

/// Drops Markdown's marks and links' targets.
fn plain(markdown: &str) -> String {
    let mut words = String::new();
    let mut characters = markdown.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' | '_' | '`' | '[' => {}
            ']' if characters.peek() == Some(&'(') => {
                for inner in characters.by_ref() {
                    if inner == ')' {
                        break;
                    }
                }
            }
            ']' => {}
            '<' => {
                for inner in characters.by_ref() {
                    if inner == '>' {
                        break;
                    }
                }
            }
            other => words.push(other),
        }
    }
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= 280 {
        return words;
    }
    format!("{}…", words.chars().take(279).collect::<String>().trim_end())
}
/// Weights that are a difference to another model's, as Alpaca, Vicuna and Koala were released because of the license of
/// LLaMA: to be added to it, and no model alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightDifference {
    /// New tokens are differences to the average token, not to zero: Alpaca's way.
    pub mean_for_new: bool,
}

/// Recognizes a difference by what its card says.
pub fn weight_difference(source: &str) -> Option<WeightDifference> {
    let card = source.to_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| card.contains(phrase));
    let is_alpaca = says(&["weight diff", "weight_diff", "weight-diff", "wdiff"]);
    let is_delta = says(&["delta model", "delta weights", "weight delta", "delta-v", "diff weights"])
        && says(&["llama", "base weights", "original weights"])
        && says(&[
            "cannot be used directly",
            "can not be used directly",
            "apply it on top",
            "apply the delta",
            "apply_delta",
            "add",
            "recover",
        ]);
    (is_alpaca || is_delta).then_some(WeightDifference { mean_for_new: is_alpaca })
}
