//! PostgreSQL: rows as JSON, types from the server.
//!
//! The operator's query runs inside `SELECT row_to_json(q) FROM (…) AS q`, so that every type there is (enums, domains,
//! arrays, ranges, money) arrives as text without a codec of its own, and anything but a plain SELECT is refused by the
//! grammar. What the JSON no longer tells, a timestamp from a text, comes from [`describe`], once per query. Nothing here
//! leaves a named statement behind when a pooler stands between.

use std::{collections::BTreeMap, time::Duration};

use jiff::civil;
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use sqlx::{
    Arguments, Connection, Encode, Executor, PgConnection, Postgres, Row, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{
        PgArgumentBuffer, PgArguments, PgConnectOptions, PgPoolOptions, PgRow, PgTypeInfo,
        types::Oid,
    },
};

use crate::record::{Record, Value};

use super::{
    moment::{WallClock, parse_date},
    query::audited,
    statement::{Column, Description, Failure, Statement, text_of},
};

/// How a statement is guarded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guards {
    pub(super) statement_timeout: Duration,
    pub(super) pooler: bool,
}

pub(super) fn options(options: PgConnectOptions, guards: Guards) -> PgConnectOptions {
    let options = options.application_name("crisp-sync");
    if guards.pooler {
        // A start-up parameter that poolers refuse; and a cache of statements that another connection would hold.
        options.extra_float_digits(None).statement_cache_capacity(0)
    } else {
        options
    }
}

/// Makes each connection read only and impatient. With a pooler a session is not ours, so each transaction says it again.
pub(super) fn guard(pool: PgPoolOptions, guards: Guards) -> PgPoolOptions {
    if guards.pooler {
        return pool;
    }
    pool.after_connect(move |connection, _| {
        Box::pin(async move {
            let millis = guards.statement_timeout.as_millis();
            let sql = format!(
                "SET default_transaction_read_only = on; SET statement_timeout = {millis}; \
                 SET lock_timeout = {millis}; SET idle_in_transaction_session_timeout = {}",
                millis * 2
            );
            connection.execute(audited(sql)).await?;
            Ok(())
        })
    })
}

/// Runs `work` on the connection, inside a guarded transaction where a pooler stands between.
macro_rules! guarded {
    ($connection:ident, $guards:ident, |$inner:ident| $work:expr) => {{
        if $guards.pooler {
            let begin = format!(
                "BEGIN READ ONLY; SET LOCAL statement_timeout = {}",
                $guards.statement_timeout.as_millis()
            );
            let mut transaction = $connection.begin_with(audited(begin)).await?;
            let $inner: &mut PgConnection = &mut transaction;
            let result = $work;
            transaction.rollback().await?;
            result
        } else {
            let $inner: &mut PgConnection = $connection;
            $work
        }
    }};
}

/// The rows of a query.
pub(super) async fn fetch(
    connection: &mut PgConnection,
    statement: &Statement,
    arguments: &[&Value],
    wall: &WallClock,
    guards: Guards,
) -> Result<Vec<Record>, Failure> {
    guarded!(connection, guards, |inner| {
        rows(inner, statement, arguments, wall, guards).await
    })
}

async fn rows(
    connection: &mut PgConnection,
    statement: &Statement,
    arguments: &[&Value],
    wall: &WallClock,
    guards: Guards,
) -> Result<Vec<Record>, Failure> {
    let description = match statement.description() {
        Some(description) => description,
        None => statement.describe_as(probe(connection, statement).await?),
    };
    let mut bound = PgArguments::default();
    let wanted = arguments.iter().zip(&description.parameters);
    for ((value, type_name), name) in wanted.zip(&statement.text.parameters) {
        let parameter = encode(value, type_name, wall).ok_or_else(|| Failure::Parameter {
            name: name.clone(),
            type_name: type_name.clone(),
        })?;
        bound.add(parameter).map_err(sqlx::Error::Encode)?;
    }
    let sql = format!(
        "SELECT row_to_json(q)::text FROM (\n{}\n) AS q LIMIT {}",
        statement.text.sql, statement.rows
    );
    let rows = sqlx::query_with(audited(sql), bound)
        .persistent(!guards.pooler)
        .fetch_all(connection)
        .await?;
    let types: BTreeMap<&str, &str> = description
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.type_name.as_str()))
        .collect();
    rows.iter().map(|row| record(row, &types, wall)).collect()
}

