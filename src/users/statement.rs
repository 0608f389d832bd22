//! One query of the operator's, ready to run: its text for the engine, the values it takes, and what the server says of it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;

use crate::{
    breaker::{Breaker, Breakers},
    record::{Record, Value},
};

use super::{
    error::UsersError,
    query::{Dialect, Translated, translate},
    query_name::QueryName,
    settings::known_parameters_hint,
};

/// A translated query.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: QueryName,
    pub(super) text: Translated,
    /// The most rows we take.
    pub(super) rows: usize,
    /// What the server said last. Dropped when it no longer fits: tables change while we run.
    description: RwLock<Option<Arc<Description>>>,
    pub(super) breaker: Option<Breaker>,
    /// The counter of look-ups that failed over a value. Nobody asks it for leave: such a query works for everybody else.
    values: Option<Breaker>,
}

/// What a server says of a query before it runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Description {
    /// The type of each position, as PostgreSQL inferred it. Empty on the others, which infer nothing.
    pub(super) parameters: Vec<String>,
    /// The columns in order; a name may occur twice.
    pub(super) columns: Vec<Column>,
}

/// A column of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type in the engine's own words; empty where the engine knows none (an expression on SQLite).
    pub type_name: String,
}

/// Why a statement gave no rows, before it is known which query it was.
#[derive(Debug)]
pub(super) enum Failure {
    /// The driver or the server.
    Driver(sqlx::Error),
    /// A column's value.
    Column { column: String, message: String },
    /// A parameter's value does not fit the type that the server wants.
    Parameter { name: String, type_name: String },
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Driver(error)
    }
}

impl Statement {
    pub(super) fn new(
        name: QueryName,
        source: &str,
        dialect: Dialect,
        rows: usize,
    ) -> Result<Self, UsersError> {
        let text = translate(source, dialect).map_err(|fault| UsersError::Query {
            query: name.clone(),
            message: fault.message,
            hint: fault.hint,
            refusal: None,
        })?;
        Ok(Self {
            name,
            text,
            rows,
            description: RwLock::default(),
            breaker: None,
            values: None,
        })
    }

    /// With the breaker of this query.
    pub(super) fn guarded(mut self, breakers: Option<&Breakers>) -> Self {
        self.breaker = breakers.map(|breakers| breakers.of(&self.name.breaker()));
        self.values = breakers.map(|breakers| breakers.of(&self.name.counter_of_values()));
        self
    }

    /// Tells the query's breaker what came of a look-up with it. A database that did not answer says nothing of the query.
    pub(super) fn judged<T>(&self, result: Result<T, UsersError>) -> Result<T, UsersError> {
        if let (Some(breaker), Some(values)) = (&self.breaker, &self.values) {
            match &result {
                Ok(_) => {
                    breaker.succeeded();
                    values.succeeded();
                }
                Err(error) if error.is_over_a_value() => {
                    breaker.succeeded();
                    values.failed(&error.told());
                }
                Err(error @ UsersError::Query { .. }) => breaker.failed(&error.told()),
                Err(_) => {}
            }
        }
        result
    }

    pub(super) fn description(&self) -> Option<Arc<Description>> {
        self.description
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn describe_as(&self, description: Description) -> Arc<Description> {
        let description = Arc::new(description);
        *self
            .description
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&description));
        description
    }

    /// Forgets what the server said; `true` if there was something to forget.
    pub(super) fn forget_description(&self) -> bool {
        self.description
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .is_some()
    }

    /// The value of each position.
    pub(super) fn arguments<'a>(
        &self,
        parameters: &'a Parameters,
    ) -> Result<Vec<&'a Value>, UsersError> {
        self.text
            .parameters
            .iter()
            .map(|name| {
                parameters.0.get(name).ok_or_else(|| UsersError::Query {
                    query: self.name.clone(),
                    message: format!("there is no parameter `:{name}` here"),
                    hint: known_parameters_hint(&self.name),
                    refusal: None,
                })
            })
            .collect()
    }
}

/// Values by parameter name. They are somebody's data, so `Debug` shows only the names.
#[derive(Clone, Default)]
pub(super) struct Parameters(BTreeMap<String, Value>);

impl Parameters {
    /// The columns of a row.
    pub(super) fn of_row(row: &Record) -> Self {
        Self(
            row.iter()
                .map(|(column, value)| (column.to_owned(), value.clone()))
                .collect(),
        )
    }

    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(super) fn with_text(self, name: &str, text: &str) -> Self {
        self.with(name, Value::Text(text.to_owned()))
    }

    pub(super) fn with_instant(self, name: &str, instant: Timestamp) -> Self {
        self.with(name, Value::Instant(instant))
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

/// A value as text, for parameters whose type is text and for taking it out of messages.
pub(super) fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Decimal(text) | Value::Text(text) => text.clone(),
        Value::Instant(instant) => instant.to_string(),
        Value::Date(date) => date.to_string(),
        Value::Json(json) => json.to_string(),
    })
}

/// Bytes of a column that may hold text: text as text, anything else in hex.
pub(super) fn text_of_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text)
            if !text
                .chars()
                .any(|sign| sign.is_control() && !sign.is_whitespace()) =>
        {
            text.to_owned()
        }
        _ => hex::encode(bytes),
    }
}
