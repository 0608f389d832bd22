//! A row of either engine.

use sqlx::{
    ColumnIndex, Row as _, TypeInfo as _, ValueRef as _, postgres::PgRow, sqlite::SqliteRow,
};

/// A row of either engine.
#[derive(Debug)]
pub(in super::super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(in super::super) fn int<I>(&self, column: I) -> Result<Option<i64>, sqlx::Error>
    where
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> + Copy,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            // Numbers of the ledger are 64 bits wide, but conditions and constants have types of their own.
            Self::Postgres(row) => {
                let kind = row.try_get_raw(column)?.type_info().name().to_owned();
                match kind.as_str() {
                    "BOOL" => Ok(row.try_get::<Option<bool>, _>(column)?.map(i64::from)),
                    "INT4" => Ok(row.try_get::<Option<i32>, _>(column)?.map(i64::from)),
                    _ => row.try_get(column),
                }
            }
        }
    }

    pub(in super::super) fn text<I>(&self, column: I) -> Result<Option<String>, sqlx::Error>
    where
        I: ColumnIndex<SqliteRow> + ColumnIndex<PgRow>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}
