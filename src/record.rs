//! What the app's database says of a user: typed values by column.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil::Date};

/// One value of one column, typed by the database and not by how it looks.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// SQL `NULL`.
    Null,
    /// A boolean column.
    Bool(bool),
    /// A whole number that fits.
    Int(i64),
    /// Any other number, as the database printed it: `49.50` stays `49.50`.
    Decimal(String),
    /// Text, an enum's label, a uuid in lower case.
    Text(String),
    /// A moment, with its zone already applied.
    Instant(Timestamp),
    /// A calendar day without a time.
    Date(Date),
    /// A JSON column, or an array.
    Json(serde_json::Value),
}

/// One row of the app's database.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record(BTreeMap<String, Value>);

impl Record {
    /// The value of a column; `None` when the query has no such column.
    pub fn value(&self, column: &str) -> Option<&Value> {
        self.0.get(column)
    }

    /// Sets a column.
    pub fn insert(&mut self, column: impl Into<String>, value: Value) {
        self.0.insert(column.into(), value);
    }

    /// Columns and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0
            .iter()
            .map(|(column, value)| (column.as_str(), value))
    }

    /// Whether the row has no column.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<C: Into<String>> FromIterator<(C, Value)> for Record {
    fn from_iter<I: IntoIterator<Item = (C, Value)>>(columns: I) -> Self {
        Self(
            columns
                .into_iter()
                .map(|(column, value)| (column.into(), value))
                .collect(),
        )
    }
}

/// A user as a look-up found them.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// The stable key, from the column that `users.key` names.
    pub key: crate::ids::UserKey,
    /// The address the row holds now.
    pub email: crate::ids::Email,
    /// The first row of the query.
    pub record: Record,
    /// The first row of each further look-up (`users.more.<name>`); an empty record where none came back.
    pub more: BTreeMap<String, Record>,
    /// Every row of the query, the first included: one per account on this address.
    pub accounts: Vec<Record>,
}
