//! A statement with its parameters, before it is known which engine takes it.

use std::{borrow::Cow, sync::Arc};

use sqlx::{Arguments as _, Postgres, Sqlite, postgres::PgArguments, sqlite::SqliteArguments};

use super::{AllReading, Row, Through, answered, is_cut};

/// A parameter: all that the ledger keeps is whole numbers and text.
#[derive(Debug, Clone, serde::Serialize)]
#[serde(untagged)]
pub(in super::super) enum Value<'q> {
    Int(Option<i64>),
    Text(Option<Cow<'q, str>>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(Cow::Owned(value)))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(value: Option<String>) -> Self {
        Self::Text(value.map(Cow::Owned))
    }
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(value: &'q str) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl<'q> From<&'q String> for Value<'q> {
    fn from(value: &'q String) -> Self {
        Self::Text(Some(Cow::Borrowed(value)))
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(value: Option<&'q str>) -> Self {
        Self::Text(value.map(Cow::Borrowed))
    }
}

/// A statement with its parameters. Every run of one text must bind the same types in the same order.
#[derive(Debug, Clone)]
pub(in super::super) struct Query<'q> {
    sqlite: &'static str,
    postgres: &'static str,
    values: Vec<Value<'q>>,
}

/// A statement that both engines understand.
pub(in super::super) fn query<'q>(text: &'static str) -> Query<'q> {
    Query::new(text, Vec::new())
}

/// A statement with a text of its own for each engine. Both take the same parameters.
pub(in super::super) fn query_for<'q>(sqlite: &'static str, postgres: &'static str) -> Query<'q> {
    Query {
        sqlite,
        postgres,
        values: Vec::new(),
    }
}

type SqliteQuery = sqlx::query::Query<'static, Sqlite, SqliteArguments>;
type PostgresQuery = sqlx::query::Query<'static, Postgres, PgArguments>;

/// Runs one of sqlx's methods where the statement goes.
macro_rules! dispatch {
    ($query:expr, $through:expr, $method:ident) => {
        match $through.into() {
            Through::Sqlite(connection) => {
                Either::Sqlite($query.for_sqlite()?.$method(connection).await?)
            }
            Through::SqlitePool(pool) => {
                let done = $query.for_sqlite()?.$method(pool).await;
                Either::Sqlite(done.map_err(AllReading::told)?)
            }
            // In boxes: the state of a wait is as large as that of all it may wait for, and every caller would bear it.
            Through::Postgres(connection, wire) => Either::Postgres(
                Box::pin(async move {
                    answered(wire, $query.for_postgres()?.$method(connection)).await
                })
                .await?,
            ),
            Through::Server(server) => Either::Postgres(
                Box::pin(async move {
                    // Only reads go to the server as such: one that met a connection which was cut is asked again.
                    let again = $query.clone();
                    match lent!($query, server, $method) {
                        Err(error) if is_cut(&error) => lent!(again, server, $method),
                        result => result,
                    }
                })
                .await?,
            ),
        }
    };
}

/// Runs it on a connection that is lent for this alone.
macro_rules! lent {
    ($query:expr, $server:expr, $method:ident) => {
        match $server.lend().await {
            Ok(mut lent) => {
                let (connection, wire) = lent.parts();
                wire.answer($query.for_postgres()?.$method(connection))
                    .await
            }
            Err(error) => Err(error),
        }
    };
}

enum Either<S, P> {
    Sqlite(S),
    Postgres(P),
}

impl<'q> Query<'q> {
    /// A statement that one engine understands, with its first parameters.
    pub(super) fn new(text: &'static str, values: Vec<Value<'q>>) -> Self {
        Self {
            sqlite: text,
            postgres: text,
            values,
        }
    }

    #[must_use]
    pub(in super::super) fn bind(mut self, value: impl Into<Value<'q>>) -> Self {
        self.values.push(value.into());
        self
    }

    fn for_sqlite(self) -> Result<SqliteQuery, sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(self.values.len(), 0);
        for value in self.values {
            match value {
                Value::Int(value) => arguments.add(value),
                // The driver keeps this as it is; any other text it would copy once more.
                Value::Text(text) => arguments.add(text.map(Arc::<str>::from)),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(self.sqlite, arguments))
    }

    fn for_postgres(self) -> Result<PostgresQuery, sqlx::Error> {
        let mut arguments = PgArguments::default();
        for value in self.values {
            match value {
                Value::Int(value) => arguments.add(value),
                Value::Text(text) => arguments.add(text),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(self.postgres, arguments))
    }

    /// Runs it, and returns how many rows it changed.
    pub(in super::super) async fn execute(
        self,
        through: impl Into<Through<'_>>,
    ) -> Result<u64, sqlx::Error> {
        Ok(match dispatch!(self, through, execute) {
            Either::Sqlite(done) => done.rows_affected(),
            Either::Postgres(done) => done.rows_affected(),
        })
    }

    pub(in super::super) async fn fetch_all(
        self,
        through: impl Into<Through<'_>>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match dispatch!(self, through, fetch_all) {
            Either::Sqlite(rows) => rows.into_iter().map(Row::Sqlite).collect(),
            Either::Postgres(rows) => rows.into_iter().map(Row::Postgres).collect(),
        })
    }

    pub(in super::super) async fn fetch_optional(
        self,
        through: impl Into<Through<'_>>,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(match dispatch!(self, through, fetch_optional) {
            Either::Sqlite(row) => row.map(Row::Sqlite),
            Either::Postgres(row) => row.map(Row::Postgres),
        })
    }

    pub(in super::super) async fn fetch_one(
        self,
        through: impl Into<Through<'_>>,
    ) -> Result<Row, sqlx::Error> {
        self.fetch_optional(through)
            .await?
            .ok_or(sqlx::Error::RowNotFound)
    }

    /// The number in the first column of the only row. `None`: no row, or no number.
    pub(in super::super) async fn fetch_number(
        self,
        through: impl Into<Through<'_>>,
    ) -> Result<Option<i64>, sqlx::Error> {
        match self.fetch_optional(through).await? {
            Some(row) => row.int(0),
            None => Ok(None),
        }
    }

    /// The text in the first column of the only row. `None`: no row, or no text.
    pub(in super::super) async fn fetch_text(
        self,
        through: impl Into<Through<'_>>,
    ) -> Result<Option<String>, sqlx::Error> {
        match self.fetch_optional(through).await? {
            Some(row) => row.text(0),
            None => Ok(None),
        }
    }

    /// The texts in the first column.
    pub(in super::super) async fn fetch_texts(
        self,
        through: impl Into<Through<'_>>,
    ) -> Result<Vec<String>, sqlx::Error> {
        let rows = self.fetch_all(through).await?;
        rows.iter()
            .filter_map(|row| row.text(0).transpose())
            .collect()
    }
}
