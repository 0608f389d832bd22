//! What Crisp accepts in a body, and the refusals.
//!
//! Stricter than Crisp where Crisp drops silently: a stand-in that swallows a mistake teaches nothing.

use serde_json::{Map, Value as Json};

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub status: u16,
    pub reason: &'static str,
    /// For people; names fields, never values.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_data", message)
    }
}

/// The ten colours of an event.
const COLORS: [&str; 10] = [
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "grey", "black",
];

/// The body as an object with these fields and no others.
pub(super) fn object(body: &[u8], fields: &[&str]) -> Result<Map<String, Json>, Refusal> {
    let json = if body.is_empty() {
        Json::Object(Map::new())
    } else {
        serde_json::from_slice(body)
            .map_err(|_unreadable| Refusal::invalid("the body is not JSON"))?
    };
    let Json::Object(object) = json else {
        return Err(Refusal::invalid("the body is not an object"));
    };
    match object.keys().find(|key| !fields.contains(&key.as_str())) {
        Some(key) => Err(Refusal::invalid(format!("`{key}` is not a field here"))),
        None => Ok(object),
    }
}

/// Data: string, number or boolean under `[A-Za-z0-9_-]{1,50}`.
pub(super) fn data(value: Json, longest: Option<usize>) -> Result<Map<String, Json>, Refusal> {
    let Json::Object(data) = value else {
        return Err(Refusal::invalid("`data` is not an object"));
    };
    for (key, value) in &data {
        let plain = (1..=50).contains(&key.len())
            && key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !plain {
            return Err(Refusal::invalid(format!("`{key}` is not a data key")));
        }
        if value.is_null() || value.is_array() || value.is_object() {
            return Err(Refusal::invalid(format!(
                "`data.{key}` is not a string, number or boolean"
            )));
        }
        if let (Some(longest), Some(text)) = (longest, value.as_str())
            && text.chars().count() > longest
        {
            return Err(Refusal::invalid(format!(
                "`data.{key}` is longer than {longest} characters"
            )));
        }
    }
    Ok(data)
}

/// A list of non-empty texts, each once.
pub(super) fn segments(value: &Json) -> Result<Vec<String>, Refusal> {
    let refusal = || Refusal::invalid("`segments` is not a list of texts, each once");
    let mut segments: Vec<String> = Vec::new();
    for item in value.as_array().ok_or_else(refusal)? {
        match item.as_str() {
            Some(text) if !text.is_empty() && !segments.iter().any(|known| known == text) => {
                segments.push(text.to_owned());
            }
            _ => return Err(refusal()),
        }
    }
    Ok(segments)
}

/// An address.
pub(super) fn email(value: &Json) -> Result<String, Refusal> {
    value
        .as_str()
        .filter(|text| crate::ids::Email::parse(text).is_ok())
        .map(str::to_owned)
        .ok_or_else(|| Refusal::invalid("`email` is not an address"))
}

/// A new event.
#[derive(Debug)]
pub(super) struct NewEvent {
    pub text: String,
    pub data: Map<String, Json>,
    pub color: Option<String>,
}

/// Reads a new event and holds it to Crisp's limits.
pub(super) fn event(body: &[u8]) -> Result<NewEvent, Refusal> {
    let mut object = object(body, &["text", "data", "color"])?;
    let text = match object.remove("text") {
        Some(Json::String(text)) if !text.is_empty() && text.chars().count() <= 80 => text,
        _ => {
            return Err(Refusal::invalid(
                "`text` is not a text of 1 to 80 characters",
            ));
        }
    };
    let data = match object.remove("data") {
        None => Map::new(),
        Some(value) => data(value, Some(120))?,
    };
    if data.len() > 10 {
        return Err(Refusal::invalid("`data` has more than 10 keys"));
    }
    let color = match object.remove("color") {
        None => None,
        Some(Json::String(color)) if COLORS.contains(&color.as_str()) => Some(color),
        Some(_) => return Err(Refusal::invalid("`color` is none of the ten colours")),
    };
    Ok(NewEvent { text, data, color })
}

/// A profile card, whole or in part.
#[derive(Debug, Default)]
pub(super) struct Card {
    pub email: Option<String>,
    pub segments: Option<Vec<String>>,
    /// `person`, `company`, `notepad`, `active`.
    pub rest: Map<String, Json>,
}

pub(super) fn card(body: &[u8]) -> Result<Card, Refusal> {
    let mut object = object(
        body,
        &[
            "email", "person", "company", "segments", "notepad", "active",
        ],
    )?;
    let email = object
        .remove("email")
        .map(|value| email(&value))
        .transpose()?;
    let segments = object
        .remove("segments")
        .map(|value| segments(&value))
        .transpose()?;
    for field in ["person", "company"] {
        let Some(value) = object.get(field) else {
            continue;
        };
        let Some(inner) = value.as_object() else {
            return Err(Refusal::invalid(format!("`{field}` is not an object")));
        };
        if inner.values().any(Json::is_null) {
            return Err(Refusal::invalid(format!("`{field}` holds a null")));
        }
    }
    Ok(Card {
        email,
        segments,
        rest: object,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_held_to_crisps_limits() {
        let many: Vec<String> = (0..11).map(|n| format!("\"k{n}\":1")).collect();
        for body in [
            "[]".to_owned(),
            "not json".to_owned(),
            "{}".to_owned(),
            r#"{"text":""}"#.to_owned(),
            format!(r#"{{"text":"{}"}}"#, "x".repeat(81)),
            r#"{"text":"a","color":null}"#.to_owned(),
            r#"{"text":"a","color":"teal"}"#.to_owned(),
            r#"{"text":"a","timestamp":1}"#.to_owned(),
            r#"{"text":"a","data":{"a b":1}}"#.to_owned(),
            r#"{"text":"a","data":{"a":{"b":1}}}"#.to_owned(),
            format!(r#"{{"text":"a","data":{{"a":"{}"}}}}"#, "x".repeat(121)),
            format!(r#"{{"text":"a","data":{{{}}}}}"#, many.join(",")),
        ] {
            let refusal = event(body.as_bytes()).expect_err(&body);
            assert_eq!(
                (refusal.status, refusal.reason),
                (400, "invalid_data"),
                "{body}"
            );
        }
        let new = event(br#"{"text":"user:signup","data":{"plan":"pro"},"color":"green"}"#)
            .expect("fine");
        assert_eq!(
            (new.text.as_str(), new.data.len(), new.color.as_deref()),
            ("user:signup", 1, Some("green"))
        );
    }

    #[test]
    fn cards_are_held_to_their_fields() {
        for body in [
            r#"{"data":{}}"#,
            r#"{"email":"nobody"}"#,
            r#"{"segments":["a","a"]}"#,
            r#"{"segments":[""]}"#,
            r#"{"person":{"nickname":null}}"#,
            r#"{"person":"Ada"}"#,
        ] {
            assert!(card(body.as_bytes()).is_err(), "{body}");
        }
        assert!(card(br#"{"email":"a@b.c","person":{"nickname":"Ada"}}"#).is_ok());
    }
}
