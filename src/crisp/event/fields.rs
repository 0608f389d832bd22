//! The fields of a JSON object, each left as text until somebody asks for it.
//!
//! Webhooks carry messages that we must not keep and fields we have never seen. Here a field costs a slice of the body
//! until it is read: nothing else is copied, numbers beyond every range and nesting of any depth pass unread, and of two
//! equal keys the last counts, as in JavaScript. An envelope and the data inside are read in one pass.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value as Json, value::RawValue};

/// An object's fields in their order.
#[derive(Default)]
pub(super) struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A webhook's outermost object, with the fields of its `data` beside it.
pub(super) struct Parted<'a> {
    pub(super) fields: Fields<'a>,
    pub(super) data: Data<'a>,
}

/// What stands under `data`.
pub(super) enum Data<'a> {
    /// Nothing, or `null`.
    Missing,
    Object(Fields<'a>),
    List,
    /// A text, a number or a truth.
    Plain,
}

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

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Fields::gather(map)
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Parted<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Parted<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(4);
                let mut data = Data::Missing;
                while let Some(Key(key)) = map.next_key()? {
                    if key == "data" {
                        data = map.next_value()?;
                    } else {
                        fields.push((key, map.next_value()?));
                    }
                }
                let fields = Fields(fields);
                Ok(Parted { fields, data })
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Data<'de>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a value")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Fields::gather(map).map(Data::Object)
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                while seq.next_element::<de::IgnoredAny>()?.is_some() {}
                Ok(Data::List)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Data::Missing)
            }

            fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                Ok(Data::Plain)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Data::Plain)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(Data::Plain)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                Ok(Data::Plain)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(Data::Plain)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl<'a> Fields<'a> {
    fn gather<'de: 'a, A: de::MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut fields = Vec::with_capacity(12);
        while let Some((Key(key), value)) = map.next_entry()? {
            fields.push((key, value));
        }
        Ok(Self(fields))
    }

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

    /// A field, if it is a text: borrowed from the body where nothing in it is escaped.
    pub(super) fn line(&self, name: &str) -> Option<Cow<'a, str>> {
        self.read::<Key<'a>>(name).map(|Key(text)| text)
    }

    /// A text of at most `longest` bytes without control characters.
    pub(super) fn text(&self, name: &str, longest: usize) -> Option<String> {
        self.line(name)
            .filter(|text| text.len() <= longest && !text.chars().any(char::is_control))
            .map(Cow::into_owned)
    }

    /// Every field that can be read as a value. What nests too deep or counts too far is no value of ours. Of a name that
    /// occurs twice the last one counts, readable or not.
    pub(super) fn values(&self) -> Map<String, Json> {
        let mut values = Map::new();
        for (key, value) in &self.0 {
            match serde_json::from_str(value.get()) {
                Ok(value) => drop(values.insert(key.clone().into_owned(), value)),
                Err(_) => drop(values.remove(&**key)),
            }
        }
        values
    }
}
