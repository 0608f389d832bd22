//! The fields of a JSON object, each left as text until somebody asks for it.
//!
//! Webhooks carry messages that we must not keep and fields we have never seen. Here a field costs a slice of the body
//! until it is read: nothing else is copied, numbers beyond every range and nesting of any depth pass unread, and of two
//! equal keys the last counts, as in JavaScript.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value as Json, value::RawValue};

/// An object's fields in their order.
#[derive(Default)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(12);
                while let Some((Key(key), value)) = map.next_entry()? {
                    fields.push((key, value));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

impl<'a> Fields<'a> {
    /// The fields of an object in JSON text; nothing if it is something else.
    pub(super) fn of(text: &'a RawValue) -> Option<Self> {
        serde_json::from_str(text.get()).ok()
    }

    /// A field's text, unless it is missing or `null`.
    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| *value)
            .filter(|value| value.get() != "null")
    }

    /// A field, if it is of that type.
    pub(super) fn read<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    /// A text of at most `longest` bytes without control characters.
    pub(super) fn text(&self, name: &str, longest: usize) -> Option<String> {
        self.read::<String>(name)
            .filter(|text| text.len() <= longest && !text.chars().any(char::is_control))
    }

    /// Every field that can be read as a value. What nests too deep or counts too far is no value of ours.
    pub(super) fn values(&self) -> Map<String, Json> {
        self.0
            .iter()
            .filter_map(|(key, value)| {
                Some((
                    key.clone().into_owned(),
                    serde_json::from_str(value.get()).ok()?,
                ))
            })
            .collect()
    }
}
