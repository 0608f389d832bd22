//! PostgreSQL: rows as JSON, types from the server.
//!
//! The operator's query runs inside `SELECT row_to_json(q) FROM (…) AS q`, so that every type there is (enums, domains,
//! arrays, ranges, money) arrives as text without a codec of its own, and anything but a plain SELECT is refused by the
//! grammar. What the JSON no longer tells, a timestamp from a text, comes from [`describe`], once per query. Nothing here
//! leaves a named statement behind when a pooler stands between.

mod values;

use std::{collections::BTreeMap, time::Duration};

use sqlx::{
    Arguments, Connection, Executor, PgConnection, Row,
    postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgRow},
};

use crate::record::{Record, Value};

use self::values::{Parameter, encode, record, undecodable};
use super::{
    moment::WallClock,
    query::audited,
    statement::{Column, Description, Failure, Statement},
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

/// The time on the server's clock, and not the time at which a transaction began.
pub(super) const CLOCK: &str =
    "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

/// Tables that this role may change.
pub(super) const WRITABLE: &str = "SELECT count(*) FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
    AND n.nspname NOT LIKE 'pg\\_%' AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')";
