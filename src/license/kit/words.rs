//! What the kit's files say.

use super::{Carried, Duty, Kit, duty_of, texts};
use crate::license::{
    DISCLAIMER, Obligation,
    catalogue::Catalogue,
    report::{ReportModel, ReportParent},
};

/// A name as code in Markdown, on one line whatever it holds.
fn code(text: &str) -> String {
    format!("`{}`", plain(text).replace('`', "'"))
}

/// A text on one line.
pub(super) fn plain(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A license key as the name of a file.
pub(super) fn file_name(key: &str) -> String {
    let key = key.strip_prefix("LicenseRef-").unwrap_or(key);
    let name: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.+".contains(c) { c } else { '-' }).take(80).collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() { "license".to_owned() } else { name.to_owned() }
}

/// What the front matter of the card says of the license: an identifier of the hub where there is one for all that
/// holds, otherwise the whole expression.
pub(super) fn label(model: &ReportModel, catalogue: &Catalogue) -> Vec<(&'static str, String)> {
    let Some(expression) = &model.expression else { return Vec::new() };
    let license = catalogue.licenses.iter().find(|license| license.expression() == *expression);
    let hub_id = license.and_then(|license| license.hf_ids.first());
    match (hub_id, license) {
        (Some(id), _) => vec![("license", id.clone())],
        (None, Some(license)) => vec![
            ("license", "other".to_owned()),
            ("license_name", license.key.clone()),
            ("license_link", format!("LICENSES/{}.txt", file_name(&license.key))),
        ],
        (None, None) => vec![("license", expression.clone()), ("license_link", "ATTRIBUTION.md".to_owned())],
    }
}

/// A line of front matter.
pub(super) fn yaml(key: &str, value: &str) -> String {
    let is_plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+/ ".contains(c));
    if is_plain { format!("{key}: {value}") } else { format!("{key}: {}", serde_json::Value::from(plain(value))) }
}

/// Terms of the catalogue that say what to do, where others give the words to write.
fn is_instruction(term: &str) -> bool {
    term.starts_with(|c: char| c.is_lowercase())
}

/// The lines of the notice file: what licenses prescribe, and on whose work the model is built.
pub(super) fn notices(carried: &[Carried<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for one in carried.iter().filter(|one| one.asks(Duty::Notice) || one.asks(Duty::Copy)) {
        if let Some(origin) = one.inherited_from() {
            lines.push(format!("This model is built on {}, which is under the {}.", plain(origin), one.name()));
        }
        let prescribed = one.term("notice_file").or_else(|| one.term("notice_text"));
        if let Some(line) = prescribed.filter(|line| one.asks(Duty::Notice) && !is_instruction(line)) {
            lines.push(line.to_owned());
        }
    }
    lines
}

pub(super) fn notice_file(lines: &[String]) -> String {
    format!("{}\n", lines.join("\n\n"))
}

/// The phrases that licenses want to be shown, each once.
pub(super) fn phrases(model: &ReportModel, carried: &[Carried<'_>]) -> Vec<String> {
    let mut phrases: Vec<String> = Vec::new();
    for one in carried.iter().filter(|one| one.asks(Duty::Display)) {
        let Some(phrase) = one.term("display").filter(|phrase| !is_instruction(phrase)) else { continue };
        let name = model.id.split_once('/').map_or(model.id.as_str(), |(_, name)| name);
        let phrase = phrase.replace("[name of relevant Derivative Work]", &plain(name));
        if !phrases.contains(&phrase) {
            phrases.push(phrase);
        }
    }
    phrases
}

/// What belongs into the card.
pub(super) fn card(kit: &Kit) -> String {
    let mut text = String::new();
    if !kit.label.is_empty() {
        let lines: Vec<String> = kit.label.iter().map(|(key, value)| yaml(key, value)).collect();
        text.push_str(&format!("---\n{}\n---\n", lines.join("\n")));
    }
    for phrase in &kit.phrases {
        text.push_str(&format!("\n{phrase}\n"));
    }
    text
}

/// What was changed, as far as lineage tells it; `None` when no weights of others were changed.
pub(super) fn changes(model: &ReportModel) -> Option<String> {
    let is_changed = |parent: &&ReportParent| {
        let holds_weights =
            !["distill", "trained_on", "generated_by", "architecture", "tokenizer"].contains(&&*parent.relation);
        holds_weights && parent.relation != "copy" && parent.verdict != "contradicted"
    };
    let parents: String = model.parents.iter().filter(is_changed).map(change).collect();
    if parents.is_empty() {
        return None;
    }
    Some(format!(
        "# Changes\n\nThe weights of {} were made from those of others and differ from them:\n\n{parents}\n\
         <!-- Say here by whom, when and how: data, method, what was added or left out. List each file that was\n     \
         changed, if not all were. -->\n",
        code(&model.id)
    ))
}

fn change(parent: &ReportParent) -> String {
    let revision = parent.revision.as_ref().map(|commit| format!(" at revision {}", code(commit))).unwrap_or_default();
    format!("- {} of {}{revision}\n", plain(&parent.relation), code(&parent.id))
}

/// What stands in the place of a text that is not here.
pub(super) fn missing(one: &Carried<'_>) -> String {
    let place = match (texts::source(one.key), one.inherited_from()) {
        (Some(url), _) => format!("It is published at\n\n    {url}\n\n"),
        (None, Some(origin)) => format!("Look among the files of {}.\n\n", plain(origin)),
        (None, None) => "Ask whoever added it to the catalogue of licenses.\n\n".to_owned(),
    };
    format!(
        "The text of the {} belongs here, and has to be fetched: this file is not a copy of it.\n{place}\
         Replace this file by the text before the model is given to anybody.\n",
        one.name()
    )
}

/// What no file can do.
pub(super) fn by_hand(model: &ReportModel, carried: &[Carried<'_>]) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    for one in carried {
        list.extend(text_by_hand(one).filter(|_| one.asks(Duty::Copy)));
        list.extend(notice_by_hand(one));
        list.extend(display_by_hand(one).filter(|_| one.asks(Duty::Display)));
        list.extend(name_by_hand(model, one).filter(|_| one.asks(Duty::Name)));
        if one.asks(Duty::Policy) && texts::policy(one.key).is_none() {
            list.push(format!("pass on the use restrictions of {}", one.name()));
        }
    }
    if carried.iter().any(|one| one.asks(Duty::Changes)) && changes(model).is_some() {
        list.push("say in `CHANGES.md` what was changed".to_owned());
    }
    list
}

fn text_by_hand(one: &Carried<'_>) -> Option<String> {
    let path = format!("`LICENSES/{}.txt`", file_name(one.key));
    let Some(text) = texts::license(one.key) else {
        return Some(format!("fetch the text of {} into {path}", one.name()));
    };
    let whose = one.inherited_from().map_or("the holder's copyright line".to_owned(), |origin| {
        format!("the copyright line from the license file of {}", code(origin))
    });
    texts::has_blanks(text).then(|| format!("put {whose} into {path}"))
}

fn notice_by_hand(one: &Carried<'_>) -> Option<String> {
    let origin = one.inherited_from()?;
    let is_asked = one.asks(Duty::Notice) && one.term("notice_file").is_some_and(is_instruction);
    // A notice file of the work itself must be kept: Apache-2.0, section 4(d).
    (is_asked || one.key == "apache-2.0")
        .then(|| format!("copy what the NOTICE file of {} says, if it has one, into `NOTICE`", code(origin)))
}

fn display_by_hand(one: &Carried<'_>) -> Option<String> {
    let instruction = one.term("display").filter(|term| is_instruction(term))?;
    Some(format!("{instruction}, as {} asks", one.name()))
}

fn name_by_hand(model: &ReportModel, one: &Carried<'_>) -> Option<String> {
    let prefix = one.term("name_prefix")?;
    let is_met = one.obligations.iter().any(|o| duty_of(&o.id) == Some(Duty::Name) && o.satisfied == "yes");
    let name = model.id.split_once('/').map_or(model.id.as_str(), |(_, name)| name);
    (!is_met).then(|| format!("rename {} to begin with {}", code(name), code(prefix)))
}

/// Which ancestor by which path asks for what, and where it stands.
pub(super) fn overview(model: &ReportModel, carried: &[Carried<'_>]) -> String {
    let mut text =
        format!("# Attribution\n\nWhat the licenses that {} carries ask for. {DISCLAIMER}\n", code(&model.id));
    if let Some(expression) = &model.expression {
        text.push_str(&format!("\nFor the whole holds {}.\n", code(expression)));
    }
    if carried.is_empty() {
        text.push_str("\nNo license that is known here asks for anything.\n");
    }
    for one in carried {
        let path: Vec<String> = one.via.iter().map(|id| code(id)).collect();
        let what = if one.inherited_from().is_some() { "It reaches this model by" } else { "The model's own license:" };
        text.push_str(&format!("\n## {}\n\n{what} {}\n", one.name(), path.join(" > ")));
        let rows: String = one.obligations.iter().map(|obligation| row(one, obligation)).collect();
        if !rows.is_empty() {
            text.push_str(&format!("\n| what | clause | where |\n| --- | --- | --- |\n{rows}"));
        }
    }
    text
}

fn row(one: &Carried<'_>, obligation: &Obligation) -> String {
    let cell = |text: &str| plain(text).replace('|', "\\|");
    let name = file_name(one.key);
    let place = match duty_of(&obligation.id) {
        Some(Duty::Policy) if texts::policy(one.key).is_some() => format!("`LICENSES/{name}-use-policy.md`"),
        Some(Duty::Copy | Duty::Policy) => format!("`LICENSES/{name}.txt`"),
        Some(Duty::Notice) => "`NOTICE`".to_owned(),
        Some(Duty::Display) => "`README.md`".to_owned(),
        Some(Duty::Changes) => "`CHANGES.md`".to_owned(),
        Some(Duty::Name) => "the model's name".to_owned(),
        None => "use".to_owned(),
    };
    format!("| {} | {} | {place} |\n", cell(&obligation.summary), cell(&obligation.section))
}

/// What is left to a person, as a list to tick off.
pub(super) fn left_to_do(tasks: &[String]) -> String {
    if tasks.is_empty() { String::new() } else { format!("\n## Left to do\n\n- [ ] {}\n", tasks.join("\n- [ ] ")) }
}
