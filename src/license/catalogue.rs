//! The licenses that we know, with their terms as read in their texts: data of the product, compiled in.

use std::{collections::HashMap, sync::LazyLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

static DATA: &str = include_str!("data/licenses.json");

/// The catalogue; parsed once.
pub static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::parse(DATA).expect("the compiled-in catalogue is checked by a test"));

/// How a license limits those who build on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Allows other terms over the whole.
    Permissive,
    /// Its use restrictions must follow.
    Passthrough,
    /// The same license must follow.
    ShareAlike,
    /// No right to license the base again is granted.
    NotGranted,
    /// Derivatives may not be shared.
    NoDerivatives,
    /// Not read, or says nothing of it.
    Unknown,
}

/// A license with its terms.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct License {
    /// Our key.
    pub key: String,
    /// Its title.
    pub name: String,
    /// Identifiers of the hub.
    pub hf_ids: Vec<String>,
    /// Other spellings in `license_name`.
    pub license_name_aliases: Vec<String>,
    /// SPDX identifier.
    pub spdx: Option<String>,
    /// Which kind of license.
    pub category: String,
    /// How much of the text was read.
    pub text_read: String,
    /// Term name to value, clause and basis.
    pub terms: Value,
    /// Remarks.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl License {
    /// Returns the value of a term.
    pub fn value(&self, term: &str) -> &Value {
        &self.terms[term]["value"]
    }

    /// Returns the clause that a term rests on.
    pub fn clause(&self, term: &str) -> Option<String> {
        self.terms[term]["clause"].as_str().filter(|clause| *clause != "—").map(str::to_owned)
    }

    /// Whether a term rests on our reading and the text was not read in full.
    pub fn is_weak(&self, term: &str) -> bool {
        self.terms[term]["basis"] == "interp" && self.text_read != "full"
    }

    /// How it limits those who build on it.
    pub fn family(&self) -> Family {
        match self.value("relicense_derivative").as_str().unwrap_or("unknown") {
            "permissive" => Family::Permissive,
            "passthrough" => Family::Passthrough,
            "share-alike" => Family::ShareAlike,
            "not_granted" | "forbidden" => Family::NotGranted,
            "no-derivatives" => Family::NoDerivatives,
            _ => Family::Unknown,
        }
    }

    /// Whether only non-commercial use is allowed.
    pub fn is_noncommercial(&self) -> bool {
        self.value("commercial_use") == "no"
    }

    /// Whether nothing of it binds those who build on it beyond notices.
    pub fn is_permissive(&self) -> bool {
        self.family() == Family::Permissive && !self.is_noncommercial()
    }

    /// Whether it names adapters among what it reaches.
    pub fn reaches_adapters(&self) -> bool {
        let words = self.value("adapters").as_str().unwrap_or_default();
        words.starts_with("reached") || words.starts_with("EXPLICIT")
    }

    /// `llama` for `llama3.1`: versions of one family differ in their terms.
    pub fn stem(&self) -> &str {
        self.key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-')
    }

    /// Whether one named licensor issued it, as opposed to a license that anybody may use.
    pub fn has_one_licensor(&self) -> bool {
        self.category.starts_with("ai-") && !self.key.contains("rail")
    }

    /// The identifier for an SPDX expression.
    pub fn expression(&self) -> String {
        self.spdx.clone().unwrap_or_else(|| format!("LicenseRef-{}", self.key))
    }
}

/// An identifier that the hub offers for cards.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct HubIdentifier {
    /// The identifier.
    pub id: String,
    /// Its title.
    pub name: String,
    /// Whether it names a family or nothing in particular.
    pub family_or_placeholder: bool,
    /// Whether only non-commercial use is allowed.
    #[serde(default)]
    pub noncommercial: bool,
    /// OSI-approved.
    pub osi_approved: Option<bool>,
    /// Our license, when we know its terms.
    pub license_key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Publisher {
    repo_prefix: String,
    license: String,
}

