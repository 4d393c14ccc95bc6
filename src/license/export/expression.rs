//! License expressions that other tools accept, out of labels and of what the engine concludes.
//!
//! It spells; it does not judge. A name that no list has becomes a `LicenseRef-`.
//! Grammar: <https://spdx.github.io/spdx-spec/v3.0.1/annexes/spdx-license-expressions/>.

use crate::digest::Digest;

/// Identifiers of SPDX that hubs offer for models and data sets. All are on the list that CycloneDX 1.6 carries.
const LISTED: [&str; 55] = [
    "AFL-3.0",
    "AGPL-3.0-only",
    "Apache-2.0",
    "Artistic-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-3-Clause-Clear",
    "BSL-1.0",
    "C-UDA-1.0",
    "CC-BY-2.0",
    "CC-BY-2.5",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-NC-2.0",
    "CC-BY-NC-3.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-ND-3.0",
    "CC-BY-NC-ND-4.0",
    "CC-BY-NC-SA-2.0",
    "CC-BY-NC-SA-3.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CDLA-Permissive-1.0",
    "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0",
    "ECL-2.0",
    "EPL-1.0",
    "EPL-2.0",
    "EUPL-1.1",
    "EUPL-1.2",
    "GPL-2.0-only",
    "GPL-3.0-only",
    "ISC",
    "LGPL-2.1-only",
    "LGPL-3.0-only",
    "LGPLLR",
    "LPPL-1.3c",
    "MIT",
    "MPL-2.0",
    "MS-PL",
    "NCSA",
    "ODC-By-1.0",
    "ODbL-1.0",
    "OFL-1.1",
    "OSL-3.0",
    "OpenMDW-1.0",
    "PDDL-1.0",
    "PostgreSQL",
    "Unlicense",
    "WTFPL",
    "Zlib",
    "etalab-2.0",
];

/// Identifiers that hubs spell otherwise.
const OTHERWISE: [(&str, &str); 10] = [
    ("agpl-3.0", "AGPL-3.0-only"),
    ("c-uda", "C-UDA-1.0"),
    ("gpl-2.0", "GPL-2.0-only"),
    ("gpl-3.0", "GPL-3.0-only"),
    ("lgpl-2.1", "LGPL-2.1-only"),
    ("lgpl-3.0", "LGPL-3.0-only"),
    ("lgpl-lr", "LGPLLR"),
    ("odbl", "ODbL-1.0"),
    ("odc-by", "ODC-By-1.0"),
    ("pddl", "PDDL-1.0"),
];

/// The longest name of a reference.
const LONGEST: usize = 80;

/// Whether an identifier is on SPDX's list, spelled as there.
pub(super) fn is_listed(id: &str) -> bool {
    LISTED.contains(&id)
}

/// Returns a label as an expression: what cards list with commas all applies.
pub(super) fn of_label(label: &str) -> String {
    if tokens(label).len() > 1
        && let Some(expression) = spell(label, of_name)
    {
        return expression;
    }
    let names: Vec<String> = label.split(',').map(str::trim).filter(|name| !name.is_empty()).map(of_name).collect();
    if names.is_empty() { reference(label) } else { names.join(" AND ") }
}

/// Returns an expression as it is, with names that the grammar does not allow spelled as references.
pub(super) fn of_expression(expression: &str) -> String {
    spell(expression, |name| if is_idstring(name) { name.to_owned() } else { reference(name) })
        .unwrap_or_else(|| reference(expression))
}

/// The parts of an expression that all apply: `A` and `B OR C` of `A AND (B OR C)`.
pub(super) fn parts(expression: &str) -> Vec<String> {
    let mut parts = vec![Vec::new()];
    let mut depth = 0;
    for token in tokens(expression) {
        match token {
            "OR" if depth == 0 => return vec![expression.to_owned()],
            "AND" if depth == 0 => parts.push(Vec::new()),
            _ => {
                depth += i32::from(token == "(") - i32::from(token == ")");
                if let Some(part) = parts.last_mut() {
                    part.push(token);
                }
            }
        }
    }
    let mut joined: Vec<String> = parts.iter().map(|part| join(part)).collect();
    joined.dedup();
    joined
}

/// The references in an expression, each once.
pub(super) fn references(expression: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for token in tokens(expression) {
        if token.starts_with("LicenseRef-") && !found.iter().any(|known| known == token) {
            found.push(token.to_owned());
        }
    }
    found
}

/// A label that is one name.
fn of_name(name: &str) -> String {
    let plain = name.trim().to_lowercase().replace(['_', ' '], "-");
    if let Some((_, listed)) = OTHERWISE.iter().find(|(other, _)| *other == plain) {
        return (*listed).to_owned();
    }
    match LISTED.iter().find(|listed| listed.to_lowercase() == plain) {
        Some(listed) => (*listed).to_owned(),
        None if name.starts_with("LicenseRef-") && is_idstring(name) => name.to_owned(),
        None => reference(&plain),
    }
}

/// A name that no list has, as a reference: letters, digits, `-` and `.`.
fn reference(name: &str) -> String {
    let name = name.strip_prefix("LicenseRef-").unwrap_or(name);
    let mut plain = String::new();
    for character in name.chars() {
        let is_allowed = character.is_ascii_alphanumeric() || character == '.';
        match character {
            _ if is_allowed => plain.push(character),
            // `openrail++` and `openrail` are two licenses.
            '+' => plain.push_str("-plus"),
            _ if !plain.ends_with('-') => plain.push('-'),
            _ => {}
        }
    }
    let plain = plain.trim_matches('-');
    if plain.len() > LONGEST || plain.is_empty() {
        // What was cut off stays told apart.
        let digest = Digest::of(name.as_bytes()).to_hex();
        return format!("LicenseRef-{}-{}", &plain[..plain.len().min(LONGEST)], &digest[..12]).replace("--", "-");
    }
    format!("LicenseRef-{plain}")
}

