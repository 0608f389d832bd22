//! MySQL and MariaDB: each row says what its columns are.
//!
//! `TIMESTAMP` is UTC (the driver sets the session so), `DATETIME` is the wall clock of `users.timezone`. MariaDB's `JSON`
//! is text to the client and stays text. A `:since` goes out in UTC.

use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::civil;
use jiff::tz::TimeZone;
use sqlx::{
    Arguments, Column as _, Executor, MySqlConnection, Row, Statement as _, TypeInfo, ValueRef,
    mysql::{MySqlArguments, MySqlConnectOptions, MySqlPoolOptions, MySqlRow, types::MySqlTime},
};

use crate::record::{Record, Value};

use super::{
    moment::WallClock,
    query::audited,
    statement::{Column, Description, Failure, Statement, text_of, text_of_bytes},
};

pub(super) fn options(options: MySqlConnectOptions, pooler: bool) -> MySqlConnectOptions {
    // The driver would change the meaning of `||` and the `sql_mode` of the operator's own query.
    let options = options.pipes_as_concat(false).no_engine_substitution(false);
    if pooler {
        options.statement_cache_capacity(0)
    } else {
        options
    }
}

/// Makes each connection read only and impatient. The two servers name the limit differently, in different units.
pub(super) fn guard(pool: MySqlPoolOptions, timeout: Duration) -> MySqlPoolOptions {
    pool.after_connect(move |connection, _| {
        Box::pin(async move {
            let version: String = sqlx::query_scalar("SELECT VERSION()")
                .fetch_one(&mut *connection)
                .await?;
            let limit = if version.contains("MariaDB") {
                format!("max_statement_time = {:.3}", timeout.as_secs_f64())
            } else {
                format!("max_execution_time = {}", timeout.as_millis())
            };
            connection
                .execute("SET SESSION TRANSACTION READ ONLY")
                .await?;
            connection
                .execute(audited(format!("SET SESSION {limit}")))
                .await?;
            Ok(())
        })
    })
}

/// The rows of a query, and whether some were left unread on the connection.
pub(super) async fn fetch(
    connection: &mut MySqlConnection,
    statement: &Statement,
    arguments: &[&Value],
    wall: &WallClock,
    pooler: bool,
) -> Result<(Vec<Record>, bool), Failure> {
    let mut bound = MySqlArguments::default();
    for value in arguments {
        bind(&mut bound, value).map_err(sqlx::Error::Encode)?;
    }
    let mut rows = sqlx::query_with(audited(statement.text.sql.clone()), bound)
        .persistent(!pooler)
        .fetch(connection);
    let mut records = Vec::new();
    while let Some(row) = rows.try_next().await? {
        if records.len() == statement.rows {
            return Ok((records, true));
        }
        records.push(record(&row, wall)?);
    }
    Ok((records, false))
}

/// What the server says of a query.
pub(super) async fn describe(
    connection: &mut MySqlConnection,
    statement: &Statement,
) -> Result<Description, Failure> {
    let prepared = connection
        .prepare(audited(statement.text.sql.clone()))
        .await?;
    Ok(Description {
        parameters: Vec::new(),
        columns: prepared
            .columns()
            .iter()
            .map(|column| Column {
                name: column.name().to_owned(),
                type_name: column.type_info().name().to_ascii_lowercase(),
            })
            .collect(),
    })
}

fn bind(bound: &mut MySqlArguments, value: &Value) -> Result<(), sqlx::error::BoxDynError> {
    match value {
        Value::Null => bound.add(None::<String>),
        Value::Bool(flag) => bound.add(*flag),
        Value::Int(number) => bound.add(*number),
        Value::Instant(instant) => bound.add(
            TimeZone::UTC
                .to_datetime(*instant)
                .strftime("%Y-%m-%d %H:%M:%S%.6f")
                .to_string(),
        ),
        other => bound.add(text_of(other)),
    }
}

fn record(row: &MySqlRow, wall: &WallClock) -> Result<Record, Failure> {
    row.columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let value = value(row, index, column.type_info().name(), wall)?;
            match value {
                Some(value) => Ok((column.name().to_owned(), value)),
                None => Err(Failure::Column {
                    column: column.name().to_owned(),
                    message: format!("holds no {} we can read", column.type_info().name()),
                }),
            }
        })
        .collect()
}