#[derive(Debug, Deserialize)]
struct Data {
    generated: String,
    hf_identifiers: Vec<HubIdentifier>,
    licenses: Vec<License>,
    official_publishers: Vec<Publisher>,
}

/// All licenses, with the ways to name them.
#[derive(Debug)]
pub struct Catalogue {
    /// When it was made.
    pub version: String,
    /// The licenses.
    pub licenses: Vec<License>,
    /// The hub's identifiers.
    pub identifiers: Vec<HubIdentifier>,
    by_name: HashMap<String, usize>,
    publishers: Vec<(String, usize)>,
}

impl Catalogue {
    /// Parses and indexes the data.
    pub fn parse(data: &str) -> Result<Self, String> {
        let data: Data = serde_json::from_str(data).map_err(|error| error.to_string())?;
        let mut by_name = HashMap::new();
        for (index, license) in data.licenses.iter().enumerate() {
            let names = license.hf_ids.iter().chain(&license.license_name_aliases).chain(&license.spdx);
            for name in names.chain(std::iter::once(&license.key)) {
                by_name.entry(super::label::normalize(name)).or_insert(index);
            }
        }
        for identifier in &data.hf_identifiers {
            let known = identifier.license_key.as_ref().and_then(|key| by_name.get(key)).copied();
            if let Some(index) = known {
                by_name.entry(identifier.id.clone()).or_insert(index);
            }
        }
        let mut publishers = Vec::new();
        for publisher in data.official_publishers {
            let index = by_name.get(&publisher.license).copied();
            let index = index.ok_or_else(|| format!("publisher license `{}` is not known", publisher.license))?;
            publishers.push((publisher.repo_prefix.to_lowercase(), index));
        }
        Ok(Self {
            version: data.generated,
            licenses: data.licenses,
            identifiers: data.hf_identifiers,
            by_name,
            publishers,
        })
    }

    /// Returns the license of a normalized label.
    pub fn find(&self, label: &str) -> Option<usize> {
        self.by_name.get(label).copied()
    }

    /// Returns the license with this key.
    pub fn find_by_key(&self, key: &str) -> Option<&License> {
        self.licenses.iter().find(|license| license.key == key)
    }

    /// Returns the hub's identifier of a normalized label.
    pub fn identifier(&self, label: &str) -> Option<&HubIdentifier> {
        self.identifiers.iter().find(|identifier| identifier.id == label)
    }

    /// Returns the license under which a publisher releases this model itself, whatever its label.
    pub fn published_by_licensor(&self, id: &str) -> Option<usize> {
        let id = id.to_lowercase();
        self.publishers.iter().find(|(prefix, _)| id.starts_with(prefix)).map(|(_, index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_of_the_catalogue_has_a_value_a_clause_and_a_basis() {
        let catalogue = Catalogue::parse(DATA).unwrap();
        assert!(catalogue.licenses.len() >= 50);
        for license in &catalogue.licenses {
            for (name, term) in license.terms.as_object().unwrap() {
                let entries = term.as_array().cloned().unwrap_or_else(|| vec![term.clone()]);
                for entry in entries {
                    // A duty to register has no size from which it holds.
                    let has_value = entry.get("value").is_some() || entry["kind"] == "registration";
                    assert!(has_value, "{} {name}", license.key);
                    assert!(entry["clause"].is_string(), "{} {name}", license.key);
                    assert!(
                        entry["basis"] == "text" || entry["basis"] == "interp",
                        "{} {name}: {}",
                        license.key,
                        entry["basis"]
                    );
                }
            }
        }
    }

    #[test]
    fn versions_of_a_family_share_a_stem() {
        let stem = |key: &str| CATALOGUE.find_by_key(key).unwrap().stem();
        assert_eq!(stem("llama3.1"), "llama");
        assert_eq!(stem("llama2"), "llama");
        assert_ne!(stem("apache-2.0"), "llama");
    }
}
