//! Numbers, times and states as people read them.

use time::OffsetDateTime;

/// A state: never a color alone, always a shape and a word.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) class: &'static str,
    pub(super) symbol: &'static str,
    pub(super) word: String,
}

impl Mark {
    fn new(class: &'static str, symbol: &'static str, word: &str) -> Self {
        Self { class, symbol, word: word.to_owned() }
    }

    /// The mark of a license position or of a finding's severity.
    pub(super) fn position(word: &str) -> Self {
        match word {
            "clear" => Self::new("clear", "●", word),
            "notice" | "incomplete" => Self::new("notice", "◐", word),
            "review" => Self::new("review", "▲", word),
            "violation" => Self::new("violation", "✕", word),
            _ => Self::new("none", "○", "unknown"),
        }
    }

    /// The mark of a smoke test or of one of its checks.
    pub(super) fn verdict(word: &str) -> Self {
        match word {
            "passed" => Self::new("clear", "●", word),
            "warned" => Self::new("notice", "◐", word),
            "failed" => Self::new("violation", "✕", word),
            "error" => Self::new("review", "▲", word),
            "pending" => Self::new("none", "…", word),
            "none" => Self::new("none", "○", "not run"),
            other => Self::new("none", "○", other),
        }
    }

    /// The mark of the verdict over a model's parent links.
    pub(super) fn lineage(word: &str) -> Self {
        match word {
            "confirmed" => Self::new("clear", "●", word),
            "confirmed_family" => Self::new("clear", "●", "family confirmed"),
            "contradicted" => Self::new("violation", "✕", word),
            "detected" => Self::new("notice", "◐", word),
            "none" => Self::new("none", "○", "no parent known"),
            "pending" => Self::new("none", "…", "not compared yet"),
            other => Self::new("none", "○", other),
        }
    }

    /// The mark of what somebody said of a verdict.
    pub(super) fn decision(word: &str) -> Self {
        match word {
            "dispute" => Self::new("review", "▲", "disputed"),
            "confirm" => Self::new("clear", "●", "confirmed by a person"),
            "overrule" => Self::new("notice", "◐", "overruled"),
            _ => Self::new("none", "○", "reopened"),
        }
    }
}

/// `1.04 MB`: decimal units, as the hub and disks count.
pub(super) fn bytes(bytes: i64) -> String {
    scaled(bytes, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// `7.24 B` parameters.
pub(super) fn parameters(count: i64) -> String {
    scaled(count, &["", "k", "M", "B", "T"]).trim_end().to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn scaled(number: i64, units: &[&str]) -> String {
    if number < 1000 {
        return format!("{number} {}", units[0]);
    }
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value >= 99.95 { 0 } else { usize::from(value < 9.995) + 1 };
    format!("{value:.digits$} {}", units[unit])
}

/// A share in percent; never 0 or 100 where it is not.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        0.0 => "0 %".to_owned(),
        size if size < 0.01 => "under 0.01 %".to_owned(),
        size if size > 99.99 && size < 100.0 => "over 99.99 %".to_owned(),
        size if size < 1.0 || size > 99.0 && size < 100.0 => format!("{percent:.2} %"),
        size if size < 10.0 => format!("{percent:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

/// A similarity; never 1 where it is not.
pub(super) fn cosine(value: f64) -> String {
    if value < 1.0 && value > 0.999_5 {
        return if value > 0.999_95 { "over 0.9999".to_owned() } else { format!("{value:.4}") };
    }
    // No minus before a zero.
    format!("{:.3}", if value.abs() < 0.000_5 { 0.0 } else { value })
}

/// `97,023`.
pub(super) fn count(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if number < 0 { format!("-{grouped}") } else { grouped }
}

/// `1 descendant`, `97,023 descendants`.
pub(super) fn plural(number: i64, thing: &str) -> String {
    format!("{} {thing}{}", count(number), if number == 1 { "" } else { "s" })
}

/// What a model of this relation is called, as in "fine-tune of".
pub(super) fn relation(word: &str) -> &str {
    match word {
        "finetune" => "fine-tune",
        "quantized" => "quantization",
        "pruned" => "pruned version",
        "extended" => "extended version",
        "unknown" => "derivative",
        other => other,
    }
}

/// `a fine-tune`, `an adapter`.
pub(super) fn with_article(thing: &str) -> String {
    let article = if thing.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {thing}")
}

/// Where a claim is stated.
pub(super) fn source(word: &str) -> &str {
    match word {
        "card" => "the card",
        "adapter_config" => "adapter_config.json",
        "gguf" => "the GGUF file",
        "mergekit" => "the mergekit recipe",
        "api" => "a declaration here",
        "import" => "an imported catalog",
        "weights" => "the weights",
        other => other,
    }
}

/// HTML of a message: safe, with `names` in code type.
pub(super) fn message(text: &str) -> String {
    let mut html = String::new();
    for (at, piece) in text.split('`').enumerate() {
        let piece = super::escape(piece);
        let is_name = at % 2 == 1;
        html.push_str(&if is_name { format!("<code>{piece}</code>") } else { piece });
    }
    html
}

/// `3 days ago`.
pub(super) fn age(at: OffsetDateTime) -> String {
    let seconds = (OffsetDateTime::now_utc() - at).whole_seconds().max(0);
    let (number, unit) = match seconds {
        0..60 => return "just now".to_owned(),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..2_592_000 => (seconds / 86_400, "day"),
        2_592_000..31_536_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

/// `2026-01-02`.
pub(super) fn day(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

/// `2026-01-02 03:04 UTC`.
pub(super) fn instant(at: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_044_992), "1.04 MB");
        assert_eq!(bytes(999_999), "1.00 MB");
        assert_eq!(bytes(13_476_839_424), "13.5 GB");
        assert_eq!(parameters(260_032), "260 k");
        assert_eq!(parameters(6_738_415_616), "6.74 B");
        assert_eq!(count(97_023), "97,023");
        assert_eq!(count(-1_000), "-1,000");
        assert_eq!(count(12), "12");
        assert_eq!(cosine(1.0), "1.000");
        assert_eq!(cosine(0.999_99), "over 0.9999");
        assert_eq!(cosine(0.999_7), "0.9997");
        assert_eq!(cosine(-0.000_1), "0.000");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_01), "under 0.01 %");
        assert_eq!(percent(0.008_31), "0.83 %");
        assert_eq!(percent(0.0314), "3.1 %");
        assert_eq!(percent(0.9987), "99.87 %");
        assert_eq!(percent(0.999_999), "over 99.99 %");
        assert_eq!(percent(1.41), "141 %");
    }
}
