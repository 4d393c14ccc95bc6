//! One line of an import: a model's facts, and what is odd about them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{OffsetDateTime, PrimitiveDateTime, format_description::well_known::Iso8601};

use crate::{catalog::facts::normalize_label, lineage::Relation, name::ModelName};

/// Longest line that is read, in bytes.
const MAX_LINE: usize = 1024 * 1024;

/// A remark on a model.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct Flag {
    /// Stable word.
    pub code: &'static str,
    /// In a sentence.
    pub detail: String,
}

/// A model's facts, checked.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its name.
    pub name: ModelName,
    /// Its label as written.
    pub license: Option<String>,
    /// Its label, normalized.
    pub license_id: Option<String>,
    /// Its parents with how it was made from them.
    pub parents: Vec<(ModelName, Relation)>,
    /// 0 to 1.
    pub confidence: f32,
    /// Tags.
    pub tags: Vec<String>,
    /// Task.
    pub pipeline_tag: Option<String>,
    /// Library.
    pub library: Option<String>,
    /// Architecture.
    pub architecture: Option<String>,
    /// Parameters.
    pub parameters: Option<i64>,
    /// Downloads.
    pub downloads: i64,
    /// Likes.
    pub likes: i64,
    /// Upstream gate.
    pub gated: Option<String>,
    /// When it was published.
    pub created_at: Option<OffsetDateTime>,
    /// Where the facts come from.
    pub sources: Vec<String>,
    /// What is odd.
    pub flags: Vec<Flag>,
}

#[derive(Deserialize)]
struct Line {
    id: String,
    #[serde(default)]
    license: Option<Value>,
    #[serde(default)]
    licenses_seen: Value,
    #[serde(default)]
    base_models: Vec<String>,
    #[serde(default)]
    relation: Option<String>,
    #[serde(default)]
    lineage_confidence: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    pipeline_tag: Option<String>,
    library: Option<String>,
    architecture: Option<String>,
    params: Option<f64>,
    downloads: Option<f64>,
    likes: Option<f64>,
    #[serde(default)]
    gated: Value,
    created_at: Option<String>,
    #[serde(default)]
    source: Value,
}

/// Parses a line.
pub fn parse(line: &[u8]) -> Result<Record, String> {
    if line.len() > MAX_LINE {
        return Err(format!("it has {} bytes, at most {MAX_LINE} are read", line.len()));
    }
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let name: ModelName = line.id.parse().map_err(|error: crate::name::Error| error.to_string())?;
    let mut flags = Vec::new();
    let relation = relation(line.relation.as_deref(), &mut flags);
    let parents = parents(&name, &line.base_models, relation, &mut flags);
    let license = license(line.license, &mut flags);
    disagreement(&line.licenses_seen, &mut flags);
    let confidence = match line.lineage_confidence.as_deref() {
        Some("high") => 0.9,
        Some("medium") => 0.6,
        Some("low") => 0.3,
        _ => 0.5,
    };
    Ok(Record {
        license_id: license.as_deref().map(|label| normalize_label(label.split(", ").next().unwrap_or(label))),
        license,
        parents,
        confidence,
        tags: line.tags.into_iter().take(100).map(|tag| short(&tag)).collect(),
        pipeline_tag: line.pipeline_tag.as_deref().map(short),
        library: line.library.as_deref().map(short),
        architecture: line.architecture.as_deref().map(short),
        parameters: line.params.and_then(whole).filter(|count| *count > 0),
        downloads: line.downloads.and_then(whole).unwrap_or(0),
        likes: line.likes.and_then(whole).unwrap_or(0),
        gated: gate(&line.gated),
        created_at: line.created_at.as_deref().and_then(instant),
        sources: texts(&line.source),
        flags,
        name,
    })
}

