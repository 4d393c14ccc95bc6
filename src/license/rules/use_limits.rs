//! Limits on use: they hold whether or not anything is published.

use super::{
    super::{
        Finding, Severity,
        catalogue::{Threshold, ThresholdKind, grouped},
        profile::Profile,
    },
    subject::Case,
};

/// Rules about the intended use.
pub(super) fn about(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(nc_use(case));
    findings.extend(thresholds(case));
    findings.extend(eu(case));
    findings
}

fn nc_use(case: &Case<'_>) -> Option<Finding> {
    if !case.subject.profile.commercial || !case.license.is_noncommercial() {
        return None;
    }
    let message =
        format!("it is meant for commercial use, which {} of `{}` forbids", case.license.name, case.ancestor());
    let remedy = "use another model, or get a commercial license from the licensor".to_owned();
    Some(case.finding("NC_USE", Severity::Violation, "commercial_use", message, remedy))
}

/// Whether a use is beyond a threshold: strictly greater.
pub(super) fn exceeds(threshold: &Threshold, profile: &Profile) -> bool {
    match threshold.kind {
        ThresholdKind::Users => profile.mau > threshold.value,
        ThresholdKind::Revenue => profile.annual_revenue_usd > threshold.value,
        ThresholdKind::Registration => profile.commercial,
    }
}

fn thresholds(case: &Case<'_>) -> Vec<Finding> {
    let profile = case.subject.profile;
    let is_met = |threshold: &&Threshold| {
        let is_spared = threshold.spares_end_users && profile.end_user;
        !threshold.asks_display_only && !is_spared && exceeds(threshold, profile)
    };
    let finding = |threshold: &Threshold| {
        let (license, ancestor) = (&case.license.name, case.ancestor());
        let (rule, severity, message, remedy) = match threshold.kind {
            ThresholdKind::Users => (
                "THRESHOLD_MAU",
                Severity::Violation,
                format!(
                    "more than {} monthly users need an agreement of their own with the licensor ({license} of `{ancestor}`)",
                    grouped(threshold.value)
                ),
                "request a license from the licensor, and record it as a waiver",
            ),
            ThresholdKind::Revenue => (
                "THRESHOLD_REVENUE",
                Severity::Violation,
                format!(
                    "above {} US dollars of revenue a year {license} of `{ancestor}` ends",
                    grouped(threshold.value)
                ),
                "get an own agreement with the licensor, and record it as a waiver",
            ),
            ThresholdKind::Registration => (
                "REGISTRATION_REVIEW",
                Severity::Review,
                format!("commercial use must be registered with the licensor ({license} of `{ancestor}`): was it?"),
                "register with the licensor, and record it as a waiver",
            ),
        };
        let at = ("thresholds", Some(threshold.clause.clone()));
        case.finding_at(rule, severity, at, message, remedy.to_owned())
    };
    case.license.traits.thresholds.iter().filter(is_met).map(finding).collect()
}

fn eu(case: &Case<'_>) -> Option<Finding> {
    let profile = case.subject.profile;
    let applies = profile.eu && !profile.end_user && case.license.traits.is_eu_multimodal && case.carried.is_multimodal;
    if !applies {
        return None;
    }
    let message = format!(
        "`{}` is multimodal, and {} grants no rights in such models to those domiciled in the European Union",
        case.ancestor(),
        case.license.name
    );
    let remedy = "use a text-only model of the family, or another one".to_owned();
    Some(case.finding("GEO_EU_MULTIMODAL", Severity::Violation, "geo", message, remedy))
}
