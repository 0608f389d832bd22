//! What an expression can see: the user's row, further look-ups, the event row, the time.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::{error::EvalErrorKind, evaluate::Datum, fault::nearest, number};
use crate::record::{Record, User, Value};

/// What the names in an expression stand for.
///
/// A bare name is a column of the query. `event.<column>` is the row of a lifecycle rule's query, `<look-up>.<column>` the
/// first row of a further look-up, `<column>.<field>` a field of a JSON column. `now`, `accounts`, `accounts_count` and
/// `ambiguous` are ours and win over columns of that name; `email` falls back to the address the user was found by.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The user.
    pub user: &'a User,
    /// The time.
    pub now: Timestamp,
    /// The row of a lifecycle rule's query.
    pub row: Option<&'a Record>,
}

/// Names that the language itself fills.
const OURS: [&str; 4] = ["now", "accounts", "accounts_count", "ambiguous"];

/// The column that a path reads, as [`super::Expression::columns`] tells it.
pub(super) fn column_name(path: &[String]) -> Option<String> {
    match path {
        [name, ..] if OURS.contains(&name.as_str()) => None,
        [name] => Some(name.clone()),
        [table, column, ..] => Some(format!("{table}.{column}")),
        [] => None,
    }
}

impl Scope<'_> {
    pub(super) fn look_up(&self, path: &[String]) -> Result<Datum, EvalErrorKind> {
        let (name, rest) = path.split_first().expect("a path has a first name");
        match (name.as_str(), rest) {
            ("now", []) => Ok(Value::Instant(self.now).into()),
            ("accounts_count", []) => {
                Ok(Value::Int(i64::try_from(self.user.accounts.len()).unwrap_or(i64::MAX)).into())
            }
            ("ambiguous", []) => Ok(Value::Bool(self.user.accounts.len() > 1).into()),
            ("accounts", []) => Ok(Datum::List(self.user.accounts.iter().map(row).collect())),
            ("event", [column, rest @ ..]) => {
                let row = self.row.ok_or(EvalErrorKind::NoEventRow)?;
                field(row, &format!("event.{column}"), column, rest)
            }
            ("event", []) if self.user.record.value("event").is_none() => {
                Err(EvalErrorKind::NoEventRow)
            }
            (_, [column, rest @ ..]) if self.user.more.contains_key(name) => {
                let record = &self.user.more[name];
                if record.is_empty() {
                    return Ok(Value::Null.into());
                }
                field(record, &format!("{name}.{column}"), column, rest)
            }
            ("email", []) if self.user.record.value("email").is_none() => {
                Ok(Value::Text(self.user.email.as_str().to_owned()).into())
            }
            _ => field(&self.user.record, name, name, rest),
        }
    }
}

fn field(
    record: &Record,
    written: &str,
    column: &str,
    rest: &[String],
) -> Result<Datum, EvalErrorKind> {
    let value = record
        .value(column)
        .ok_or_else(|| EvalErrorKind::UnknownColumn {
            column: written.to_owned(),
            nearest: nearest(column, record.iter().map(|(column, _)| column)).map(str::to_owned),
        })?;
    if rest.is_empty() {
        return Ok(match value {
            Value::Json(json) => from_json(json),
            other => other.clone(),
        }
        .into());
    }
    match value {
        Value::Null => Ok(Value::Null.into()),
        Value::Json(json) => Ok(rest
            .iter()
            .try_fold(json, |json, name| json.get(name))
            .map_or(Value::Null, from_json)
            .into()),
        _ => Err(EvalErrorKind::Mismatch {
            operator: ".",
            left: kind(value),
            right: "a field name",
        }),
    }
}

/// A row as one value, for the list of accounts.
fn row(record: &Record) -> Value {
    Value::Json(Json::Object(
        record
            .iter()
            .map(|(column, value)| (column.to_owned(), to_json(value)))
            .collect(),
    ))
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Json(value) => value.clone(),
        Value::Decimal(text) | Value::Text(text) => Json::String(text.clone()),
        Value::Instant(_) | Value::Date(_) => Json::String(text(value)),
    }
}

/// A scalar inside a JSON column, typed as JSON types it.
pub(super) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => number
            .as_i64()
            .map_or_else(|| Value::Decimal(number.to_string()), Value::Int),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(_) | Json::Object(_) => Value::Json(json.clone()),
    }
}

/// A value as text: `true`, `49.50`, `2026-01-31T10:00:00Z`; NULL is the empty text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Decimal(text) | Value::Text(text) => text.clone(),
        Value::Instant(instant) => number::whole_second(*instant).to_string(),
        Value::Date(date) => date.to_string(),
        Value::Json(json) => json.to_string(),
    }
}

/// What an error calls a value: its type.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::Decimal(_) => "a number",
        Value::Text(_) => "text",
        Value::Instant(_) => "a moment",
        Value::Date(_) => "a date",
        Value::Json(_) => "a JSON list or object",
    }
}
