//! From what an uploader typed to a license that we know.

use super::catalogue::Catalogue;

/// What a label resolves to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// Indices of known licenses.
    pub known: Vec<usize>,
    /// Labels that name no text that we know.
    pub unresolved: Vec<String>,
    /// Family identifiers such as `cc` that leave open which text.
    pub ambiguous: Vec<String>,
    /// Identifiers of the hub or of SPDX whose terms the catalogue does not have.
    pub unread: Vec<String>,
    /// Whether alternatives are offered (`OR`).
    pub is_choice: bool,
}

impl Resolved {
    /// Whether there is any label at all.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.unresolved.is_empty() && self.ambiguous.is_empty() && self.unread.is_empty()
    }
}

/// Spells a label the way the hub's identifiers are spelled.
pub fn normalize(label: &str) -> String {
    let lower = label.trim().to_lowercase().replace("licence", "license").replace(['_', ' '], "-");
    lower.strip_prefix("license:").unwrap_or(&lower).trim_matches('-').to_owned()
}

/// Resolves the labels of a card: a text, a list, or an SPDX expression; `license_name` decides for `other`.
pub fn resolve(catalogue: &Catalogue, labels: &[String], license_name: Option<&str>) -> Resolved {
    let mut resolved = Resolved::default();
    for label in labels {
        for (part, is_alternative) in parts(label) {
            resolved.is_choice |= is_alternative;
            place(catalogue, &part, license_name, &mut resolved);
        }
    }
    resolved
}

/// Splits `A AND (B OR C)` into its names; a plain label is one name.
fn parts(label: &str) -> Vec<(String, bool)> {
    let is_expression = [" AND ", " OR ", " WITH "].iter().any(|operator| label.contains(operator));
    if !is_expression {
        return vec![(label.to_owned(), false)];
    }
    let is_choice = label.contains(" OR ");
    let flat = label.replace(['(', ')'], " ").replace(" OR ", "\n").replace(" AND ", "\n");
    let name = |part: &str| part.split(" WITH ").next().unwrap_or(part).trim().to_owned();
    flat.lines().map(name).filter(|part| !part.is_empty()).map(|part| (part, is_choice)).collect()
}

fn place(catalogue: &Catalogue, label: &str, license_name: Option<&str>, resolved: &mut Resolved) {
    let normal = normalize(label);
    if normal.is_empty() || normal == "none" {
        return;
    }
    let is_open = matches!(normal.as_str(), "other" | "unknown" | "custom" | "proprietary");
    let by_name = license_name.filter(|_| is_open).and_then(|name| catalogue.find(&normalize(name)));
    if let Some(index) = by_name.or_else(|| catalogue.find(&normal)).filter(|_| !is_open || by_name.is_some()) {
        if !resolved.known.contains(&index) {
            resolved.known.push(index);
        }
        return;
    }
    match catalogue.identifier(&normal) {
        Some(identifier) if identifier.family_or_placeholder && !is_open => resolved.ambiguous.push(normal),
        Some(_) if !is_open => resolved.unread.push(normal),
        _ => resolved.unresolved.push(license_name.filter(|_| is_open).map_or(normal, normalize)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::license::catalogue::CATALOGUE;

    fn keys(labels: &[&str], name: Option<&str>) -> Vec<String> {
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        let resolved = resolve(&CATALOGUE, &labels, name);
        resolved.known.iter().map(|index| CATALOGUE.licenses[*index].key.clone()).collect()
    }

    #[test]
    fn spellings_of_one_license_resolve_to_it() {
        for spelling in ["apache-2.0", "Apache-2.0", "APACHE 2.0", "license:apache-2.0", " apache_2.0 "] {
            assert_eq!(keys(&[spelling], None), ["apache-2.0"], "{spelling}");
        }
        assert_eq!(keys(&["other"], Some("llama-3")), ["llama3"]);
        assert_eq!(keys(&["MIT OR Apache-2.0"], None), ["mit", "apache-2.0"]);
    }

    #[test]
    fn labels_that_name_no_text_say_so() {
        let other = resolve(&CATALOGUE, &["other".to_owned()], Some("my license"));
        assert_eq!(other.unresolved, ["my-license"]);
        let family = resolve(&CATALOGUE, &["cc".to_owned()], None);
        assert_eq!(family.ambiguous, ["cc"]);
    }
}
