//! Stands in for what the engine will say of licenses and rules itself.

use serde_json::Value;

use super::{
    format,
    words::{Plain, Sentence},
};
use crate::license::catalogue::License;

pub(super) fn plain(license: &License) -> Plain {
    let mut plain = Plain::default();
    let text = |term: &str| license.value(term).as_str().unwrap_or_default().to_owned();
    let say = |term: &str, sentence: String| {
        let first = if license.terms[term].is_array() { &license.terms[term][0] } else { &license.terms[term] };
        Sentence {
            sentence,
            term: term.to_owned(),
            clause: first["clause"].as_str().filter(|clause| *clause != "—").unwrap_or_default().to_owned(),
            is_reading: first["basis"] == "interp",
            verb: "",
        }
    };
    match text("commercial_use").as_str() {
        "yes" => plain.permits.push(say("commercial_use", "Commercial use.".into())),
        "no" => plain.forbids.push(say("commercial_use", "Any commercial use.".into())),
        "conditional" => plain.permits.push(say("commercial_use", "Commercial use, under conditions.".into())),
        word if word.starts_with("yes") => {
            plain.permits.push(say("commercial_use", "Commercial use, within its use restrictions.".into()));
        }
        _ => {}
    }
    match text("redistribution").as_str() {
        "allowed" => plain.permits.push(say("redistribution", "Passing it on to others.".into())),
        word if word.starts_with("allowed") => {
            plain.permits.push(say("redistribution", format!("Passing it on: {word}.")));
        }
        _ => {}
    }
    match text("derivatives").as_str() {
        "allowed" => plain.permits.push(say("derivatives", "Changing it and building on it.".into())),
        "" | "unknown" | "n/a" => {}
        word => plain.permits.push(say("derivatives", format!("Changing it: {word}."))),
    }
    match text("relicense_derivative").as_str() {
        "permissive" => {
            plain.permits.push(say("relicense_derivative", "Licensing what you build on it in another way.".into()))
        }
        "passthrough" => plain
            .asks
            .push(say("relicense_derivative", "Pass its use restrictions on with whatever is built on it.".into())),
        "share-alike" | "share-alike-library" => {
            plain.asks.push(say("relicense_derivative", "Put what is built on it under the same license.".into()))
        }
        "not_granted" | "forbidden" => {
            plain.forbids.push(say("relicense_derivative", "Licensing its part again under other terms.".into()))
        }
        "no-derivatives" => plain.forbids.push(say("relicense_derivative", "Sharing changed versions.".into())),
        _ => {}
    }
    asks(license, &mut plain, &say);
    match license.value("outputs")["mode"].as_str().unwrap_or_default() {
        "free" => plain.permits.push(say("outputs", "Using its outputs for anything.".into())),
        "ban_other_llm" => {
            plain.forbids.push(say("outputs", "Improving other language models with its outputs.".into()));
        }
        "allowed_with_naming" => {
            plain.permits.push(say("outputs", "Training other models on its outputs, if they are named so.".into()));
        }
        "derivative_by_definition" => {
            plain.asks.push(say("outputs", "Treat models trained on its outputs as built on it.".into()));
        }
        "restrictions_follow_data" => {
            plain.forbids.push(say("outputs", "Using its outputs beyond the limits of the model itself.".into()));
        }
        _ => {}
    }
    if license.value("geo").is_object() {
        plain.forbids.push(say("geo", "Multimodal use by people or companies in the European Union.".into()));
    }
    if license.value("weapons").is_string() {
        plain.forbids.push(say("weapons", format!("Some uses: {}.", text("weapons"))));
    }
    plain
}

fn asks(license: &License, plain: &mut Plain, say: &dyn Fn(&str, String) -> Sentence) {
    let mut ask = |term: &str, sentence: String| plain.asks.push(say(term, sentence));
    if license.value("license_copy") == true {
        ask("license_copy", "Give recipients a copy of the license.".into());
    }
    if let Some(line) = license.value("notice_file").as_str() {
        ask("notice_file", format!("Keep a NOTICE file that says “{line}”"));
    }
    match license.value("display") {
        Value::String(phrase) => ask("display", format!("Show “{phrase}”.")),
        Value::Array(phrases) => {
            let phrases: Vec<String> = phrases.iter().filter_map(Value::as_str).map(|p| format!("“{p}”")).collect();
            ask("display", format!("Show {}.", phrases.join(" or ")));
        }
        _ => {}
    }
    if let Some(prefix) = license.value("name_prefix").as_str() {
        ask("name_prefix", format!("Begin the names of models built on it with “{prefix}”."));
    }
    if license.value("aup").is_object() {
        ask("aup", "Follow its acceptable use policy.".into());
    }
    if license.value("change_notices") == true {
        ask("change_notices", "Say in changed files that they were changed.".into());
    }
    if let Some(most) = license.terms["thresholds"][0]["value"].as_i64() {
        let what = if license.terms["thresholds"][0]["kind"].as_str().is_some_and(|kind| kind.starts_with("mau")) {
            "monthly users"
        } else {
            "US dollars of yearly revenue"
        };
        ask("thresholds", format!("Get an agreement of your own above {} {what}.", format::count(most)));
    }
}

