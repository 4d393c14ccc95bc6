//! What the rules say of themselves, for formats that carry a text per rule.

/// A rule's own words.
#[derive(Debug, Clone, Copy)]
pub(super) struct RuleText {
    pub(super) title: &'static str,
    pub(super) help: &'static str,
}

/// Returns the text of a rule; `None` for one that has none.
///
/// The one place that knows where the texts are.
pub(super) fn of(id: &str) -> Option<RuleText> {
    TEXTS.iter().find(|(rule, ..)| *rule == id).map(|(_, title, help)| RuleText { title, help })
}

/// Rule, title, what mends it.
static TEXTS: &[(&str, &str, &str)] = &[
    (
        "RELICENSED_WITHOUT_RIGHT",
        "The label is more generous than the license of an ancestor allows",
        "Declare the ancestor's license, or an expression that contains it.",
    ),
    (
        "USE_RESTRICTIONS_DROPPED",
        "The label drops use restrictions that must be passed on",
        "Declare the ancestor's license, or one that passes its restrictions on.",
    ),
    (
        "TERMS_DIFFER",
        "The label and the license of an ancestor are different restricted licenses",
        "Check that both can be met, and name both.",
    ),
    (
        "VERSION_MISMATCH",
        "The label names another version of the ancestor's license",
        "Declare the version under which the ancestor is.",
    ),
    (
        "NC_DROPPED",
        "The label allows commercial use that the license of an ancestor does not",
        "Declare a license that is limited to non-commercial use.",
    ),
    (
        "NC_USE",
        "Commercial use is intended under a non-commercial license",
        "Use another model, or ask the licensor for a commercial license.",
    ),
    (
        "OUTPUT_BAN",
        "Trained on outputs that may not be used to improve other models",
        "Use outputs of a model that allows it.",
    ),
    (
        "OUTPUT_BAN_REVIEW",
        "Trained on outputs whose license may except this model",
        "Decide whether the exception of the license applies.",
    ),
    (
        "OUTPUT_NC",
        "Trained on outputs that are limited to non-commercial use",
        "Limit the model to non-commercial use, or use other outputs.",
    ),
    (
        "OUTPUT_REVIEW",
        "Trained on outputs of which a restrictive license says nothing",
        "Decide whether the license reaches outputs, or ask the licensor.",
    ),
    (
        "NAME_PREFIX",
        "The name does not begin as the license of an ancestor asks",
        "Rename the model to begin with the words that the license asks for.",
    ),
    (
        "DISPLAY_REVIEW",
        "The card does not show the phrase that a license asks for",
        "Write the phrase in the card, or say where else it is shown.",
    ),
    (
        "LICENSE_COPY_MISSING",
        "The text of a carried license is not among the files",
        "Add the license text to the files; the attribution kit has it.",
    ),
    (
        "NOTICE_MISSING",
        "The notice line that a license asks for is not among the files",
        "Add the line to a file NOTICE; the attribution kit has it.",
    ),
    ("SHAREALIKE_DROPPED", "A share-alike license of an ancestor was replaced", "Declare the ancestor's license."),
    (
        "SA_TRANSFORM_REVIEW",
        "Whether a change of format adapts a share-alike work is open",
        "Decide whether it is an adaptation, or keep the license.",
    ),
    (
        "ND_TRANSFORM_REVIEW",
        "Whether a change of format adapts a work that allows no derivatives is open",
        "Ask the licensor.",
    ),
    (
        "ND_DERIVATIVE_SHARED",
        "A derivative is shared of a work that allows none",
        "Make the model private, or get permission.",
    ),
    (
        "COPYLEFT_CONFLICT",
        "A copyleft license and further restrictions apply to one work",
        "Use another license for the own contribution, or another ancestor.",
    ),
    (
        "COPYLEFT_WEIGHTS_REVIEW",
        "What the source of weights under a copyleft license is, is open",
        "Decide what is given as source, and say so in the card.",
    ),
    (
        "COMPAT_REVIEW",
        "Two licenses are compatible in one direction only",
        "Check the direction, or use a later version of the license.",
    ),
    (
        "MULTI_LICENSE_REVIEW",
        "The parents are under several versions of one license",
        "Meet the terms of all versions, and name all.",
    ),
    (
        "DUAL_TERMS_REVIEW",
        "The label says one license, and the files ship another one's texts",
        "Say in the label that both apply, or remove the texts that do not.",
    ),
    (
        "DECLARED_FILE_MISMATCH",
        "The label and the license file disagree",
        "Correct the label or the file; the file counts until then.",
    ),
    (
        "ADAPTER_SCOPE_REVIEW",
        "Whether the license of the base reaches adapters is open",
        "Decide whether it does, or keep the license of the base.",
    ),
    ("RELABELLED_COPY", "A verbatim copy has another label than the original", "Use the label of the original."),
    (
        "THRESHOLD_MAU",
        "More monthly users than the license allows",
        "Ask the licensor for a license, and note it as a waiver.",
    ),
    (
        "THRESHOLD_REVENUE",
        "More revenue than the license allows",
        "Ask the licensor for a license, and note it as a waiver.",
    ),
    (
        "REGISTRATION_REVIEW",
        "Commercial use needs a registration",
        "Register with the licensor, and note it as a waiver.",
    ),
    (
        "GEO_EU_MULTIMODAL",
        "The license grants nothing for multimodal models in the European Union",
        "Use a text-only model, or another license.",
    ),
    (
        "DATASET_NC_REVIEW",
        "Trained on data that are limited to non-commercial use",
        "Decide whether the model carries the limit.",
    ),
    (
        "SERVICE_TERMS_REVIEW",
        "Trained on data from a service whose terms limit the use of outputs",
        "Read the terms of the service as of the day when the data were made.",
    ),
    (
        "OTHER_UNRESOLVED",
        "The label names no license text that is known here",
        "Name a listed license, or add this one to the catalogue.",
    ),
    (
        "FAMILY_ID_AMBIGUOUS",
        "The label names a family of licenses with different terms",
        "Name the exact license and version.",
    ),
    (
        "TEXT_NOT_READ",
        "The terms of a license are not in the catalogue",
        "Read its text and add its terms to the catalogue.",
    ),
    (
        "LICENSE_UNDECLARED",
        "No license is declared while terms are carried from ancestors",
        "Declare the license in the card.",
    ),
    (
        "ANCESTOR_LICENSE_UNKNOWN",
        "An ancestor has no license that is known",
        "Find out and declare the ancestor's license.",
    ),
    (
        "EDGE_UNCONFIRMED",
        "The only path to a license is detected and declared by nobody",
        "Confirm the parent, or say why it is none.",
    ),
    ("EDGE_CONTRADICTED", "A declared parent is contradicted by the weights", "Correct the card's base model."),
    ("CYCLE", "The model is among its own ancestors", "Correct the parents that cards declare."),
    (
        "LAUNDERED_UPSTREAM",
        "An ancestor on the path dropped terms before this model",
        "Tell the owner of that ancestor, and keep the original terms.",
    ),
    ("PRIVATE_DORMANT", "Duties that would wake on publication", "Meet them before the model is published."),
];