/// `None` when the value cannot be read as its type.
fn value(
    row: &MySqlRow,
    index: usize,
    type_name: &str,
    wall: &WallClock,
) -> Result<Option<Value>, Failure> {
    // Zero dates (`0000-00-00`) are null here too.
    if row.try_get_raw(index)?.is_null() {
        return Ok(Some(Value::Null));
    }
    Ok(match type_name {
        "BOOLEAN" => Some(match row.try_get_unchecked::<i64, _>(index)? {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            // `tinyint(1)` used as a small number.
            other => Value::Int(other),
        }),
        "BIT" => {
            let bytes: Vec<u8> = row.try_get_unchecked(index)?;
            let number = bytes.iter().try_fold(0_i64, |sum, byte| {
                sum.checked_mul(256)?.checked_add(i64::from(*byte))
            });
            match (bytes.as_slice(), number) {
                ([flag @ (0 | 1)], _) => Some(Value::Bool(*flag == 1)),
                (_, Some(number)) => Some(Value::Int(number)),
                _ => None,
            }
        }
        "YEAR" => Some(Value::Int(row.try_get_unchecked::<u16, _>(index)?.into())),
        "TINYINT" | "SMALLINT" | "INT" | "MEDIUMINT" | "BIGINT" => {
            Some(Value::Int(row.try_get_unchecked(index)?))
        }
        name if name.ends_with("UNSIGNED") => {
            let number: u64 = row.try_get_unchecked(index)?;
            Some(
                i64::try_from(number)
                    .map_or_else(|_| Value::Decimal(number.to_string()), Value::Int),
            )
        }
        "FLOAT" => Some(Value::Decimal(
            row.try_get_unchecked::<f32, _>(index)?.to_string(),
        )),
        "DOUBLE" => Some(Value::Decimal(
            row.try_get_unchecked::<f64, _>(index)?.to_string(),
        )),
        "DECIMAL" => Some(Value::Decimal(row.try_get_unchecked(index)?)),
        "TIMESTAMP" => date_time(&row.try_get_unchecked(index)?)
            .map(|at| Value::Instant(WallClock::new(TimeZone::UTC).instant(at))),
        "DATETIME" => {
            date_time(&row.try_get_unchecked(index)?).map(|at| Value::Instant(wall.instant(at)))
        }
        "DATE" => date(row.try_get_unchecked(index)?).map(Value::Date),
        // May be negative or beyond a day: a duration, so it stays text.
        "TIME" => Some(Value::Text(
            row.try_get_unchecked::<MySqlTime, _>(index)?.to_string(),
        )),
        "JSON" => serde_json::from_slice(&row.try_get_unchecked::<Vec<u8>, _>(index)?)
            .ok()
            .map(Value::Json),
        // Text of every size, enums and sets, and binary columns, which MariaDB also uses for text that tells case.
        _ => Some(Value::Text(text_of_bytes(
            &row.try_get_unchecked::<Vec<u8>, _>(index)?,
        ))),
    })
}

fn date(day: time::Date) -> Option<civil::Date> {
    let (year, month, day) = day.to_calendar_date();
    civil::Date::new(
        i16::try_from(year).ok()?,
        i8::try_from(u8::from(month)).ok()?,
        i8::try_from(day).ok()?,
    )
    .ok()
}

fn date_time(at: &time::PrimitiveDateTime) -> Option<civil::DateTime> {
    let (hour, minute, second, nano) = at.time().as_hms_nano();
    let time = civil::Time::new(
        i8::try_from(hour).ok()?,
        i8::try_from(minute).ok()?,
        i8::try_from(second).ok()?,
        i32::try_from(nano).ok()?,
    )
    .ok()?;
    Some(date(at.date())?.to_datetime(time))
}

/// The time on the server's clock, in UTC.
pub(super) const CLOCK: &str = "SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ')";

/// What this account may do, one grant a row.
pub(super) const GRANTS: &str = "SHOW GRANTS";
