//! Rows to values, and the engines' errors to ours.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgDatabaseError;

use crate::clock::millis;

use super::{
    super::error::{LedgerError, Source},
    engine::{AllReading, Row, is_cut},
    postgres::is_silence,
};

/// Reads the cells of one row.
pub(super) struct Cells<'row> {
    row: &'row Row,
    what: &'static str,
}

impl<'row> Cells<'row> {
    /// `what` names the kind of row in errors.
    pub(super) fn of(row: &'row Row, what: &'static str) -> Self {
        Self { row, what }
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, LedgerError> {
        self.text_if(column)?
            .ok_or(LedgerError::Unreadable { what: self.what })
    }

    pub(super) fn text_if(&self, column: &'static str) -> Result<Option<String>, LedgerError> {
        self.row.text(column).map_err(failed(self.what))
    }

    pub(super) fn int(&self, column: &'static str) -> Result<i64, LedgerError> {
        self.int_if(column)?
            .ok_or(LedgerError::Unreadable { what: self.what })
    }

    pub(super) fn int_if(&self, column: &'static str) -> Result<Option<i64>, LedgerError> {
        self.row.int(column).map_err(failed(self.what))
    }

    pub(super) fn count(&self, column: &'static str) -> Result<u32, LedgerError> {
        Ok(u32::try_from(self.int(column)?).unwrap_or(u32::MAX))
    }

    pub(super) fn total(&self, column: &'static str) -> Result<u64, LedgerError> {
        Ok(u64::try_from(self.int(column)?).unwrap_or(0))
    }

    pub(super) fn flag(&self, column: &'static str) -> Result<bool, LedgerError> {
        Ok(self.int(column)? != 0)
    }

    pub(super) fn instant(&self, column: &'static str) -> Result<Timestamp, LedgerError> {
        Ok(millis(self.int(column)?))
    }

    pub(super) fn instant_if(
        &self,
        column: &'static str,
    ) -> Result<Option<Timestamp>, LedgerError> {
        Ok(self.int_if(column)?.map(millis))
    }

    /// Takes a text back into the value it was made from.
    pub(super) fn parsed<T>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, LedgerError> {
        parse(&self.text(column)?).ok_or(LedgerError::Unreadable { what: self.what })
    }

    pub(super) fn parsed_if<T>(
        &self,
        column: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, LedgerError> {
        match self.text_if(column)? {
            None => Ok(None),
            Some(text) => parse(&text)
                .map(Some)
                .ok_or(LedgerError::Unreadable { what: self.what }),
        }
    }

    pub(super) fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, LedgerError> {
        self.parsed(column, |text| serde_json::from_str(text).ok())
    }

    pub(super) fn json_if<T: DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<Option<T>, LedgerError> {
        self.parsed_if(column, |text| serde_json::from_str(text).ok())
    }
}

/// JSON text of a value that is made of maps, lists and plain values only.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps with text keys, lists and plain values are JSON")
}

/// Texts or numbers as JSON that both engines take apart the same: `value ->> 0 FROM json_each($1)`.
pub(super) fn list<T: serde::Serialize>(values: &[T]) -> String {
    json(&values.iter().map(|value| [value]).collect::<Vec<_>>())
}

/// An instant as the ledger keeps it.
pub(super) fn ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A duration as the ledger keeps it.
pub(super) fn span(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

/// Turns a driver's error into ours, by what is to be done next.
pub(super) fn failed(what: &'static str) -> impl FnOnce(sqlx::Error) -> LedgerError {
    move |error| {
        let kind = match &error {
            sqlx::Error::PoolClosed => return LedgerError::Closed,
            sqlx::Error::PoolTimedOut => Kind::Unreachable,
            error if AllReading::is(error) => Kind::Busy,
            error if is_silence(error) => Kind::NoAnswer,
            error if is_cut(error) => Kind::Interrupted,
            sqlx::Error::Database(database) => {
                if let Some(error) = database.try_downcast_ref::<PgDatabaseError>() {
                    postgres(error.code())
                } else {
                    sqlite(database.code().as_deref())
                }
            }
            _ => Kind::Storage,
        };
        let source = Source::new(error);
        match kind {
            Kind::Unreachable => LedgerError::Unreachable { what, source },
            Kind::Busy => LedgerError::Busy { what, source },
            Kind::NoAnswer => LedgerError::NoAnswer { what, source },
            Kind::ReadOnly => LedgerError::ReadOnly { what, source },
            Kind::Corrupt => LedgerError::Corrupt { what, source },
            Kind::Full => LedgerError::Full { what, source },
            Kind::Refused => LedgerError::Refused { what, source },
            Kind::Interrupted => LedgerError::Interrupted { what, source },
            Kind::Storage => LedgerError::Storage { what, source },
        }
    }
}

/// No connection was to be had.
pub(super) fn unreachable(error: sqlx::Error) -> LedgerError {
    match error {
        sqlx::Error::PoolClosed => LedgerError::Closed,
        error => LedgerError::Unreachable {
            what: "connect to the ledger",
            source: Source::new(error),
        },
    }
}

enum Kind {
    Unreachable,
    Busy,
    NoAnswer,
    ReadOnly,
    Corrupt,
    Full,
    Refused,
    Interrupted,
    Storage,
}

/// By the primary result code.
fn sqlite(code: Option<&str>) -> Kind {
    const ERROR: i32 = 1;
    const READONLY: i32 = 8;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    const NOT_A_DATABASE: i32 = 26;
    match code
        .and_then(|code| code.parse::<i32>().ok())
        .map(|code| code & 0xff)
    {
        Some(READONLY) => Kind::ReadOnly,
        Some(CORRUPT | NOT_A_DATABASE) => Kind::Corrupt,
        Some(FULL) => Kind::Full,
        Some(ERROR | TOO_BIG | CONSTRAINT | MISMATCH) => Kind::Refused,
        _ => Kind::Storage,
    }
}

/// By the SQLSTATE, whose first two characters are its class.
fn postgres(code: &str) -> Kind {
    match code {
        "25006" => Kind::ReadOnly,
        "53100" => Kind::Full,
        // Too many connections, a database that takes none, a user or a password that does not count.
        "53300" | "55000" | "28000" | "28P01" => Kind::Unreachable,
        "XX001" | "XX002" => Kind::Corrupt,
        // Another transaction was in the way: it could not be put in an order, it was a deadlock, a lock took too long.
        "40001" | "40P01" | "55P03" => Kind::Interrupted,
        // No right to a table, or no table: nothing that one row could help.
        "42501" | "42P01" => Kind::Storage,
        // A value, a constraint, a statement, a limit.
        _ if ["22", "23", "42", "54"].contains(&code.get(..2).unwrap_or_default()) => Kind::Refused,
        _ => Kind::Storage,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::sqlite::SqlitePoolOptions;

    use super::{super::engine::Readers, super::engine::query, *};

    #[tokio::test]
    async fn a_file_whose_readers_are_all_busy_is_no_server_out_of_reach() {
        let pool = SqlitePoolOptions::new()
            .acquire_timeout(Duration::ZERO)
            .connect_lazy("sqlite::memory:")
            .expect("a pool");
        let readers = Readers::Sqlite(pool);
        let asked = query("SELECT 1").fetch_number(&readers).await;
        let error = asked.map_err(failed("read a row")).expect_err("none free");
        assert!(matches!(error, LedgerError::Busy { .. }), "{error:?}");
        assert!(error.is_transient());
        let told = error.to_string();
        assert!(told.starts_with("could not read a row: "), "{told}");
        assert!(!told.contains("server"), "{told}");
    }
}