pub(super) fn rule_title(id: &str) -> Option<&'static str> {
    RULES.iter().find(|(rule, _)| *rule == id).map(|(_, title)| *title)
}

pub(super) const RULES: &[(&str, &str)] = &[
    ("RELICENSED_WITHOUT_RIGHT", "The label is more generous than the license of an ancestor allows"),
    ("USE_RESTRICTIONS_DROPPED", "The label drops use restrictions that must be passed on"),
    ("TERMS_DIFFER", "The label and the license of an ancestor are different restricted licenses"),
    ("VERSION_MISMATCH", "The label names another version of the ancestor's license"),
    ("NC_DROPPED", "The label allows commercial use that the license of an ancestor does not"),
    ("NC_USE", "Commercial use is intended under a non-commercial license"),
    ("OUTPUT_BAN", "Trained on outputs that may not be used to improve other models"),
    ("OUTPUT_BAN_REVIEW", "Trained on outputs whose license may except this model"),
    ("OUTPUT_NC", "Trained on outputs that are limited to non-commercial use"),
    ("OUTPUT_REVIEW", "Trained on outputs of which a restrictive license says nothing"),
    ("NAME_PREFIX", "The name does not begin as the license of an ancestor asks"),
    ("DISPLAY_REVIEW", "The card does not show the phrase that a license asks for"),
    ("LICENSE_COPY_MISSING", "The text of a carried license is not among the files"),
    ("NOTICE_MISSING", "The notice line that a license asks for is not among the files"),
    ("SHAREALIKE_DROPPED", "A share-alike license of an ancestor was replaced"),
    ("SA_TRANSFORM_REVIEW", "Whether a change of format adapts a share-alike work is open"),
    ("ND_TRANSFORM_REVIEW", "Whether a change of format adapts a work that allows no derivatives is open"),
    ("ND_DERIVATIVE_SHARED", "A derivative is shared of a work that allows none"),
    ("COPYLEFT_CONFLICT", "A copyleft license and further restrictions apply to one work"),
    ("COPYLEFT_WEIGHTS_REVIEW", "What the source of weights under a copyleft license is, is open"),
    ("COMPAT_REVIEW", "Two licenses are compatible in one direction only"),
    ("MULTI_LICENSE_REVIEW", "The parents are under several versions of one license"),
    ("DUAL_TERMS_REVIEW", "The label says one license, and the files ship another one's texts"),
    ("DECLARED_FILE_MISMATCH", "The label and the license file disagree"),
    ("ADAPTER_SCOPE_REVIEW", "Whether the license of the base reaches adapters is open"),
    ("RELABELLED_COPY", "A verbatim copy has another label than the original"),
    ("THRESHOLD_MAU", "More monthly users than the license allows"),
    ("THRESHOLD_REVENUE", "More revenue than the license allows"),
    ("REGISTRATION_REVIEW", "Commercial use needs a registration"),
    ("GEO_EU_MULTIMODAL", "The license grants nothing for multimodal models in the European Union"),
    ("DATASET_NC_REVIEW", "Trained on data that are limited to non-commercial use"),
    ("SERVICE_TERMS_REVIEW", "Trained on data from a service whose terms limit the use of outputs"),
    ("OTHER_UNRESOLVED", "The label names no license text that is known here"),
    ("FAMILY_ID_AMBIGUOUS", "The label names a family of licenses with different terms"),
    ("TEXT_NOT_READ", "The terms of a license are not in the catalogue"),
    ("LICENSE_UNDECLARED", "No license is declared while terms are carried from ancestors"),
    ("ANCESTOR_LICENSE_UNKNOWN", "An ancestor has no license that is known"),
    ("EDGE_UNCONFIRMED", "The only path to a license is detected and declared by nobody"),
    ("EDGE_CONTRADICTED", "A declared parent is contradicted by the weights"),
    ("CYCLE", "The model is among its own ancestors"),
    ("LAUNDERED_UPSTREAM", "An ancestor on the path dropped terms before this model"),
    ("PRIVATE_DORMANT", "Duties that would wake on publication"),
];
