//! The instant, the id or the text that a value is.

use jiff::{Timestamp, civil, tz::TimeZone};

use crate::record::Value;

/// The instant a value is: a moment, a day from its start in UTC, or either kept as text, as SQLite keeps them. A moment
/// without a zone is UTC. Any other text is no instant, and neither is a number: it may be an id.
pub(super) fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Instant(instant) => Some(*instant),
        Value::Date(date) => utc(date.at(0, 0, 0, 0)),
        Value::Text(text) => written(text.trim()),
        _ => None,
    }
}

/// The text by which two values are told to be equal; `None` for NULL and the empty text, which are one thing.
pub(super) fn identity(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Decimal(text) | Value::Text(text) => text.trim().to_owned(),
        Value::Instant(instant) => super::occurrence::whole_second(*instant).to_string(),
        Value::Date(date) => date.to_string(),
        Value::Json(json) => json.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

fn written(text: &str) -> Option<Timestamp> {
    let date = text.get(..10)?;
    let is_date = date.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    if !is_date {
        return None;
    }
    match text.as_bytes().get(10) {
        None => utc(date.parse::<civil::Date>().ok()?.at(0, 0, 0, 0)),
        Some(b'T' | b't' | b' ') => text
            .parse::<Timestamp>()
            .ok()
            .or_else(|| utc(text.parse::<civil::DateTime>().ok()?)),
        Some(_) => None,
    }
}

fn utc(moment: civil::DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(moment).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_what_looks_like_one_as_a_whole() {
        for (text, expected) in [
            ("2026-01-02T03:04:05Z", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05+01:00", Some("2026-01-02T02:04:05Z")),
            ("2026-01-02 03:04:05", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02 03:04:05.250", Some("2026-01-02T03:04:05.25Z")),
            ("2026-01-02", Some("2026-01-02T00:00:00Z")),
            (" 2026-01-02 ", Some("2026-01-02T00:00:00Z")),
            ("2026-01-02-invoice", None),
            ("2026-13-02", None),
            ("20260102T030405Z", None),
            ("20260102", None),
            ("in_1NxYz", None),
            ("", None),
            ("éééééééééé", None),
        ] {
            let expected: Option<Timestamp> =
                expected.map(|text| text.parse().expect("an instant"));
            assert_eq!(instant(&Value::Text(text.to_owned())), expected, "{text:?}");
        }
        assert_eq!(instant(&Value::Int(1_767_355_200)), None);
        assert_eq!(
            instant(&Value::Date(civil::date(2026, 1, 2))),
            "2026-01-02T00:00:00Z".parse().ok()
        );
    }

    #[test]
    fn null_and_blank_are_nothing() {
        assert_eq!(identity(&Value::Null), None);
        assert_eq!(identity(&Value::Text(" ".to_owned())), None);
        assert_eq!(identity(&Value::Int(0)), Some("0".to_owned()));
    }
}
