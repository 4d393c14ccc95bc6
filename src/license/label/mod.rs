//! From what an uploader typed, and from the files of a revision, to licenses that we know.
//!
//! Order: license files, the card's label, the publisher's own repositories. All evidence is kept; where a file and the
//! label disagree, the file wins.

mod evidence;
mod expression;

pub use evidence::{Evidence, evidence};

use super::{
    catalogue::Catalogue,
    graph::{FileFacts, ModelFacts},
};

/// One license that a label names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// Number of a license of the catalogue.
    Known(usize),
    /// A name that stands for no text that we know.
    Unlisted(String),
}

/// A named license, with the exception to it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Named {
    /// The license.
    pub name: Name,
    /// What follows `WITH`.
    pub exception: Option<String>,
}

/// What decided which license holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Source {
    /// Nothing did.
    #[default]
    None,
    /// Texts among the files.
    Files,
    /// The card's label.
    Label,
    /// The licensor publishes it there.
    Publisher,
}

/// What labels and files of a model resolve to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Alternatives, of which one may be chosen; all licenses of one apply. Empty: no license.
    pub branches: Vec<Vec<Named>>,
    /// What decided.
    pub source: Source,
    /// What the label says, when files decided against it.
    pub label: Vec<Vec<Named>>,
    /// Licenses whose texts are among the files.
    pub texts: Vec<usize>,
    /// Label and files name different licenses.
    pub is_mismatch: bool,
    /// The card lists several licenses.
    pub is_list: bool,
    /// An expression that cannot be read: the label, and where it breaks off.
    pub broken: Option<(String, String)>,
}

impl Resolved {
    /// Whether nothing names a license.
    pub fn is_empty(&self) -> bool {
        self.branches.is_empty() && self.broken.is_none()
    }

    /// Whether alternatives are offered.
    pub fn is_choice(&self) -> bool {
        self.branches.len() > 1
    }

    /// What the label itself says, whatever files say.
    pub fn label(&self) -> &[Vec<Named>] {
        if self.source == Source::Files && (self.is_mismatch || !self.label.is_empty()) {
            &self.label
        } else {
            &self.branches
        }
    }

    /// Numbers of all known licenses that occur.
    pub fn known(&self) -> impl Iterator<Item = usize> {
        self.branches.iter().flatten().filter_map(Named::known)
    }
}

impl Named {
    /// Number of the license, when it is known.
    pub fn known(&self) -> Option<usize> {
        match self.name {
            Name::Known(index) => Some(index),
            Name::Unlisted(_) => None,
        }
    }

    fn plain(name: Name) -> Self {
        Self { name, exception: None }
    }
}

/// Spells a label the way the hub's identifiers are spelled.
pub fn normalize(label: &str) -> String {
    let lower = label.trim().to_lowercase().replace("licence", "license").replace(['_', ' '], "-");
    lower.strip_prefix("license:").unwrap_or(&lower).trim_matches('-').to_owned()
}

/// Resolves a model's labels, names, links, files and publisher.
pub fn resolve(catalogue: &Catalogue, model: &ModelFacts) -> Resolved {
    let mut resolved = from_labels(catalogue, model);
    if let Some(files) = &model.files {
        weigh_files(catalogue, model, files, &mut resolved);
    }
    if let Some(own) = catalogue.published_by_licensor(&model.id)
        && !resolved.known().any(|license| license == own)
    {
        // The licensor's own release: its terms hold whatever the label says.
        resolved =
            Resolved { branches: vec![vec![Named::plain(Name::Known(own))]], source: Source::Publisher, ..resolved };
        resolved.broken = None;
    }
    resolved
}

fn from_labels(catalogue: &Catalogue, model: &ModelFacts) -> Resolved {
    let mut resolved = Resolved::default();
    let mut parts: Vec<Vec<Vec<Named>>> = Vec::new();
    let name_alone = model.license_name.iter().filter(|_| model.labels.iter().all(|label| is_nothing(label)));
    for label in model.labels.iter().chain(name_alone) {
        if is_nothing(label) {
            continue;
        }
        match read(catalogue, label, model) {
            Ok(branches) if !parts.contains(&branches) => parts.push(branches),
            Ok(_) => {}
            Err(place) => resolved.broken = Some((label.chars().take(200).collect(), place)),
        }
    }
    resolved.is_list = parts.len() > 1;
    for branches in parts {
        resolved.branches = match resolved.branches.is_empty() {
            true => branches,
            false => all_of(&resolved.branches, &branches),
        };
    }
    if !resolved.branches.is_empty() {
        resolved.source = Source::Label;
    }
    resolved
}

