//! The exact bytes of a webhook: JSON as `JSON.stringify` writes it.
//!
//! Crisp's own Node SDK verifies by parsing the body and writing it again, so a body it would write differently can
//! never be verified by it. No blanks, raw UTF-8, whole numbers without a point, integer-like keys first and in order.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// The body of a webhook.
pub(super) fn envelope(website: &str, event: &str, data: &Json, timestamp: i64) -> String {
    let mut body = String::from("{\"website_id\":");
    write_text(&mut body, website);
    body.push_str(",\"event\":");
    write_text(&mut body, event);
    body.push_str(",\"data\":");
    write_value(&mut body, data);
    let _infallible = write!(body, ",\"timestamp\":{timestamp}}}");
    body
}

fn write_text(out: &mut String, text: &str) {
    out.push_str(&Json::from(text).to_string());
}

fn write_value(out: &mut String, value: &Json) {
    match value {
        Json::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Json::Object(fields) => {
            let index = |key: &str| {
                key.parse::<u32>()
                    .ok()
                    .filter(|number| *number < u32::MAX && number.to_string() == key)
            };
            let mut ordered: Vec<_> = fields.iter().collect();
            ordered.sort_by_key(|(key, _)| index(key).map_or((1, 0), |number| (0, number)));
            out.push('{');
            for (place, (key, field)) in ordered.into_iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write_text(out, key);
                out.push(':');
                write_value(out, field);
            }
            out.push('}');
        }
        Json::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap_or_default();
            if number.fract() == 0.0 && number.abs() < 1e21 {
                let _infallible = write!(out, "{:.0}", if number == 0.0 { 0.0 } else { number });
            } else {
                let _infallible = write!(out, "{}", Json::from(number));
            }
        }
        other => {
            let _infallible = write!(out, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_envelope_is_in_crisps_order() {
        assert_eq!(
            envelope(
                "w",
                "message:send",
                &json!({"content": "café"}),
                1_732_176_000_000
            ),
            r#"{"website_id":"w","event":"message:send","data":{"content":"café"},"timestamp":1732176000000}"#
        );
    }

    #[test]
    fn json_is_written_as_javascript_writes_it() {
        for (value, text) in [
            (
                json!({"b": 1.0, "10": 2, "9": 3, "a": [true, null]}),
                r#"{"9":3,"10":2,"a":[true,null],"b":1}"#,
            ),
            (json!({"01": 1, "1": -0.0}), r#"{"1":0,"01":1}"#),
            (
                json!("a/b<c>\u{2028}\n\u{1}é"),
                "\"a/b<c>\u{2028}\\n\\u0001é\"",
            ),
            (json!(0.25), "0.25"),
        ] {
            let mut out = String::new();
            write_value(&mut out, &value);
            assert_eq!(out, text);
        }
    }
}
