//! Values on their way to PostgreSQL, in the binary form of the types it inferred, and back from its JSON.

use std::collections::BTreeMap;

use jiff::civil;
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use sqlx::{
    Encode, Postgres, Row, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, types::Oid},
};

use crate::record::{Record, Value};

use super::super::{
    moment::{WallClock, parse_date},
    statement::{Failure, text_of},
};

pub(super) fn undecodable(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// A value in the binary form of the type that the server inferred; the type itself is left to the server.
pub(super) enum Parameter {
    Null,
    Bytes(Vec<u8>),
    Numeric(Decimal),
}

impl Type<Postgres> for Parameter {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Parameter {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        match self {
            Self::Null => Ok(IsNull::Yes),
            Self::Bytes(bytes) => {
                buffer.extend_from_slice(bytes);
                Ok(IsNull::No)
            }
            Self::Numeric(number) => Encode::<Postgres>::encode_by_ref(number, buffer),
        }
    }
}

/// `None` when the value cannot be of that type.
pub(super) fn encode(value: &Value, type_name: &str, wall: &WallClock) -> Option<Parameter> {
    /// 2000-01-01, where PostgreSQL counts from.
    const EPOCH_MICROS: i64 = 946_684_800_000_000;
    let Some(text) = text_of(value) else {
        return Some(Parameter::Null);
    };
    let whole = || match value {
        Value::Instant(instant) => Some(instant.as_second()),
        _ => text.trim().parse::<i64>().ok(),
    };
    let local = || match value {
        Value::Instant(instant) => Some(wall.local(*instant)),
        Value::Date(date) => Some(date.at(0, 0, 0, 0)),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    let bytes = match type_name {
        "bigint" => whole()?.to_be_bytes().to_vec(),
        "integer" => i32::try_from(whole()?).ok()?.to_be_bytes().to_vec(),
        "smallint" => i16::try_from(whole()?).ok()?.to_be_bytes().to_vec(),
        "oid" => u32::try_from(whole()?).ok()?.to_be_bytes().to_vec(),
        "boolean" => vec![u8::from(text.parse::<bool>().ok()?)],
        "uuid" => uuid::Uuid::parse_str(text.trim())
            .ok()?
            .into_bytes()
            .to_vec(),
        "double precision" => text.parse::<f64>().ok()?.to_be_bytes().to_vec(),
        "real" => text.parse::<f32>().ok()?.to_be_bytes().to_vec(),
        "numeric" => return Some(Parameter::Numeric(text.parse().ok()?)),
        "timestamp with time zone" => {
            let instant = match value {
                Value::Instant(instant) => *instant,
                Value::Date(date) => wall.instant(date.at(0, 0, 0, 0)),
                _ => wall.parse(&text)?,
            };
            (instant.as_microsecond() - EPOCH_MICROS)
                .to_be_bytes()
                .to_vec()
        }
        "timestamp without time zone" => {
            let instant = jiff::tz::TimeZone::UTC.to_timestamp(local()?).ok()?;
            (instant.as_microsecond() - EPOCH_MICROS)
                .to_be_bytes()
                .to_vec()
        }
        "date" => {
            let days = local()?
                .date()
                .since(civil::date(2000, 1, 1))
                .ok()?
                .get_days();
            days.to_be_bytes().to_vec()
        }
        // The version of the binary form, then the text.
        "jsonb" => [&[1], text.as_bytes()].concat(),
        // Their binary forms are none that a text could be.
        "bytea"
        | "interval"
        | "inet"
        | "cidr"
        | "money"
        | "time without time zone"
        | "time with time zone" => return None,
        _ if type_name.ends_with("[]") => return None,
        // Text, its relatives, json and every enum take text as it is.
        _ => text.into_bytes(),
    };
    Some(Parameter::Bytes(bytes))
}

pub(super) fn record(
    row: &PgRow,
    types: &BTreeMap<&str, &str>,
    wall: &WallClock,
) -> Result<Record, Failure> {
    let text: String = row.try_get(0)?;
    let columns: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(&text).map_err(undecodable)?;
    columns
        .into_iter()
        .map(|(column, raw)| {
            // A column that the description lacks: the table has changed, and the caller asks again.
            let type_name = types.get(column.as_str()).ok_or_else(|| Failure::Column {
                column: column.clone(),
                message: "is new".to_owned(),
            })?;
            match decode(raw.get(), type_name, wall) {
                Some(value) => Ok((column, value)),
                None => Err(Failure::Column {
                    column,
                    message: format!("holds no {type_name} we can read"),
                }),
            }
        })
        .collect()
}

/// One JSON value, by the type of its column. Numbers keep the digits that the server printed.
fn decode(raw: &str, type_name: &str, wall: &WallClock) -> Option<Value> {
    if raw == "null" {
        return Some(Value::Null);
    }
    if raw.starts_with(['{', '[']) || matches!(type_name, "json" | "jsonb") {
        return serde_json::from_str(raw).ok().map(Value::Json);
    }
    if let Some(flag) = match raw {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    } {
        return Some(Value::Bool(flag));
    }
    if !raw.starts_with('"') {
        let whole = matches!(type_name, "smallint" | "integer" | "bigint" | "oid");
        return Some(match raw.parse() {
            Ok(number) if whole => Value::Int(number),
            _ => Value::Decimal(raw.to_owned()),
        });
    }
    let text: String = serde_json::from_str(raw).ok()?;
    match type_name {
        "timestamp with time zone" | "timestamp without time zone" => {
            wall.parse(&text).map(Value::Instant)
        }
        "date" => parse_date(&text).map(Value::Date),
        _ => Some(Value::Text(text)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn the_type_decides_and_digits_stay() {
        let wall = WallClock::new(TimeZone::UTC);
        let instant = |text: &str| Value::Instant(text.parse().expect("an instant"));
        for (raw, type_name, value) in [
            ("49.50", "numeric", Value::Decimal("49.50".to_owned())),
            ("49", "numeric", Value::Decimal("49".to_owned())),
            (
                "9007199254740993",
                "bigint",
                Value::Int(9_007_199_254_740_993),
            ),
            ("\"NaN\"", "numeric", Value::Text("NaN".to_owned())),
            (
                "\"2026-01-02\"",
                "text",
                Value::Text("2026-01-02".to_owned()),
            ),
            (
                "\"2026-01-02T03:04:05\"",
                "timestamp without time zone",
                instant("2026-01-02T03:04:05Z"),
            ),
            (
                "\"2026-01-02T03:04:05+02:00\"",
                "timestamp with time zone",
                instant("2026-01-02T01:04:05Z"),
            ),
            ("[1]", "integer[]", Value::Json(serde_json::json!([1]))),
            ("\"a\"", "jsonb", Value::Json(serde_json::json!("a"))),
            ("true", "boolean", Value::Bool(true)),
            ("null", "date", Value::Null),
        ] {
            assert_eq!(
                decode(raw, type_name, &wall),
                Some(value),
                "{raw} {type_name}"
            );
        }
        assert_eq!(decode("\"soon\"", "date", &wall), None);
    }

    #[test]
    fn a_value_that_cannot_be_of_the_type_is_told() {
        let wall = WallClock::new(TimeZone::UTC);
        let text = Value::Text("abc".to_owned());
        for type_name in ["bigint", "uuid", "boolean", "date", "text[]", "interval"] {
            assert!(encode(&text, type_name, &wall).is_none(), "{type_name}");
        }
        assert!(matches!(
            encode(&Value::Int(7), "bigint", &wall),
            Some(Parameter::Bytes(bytes)) if bytes == 7_i64.to_be_bytes()
        ));
        assert!(matches!(
            encode(&Value::Null, "uuid", &wall),
            Some(Parameter::Null)
        ));
    }
}
