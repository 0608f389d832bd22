//! SQLite: the storage class decides, and the declared type helps where storage knows too little.
//!
//! SQLite has no booleans, dates or JSON of its own. What a table declares (`BOOLEAN`, `DATE`, `DATETIME`, `TIMESTAMP`,
//! `JSON`) is read from the schema once per query, by the column's origin; an expression has no declared type and stays
//! what it is stored as.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::{
    Arguments, Column as _, Either, Executor, Row, SqliteConnection, Statement as _, TypeInfo,
    ValueRef,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteRow},
};

use crate::{
    clock::millis,
    record::{Record, Value},
};

use super::{
    moment::{WallClock, parse_date},
    query::audited,
    query_name::QueryName,
    statement::{Column, Description, Failure, Statement, text_of, text_of_bytes},
};

/// Between two looks at the clock: often enough for a deadline in milliseconds, too seldom to be felt.
const STEPS_PER_LOOK: i32 = 1_000;

pub(super) fn options(options: SqliteConnectOptions, timeout: Duration) -> SqliteConnectOptions {
    options
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(timeout)
        // A kept statement would be stale in the way that `begin` describes.
        .statement_cache_capacity(0)
        .pragma("query_only", "ON")
}

/// Makes the connection ready for one statement.
///
/// SQLite has no statement timeout, so a deadline is looked at from inside. And a connection learns of a changed schema
/// only by running something: were that something the operator's `SELECT *`, it would come back with a column more than
/// the driver counted, which ends the driver's thread.
async fn begin(connection: &mut SqliteConnection, timeout: Duration) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    connection
        .lock_handle()
        .await?
        .set_progress_handler(STEPS_PER_LOOK, move || Instant::now() < deadline);
    sqlx::query("SELECT 1 FROM sqlite_schema LIMIT 1")
        .fetch_optional(connection)
        .await?;
    Ok(())
}

/// The rows of a query.
pub(super) async fn fetch(
    connection: &mut SqliteConnection,
    statement: &Statement,
    arguments: &[&Value],
    wall: &WallClock,
    timeout: Duration,
) -> Result<Vec<Record>, Failure> {
    begin(connection, timeout).await?;
    let description = match statement.description() {
        Some(description) => description,
        None => statement.describe_as(probe(connection, statement).await?),
    };
    let mut bound = SqliteArguments::default();
    for value in arguments {
        bind(&mut bound, value, wall).map_err(sqlx::Error::Encode)?;
    }
    let query = sqlx::query_with(audited(statement.text.sql.clone()), bound);
    let mut steps = connection.fetch_many(query);
    let mut records = Vec::new();
    while let Some(step) = steps.try_next().await? {
        match step {
            Either::Right(row) => records.push(record(&row, &description, wall)?),
            Either::Left(_done) => return Ok(records),
        }
        if records.len() == statement.rows {
            return Ok(records);
        }
    }
    // A stream that ends without a result is a driver's thread that ended; "no rows" would be a lie.
    Err(sqlx::Error::WorkerCrashed.into())
}

/// What SQLite says of a query.
pub(super) async fn describe(
    connection: &mut SqliteConnection,
    statement: &Statement,
    timeout: Duration,
) -> Result<Description, Failure> {
    begin(connection, timeout).await?;
    probe(connection, statement).await
}

async fn probe(
    connection: &mut SqliteConnection,
    statement: &Statement,
) -> Result<Description, Failure> {
    let prepared = (&mut *connection)
        .prepare(audited(statement.text.sql.clone()))
        .await?;
    let mut columns = Vec::with_capacity(prepared.columns().len());
    for column in prepared.columns() {
        // What a sweep shows goes back to the database, letter by letter: it is not read as anything.
        let origin = column.origin();
        let origin = origin
            .table_column()
            .filter(|_| statement.name != QueryName::Sweep);
        let declared =
            match origin {
                Some(origin) => sqlx::query_scalar::<_, String>(
                    "SELECT upper(type) FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE",
                )
                .bind(origin.table.as_ref())
                .bind(origin.name.as_ref())
                .fetch_optional(&mut *connection)
                .await?,
                None => None,
            };
        columns.push(Column {
            name: column.name().to_owned(),
            type_name: declared.unwrap_or_default(),
        });
    }
    Ok(Description {
        parameters: Vec::new(),
        columns,
    })
}

fn bind(
    bound: &mut SqliteArguments,
    value: &Value,
    wall: &WallClock,
) -> Result<(), sqlx::error::BoxDynError> {
    match value {
        Value::Null => bound.add(None::<String>),
        Value::Bool(flag) => bound.add(*flag),
        Value::Int(number) => bound.add(*number),
        // The form that SQLite's own date functions write, on the wall clock of the database: texts compare by letters.
        Value::Instant(instant) => bound.add(
            wall.local(*instant)
                .strftime("%Y-%m-%d %H:%M:%S")
                .to_string(),
        ),
        other => bound.add(text_of(other)),
    }
}