/// Several labels of one card all apply; alternatives among many of them are not multiplied without end.
fn all_of(left: &[Vec<Named>], right: &[Vec<Named>]) -> Vec<Vec<Named>> {
    let join = |one: &Vec<Named>, other: &Vec<Named>| {
        let mut joined = one.clone();
        joined.extend(other.iter().filter(|named| !one.contains(named)).cloned());
        joined
    };
    left.iter().flat_map(|one| right.iter().map(move |other| join(one, other))).take(64).collect()
}

fn is_nothing(label: &str) -> bool {
    matches!(normalize(label).as_str(), "" | "none" | "null" | "n/a")
}

/// Reads one label into alternatives; an error is the place where an expression breaks off.
fn read(catalogue: &Catalogue, label: &str, model: &ModelFacts) -> Result<Vec<Vec<Named>>, String> {
    let is_known = catalogue.find(&normalize(label)).is_some();
    if !is_known && expression::is_expression(label) {
        return Ok(place_all(catalogue, &expression::parse(label).map_err(|broken| broken.0)?, model));
    }
    if !is_known
        && expression::may_be_expression(label)
        && let Ok(branches) = expression::parse(label)
    {
        let branches = place_all(catalogue, &branches, model);
        if branches.iter().flatten().all(|named| named.known().is_some()) {
            return Ok(branches);
        }
    }
    Ok(vec![vec![Named::plain(place(catalogue, label, model))]])
}

fn place_all(catalogue: &Catalogue, branches: &[Vec<expression::Term>], model: &ModelFacts) -> Vec<Vec<Named>> {
    let named = |term: &expression::Term| Named {
        name: place(catalogue, &term.name, model),
        exception: term.exception.clone(),
    };
    let mut placed: Vec<Vec<Named>> = Vec::new();
    for terms in branches {
        let mut one: Vec<Named> = Vec::new();
        for term in terms {
            let named = named(term);
            if !one.contains(&named) {
                one.push(named);
            }
        }
        if !placed.contains(&one) {
            placed.push(one);
        }
    }
    placed
}

/// The longest name that is kept of a label that stands for nothing.
const MAX_NAME: usize = 80;

fn place(catalogue: &Catalogue, label: &str, model: &ModelFacts) -> Name {
    let normal = normalize(label);
    let is_open = matches!(normal.as_str(), "other" | "unknown" | "custom" | "proprietary");
    if !is_open {
        return catalogue
            .find(&normal)
            .or_else(|| imprecise(catalogue, label))
            .map_or_else(|| Name::Unlisted(normal.chars().take(MAX_NAME).collect()), Name::Known);
    }
    let by_name = model.license_name.as_deref().and_then(|name| catalogue.find(&normalize(name)));
    let found = by_name.or_else(|| model.license_link.as_deref().and_then(|link| catalogue.find_by_link(link)));
    let unlisted = || {
        let name = model.license_name.as_deref().map(normalize).filter(|name| !name.is_empty());
        Name::Unlisted(name.unwrap_or(normal).chars().take(MAX_NAME).collect())
    };
    found.map_or_else(unlisted, Name::Known)
}

/// `apache2`, `GPLv3` and other ways to write a license of SPDX, when they are all of the label and say which version:
/// the list that the crate brings also guesses (`agpl`), and takes “GNU GPL v2” for the third.
fn imprecise(catalogue: &Catalogue, label: &str) -> Option<usize> {
    let label = label.trim();
    let (id, length) = spdx::imprecise_license_id(label)?;
    let mut digits = label.chars().filter(char::is_ascii_digit).peekable();
    let says_version = digits.peek().is_some() && digits.all(|digit| id.name.contains(digit));
    (length == label.len() && says_version).then(|| catalogue.find(&normalize(id.name))).flatten()
}

