//! Crisp's key–value data, as we write it.

use std::collections::BTreeMap;

use serde_json::{Number, Value as Json};

/// What Crisp keeps under one data key: a string, a number or a boolean. Nothing nests and nothing is null
/// (Crisp API types of the official SDKs).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub enum DataValue {
    /// `true` or `false`.
    Bool(bool),
    /// A JSON number.
    Number(Number),
    /// Text; the empty string is how "absent" is written, because a key left out is not removed everywhere.
    Text(String),
}

/// Data by key.
pub type DataMap = BTreeMap<String, DataValue>;

impl DataValue {
    /// How "absent" is written.
    pub fn absent() -> Self {
        Self::Text(String::new())
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(value) => Json::Number(value.clone()),
            Self::Text(value) => Json::String(value.clone()),
        }
    }

    /// Whether Crisp holds this already. A missing key, `null` and `""` are one thing; `3` and `3.0` are one number.
    pub fn is_held_as(&self, held: Option<&Json>) -> bool {
        match (self, held) {
            (Self::Text(text), None | Some(Json::Null)) => text.is_empty(),
            (Self::Text(text), Some(Json::String(held))) => text == held,
            (Self::Bool(value), Some(Json::Bool(held))) => value == held,
            (Self::Number(value), Some(Json::Number(held))) => {
                value == held || value.as_f64() == held.as_f64()
            }
            _ => false,
        }
    }
}

impl From<&str> for DataValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for DataValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for DataValue {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for DataValue {
    fn from(value: i64) -> Self {
        Self::Number(value.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_is_missing_null_or_empty() {
        let absent = DataValue::absent();
        for held in [None, Some(json!(null)), Some(json!(""))] {
            assert!(absent.is_held_as(held.as_ref()), "{held:?}");
        }
        assert!(!absent.is_held_as(Some(&json!(0))));
        assert!(!DataValue::from(false).is_held_as(None));
    }

    #[test]
    fn a_number_is_not_its_text() {
        assert!(DataValue::from(3).is_held_as(Some(&json!(3.0))));
        assert!(!DataValue::from(3).is_held_as(Some(&json!("3"))));
        assert!(!DataValue::from("true").is_held_as(Some(&json!(true))));
    }
}
