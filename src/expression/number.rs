//! Exact numbers, and moments on a line.
//!
//! A decimal keeps the digits the database printed. It becomes a JSON number only when a reader that knows nothing but
//! 64-bit floats, as Crisp's JavaScript does, gets the same number back.

use std::str::FromStr as _;

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use rust_decimal::Decimal;
use serde_json::Number;

use crate::{data::DataValue, record::Value};

/// The largest whole number up to which JavaScript knows every one: 2^53 − 1.
const SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The number a value is, to 28 digits.
pub(super) fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Bool(value) => Some(Decimal::from(i64::from(*value))),
        Value::Int(value) => Some(Decimal::from(*value)),
        Value::Decimal(text) => parse(text),
        _ => None,
    }
}

/// Reads a number as text.
pub(super) fn parse(text: &str) -> Option<Decimal> {
    let text = text.trim();
    Decimal::from_str(text)
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// A computed number as a value: whole where it is whole, otherwise its digits.
pub(super) fn value(number: Decimal) -> Value {
    match i64::try_from(number) {
        Ok(whole) if number.scale() == 0 => Value::Int(whole),
        _ => Value::Decimal(number.to_string()),
    }
}

/// A whole number as data; one that JavaScript would round is text.
pub(super) fn integer_data(value: i64) -> DataValue {
    if value.unsigned_abs() <= SAFE_INTEGER {
        DataValue::from(value)
    } else {
        DataValue::Text(value.to_string())
    }
}

/// A decimal as data: a JSON number if a 64-bit float holds all its digits, otherwise the text.
pub(super) fn decimal_data(text: &str) -> DataValue {
    exact(text).map_or_else(|| DataValue::Text(text.to_owned()), DataValue::Number)
}

fn exact(text: &str) -> Option<Number> {
    let wanted = Decimal::from_str_exact(text).ok()?.normalize();
    if let Ok(whole) = i64::try_from(wanted)
        && wanted.is_integer()
    {
        return (whole.unsigned_abs() <= SAFE_INTEGER).then(|| Number::from(whole));
    }
    let float: f64 = text.parse().ok()?;
    let back = Decimal::from_str_exact(&float.to_string())
        .ok()?
        .normalize();
    (back == wanted).then(|| Number::from_f64(float)).flatten()
}

/// The moment a value is; a date is its midnight in UTC.
pub(super) fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Instant(instant) => Some(*instant),
        Value::Date(date) => midnight(*date),
        Value::Text(text) => parse_instant(text),
        _ => None,
    }
}

/// A moment or a day that is kept as text, as SQLite keeps them; without a zone it is UTC.
pub(super) fn parse_instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse::<Timestamp>().ok().or_else(|| {
        text.parse::<jiff::civil::DateTime>()
            .ok()
            .and_then(|moment| moment.to_zoned(TimeZone::UTC).ok())
            .map(|moment| moment.timestamp())
    })
}

/// The day a value is, in UTC.
pub(super) fn day(value: &Value) -> Option<Date> {
    match value {
        Value::Date(date) => Some(*date),
        other => instant(other).map(|instant| instant.to_zoned(TimeZone::UTC).date()),
    }
}

fn midnight(date: Date) -> Option<Timestamp> {
    date.to_zoned(TimeZone::UTC)
        .ok()
        .map(|moment| moment.timestamp())
}

/// The moment without its fraction of a second: agents and campaigns read seconds.
pub(super) fn whole_second(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}
