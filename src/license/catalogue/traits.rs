//! A license's terms in the form that rules ask for: read once from the catalogue's words.
//!
//! A value that is not one of the known words stays unknown; nothing is guessed from a license's name.

use serde_json::Value;

use super::License;

/// How a license limits those who build on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Allows other terms over the whole.
    Permissive,
    /// Allows other terms over the whole while something of it stays.
    Passthrough,
    /// The same license must follow.
    ShareAlike,
    /// No right to license the base again is granted.
    NotGranted,
    /// Derivatives may not be shared.
    NoDerivatives,
    /// Not read, or says nothing of it.
    #[default]
    Unknown,
}

/// What a license says of models that were trained on the outputs of a model under it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Outputs {
    /// Nothing is asked of them.
    Free,
    /// It does not mention outputs.
    Silent,
    /// It does not mention outputs, but limits where the model may run.
    UseLimited,
    /// They may not improve other language models.
    BanOther,
    /// They may not make or improve foundational models.
    BanFoundational,
    /// They may, and the name must say so.
    Naming,
    /// They may, and a phrase must be shown.
    Display(Vec<String>),
    /// A model trained on them is a derivative.
    Derivative {
        /// Only when its purpose is to perform similarly.
        is_qualified: bool,
    },
    /// The limits on use hold for them too.
    UseLimitsFollow,
    /// A service's terms limit its account holders.
    Service,
    /// Not read.
    #[default]
    Unknown,
}

/// A size from which other terms hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// What is counted.
    pub kind: ThresholdKind,
    /// Strictly greater than this exceeds it.
    pub value: u64,
    /// Beyond it only the display phrase is due, and no agreement is needed.
    pub asks_display_only: bool,
    /// Whoever received the model inside a product is not counted.
    pub spares_end_users: bool,
    /// The clause.
    pub clause: String,
}

/// What a threshold counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThresholdKind {
    /// Monthly active users.
    Users,
    /// US dollars in a year.
    Revenue,
    /// Any commercial use must be registered.
    Registration,
}

/// A line that must travel in a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The line, or what it must keep.
    pub line: String,
    /// The term that asks for it.
    pub term: &'static str,
    /// Only where the original has one.
    pub is_conditional: bool,
    /// Whether it is owed for derivatives too, not only for copies.
    pub covers_derivatives: bool,
}

/// What rules ask of a license.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a text")]
pub struct Traits {
    /// How it limits those who build on it.
    pub family: Family,
    /// Only non-commercial use.
    pub is_noncommercial: bool,
    /// Commercial use is allowed, perhaps under conditions.
    pub allows_commerce: bool,
    /// Its use restrictions must be passed on as an enforceable provision.
    pub passes_restrictions: bool,
    /// A GNU license: no further restrictions over the whole.
    pub is_gnu: bool,
    /// Copyleft without a counterpart for weights (LGPL).
    pub is_library_copyleft: bool,
    /// What it says of outputs.
    pub outputs: Outputs,
    /// Its words name adapters, or what they are, among what it reaches.
    pub reaches_adapters: bool,
    /// Its text must travel.
    pub license_copy: bool,
    /// A link to its text is enough.
    pub link_suffices: bool,
    /// A notice line.
    pub notice: Option<Notice>,
    /// Phrases of which one must be shown.
    pub phrases: Vec<String>,
    /// How names must begin.
    pub name_prefix: Option<String>,
    /// Sizes.
    pub thresholds: Vec<Threshold>,
    /// Not granted in the European Union for multimodal models.
    pub is_eu_multimodal: bool,
    /// Offering a service counts as distributing.
    pub network: bool,
    /// The text was read in full.
    pub is_read: bool,
    /// Terms of a service, not of a model.
    pub is_service: bool,
}

