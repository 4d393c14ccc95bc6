//! The licenses that we know, with their terms as read in their texts: data of the product, compiled in.
//!
//! `build.rs` refuses data with an incomplete term. Administrators add their own licenses at run time in the same
//! form ([`Catalogue::extended_with`]).

pub mod check;
mod traits;
mod words;

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use traits::{Family, Notice, Outputs, Threshold, ThresholdKind, Traits};
pub use words::{PlainWords, Sentence, grouped};

use super::label::normalize;
use crate::digest::Digest;

static DATA: &str = include_str!("../data/licenses.json");

/// The catalogue; parsed once.
pub static CATALOGUE: LazyLock<Catalogue> =
    LazyLock::new(|| Catalogue::parse(DATA).expect("the compiled-in catalogue is checked when it is built"));

/// Whoever alone gives a license.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct Licensor {
    /// Its name.
    pub name: String,
    /// Where it publishes; the license does not bind what stands there.
    pub namespaces: Vec<String>,
}

/// How a text of a license is recognized.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Fingerprint {
    /// The first words of the text.
    pub title: Option<String>,
    /// Phrases of the normalized text, all of which must occur.
    pub must: Vec<String>,
    /// SHA-256 of the normalized text, hexadecimal.
    pub sha256_norm: Option<String>,
}

/// A license with its terms.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct License {
    /// Our key.
    pub key: String,
    /// Its title.
    pub name: String,
    /// Identifiers of the hub.
    #[serde(default)]
    pub hf_ids: Vec<String>,
    /// Other spellings in `license_name`.
    #[serde(default)]
    pub license_name_aliases: Vec<String>,
    /// SPDX identifier.
    #[serde(default)]
    pub spdx: Option<String>,
    /// Whoever alone gives it; absent for licenses that anybody may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licensor: Option<Licensor>,
    /// Which kind of license.
    pub category: String,
    /// How much of the text was read.
    pub text_read: String,
    /// How its text is recognized.
    #[serde(default)]
    pub fingerprint: Option<Fingerprint>,
    /// Term name to value, clause and basis.
    pub terms: Value,
    /// Remarks.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The terms as rules ask for them.
    #[serde(skip)]
    pub traits: Traits,
}

impl License {
    /// Reads a license that is added at run time, in the form of the catalogue; says what is missing or wrong.
    pub fn from_entry(entry: &Value) -> Result<Self, check::Problem> {
        check::check_extension(entry)?;
        serde_json::from_value(entry.clone()).map_err(|error| {
            let license = entry["key"].as_str().unwrap_or_default().chars().take(80).collect();
            check::Problem { license, term: None, what: error.to_string() }
        })
    }

    /// The labels of cards that name it, normalized.
    pub fn labels(&self) -> Vec<String> {
        let names = self.hf_ids.iter().chain(&self.license_name_aliases).chain(&self.spdx).chain([&self.key]);
        let mut labels: Vec<String> = names.map(|name| normalize(name)).collect();
        labels.sort();
        labels.dedup();
        labels
    }

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
        self.terms[term]["basis"] == "interp" && !self.traits.is_read
    }

    /// How it limits those who build on it.
    pub fn family(&self) -> Family {
        self.traits.family
    }

    /// Whether only non-commercial use is allowed.
    pub fn is_noncommercial(&self) -> bool {
        self.traits.is_noncommercial
    }

    /// Whether nothing of it binds those who build on it beyond notices.
    pub fn is_permissive(&self) -> bool {
        self.traits.family == Family::Permissive && !self.traits.is_noncommercial
    }

    /// Whether it names adapters among what it reaches.
    pub fn reaches_adapters(&self) -> bool {
        self.traits.reaches_adapters
    }

    /// `llama` for `llama3.1`: versions of one family differ in their terms.
    pub fn stem(&self) -> &str {
        match self.key.as_str() {
            // The 2023 and the 2024 agreement of one family, each with a research variant of its own.
            "tongyi-qianwen" => "qwen",
            "tongyi-qianwen-research" => "qwen-research",
            "falcon-2-11b-1.0" | "falcon-180b-1.0" => "falcon",
            key => key.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-'),
        }
    }

    /// Whether one named licensor issued it, as opposed to a license that anybody may use.
    pub fn has_one_licensor(&self) -> bool {
        self.licensor.is_some()
    }

    /// The identifier for an SPDX expression.
    pub fn expression(&self) -> String {
        self.spdx.clone().unwrap_or_else(|| license_ref(&self.key))
    }
}