impl Record {
    /// Takes over what another line says of the same model and this one does not.
    pub fn absorb(&mut self, other: Self) {
        let both = self.license.is_some() && other.license.is_some() && self.license_id != other.license_id;
        if both {
            let detail = format!("two lines give the licenses {:?} and {:?}", self.license, other.license);
            self.flags.push(Flag { code: "license-disagreement", detail });
        }
        if self.license.is_none() {
            self.license = other.license;
            self.license_id = other.license_id;
        }
        for parent in other.parents {
            match self.parents.iter().find(|known| known.0.key() == parent.0.key()) {
                Some(known) if known.1 != parent.1 => {
                    let detail = format!("`{}` is named as {} and as {}", parent.0, known.1, parent.1);
                    self.flags.push(Flag { code: "relation-contradiction", detail });
                }
                Some(_) => {}
                None => self.parents.push(parent),
            }
        }
        self.flags.extend(other.flags);
        self.downloads = self.downloads.max(other.downloads);
        self.likes = self.likes.max(other.likes);
    }
}

fn relation(text: Option<&str>, flags: &mut Vec<Flag>) -> Relation {
    let Some(text) = text else { return Relation::Unknown };
    text.parse().unwrap_or_else(|_| {
        flags.push(Flag { code: "relation-unknown", detail: format!("the relation `{}` is not known", short(text)) });
        Relation::Unknown
    })
}

fn parents(own: &ModelName, bases: &[String], relation: Relation, flags: &mut Vec<Flag>) -> Vec<(ModelName, Relation)> {
    let mut parents: Vec<(ModelName, Relation)> = Vec::new();
    for base in bases.iter().take(200) {
        match base.trim().parse::<ModelName>() {
            Ok(parent) if parent.key() == own.key() => {
                flags.push(Flag { code: "lineage-self", detail: "it names itself as its base".to_owned() });
            }
            Ok(parent) => {
                if !parents.iter().any(|(known, _)| known.key() == parent.key()) {
                    parents.push((parent, relation));
                }
            }
            Err(_) => {
                let detail = format!("it names `{}` as its base, which is no model name", short(base));
                flags.push(Flag { code: "lineage-unusable", detail });
            }
        }
    }
    let single_parent = matches!(relation, Relation::Finetune | Relation::Adapter | Relation::Quantized);
    if single_parent && parents.len() > 1 {
        let detail = format!("it names {} parents as {relation}, which has one", parents.len());
        flags.push(Flag { code: "relation-contradiction", detail });
    }
    parents
}

fn license(value: Option<Value>, flags: &mut Vec<Flag>) -> Option<String> {
    let label = match value? {
        Value::String(text) => short(&text),
        Value::Array(list) => {
            flags.push(Flag { code: "license-list", detail: "the license is a list".to_owned() });
            list.iter().filter_map(Value::as_str).map(short).collect::<Vec<_>>().join(", ")
        }
        other => {
            flags.push(Flag { code: "license-type", detail: format!("the license is {}", short(&other.to_string())) });
            return None;
        }
    };
    if label.chars().any(char::is_uppercase) {
        flags.push(Flag { code: "license-case", detail: format!("the license is spelled `{label}`") });
    }
    (!label.trim().is_empty()).then_some(label)
}

fn disagreement(seen: &Value, flags: &mut Vec<Flag>) {
    let labels = match seen {
        Value::Object(map) => map.keys().cloned().collect::<Vec<_>>(),
        other => texts(other),
    };
    if !labels.is_empty() {
        let detail = format!("sources give different licenses: {}", labels.join(", "));
        flags.push(Flag { code: "license-disagreement", detail });
    }
}

fn gate(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(short(text)),
        Value::Bool(true) => Some("auto".to_owned()),
        _ => None,
    }
}

fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![short(text)],
        Value::Array(list) => {
            list.iter().take(50).map(|item| item.as_str().map_or_else(|| short(&item.to_string()), short)).collect()
        }
        _ => Vec::new(),
    }
}

fn instant(text: &str) -> Option<OffsetDateTime> {
    let zoned = OffsetDateTime::parse(text, &Iso8601::DEFAULT).ok();
    zoned.or_else(|| PrimitiveDateTime::parse(text, &Iso8601::DEFAULT).ok().map(PrimitiveDateTime::assume_utc))
}

fn whole(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked in the condition")]
    (number.is_finite() && (0.0..9e18).contains(&number)).then_some(number as i64)
}

/// Postgres has no NUL in its texts.
fn short(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(300).collect()
}
