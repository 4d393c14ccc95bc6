//! Everything that speaks of a model's license, and which of it decided: for pages and the API.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Catalogue, ModelFacts, Name, Resolved, Source, normalize, resolve};

/// One thing that speaks of a model's license.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Evidence {
    /// `file`, `label`, `license_name`, `license_link` or `publisher`.
    pub source: String,
    /// What it says: the label as written, the path of the file.
    pub text: String,
    /// Key of the license that it names, when that is known.
    pub license: Option<String>,
    /// Whether it decided.
    pub decides: bool,
}

/// Lists the evidence, what counts most first.
pub fn evidence(catalogue: &Catalogue, model: &ModelFacts) -> Vec<Evidence> {
    let resolved = resolve(catalogue, model);
    let key = |index: usize| catalogue.license(index).key.clone();
    let by_name = |name: &str| catalogue.find(&normalize(name)).map(key);
    let mut all = Vec::new();
    let mut add = |source: &str, text: &str, license: Option<String>, decides: bool| {
        let text = text.chars().take(300).collect();
        all.push(Evidence { source: source.to_owned(), text, license, decides });
    };
    for file in model.files.iter().flat_map(|files| &files.license_texts) {
        let decides = resolved.source == Source::Files && file.key.is_some();
        add("file", &file.path, file.key.as_deref().and_then(by_name), decides);
    }
    let is_label = resolved.source == Source::Label;
    for label in &model.labels {
        let alone = ModelFacts { id: String::new(), labels: vec![label.clone()], files: None, ..model.clone() };
        add("label", label, only(&resolve(catalogue, &alone)).map(key), is_label);
    }
    if let Some(name) = &model.license_name {
        add("license_name", name, by_name(name), false);
    }
    if let Some(link) = &model.license_link {
        add("license_link", link, catalogue.find_by_link(link).map(key), false);
    }
    if let Some(own) = catalogue.published_by_licensor(&model.id) {
        add("publisher", &model.id, Some(key(own)), resolved.source == Source::Publisher);
    }
    all
}

/// The one license of a label that names one.
fn only(resolved: &Resolved) -> Option<usize> {
    match resolved.branches.as_slice() {
        [named] => match named.as_slice() {
            [one] => match one.name {
                Name::Known(index) => Some(index),
                Name::Unlisted(_) => None,
            },
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::{
        catalogue::CATALOGUE,
        graph::{FileFacts, LicenseText},
    };

    #[test]
    fn all_evidence_is_kept_and_says_what_decided() {
        let text = LicenseText { path: "LICENSE".to_owned(), key: Some("llama3.1".to_owned()) };
        let model = ModelFacts {
            id: "a/x".to_owned(),
            labels: vec!["Apache-2.0".to_owned()],
            license_name: Some("my terms".to_owned()),
            files: Some(FileFacts { license_texts: vec![text], ..FileFacts::default() }),
            ..ModelFacts::default()
        };
        let told: Vec<(String, Option<String>, bool)> =
            evidence(&CATALOGUE, &model).into_iter().map(|said| (said.source, said.license, said.decides)).collect();
        assert_eq!(
            told,
            [
                ("file".to_owned(), Some("llama3.1".to_owned()), true),
                ("label".to_owned(), Some("apache-2.0".to_owned()), false),
                ("license_name".to_owned(), None, false),
            ]
        );
    }
}