/// `LicenseRef-…` with only the characters that SPDX allows.
pub fn license_ref(key: &str) -> String {
    let name = key.strip_prefix("LicenseRef-").unwrap_or(key);
    let spelled = name.replace('+', "-plus");
    let allowed: String =
        spelled.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '-' }).collect();
    format!("LicenseRef-{}", allowed.trim_matches('-'))
}

/// An identifier that the hub offers for cards.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub struct HubIdentifier {
    /// The identifier.
    pub id: String,
    /// Its title.
    pub name: String,
    /// The identifier of SPDX.
    #[serde(default)]
    pub spdx: Option<String>,
    /// Whether it names a family or nothing in particular.
    pub family_or_placeholder: bool,
    /// Whether only non-commercial use is allowed.
    #[serde(default)]
    pub noncommercial: bool,
    /// Whether derivatives may not be shared.
    #[serde(default)]
    pub no_derivatives: bool,
    /// OSI-approved.
    pub osi_approved: Option<bool>,
    /// Our license, when we know its terms.
    pub license_key: Option<String>,
    /// Where its text is.
    #[serde(default)]
    pub link: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Publisher {
    repo_prefix: String,
    license: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Data {
    generated: String,
    hf_identifiers: Vec<HubIdentifier>,
    licenses: Vec<License>,
    official_publishers: Vec<Publisher>,
    #[serde(default)]
    multimodal_prefixes: Vec<String>,
}

/// All licenses, with the ways to name them.
#[derive(Debug, Clone)]
pub struct Catalogue {
    /// When it was made; with a digest of what was added.
    pub version: String,
    /// The licenses whose terms are known.
    pub licenses: Vec<License>,
    /// The hub's identifiers.
    pub identifiers: Vec<HubIdentifier>,
    /// Identifiers of the hub and of SPDX whose terms are not known, after `licenses` in numbering.
    stubs: Vec<License>,
    by_name: HashMap<String, usize>,
    families: Vec<bool>,
    publishers: Vec<(String, usize)>,
    links: HashMap<String, usize>,
    multimodal: Vec<String>,
    licensors: HashSet<String>,
    data: Data,
}

impl Catalogue {
    /// Parses and indexes the data.
    pub fn parse(data: &str) -> Result<Self, String> {
        Self::index(serde_json::from_str(data).map_err(|error| error.to_string())?)
    }

    /// Returns this catalogue with further licenses: a company's own, with keys `LicenseRef-…`.
    pub fn extended_with(&self, more: &[License]) -> Result<Self, check::Problem> {
        let mut data = self.data.clone();
        for license in more {
            let problem = |what: String| check::Problem { license: license.key.clone(), term: None, what };
            let form = serde_json::to_value(license).map_err(|error| problem(error.to_string()))?;
            check::check_extension(&form)?;
            if data.licenses.iter().any(|known| known.key.eq_ignore_ascii_case(&license.key)) {
                return Err(problem("its key is taken".to_owned()));
            }
            data.licenses.push(license.clone());
        }
        let form = serde_json::to_vec(more).unwrap_or_default();
        if !more.is_empty() {
            data.generated = format!("{}+{}", data.generated, &Digest::of(&form).to_hex()[..12]);
        }
        let broken = |what: String| check::Problem { license: "the catalogue".to_owned(), term: None, what };
        Self::index(data).map_err(broken)
    }

    fn index(mut data: Data) -> Result<Self, String> {
        for license in &mut data.licenses {
            license.traits = Traits::read(license);
        }
        let licenses = data.licenses.clone();
        let mut by_name = HashMap::new();
        for (index, license) in licenses.iter().enumerate() {
            let expression = license.expression();
            let names = license.hf_ids.iter().chain(&license.license_name_aliases).chain(&license.spdx);
            for name in names.chain([&license.key, &expression, &license.name]) {
                by_name.entry(normalize(name)).or_insert(index);
            }
            if let Some(own) = license.key.strip_prefix("LicenseRef-") {
                by_name.entry(normalize(own)).or_insert(index);
            }
            for suffix in ["-only", "-or-later", "+"].into_iter().filter(|_| license.category == "copyleft") {
                by_name.entry(format!("{}{suffix}", license.key)).or_insert(index);
            }
        }
        let licensors = licenses.iter().filter_map(|license| license.licensor.as_ref());
        let licensors = licensors.flat_map(|licensor| &licensor.namespaces).map(|name| name.to_lowercase()).collect();
        let mut catalogue = Self {
            licensors,
            version: data.generated.clone(),
            identifiers: data.hf_identifiers.clone(),
            stubs: Vec::new(),
            families: vec![false; licenses.len()],
            licenses,
            by_name,
            publishers: Vec::new(),
            links: HashMap::new(),
            multimodal: data.multimodal_prefixes.iter().map(|prefix| prefix.to_lowercase()).collect(),
            data,
        };
        catalogue.index_identifiers();
        for publisher in catalogue.data.official_publishers.clone() {
            let index = catalogue.by_name.get(&publisher.license).copied();
            let index = index.ok_or_else(|| format!("publisher license `{}` is not known", publisher.license))?;
            catalogue.publishers.push((publisher.repo_prefix.to_lowercase(), index));
        }
        Ok(catalogue)
    }

    /// Identifiers of the hub and of SPDX: those without terms get a license that knows only what the lists say.
    fn index_identifiers(&mut self) {
        for identifier in self.identifiers.clone() {
            let is_open = matches!(identifier.id.as_str(), "other" | "unknown");
            if is_open {
                continue;
            }
            let known = identifier.license_key.as_ref().and_then(|key| self.by_name.get(&normalize(key))).copied();
            let index = known.unwrap_or_else(|| self.add_stub(stub_of(&identifier)));
            self.families[index] |= identifier.family_or_placeholder;
            for name in [&identifier.id, &identifier.name].into_iter().chain(&identifier.spdx) {
                self.by_name.entry(normalize(name)).or_insert(index);
            }
            if let Some(link) = &identifier.link {
                self.links.entry(plain_link(link)).or_insert(index);
            }
        }
        for listed in spdx::identifiers::LICENSES {
            let (name, title) = (normalize(listed.name), normalize(listed.full_name));
            let index = self.by_name.get(&name).copied().unwrap_or_else(|| {
                let is_open = spdx::license_id(listed.name).is_some_and(|id| id.is_osi_approved() && !id.is_copyleft());
                self.add_stub(stub(listed.name, listed.full_name, Some(listed.name), is_open, false, false))
            });
            self.by_name.entry(name).or_insert(index);
            self.by_name.entry(title).or_insert(index);
        }
    }

    fn add_stub(&mut self, license: License) -> usize {
        self.stubs.push(license);
        self.families.push(false);
        self.licenses.len() + self.stubs.len() - 1
    }

    /// Returns the license of this number, as [`Catalogue::find`] gives it.
    pub fn license(&self, index: usize) -> &License {
        self.licenses.get(index).unwrap_or_else(|| &self.stubs[index - self.licenses.len()])
    }

    /// Whether this identifier names a family, and no text.
    pub fn is_family(&self, index: usize) -> bool {
        self.families[index]
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

    /// Returns the license whose text stands at this address: a known one, or in a publisher's own repository.
    pub fn find_by_link(&self, link: &str) -> Option<usize> {
        let link = plain_link(link);
        let repository = || {
            let (namespace, rest) = link.strip_prefix("huggingface.co/")?.split_once('/')?;
            let name = rest.split('/').next().unwrap_or(rest);
            self.published_by_licensor(&format!("{namespace}/{name}"))
        };
        self.links.get(&link).copied().or_else(repository)
    }

    /// Returns the license under which a publisher releases this model itself, whatever its label.
    pub fn published_by_licensor(&self, id: &str) -> Option<usize> {
        let starts = |prefix: &str| id.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        self.publishers.iter().find(|(prefix, _)| starts(prefix)).map(|(_, index)| *index)
    }

    /// Whether this model stands in a repository of the one who gives this license.
    pub fn is_licensors_own(&self, id: &str, license: usize) -> bool {
        let namespace = id.split('/').next().unwrap_or_default();
        let licensor = self.license(license).licensor.as_ref();
        licensor.is_some_and(|licensor| licensor.namespaces.iter().any(|own| own.eq_ignore_ascii_case(namespace)))
            || (licensor.is_some() && self.published_by_licensor(id) == Some(license))
    }

    /// Whether this model stands where some licensor publishes.
    pub fn is_licensors_namespace(&self, id: &str) -> bool {
        id.split_once('/').is_some_and(|(namespace, _)| self.licensors.contains(&namespace.to_lowercase()))
    }

    /// Whether a publisher's model of this name takes more than text.
    pub fn is_multimodal(&self, id: &str) -> bool {
        self.multimodal
            .iter()
            .any(|prefix| id.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
    }
}

/// An address without what differs between equal ones.
fn plain_link(link: &str) -> String {
    let lower = link.trim().to_lowercase();
    let bare = lower.trim_start_matches("https://").trim_start_matches("http://").trim_start_matches("www.");
    bare.trim_end_matches('/').to_owned()
}

fn stub_of(identifier: &HubIdentifier) -> License {
    let id = identifier.spdx.as_deref().and_then(spdx::license_id);
    let is_copyleft = id.is_some_and(spdx::LicenseId::is_copyleft);
    let is_open = identifier.osi_approved == Some(true) && !is_copyleft;
    let spdx = identifier.spdx.as_deref();
    stub(&identifier.id, &identifier.name, spdx, is_open, identifier.noncommercial, identifier.no_derivatives)
}

/// A license of which only a list speaks: every term is our reading of a text that was not read, so that no finding
/// about it is more than a review.
fn stub(key: &str, name: &str, spdx: Option<&str>, is_open: bool, is_nc: bool, is_nd: bool) -> License {
    let commercial = if is_nc {
        "no"
    } else if is_open {
        "yes"
    } else {
        "unknown"
    };
    let relicense = if is_nd {
        "no-derivatives"
    } else if is_open {
        "permissive"
    } else {
        "unknown"
    };
    let term = |value: &str| json!({ "value": value, "clause": "—", "basis": "interp" });
    let mut license = License {
        key: key.to_owned(),
        name: name.to_owned(),
        hf_ids: Vec::new(),
        license_name_aliases: Vec::new(),
        spdx: spdx.map(str::to_owned),
        licensor: None,
        category: "unread".to_owned(),
        text_read: "not read (listed only)".to_owned(),
        fingerprint: None,
        terms: json!({ "commercial_use": term(commercial), "relicense_derivative": term(relicense) }),
        notes: Vec::new(),
        traits: Traits::default(),
    };
    license.traits = Traits::read(&license);
    license
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_family_share_a_stem() {
        let stem = |key: &str| CATALOGUE.find_by_key(key).unwrap().stem();
        assert_eq!(stem("llama3.1"), "llama");
        assert_eq!(stem("llama2"), "llama");
        assert_ne!(stem("apache-2.0"), "llama");
    }

    #[test]
    fn identifiers_without_terms_know_only_what_the_lists_say() {
        let license = |label: &str| CATALOGUE.license(CATALOGUE.find(label).unwrap());
        assert!(license("isc").is_permissive() && !license("isc").traits.is_read);
        assert!(license("cc-by-nc-2.0").is_noncommercial());
        assert_eq!(license("mpl-2.0").family(), Family::Unknown);
        assert_eq!(license("0bsd").family(), Family::Permissive);
        assert!(CATALOGUE.is_family(CATALOGUE.find("openrail").unwrap()));
        assert_eq!(license("gpl-3.0-or-later").key, "gpl-3.0");
        assert_eq!(license("licenseref-llama3.1").key, "llama3.1");
    }
}
