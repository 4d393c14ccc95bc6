//! What a catalogue entry must say: each term with value, clause and basis. Also compiled into `build.rs`, so that
//! incomplete data never becomes a program.

use serde_json::Value;

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Key of the license.
    pub license: String,
    /// The term, when it is about one.
    pub term: Option<String>,
    /// What is missing or wrong.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.term {
            Some(term) => write!(f, "license `{}`, term `{term}`: {}", self.license, self.what),
            None => write!(f, "license `{}`: {}", self.license, self.what),
        }
    }
}

impl std::error::Error for Problem {}

/// Every term that a license may have.
pub const TERMS: [&str; 28] = [
    "commercial_use",
    "thresholds",
    "redistribution",
    "derivatives",
    "sublicense",
    "relicense_derivative",
    "propagation",
    "license_copy",
    "notice_file",
    "notice_text",
    "notice_scope",
    "display",
    "name_prefix",
    "trademark",
    "aup",
    "aup_flow_down",
    "outputs",
    "outputs_cover_derivative_models",
    "geo",
    "adapters",
    "change_notices",
    "network_use_is_distribution",
    "remote_restriction",
    "retain_notices",
    "weapons",
    "safety_circumvention_ban",
    "litigation_termination",
    "termination",
];

/// Terms with free words.
const WORDS: [&str; 1] = ["law"];

/// Terms that every license must speak of, if only to say `unknown`.
const REQUIRED: [&str; 5] = ["commercial_use", "redistribution", "derivatives", "relicense_derivative", "outputs"];

/// The kinds of licenses.
pub const CATEGORIES: [&str; 12] = [
    "ai-community",
    "ai-noncommercial",
    "ai-userestricted",
    "permissive",
    "copyleft",
    "public-domain",
    "data",
    "noncommercial",
    "no-derivatives",
    "attribution",
    "share-alike",
    "service-terms",
];

const RELICENSE: [&str; 9] = [
    "permissive",
    "passthrough",
    "share-alike",
    "share-alike-library",
    "not_granted",
    "forbidden",
    "no-derivatives",
    "unknown",
    "n/a",
];

const OUTPUT_MODES: [&str; 13] = [
    "free",
    "silent",
    "silent_use_limited",
    "aup_only",
    "ban_other_llm",
    "ban_foundational",
    "ban_competing",
    "allowed_with_naming",
    "derivative_by_definition",
    "display_required",
    "restrictions_follow_data",
    "research_only",
    "unknown",
];

/// Checks the whole data file.
pub fn check_data(data: &Value) -> Result<(), Problem> {
    let problem = |what: &str| Problem { license: "the catalogue".to_owned(), term: None, what: what.to_owned() };
    let licenses = data["licenses"].as_array().ok_or_else(|| problem("it has no list `licenses`"))?;
    let mut keys = std::collections::BTreeSet::new();
    for license in licenses {
        check_license(license)?;
        if !keys.insert(license["key"].as_str().unwrap_or_default().to_lowercase()) {
            return Err(problem(&format!("the key {} is there twice", license["key"])));
        }
    }
    for name in ["hf_identifiers", "official_publishers", "multimodal_prefixes"] {
        data[name].as_array().ok_or_else(|| problem(&format!("it has no list `{name}`")))?;
    }
    Ok(())
}

/// Checks a license that is added at run time: its key must be free of the compiled-in ones.
pub fn check_extension(license: &Value) -> Result<(), Problem> {
    check_license(license)?;
    let key = license["key"].as_str().unwrap_or_default();
    let name = key.strip_prefix("LicenseRef-").unwrap_or_default();
    let is_spdx = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    if !is_spdx {
        let what = "its key must be `LicenseRef-` and then letters, digits, `.` or `-`".to_owned();
        return Err(Problem { license: key.chars().take(80).collect(), term: None, what });
    }
    Ok(())
}

