//! What Crisp takes, as far as anybody outside Crisp knows.
//!
//! The figures for events come from Crisp's staff; an event beyond them vanishes without an error on some paths. Those for
//! data values are what careful integrations cut at. Definitions are checked against them when they are compiled, values are
//! cut with `…` when they are computed.

use crate::data::DataValue;

/// Characters of an event's name.
pub const EVENT_TEXT: usize = 80;
/// Data keys of an event, ours included.
pub const EVENT_KEYS: usize = 10;
/// The keys that every event of ours carries.
pub const EVENT_KEYS_OF_OURS: [&str; 2] = ["ref", "occurred_at"];
/// Characters of a value in an event's data.
pub const EVENT_VALUE: usize = 120;
/// Characters of a data value, of a segment and of a name in a profile, unless the settings say otherwise.
pub const VALUE: usize = 200;
/// Characters of a data key.
pub const KEY: usize = 50;

/// Why this cannot be a data key: Crisp takes 1 to 50 letters, digits, `_` and `-`.
pub fn key_fault(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("a data key is empty".to_owned());
    }
    if key.chars().count() > KEY {
        return Some(format!("a data key has at most {KEY} characters"));
    }
    key.chars()
        .find(|character| !(character.is_ascii_alphanumeric() || matches!(character, '_' | '-')))
        .map(|character| {
            format!("a data key takes letters, digits, `_` and `-`, not `{character}`")
        })
}

/// A key that Crisp would take and that reads like this one.
pub fn key_like(key: &str) -> Option<String> {
    let like: String = key
        .split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_")
        .to_ascii_lowercase()
        .chars()
        .take(KEY)
        .collect();
    (!like.is_empty()).then_some(like)
}

/// At most `longest` characters, the last of them `…` if something was cut.
pub fn shorten(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let kept: String = text.chars().take(longest.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// The value with its text cut to `longest` characters.
pub fn fit(value: DataValue, longest: usize) -> DataValue {
    match value {
        DataValue::Text(text) => DataValue::Text(shorten(&text, longest)),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_that_crisp_takes() {
        for key in ["plan", "trial_days-left", "A1", &"a".repeat(50)] {
            assert_eq!(key_fault(key), None, "{key}");
        }
        for key in ["", "tenant name", "é", "a.b", &"a".repeat(51)] {
            assert!(key_fault(key).is_some(), "{key}");
        }
        assert_eq!(key_like("Tenant Name!").as_deref(), Some("tenant_name"));
        assert_eq!(key_like("é"), None);
    }

    #[test]
    fn a_long_value_is_cut_and_says_so() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("éééééé", 3), "éé…");
        assert_eq!(fit(DataValue::from(true), 1), DataValue::from(true));
        assert_eq!(fit(DataValue::from("abc"), 2), DataValue::from("a…"));
    }
}