/// What the server says of a query.
pub(super) async fn describe(
    connection: &mut PgConnection,
    statement: &Statement,
    guards: Guards,
) -> Result<Description, Failure> {
    guarded!(connection, guards, |inner| probe(inner, statement).await)
}

/// Asks for names and types in plain SQL instead of preparing: a prepared statement has a name, and its types are looked
/// up with more named statements. `LEFT JOIN … ON false` gives one row of nulls and runs nothing.
async fn probe(
    connection: &mut PgConnection,
    statement: &Statement,
) -> Result<Description, Failure> {
    let count = statement.text.parameters.len();
    let shell = format!(
        "(SELECT q.* FROM (SELECT) AS one LEFT JOIN (\n{}\n) AS q ON false) AS p",
        statement.text.sql
    );
    let wanted: Vec<_> = (1..=count)
        .map(|position| format!(", pg_typeof(${position})::text"))
        .collect();
    let wanted = wanted.concat();
    let sql = format!(
        "SELECT array_to_json(ARRAY(SELECT json_object_keys(row_to_json(p))))::text{wanted} FROM {shell}"
    );
    let row = one(connection, sql, count).await?;
    let names: String = row.try_get(0)?;
    let names: Vec<String> = serde_json::from_str(&names).map_err(undecodable)?;
    let mut parameters = Vec::with_capacity(count);
    for position in 1..=count {
        parameters.push(row.try_get(position)?);
    }

    // A name that occurs twice cannot be asked for; `check` reports it.
    let single: Vec<_> = names
        .iter()
        .filter(|name| names.iter().filter(|other| other == name).count() == 1)
        .collect();
    let mut types = BTreeMap::new();
    if !single.is_empty() {
        let asked: Vec<_> = single
            .iter()
            .map(|name| {
                format!(
                    "(SELECT (CASE WHEN typtype = 'd' THEN typbasetype ELSE oid END)::regtype::text \
                     FROM pg_catalog.pg_type WHERE oid = pg_typeof(p.\"{}\"))",
                    name.replace('"', "\"\"")
                )
            })
            .collect();
        let row = one(
            connection,
            format!("SELECT {} FROM {shell}", asked.join(", ")),
            count,
        )
        .await?;
        for (index, name) in single.into_iter().enumerate() {
            types.insert(name.clone(), row.try_get::<Option<String>, _>(index)?);
        }
    }
    let columns = names
        .into_iter()
        .map(|name| Column {
            type_name: types.get(&name).cloned().flatten().unwrap_or_default(),
            name,
        })
        .collect();
    Ok(Description {
        parameters,
        columns,
    })
}

/// One row of an unnamed statement whose parameters are all null, of whatever type the server wants.
async fn one(
    connection: &mut PgConnection,
    sql: String,
    nulls: usize,
) -> Result<PgRow, sqlx::Error> {
    let mut bound = PgArguments::default();
    for _ in 0..nulls {
        bound.add(Parameter::Null).map_err(sqlx::Error::Encode)?;
    }
    sqlx::query_with(audited(sql), bound)
        .persistent(false)
        .fetch_one(connection)
        .await
}

fn undecodable(error: serde_json::Error) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

/// A value in the binary form of the type that the server inferred; the type itself is left to the server.
enum Parameter {
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
fn encode(value: &Value, type_name: &str, wall: &WallClock) -> Option<Parameter> {
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

fn record(row: &PgRow, types: &BTreeMap<&str, &str>, wall: &WallClock) -> Result<Record, Failure> {
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

/// The time on the server's clock, and not the time at which a transaction began.
pub(super) const CLOCK: &str =
    "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

/// Tables that this role may change.
pub(super) const WRITABLE: &str = "SELECT count(*) FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND n.nspname NOT LIKE 'pg\\_%' AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')";

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