/// Checks a license.
pub fn check_license(license: &Value) -> Result<(), Problem> {
    let key = license["key"].as_str().unwrap_or_default().to_owned();
    let problem = |term: Option<&str>, what: String| {
        Err(Problem { license: key.clone(), term: term.map(|term| term.chars().take(60).collect()), what })
    };
    if key.trim().is_empty() {
        return problem(None, "`key` is missing".to_owned());
    }
    if license["name"].as_str().is_none_or(|name| name.trim().is_empty()) {
        return problem(None, "`name` is missing".to_owned());
    }
    if !license["category"].as_str().is_some_and(|category| CATEGORIES.contains(&category)) {
        return problem(None, format!("`category` must be one of {}", CATEGORIES.join(", ")));
    }
    if license["text_read"].as_str().is_none_or(str::is_empty) {
        return problem(None, "`text_read` is missing: `full`, or how much of the text was read".to_owned());
    }
    let Some(terms) = license["terms"].as_object() else {
        return problem(None, "`terms` is missing".to_owned());
    };
    for required in REQUIRED {
        if !terms.contains_key(required) {
            return problem(Some(required), "it is missing; say `unknown` where the text was not read".to_owned());
        }
    }
    for (name, term) in terms {
        if !TERMS.contains(&name.as_str()) && !WORDS.contains(&name.as_str()) {
            return problem(Some(name), "there is no such term".to_owned());
        }
        let entries =
            if name == "thresholds" { term.as_array().map(Vec::as_slice) } else { Some(std::slice::from_ref(term)) };
        let Some(entries) = entries else { return problem(Some(name), "it must be a list".to_owned()) };
        for entry in entries {
            if let Err(what) = check_term(name, entry) {
                return problem(Some(name), what);
            }
        }
    }
    Ok(())
}

fn check_term(name: &str, term: &Value) -> Result<(), String> {
    let Some(fields) = term.as_object() else {
        return Err("it must be an object with `value`, `clause` and `basis`".to_owned());
    };
    // A duty to register has no size from which it holds.
    if !fields.contains_key("value") && term["kind"] != "registration" {
        return Err("`value` is missing".to_owned());
    }
    if term["clause"].as_str().is_none_or(|clause| clause.trim().is_empty()) {
        return Err("`clause` is missing: where the text says so, or `—`".to_owned());
    }
    if term["basis"] != "text" && term["basis"] != "interp" {
        return Err("`basis` must be `text` or `interp`".to_owned());
    }
    let value = &term["value"];
    let word = value.as_str().unwrap_or_default();
    let is_fine = match name {
        "commercial_use" => word == "no" || word == "conditional" || word == "unknown" || word.starts_with("yes"),
        "relicense_derivative" => RELICENSE.contains(&word),
        "outputs" => value["mode"].as_str().is_some_and(|mode| OUTPUT_MODES.contains(&mode)),
        "thresholds" => term["kind"] == "registration" || (term["kind"].is_string() && value.is_u64()),
        "license_copy" => value.is_boolean() || value.is_null(),
        "change_notices" | "safety_circumvention_ban" | "outputs_cover_derivative_models" => value.is_boolean(),
        "name_prefix" | "notice_file" | "notice_text" => value.is_string() || value.is_null(),
        "aup" | "geo" => value.is_object() || value.is_null(),
        "display" => {
            let is_list = value.as_array().is_some_and(|list| list.iter().all(Value::is_string));
            is_list || value.is_string() || value.is_null()
        }
        _ => true,
    };
    if is_fine { Ok(()) } else { Err(format!("`value` cannot be {}", shortened(value))) }
}

fn shortened(value: &Value) -> String {
    value.to_string().chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn form() -> Value {
        let term = |value: &str| json!({ "value": value, "clause": "§1", "basis": "text" });
        json!({
            "key": "LicenseRef-acme", "name": "Acme Terms", "category": "ai-community", "text_read": "full",
            "terms": {
                "commercial_use": term("no"), "redistribution": term("allowed"), "derivatives": term("allowed"),
                "relicense_derivative": term("not_granted"),
                "outputs": { "value": { "mode": "silent" }, "clause": "—", "basis": "text" },
            },
        })
    }

    #[test]
    fn an_incomplete_entry_names_the_term_and_what_is_missing() {
        check_extension(&form()).unwrap();
        let broken = |change: &dyn Fn(&mut Value)| {
            let mut form = form();
            change(&mut form);
            check_extension(&form).unwrap_err().to_string()
        };
        for (told, expected) in [
            (broken(&|f| f["terms"]["outputs"]["clause"] = Value::Null), "term `outputs`: `clause` is missing"),
            (broken(&|f| f["terms"]["outputs"]["basis"] = json!("guess")), "term `outputs`: `basis` must be"),
            (broken(&|f| f["terms"]["output"] = f["terms"]["outputs"].clone()), "term `output`: there is no such term"),
            (broken(&|f| f["terms"]["commercial_use"]["value"] = json!("maybe")), "cannot be \"maybe\""),
            (broken(&|f| f["category"] = json!("nice")), "`category` must be one of"),
            (broken(&|f| f["key"] = json!("acme")), "its key must be `LicenseRef-`"),
            (broken(&|f| f["terms"] = json!({})), "term `commercial_use`: it is missing"),
        ] {
            assert!(told.contains(expected), "{told}");
        }
    }
}