fn record(row: &SqliteRow, description: &Description, wall: &WallClock) -> Result<Record, Failure> {
    row.columns()
        .iter()
        .enumerate()
        .map(|(index, column)| {
            let declared = description
                .columns
                .get(index)
                .filter(|known| known.name == column.name())
                .ok_or_else(|| Failure::Column {
                    column: column.name().to_owned(),
                    message: "is new".to_owned(),
                })?;
            let value = value(row, index, &declared.type_name, wall)?;
            Ok((column.name().to_owned(), value))
        })
        .collect()
}

fn value(
    row: &SqliteRow,
    index: usize,
    declared: &str,
    wall: &WallClock,
) -> Result<Value, Failure> {
    let raw = row.try_get_raw(index)?;
    let stored = match raw.type_info().name() {
        _ if raw.is_null() => Value::Null,
        "INTEGER" => Value::Int(row.try_get_unchecked(index)?),
        "REAL" => Value::Decimal(row.try_get_unchecked::<f64, _>(index)?.to_string()),
        "BLOB" => Value::Text(text_of_bytes(&row.try_get_unchecked::<Vec<u8>, _>(index)?)),
        _ => Value::Text(row.try_get_unchecked(index)?),
    };
    Ok(declared_as(stored, declared, wall))
}

/// Reads a stored value as the table declares it; what cannot be read so stays as it is stored.
fn declared_as(stored: Value, declared: &str, wall: &WallClock) -> Value {
    /// Unix time in seconds stays below this until the year 5138; anything larger is in milliseconds.
    const SECONDS_BELOW: i64 = 100_000_000_000;
    let date_time = declared.starts_with("DATETIME") || declared.starts_with("TIMESTAMP");
    match &stored {
        Value::Int(0 | 1) if declared.starts_with("BOOL") => Value::Bool(stored == Value::Int(1)),
        Value::Text(text) if declared.starts_with("BOOL") => text
            .to_ascii_lowercase()
            .parse()
            .map_or(stored, Value::Bool),
        Value::Int(unix) if date_time => {
            let in_millis = if unix.abs() < SECONDS_BELOW {
                unix * 1_000
            } else {
                *unix
            };
            Value::Instant(millis(in_millis))
        }
        // A day without a time is a day, whatever its column is called.
        Value::Text(text) if date_time || declared == "DATE" => {
            let day = (text.trim().len() <= 10)
                .then(|| parse_date(text))
                .flatten();
            day.map(Value::Date)
                .or_else(|| wall.parse(text).map(Value::Instant))
                .unwrap_or(stored)
        }
        Value::Text(text) if declared.starts_with("JSON") => {
            serde_json::from_str(text).map_or(stored, Value::Json)
        }
        _ => stored,
    }
}

/// The time, in UTC.
pub(super) const CLOCK: &str = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn the_declared_type_helps_and_never_destroys() {
        let wall = WallClock::new(TimeZone::get("Europe/Berlin").expect("a zone"));
        let text = |text: &str| Value::Text(text.to_owned());
        let instant = |text: &str| Value::Instant(text.parse().expect("an instant"));
        for (stored, declared, value) in [
            (Value::Int(1), "BOOLEAN", Value::Bool(true)),
            (Value::Int(2), "BOOLEAN", Value::Int(2)),
            (text("False"), "BOOL", Value::Bool(false)),
            (Value::Int(1), "INTEGER", Value::Int(1)),
            (
                text("2026-07-01 10:00:00"),
                "DATETIME",
                instant("2026-07-01T08:00:00Z"),
            ),
            (
                text("2026-07-01T10:00:00Z"),
                "TIMESTAMP WITH TIME ZONE",
                instant("2026-07-01T10:00:00Z"),
            ),
            (
                Value::Int(1_782_900_000),
                "DATETIME(6)",
                instant("2026-07-01T10:00:00Z"),
            ),
            (
                Value::Int(1_782_900_000_500),
                "TIMESTAMP",
                instant("2026-07-01T10:00:00.5Z"),
            ),
            (
                text("2026-07-01"),
                "DATE",
                Value::Date(jiff::civil::date(2026, 7, 1)),
            ),
            (text("soon"), "DATETIME", text("soon")),
            (
                text("2026-07-01 10:00:00"),
                "TEXT",
                text("2026-07-01 10:00:00"),
            ),
            (
                text("{\"a\":1}"),
                "JSON",
                Value::Json(serde_json::json!({"a": 1})),
            ),
            (text("{\"a\":1}"), "TEXT", text("{\"a\":1}")),
            (text("{"), "JSON", text("{")),
            (Value::Null, "DATE", Value::Null),
        ] {
            assert_eq!(declared_as(stored, declared, &wall), value, "{declared}");
        }
    }
}
