//! The attribution kit: what the licenses that a model carries want to travel with it, ready to ship.
//!
//! Pure: a model of a report and the catalogue in, files out. It ships what can be written without a person (notice
//! lines, license texts, phrases, change notes, the label), and says what a person must do. It decides nothing: which
//! duties there are, the engine said.

mod archive;
mod merge;
mod texts;
mod words;

pub use archive::archive;
pub use merge::{Merge, merge_into, reads};

use super::{
    Obligation,
    catalogue::{Catalogue, License},
    report::ReportModel,
};

/// A file of the kit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KitFile {
    /// Where it belongs in the model.
    pub path: String,
    /// What it says.
    pub text: String,
    /// Which duty it meets.
    pub why: String,
}

/// Everything that a model must carry.
#[derive(Debug, Clone, Default)]
pub struct Kit {
    /// The model.
    pub model: String,
    /// What the front matter of the card says of the license.
    pub label: Vec<(&'static str, String)>,
    /// Lines for the notice file.
    pub notices: Vec<String>,
    /// Phrases for the card.
    pub phrases: Vec<String>,
    /// License texts and use policies.
    pub texts: Vec<KitFile>,
    /// Licenses whose texts are not here, with what stands in their place.
    pub missing_texts: Vec<KitFile>,
    /// Notes on what was changed; `None` when no license asks for any.
    pub changes: Option<String>,
    /// Which ancestor by which path asks for what, and where it stands.
    pub overview: String,
    /// What a person must do.
    pub by_hand: Vec<String>,
}

/// A duty that a kit can help with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    Copy,
    Notice,
    Display,
    Policy,
    Changes,
    Name,
}

/// The one place that knows the names of obligations.
fn duty_of(obligation: &str) -> Option<Duty> {
    match obligation {
        "license-copy" => Some(Duty::Copy),
        "notice" => Some(Duty::Notice),
        "display" => Some(Duty::Display),
        "use-policy" => Some(Duty::Policy),
        "change-notices" => Some(Duty::Changes),
        "name" => Some(Duty::Name),
        _ => None,
    }
}

/// The one place that knows which findings say that a duty is not met.
fn duty_of_finding(rule: &str) -> Option<Duty> {
    match rule {
        "LICENSE_COPY_MISSING" => Some(Duty::Copy),
        "NOTICE_MISSING" => Some(Duty::Notice),
        "DISPLAY_REVIEW" => Some(Duty::Display),
        "NAME_PREFIX" => Some(Duty::Name),
        _ => None,
    }
}

/// A license that asks for something, with the path by which it reaches the model.
struct Carried<'a> {
    key: &'a str,
    license: Option<&'a License>,
    via: &'a [String],
    obligations: Vec<&'a Obligation>,
    duties: Vec<Duty>,
}

impl Carried<'_> {
    fn asks(&self, duty: Duty) -> bool {
        self.duties.contains(&duty)
    }

    fn name(&self) -> String {
        words::plain(self.license.map_or(self.key, |license| &license.name))
    }

    /// The ancestor whose license it is; `None` for the model's own.
    fn inherited_from(&self) -> Option<&str> {
        self.via.get(1..)?.last().map(String::as_str)
    }

    /// A term's text.
    fn term(&self, term: &str) -> Option<&str> {
        let value = self.license?.value(term);
        value.as_str().or_else(|| value.get(0)?.as_str())
    }
}

/// The licenses that ask for something, in the order of the obligations.
fn carried<'a>(model: &'a ReportModel, catalogue: &'a Catalogue) -> Vec<Carried<'a>> {
    let mut carried: Vec<Carried<'a>> = Vec::new();
    let mut add = |key: &'a str, via: &'a [String], duty: Option<Duty>, obligation: Option<&'a Obligation>| {
        let index = carried.iter().position(|one| one.key == key).unwrap_or_else(|| {
            let license = catalogue.find_by_key(key);
            carried.push(Carried { key, license, via, obligations: Vec::new(), duties: Vec::new() });
            carried.len() - 1
        });
        carried[index].obligations.extend(obligation);
        carried[index].duties.extend(duty);
    };
    for obligation in &model.obligations {
        add(&obligation.license, &obligation.via, duty_of(&obligation.id), Some(obligation));
    }
    for finding in &model.findings {
        if let (Some(duty), Some(license)) = (duty_of_finding(&finding.rule), &finding.license) {
            add(license, &finding.path, Some(duty), None);
        }
    }
    carried
}

/// Returns the kit of a model.
pub fn kit(model: &ReportModel, catalogue: &Catalogue) -> Kit {
    let carried = carried(model, catalogue);
    let mut kit = Kit {
        model: model.id.clone(),
        label: words::label(model, catalogue),
        notices: words::notices(&carried),
        phrases: words::phrases(model, &carried),
        changes: words::changes(model).filter(|_| carried.iter().any(|one| one.asks(Duty::Changes))),
        by_hand: words::by_hand(model, &carried),
        ..Kit::default()
    };
    for one in &carried {
        kit.add_texts(one);
    }
    kit.overview = words::overview(model, &carried);
    kit
}

impl Kit {
    /// Whether no license asks for anything that a kit could ship.
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty()
            && self.phrases.is_empty()
            && self.texts.is_empty()
            && self.missing_texts.is_empty()
            && self.changes.is_none()
    }

    /// The files of the kit, by path.
    pub fn files(&self) -> Vec<KitFile> {
        let mut files = self.texts.clone();
        files.extend(self.missing_texts.iter().cloned());
        let mut add = |path: &str, text: String, why: &str| {
            files.push(KitFile { path: path.to_owned(), text, why: why.to_owned() });
        };
        if !self.notices.is_empty() {
            add("NOTICE", words::notice_file(&self.notices), "the notice lines that licenses ask for");
        }
        if !self.phrases.is_empty() || !self.label.is_empty() {
            add("README.block.md", words::card(self), "what the card must say: put it into README.md");
        }
        if let Some(changes) = &self.changes {
            add("CHANGES.md", changes.clone(), "licenses ask to say what was changed");
        }
        let overview = format!("{}{}", self.overview, words::left_to_do(&self.by_hand));
        add("ATTRIBUTION.md", overview, "which ancestor asks for what, and what is left to do");
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    fn add_texts(&mut self, one: &Carried<'_>) {
        let name = words::file_name(one.key);
        if one.asks(Duty::Copy) {
            let path = format!("LICENSES/{name}.txt");
            let why = format!("recipients must get a copy of {}", one.name());
            match texts::license(one.key) {
                Some(text) => self.texts.push(KitFile { path, text: text.to_owned(), why }),
                None => self.missing_texts.push(KitFile { path, text: words::missing(one), why }),
            }
        }
        if let Some(text) = texts::policy(one.key).filter(|_| one.asks(Duty::Policy)) {
            let why = format!("{} refers to its use policy", one.name());
            self.texts.push(KitFile { path: format!("LICENSES/{name}-use-policy.md"), text: text.to_owned(), why });
        }
    }
}
