//! The kit as a commit to a model that has files already: it adds, and never changes a word of what is there.

use super::{Kit, KitFile, texts, words};

/// What a commit would write, and what it leaves to a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Merge {
    /// Files to write, whole, by path.
    pub files: Vec<KitFile>,
    /// What a person must do.
    pub by_hand: Vec<String>,
}

/// Whether a merge has to know what a file says.
pub fn reads(path: &str) -> bool {
    let lower = path.to_lowercase();
    let is_one_of = |names: &[&str]| names.iter().any(|name| lower.starts_with(name));
    is_one_of(&["readme.md", "notice", "licenses/", "changes.md", "attribution.md"])
        || (!lower.contains('/') && is_one_of(&["license", "licence", "copying", "use_policy"]))
}

/// Returns what a commit to a model with these files (path and text of those that [`reads`] names) would add or change.
pub fn merge_into(kit: &Kit, existing: &[(String, String)]) -> Merge {
    let mut merge = Merge { files: Vec::new(), by_hand: kit.by_hand.clone() };
    merge.notice(kit, existing);
    for text in &kit.texts {
        merge.license_text(text, existing);
    }
    merge.card(kit, existing);
    if let Some(changes) = &kit.changes {
        merge.add("CHANGES.md", changes, "licenses ask to say what was changed", existing);
    }
    merge.add("ATTRIBUTION.md", &kit.overview, "which ancestor asks for what", existing);
    merge.files.sort_by(|a, b| a.path.cmp(&b.path));
    merge
}

impl Merge {
    fn write(&mut self, path: &str, text: String, why: &str) {
        self.files.push(KitFile { path: path.to_owned(), text, why: why.to_owned() });
    }

    /// Adds a file that is not there yet.
    fn add(&mut self, path: &str, text: &str, why: &str, existing: &[(String, String)]) {
        if find(existing, path).is_none() {
            self.write(path, text.to_owned(), why);
        }
    }

    /// Appends the lines that no notice file has.
    fn notice(&mut self, kit: &Kit, existing: &[(String, String)]) {
        let is_notice = |path: &str| ["notice", "notice.txt", "notice.md"].contains(&&*path.to_lowercase());
        let file = existing.iter().find(|(path, _)| is_notice(path));
        let (path, before) = file.map_or(("NOTICE", ""), |(path, text)| (path.as_str(), text.as_str()));
        let known = squeezed(before);
        let lines: Vec<String> = kit.notices.iter().filter(|line| !known.contains(&squeezed(line))).cloned().collect();
        if !lines.is_empty() {
            self.write(path, appended(before, &words::notice_file(&lines)), "the notice lines that licenses ask for");
        }
    }

    /// Adds a license text, unless some file holds it already.
    fn license_text(&mut self, text: &KitFile, existing: &[(String, String)]) {
        let wanted = squeezed(&text.text);
        let holds =
            |(_, there): &(String, String)| there.len() >= text.text.len() / 2 && squeezed(there).contains(&wanted);
        // A text with blanks is there as soon as somebody filled them in: nothing to compare with.
        let is_filled_in = texts::has_blanks(&text.text) && existing.iter().any(|(path, _)| is_license(path));
        if !is_filled_in && !existing.iter().any(holds) {
            self.add(&text.path, &text.text, &text.why, existing);
        }
    }

    /// Sets the label where the card has none, and adds phrases that it does not say.
    fn card(&mut self, kit: &Kit, existing: &[(String, String)]) {
        let file = existing.iter().find(|(path, _)| path.eq_ignore_ascii_case("README.md"));
        let (path, before) = file.map_or(("README.md", ""), |(path, text)| (path.as_str(), text.as_str()));
        let mut after = before.to_owned();
        if !kit.label.is_empty() {
            match with_label(before, kit) {
                Some(labeled) => after = labeled,
                None => {
                    self.by_hand.push("set `license` in the front matter of the card, which does not end".to_owned());
                }
            }
        }
        let said = squeezed(before);
        let missing: Vec<&str> =
            kit.phrases.iter().filter(|phrase| !said.contains(&squeezed(phrase))).map(String::as_str).collect();
        if !missing.is_empty() {
            after = appended(&after, &format!("## Attribution\n\n{}\n", missing.join("\n\n")));
        }
        if after != before {
            self.write(path, after, "what the card must say");
        }
    }
}

/// The card with the label in its front matter; as it is, when that names a license; `None` when the front matter has
/// no end.
fn with_label(card: &str, kit: &Kit) -> Option<String> {
    let end = if card.contains("\r\n") { "\r\n" } else { "\n" };
    let lines: String = kit.label.iter().map(|(key, value)| words::yaml(key, value) + end).collect();
    let text = card.strip_prefix('\u{feff}').unwrap_or(card);
    let start = card.len() - text.len();
    let is_mark = |line: &str| line.trim_end() == "---";
    if !text.lines().next().is_some_and(is_mark) {
        return Some(format!("{}---{end}{lines}---{end}{text}", &card[..start]));
    }
    let mut at = start;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number > 0 && is_mark(line) {
            return Some(format!("{}{lines}{}", &card[..at], &card[at..]));
        }
        let key = line.split_once(':').map(|(key, _)| key.trim_end().trim_matches(['"', '\'']));
        if matches!(key, Some("license" | "licence")) {
            return Some(card.to_owned());
        }
        at += line.len();
    }
    None
}

fn find<'a>(existing: &'a [(String, String)], path: &str) -> Option<&'a str> {
    existing.iter().find(|(there, _)| there.eq_ignore_ascii_case(path)).map(|(_, text)| text.as_str())
}

fn is_license(path: &str) -> bool {
    let lower = path.to_lowercase();
    !lower.contains('/') && ["license", "licence", "copying"].iter().any(|name| lower.starts_with(name))
}

/// A text with another behind it, an empty line between.
fn appended(before: &str, more: &str) -> String {
    let end = if before.contains("\r\n") { "\r\n" } else { "\n" };
    let more = more.replace('\n', end);
    match before.trim_end_matches(['\r', '\n']) {
        "" => format!("{before}{more}"),
        text => format!("{text}{end}{end}{more}"),
    }
}

/// A text without what may differ between equal ones: case and white space.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
