//! An intended use as forms ask it: empty fields say nothing.

use serde::Deserialize;

use super::format;
use crate::{
    http::{api::license::UseQuery, error::ApiError},
    license::profile::{Distribution, Profile},
};

/// The fields of a use, as a form sends them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct UseForm {
    pub(super) commercial: String,
    pub(super) eu: String,
    pub(super) end_user: String,
    pub(super) mau: String,
    pub(super) annual_revenue_usd: String,
    #[serde(rename = "as")]
    pub(super) distribution: String,
}

impl UseForm {
    /// The use that is asked for.
    pub(super) fn query(&self) -> Result<UseQuery, ApiError> {
        Ok(UseQuery {
            commercial: read_yes(&self.commercial),
            eu: read_yes(&self.eu),
            end_user: read_yes(&self.end_user),
            mau: read_number(&self.mau, "mau")?,
            annual_revenue_usd: read_number(&self.annual_revenue_usd, "annual_revenue_usd")?,
            distribution: read_distribution(&self.distribution)?,
        })
    }

    /// The parameters of a URL that asks the same.
    pub(super) fn pairs(&self) -> [(&'static str, &str); 6] {
        [
            ("commercial", &self.commercial),
            ("eu", &self.eu),
            ("end_user", &self.end_user),
            ("mau", self.mau.trim()),
            ("annual_revenue_usd", self.annual_revenue_usd.trim()),
            ("as", &self.distribution),
        ]
    }

    /// The fields that show a profile.
    pub(super) fn from_profile(profile: &Profile) -> Self {
        let yes = |is: bool| if is { "true" } else { "" }.to_owned();
        let number = |number: u64| if number > 0 { number.to_string() } else { String::new() };
        Self {
            commercial: yes(profile.commercial),
            eu: yes(profile.eu),
            end_user: yes(profile.end_user),
            mau: number(profile.mau),
            annual_revenue_usd: number(profile.annual_revenue_usd),
            distribution: profile.visibility.map_or("", word).to_owned(),
        }
    }
}

fn word(distribution: Distribution) -> &'static str {
    match distribution {
        Distribution::Public => "public",
        Distribution::Private => "private",
        Distribution::Hosted => "hosted",
    }
}

fn read_yes(text: &str) -> Option<bool> {
    match text.trim() {
        "" => None,
        text => Some(matches!(text, "true" | "on" | "yes" | "1")),
    }
}

fn read_number(text: &str, field: &str) -> Result<Option<u64>, ApiError> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, ',' | '_')).collect();
    if digits.is_empty() {
        return Ok(None);
    }
    let bad = |_| ApiError::bad_request(format!("`{field}`: `{}` is not a whole number", text.trim()));
    digits.parse().map(Some).map_err(bad)
}

fn read_distribution(text: &str) -> Result<Option<Distribution>, ApiError> {
    match text.trim() {
        "" => Ok(None),
        "public" => Ok(Some(Distribution::Public)),
        "private" => Ok(Some(Distribution::Private)),
        "hosted" => Ok(Some(Distribution::Hosted)),
        other => Err(ApiError::bad_request(format!("`as`: `{other}` is not public, private or hosted"))),
    }
}

/// A use in words: `commercial, in the EU, 1,000 monthly users`.
pub(super) fn describe(profile: &Profile) -> String {
    let mut words = vec![if profile.commercial { "commercial" } else { "non-commercial" }.to_owned()];
    if profile.eu {
        words.push("in the European Union".to_owned());
    }
    if profile.end_user {
        words.push("received as part of a product".to_owned());
    }
    match profile.visibility {
        Some(Distribution::Private) => words.push("kept inside".to_owned()),
        Some(Distribution::Hosted) => words.push("offered as a service, without its weights".to_owned()),
        Some(Distribution::Public) => words.push("published".to_owned()),
        None => {}
    }
    let number = |number: u64| format::count(i64::try_from(number).unwrap_or(i64::MAX));
    if profile.mau > 0 {
        words.push(format!("{} monthly users", number(profile.mau)));
    }
    if profile.annual_revenue_usd > 0 {
        words.push(format!("{} US dollars a year", number(profile.annual_revenue_usd)));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_say_nothing_and_numbers_may_be_grouped() {
        assert!(!UseForm::default().query().unwrap().is_asked());
        let form = UseForm { mau: " 700,000 000".into(), commercial: "true".into(), ..UseForm::default() };
        let query = form.query().unwrap();
        assert_eq!((query.mau, query.commercial, query.eu), (Some(700_000_000), Some(true), None));
        let wrong = UseForm { mau: "many".into(), ..UseForm::default() };
        assert_eq!(wrong.query().unwrap_err().message, "`mau`: `many` is not a whole number");
        let profile = query.over(&Profile::default());
        assert_eq!(describe(&profile), "commercial, 700,000,000 monthly users");
        assert_eq!(UseForm::from_profile(&profile).query().unwrap().mau, Some(700_000_000));
    }
}
