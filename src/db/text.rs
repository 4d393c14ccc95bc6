//! What Postgres keeps in no text: NUL, which files and requests may well hold.

use serde_json::Value;

/// Replaces each NUL of a text by the character for what cannot be shown.
pub fn text_without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The same in all texts of a JSON value, names of fields too.
pub fn without_nul(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text_without_nul(&text)),
        Value::Array(items) => items.into_iter().map(without_nul).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (text_without_nul(&name), without_nul(value))).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_nul_is_left_anywhere() {
        let value = without_nul(json!({ "a\0": ["\0b", { "c": "d\0\0" }, 1, null] }));
        assert_eq!(value, json!({ "a\u{fffd}": ["\u{fffd}b", { "c": "d\u{fffd}\u{fffd}" }, 1, null] }));
    }
}
