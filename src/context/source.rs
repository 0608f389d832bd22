//! What an operator writes: the `[maps]`, `[context]` and `[profile]` of the file, not yet understood.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::limits;
use crate::data::DataValue;

/// The definition as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DefinitionSource {
    /// Value maps: `[maps.plan] price_1NxYz = "pro"`, used as `{{ plan | map('plan') }}`.
    pub maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Data by key.
    pub data: BTreeMap<String, DataFieldSource>,
    /// Segments: the name, with placeholders or without, and the condition under which it is there.
    pub segments: BTreeMap<String, String>,
    /// What fills empty fields of a contact's profile.
    pub profile: ProfileSource,
    /// Whether `context_as_of` and `context_state` are written. Default: true.
    pub as_of: bool,
    /// Characters a value may have before it is cut. Default: 200.
    pub longest_value: usize,
}

impl Default for DefinitionSource {
    fn default() -> Self {
        Self {
            maps: BTreeMap::new(),
            data: BTreeMap::new(),
            segments: BTreeMap::new(),
            profile: ProfileSource::default(),
            as_of: true,
            longest_value: limits::VALUE,
        }
    }
}

/// Where a data field is written.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// On the contact alone, where only agents see it.
    Contact,
    /// On the conversation alone.
    Session,
    /// On both.
    #[default]
    Both,
}

impl Target {
    /// Whether the session gets it.
    pub fn is_session(self) -> bool {
        self != Self::Contact
    }

    /// Whether the contact gets it.
    pub fn is_contact(self) -> bool {
        self != Self::Session
    }
}

/// One data field: a template, or a table with more to say.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum DataFieldSource {
    /// `plan = "{{ plan }}"`.
    Template(String),
    /// `plan = { value = "{{ plan }}", when = "status == 'active'" }`.
    Table(DataFieldTable),
}

/// The long form of a data field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataFieldTable {
    /// The template of the value.
    pub value: String,
    /// The condition under which the value is written; `else` is written otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// `contact`, `session` or `both`.
    #[serde(default)]
    pub target: Target,
    /// What stands for "absent": without the condition, or when the value is NULL or blank. Default: `""`.
    #[serde(default = "DataValue::absent", rename = "else")]
    pub otherwise: DataValue,
}

impl DataFieldSource {
    /// The long form, whichever was written.
    pub fn to_table(&self) -> DataFieldTable {
        match self {
            Self::Template(value) => DataFieldTable {
                value: value.clone(),
                when: None,
                target: Target::default(),
                otherwise: DataValue::absent(),
            },
            Self::Table(table) => table.clone(),
        }
    }
}

/// Chooses by what was written, and not by trying both: so a misspelt key is still called an unknown field.
impl<'de> Deserialize<'de> for DataFieldSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = DataFieldSource;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a template as text, or a table with `value`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(DataFieldSource::Template(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
                DataFieldTable::deserialize(MapAccessDeserializer::new(table))
                    .map(DataFieldSource::Table)
            }
        }

        deserializer.deserialize_any(Written)
    }
}

impl JsonSchema for DataFieldSource {
    fn schema_name() -> Cow<'static, str> {
        "DataFieldSource".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "One data field: a template, or a table with more to say.",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<DataFieldTable>()],
        })
    }
}

/// Templates for a contact's profile. Each fills its field only while it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileSource {
    /// The person's name.
    pub nickname: Option<String>,
    /// The person's phone number.
    pub phone: Option<String>,
    /// The address of a picture.
    pub avatar: Option<String>,
    /// The person's website.
    pub website: Option<String>,
    /// The company's name.
    pub company: Option<String>,
}