impl Traits {
    /// Reads them from the catalogue's words.
    pub(super) fn read(license: &License) -> Self {
        let word = |term: &str| license.value(term).as_str().unwrap_or_default();
        let commercial = word("commercial_use");
        let relicense = word("relicense_derivative");
        let propagation = word("propagation");
        let adapters = word("adapters");
        Self {
            family: family(relicense, propagation),
            is_noncommercial: commercial == "no",
            allows_commerce: commercial.starts_with("yes") || commercial == "conditional",
            passes_restrictions: propagation.starts_with("pass-through"),
            is_gnu: license.category == "copyleft" && relicense == "share-alike",
            is_library_copyleft: relicense == "share-alike-library",
            outputs: outputs(license.value("outputs")),
            reaches_adapters: adapters.starts_with("reached") || adapters.starts_with("EXPLICIT"),
            license_copy: license.value("license_copy") == true,
            link_suffices: license.clause("license_copy").is_some_and(|clause| clause.starts_with("§3(a)(1)(C)")),
            notice: notice(license),
            phrases: phrases(license.value("display")),
            name_prefix: license.value("name_prefix").as_str().map(str::to_owned),
            thresholds: thresholds(&license.terms["thresholds"]),
            is_eu_multimodal: license.value("geo")["restriction"] == "EU-multimodal",
            network: network(license.value("network_use_is_distribution")),
            is_read: license.text_read == "full",
            is_service: license.category == "service-terms",
        }
    }
}

fn family(relicense: &str, propagation: &str) -> Family {
    match relicense {
        "permissive" => Family::Permissive,
        // Nothing of it stays on what is made with it (C-UDA §2.2).
        "passthrough" if propagation == "permissive" => Family::Permissive,
        "passthrough" => Family::Passthrough,
        "share-alike" | "share-alike-library" => Family::ShareAlike,
        "not_granted" | "forbidden" => Family::NotGranted,
        "no-derivatives" => Family::NoDerivatives,
        _ => Family::Unknown,
    }
}

fn outputs(value: &Value) -> Outputs {
    match value["mode"].as_str().unwrap_or_default() {
        "free" | "aup_only" => Outputs::Free,
        "silent" => Outputs::Silent,
        "silent_use_limited" => Outputs::UseLimited,
        "ban_other_llm" => Outputs::BanOther,
        "ban_foundational" => Outputs::BanFoundational,
        "allowed_with_naming" => Outputs::Naming,
        "display_required" => Outputs::Display(phrases(&value["texts"])),
        "derivative_by_definition" => Outputs::Derivative { is_qualified: value["qualifier"].is_string() },
        "restrictions_follow_data" | "research_only" => Outputs::UseLimitsFollow,
        "ban_competing" => Outputs::Service,
        _ => Outputs::Unknown,
    }
}

fn notice(license: &License) -> Option<Notice> {
    let term = ["notice_file", "notice_text"].into_iter().find(|term| license.value(term).is_string())?;
    let line = license.value(term).as_str()?.to_owned();
    Some(Notice {
        is_conditional: line.starts_with("retain"),
        covers_derivatives: license.value("notice_scope").as_str().is_some_and(|scope| scope.starts_with("all")),
        line,
        term,
    })
}

fn phrases(value: &Value) -> Vec<String> {
    match value {
        Value::String(phrase) => vec![phrase.clone()],
        Value::Array(phrases) => phrases.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn thresholds(value: &Value) -> Vec<Threshold> {
    let read = |entry: &Value| {
        let value = entry["value"].as_u64().unwrap_or(0);
        let (kind, value) = match entry["kind"].as_str()? {
            "mau" | "mau_on_release_date" => (ThresholdKind::Users, value),
            "annual_revenue_usd" => (ThresholdKind::Revenue, value),
            "monthly_revenue_usd" => (ThresholdKind::Revenue, value.saturating_mul(12)),
            "registration" => (ThresholdKind::Registration, 0),
            _ => return None,
        };
        Some(Threshold {
            kind,
            value,
            asks_display_only: entry["effect"] == "display",
            spares_end_users: entry["spares_end_users"] == true,
            clause: entry["clause"].as_str().unwrap_or_default().to_owned(),
        })
    };
    value.as_array().into_iter().flatten().filter_map(read).collect()
}

fn network(value: &Value) -> bool {
    value == true || value.as_str().is_some_and(|words| !words.starts_with("not stated"))
}