/// Whether a name is made as the grammar wants it.
fn is_idstring(name: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
    };
    match name.split_once(':') {
        Some((document, reference)) => {
            document.strip_prefix("DocumentRef-").is_some_and(is_plain)
                && reference.strip_prefix("LicenseRef-").is_some_and(is_plain)
        }
        None => is_plain(name.strip_suffix('+').unwrap_or(name)) && name.len() <= 2 * LONGEST,
    }
}

/// Words and parentheses.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for word in text.split_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['(', ')']) {
            if at > 0 {
                tokens.push(&rest[..at]);
            }
            tokens.push(&rest[at..=at]);
            rest = &rest[at + 1..];
        }
        if !rest.is_empty() {
            tokens.push(rest);
        }
    }
    tokens
}

fn join(tokens: &[&str]) -> String {
    tokens.join(" ").replace("( ", "(").replace(" )", ")")
}

/// Spells every license of an expression with `name`; `None` when it is no expression.
fn spell(expression: &str, name: impl Fn(&str) -> String) -> Option<String> {
    let mut spelled: Vec<String> = Vec::new();
    let mut depth = 0_u32;
    let mut before = "(";
    for token in tokens(expression) {
        let wants_license = matches!(before, "(" | "AND" | "OR");
        let fits = match token {
            "(" => wants_license,
            ")" => !wants_license && before != "WITH" && depth > 0,
            "AND" | "OR" => !wants_license && before != "WITH",
            "WITH" => !wants_license && before != ")" && before != "WITH",
            _ => wants_license || before == "WITH",
        };
        if !fits {
            return None;
        }
        match token {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        let is_sign = matches!(token, "(" | ")" | "AND" | "OR" | "WITH");
        if before == "WITH" && !is_idstring(token) {
            return None;
        }
        spelled.push(if is_sign || before == "WITH" { token.to_owned() } else { name(token) });
        before = token;
    }
    let is_whole = depth == 0 && !matches!(before, "(" | "AND" | "OR" | "WITH");
    is_whole.then(|| join(&spelled.iter().map(String::as_str).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_become_expressions() {
        for (label, expression) in [
            ("apache-2.0", "Apache-2.0"),
            ("Apache 2.0", "Apache-2.0"),
            ("gpl-3.0", "GPL-3.0-only"),
            ("llama3.1", "LicenseRef-llama3.1"),
            ("openrail++", "LicenseRef-openrail-plus-plus"),
            ("mit, cc-by-4.0", "MIT AND CC-BY-4.0"),
            ("MIT OR (apache-2.0 AND llama2)", "MIT OR (Apache-2.0 AND LicenseRef-llama2)"),
            ("my own license", "LicenseRef-my-own-license"),
            ("MIT AND", "LicenseRef-mit-and"),
            ("=cmd()\"\u{0}", "LicenseRef-cmd"),
        ] {
            assert_eq!(of_label(label), expression, "{label}");
        }
        assert!(of_label("\u{7}").starts_with("LicenseRef-"));
        assert_ne!(of_label(&format!("{}a", "x".repeat(500))), of_label(&format!("{}b", "x".repeat(500))));
        assert!(of_label(&"é".repeat(500)).is_ascii());
    }

    #[test]
    fn expressions_stay_what_they_are() {
        for expression in
            ["MIT", "A-1 AND (MIT OR LicenseRef-x)", "GPL-2.0-or-later WITH Classpath-exception-2.0", "GPL-2.0+"]
        {
            assert_eq!(of_expression(expression), expression);
        }
        assert_eq!(of_expression("LicenseRef-openrail++ AND MIT"), "LicenseRef-openrail-plus-plus AND MIT");
        assert_eq!(of_expression("MIT) OR (MIT"), "LicenseRef-MIT-OR-MIT");
        assert!(of_expression("").starts_with("LicenseRef-"));
    }

    #[test]
    fn what_all_applies_comes_apart() {
        assert_eq!(parts("MIT AND (A OR B) AND C WITH D"), ["MIT", "(A OR B)", "C WITH D"]);
        assert_eq!(parts("MIT AND A OR B"), ["MIT AND A OR B"]);
        assert_eq!(references("LicenseRef-a AND (LicenseRef-b OR LicenseRef-a)"), ["LicenseRef-a", "LicenseRef-b"]);
    }

    proptest! {
        #[test]
        fn whatever_a_label_says_its_expression_is_one(label in "[ -~é\u{0}]{0,40}|([A-Za-z0-9+.-]{1,6}|AND|OR|WITH|[()]| ){0,12}") {
            for spelled in [of_label(&label), of_expression(&label)] {
                prop_assert!(spell(&spelled, str::to_owned).is_some(), "{spelled}");
                prop_assert_eq!(of_expression(&spelled), spelled.clone());
                prop_assert!(spelled.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" ()+-.:".contains(&byte)));
                prop_assert!(parts(&spelled).iter().all(|part| spell(part, str::to_owned).is_some()), "{spelled}");
            }
        }
    }
}