/// Texts among the files decide where the label says nothing, or something else.
fn weigh_files(catalogue: &Catalogue, _model: &ModelFacts, files: &FileFacts, resolved: &mut Resolved) {
    for text in &files.license_texts {
        let known = text.key.as_deref().and_then(|key| catalogue.find(&normalize(key)));
        if let Some(index) = known.filter(|index| !resolved.texts.contains(index)) {
            resolved.texts.push(index);
        }
    }
    if resolved.texts.is_empty() {
        return;
    }
    let names_text = |named: &Named| named.known().is_some_and(|license| !catalogue.is_family(license));
    let says_something = resolved.branches.iter().flatten().any(names_text);
    let agrees = resolved.known().any(|license| resolved.texts.contains(&license));
    if agrees {
        return;
    }
    let mut texts: Vec<usize> = resolved.texts.clone();
    texts.sort_by(|a, b| catalogue.license(*a).key.cmp(&catalogue.license(*b).key));
    let own = texts.into_iter().map(|index| Named::plain(Name::Known(index))).collect();
    resolved.is_mismatch = says_something;
    resolved.label = std::mem::replace(&mut resolved.branches, vec![own]);
    resolved.source = Source::Files;
    resolved.broken = None;
    resolved.is_list = false;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{catalogue::CATALOGUE, graph::LicenseText};

    fn model(labels: &[&str], name: Option<&str>) -> ModelFacts {
        ModelFacts {
            id: "a/b".to_owned(),
            labels: labels.iter().map(ToString::to_string).collect(),
            license_name: name.map(str::to_owned),
            ..ModelFacts::default()
        }
    }

    fn spell(resolved: &Resolved) -> Vec<String> {
        let name = |named: &Named| match &named.name {
            Name::Known(index) => CATALOGUE.license(*index).key.clone(),
            Name::Unlisted(name) => format!("?{name}"),
        };
        resolved.branches.iter().map(|named| named.iter().map(name).collect::<Vec<_>>().join("+")).collect()
    }

    fn keys(labels: &[&str], name: Option<&str>) -> Vec<String> {
        spell(&resolve(&CATALOGUE, &model(labels, name)))
    }

    #[test]
    fn spellings_of_one_license_resolve_to_it() {
        for spelling in
            ["apache-2.0", "Apache-2.0", "APACHE 2.0", "license:apache-2.0", " apache_2.0 ", "licence:Apache-2.0"]
        {
            assert_eq!(keys(&[spelling], None), ["apache-2.0"], "{spelling}");
        }
        for spelling in ["Apache License 2.0", "apache2"] {
            assert_eq!(keys(&[spelling], None), ["apache-2.0"], "{spelling}");
        }
        assert_eq!(keys(&["MIT License"], None), ["mit"]);
        assert_eq!(keys(&["gpl3"], None), ["gpl-3.0"]);
        assert_eq!(keys(&["agpl"], None), ["?agpl"]);
        assert_eq!(keys(&["GNU GPL v2"], None), ["?gnu-gpl-v2"]);
        assert_eq!(keys(&["Llama 3.1 Community License Agreement"], None), ["llama3.1"]);
        assert_eq!(keys(&["other"], Some("llama-3")), ["llama3"]);
        assert_eq!(keys(&[], Some("gemma")), ["gemma"]);
        assert_eq!(keys(&["MIT OR Apache-2.0"], None), ["mit", "apache-2.0"]);
        assert_eq!(keys(&["mit or apache-2.0"], None), ["mit", "apache-2.0"]);
        assert_eq!(keys(&["llama3.1 AND cc-by-nc-4.0"], None), ["llama3.1+cc-by-nc-4.0"]);
        assert_eq!(keys(&["mit", "cc-by-4.0", "mit"], None), ["mit+cc-by-4.0"]);
    }

    #[test]
    fn labels_that_name_no_text_say_so() {
        assert_eq!(keys(&["other"], Some("my license")), ["?my-license"]);
        assert_eq!(keys(&["see the terms and conditions"], None), ["?see-the-terms-and-conditions"]);
        assert!(resolve(&CATALOGUE, &model(&["MIT AND"], None)).broken.unwrap().1.contains("at character"));
        assert!(resolve(&CATALOGUE, &model(&["none"], None)).is_empty());
    }

    #[test]
    fn a_link_to_a_known_text_decides_for_other() {
        let mut linked = model(&["other"], None);
        linked.license_link = Some("https://ai.google.dev/gemma/terms/".to_owned());
        assert_eq!(spell(&resolve(&CATALOGUE, &linked)), ["gemma"]);
        linked.license_link =
            Some("https://huggingface.co/meta-llama/Llama-3.3-70B-Instruct/blob/main/LICENSE".to_owned());
        assert_eq!(spell(&resolve(&CATALOGUE, &linked)), ["llama3.3"]);
    }

    #[test]
    fn files_win_over_a_label_that_says_otherwise() {
        let text = |key: &str| LicenseText { path: "LICENSE".to_owned(), key: Some(key.to_owned()) };
        let mut both = model(&["apache-2.0"], None);
        both.files = Some(FileFacts { license_texts: vec![text("llama3.1")], ..FileFacts::default() });
        let resolved = resolve(&CATALOGUE, &both);
        assert_eq!(
            (spell(&resolved), resolved.is_mismatch, resolved.source),
            (vec!["llama3.1".to_owned()], true, Source::Files)
        );
        both.labels = vec!["other".to_owned()];
        assert!(!resolve(&CATALOGUE, &both).is_mismatch);
        both.labels = vec!["llama3.1".to_owned()];
        assert_eq!(resolve(&CATALOGUE, &both).source, Source::Label);
    }

    #[test]
    fn a_licensors_release_is_under_its_license_whatever_the_label() {
        let mut release = model(&["other"], None);
        release.id = "meta-llama/Llama-3.1-8B".to_owned();
        let resolved = resolve(&CATALOGUE, &release);
        assert_eq!((spell(&resolved), resolved.source), (vec!["llama3.1".to_owned()], Source::Publisher));
    }
}
