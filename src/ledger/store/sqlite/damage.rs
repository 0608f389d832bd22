//! Whether the file is whole: looked at when it is opened, before anything is built on it.
//!
//! SQLite reads every page to be sure, which takes seconds on a large file, and a service that restarts is waited for. So a
//! small file is read whole; of a large one its length and the small tables are, and a fault elsewhere is told by the
//! statement that meets it.

use std::{error::Error, path::Path};

use sqlx::SqliteConnection;

use super::super::super::error::{LedgerError, Source};

/// Up to here the whole file is read: a fraction of a tenth of a second.
const SMALL: u64 = 16 * 1024 * 1024;

/// The tables that every start reads and that stay small.
const SMALL_TABLES: [&str; 4] = ["meta", "pauses", "definitions", "armings"];

/// SQLite's result codes for a damaged file.
const CODES: [i32; 2] = [11, 26];

/// An error that comes from damage, as one that says what to do about it.
pub(super) fn told(path: &Path, error: LedgerError) -> LedgerError {
    let (LedgerError::Corrupt { source, .. }
    | LedgerError::Open { source, .. }
    | LedgerError::Migrate { source, .. }) = &error
    else {
        return error;
    };
    let mut cause = Some(source.inner());
    while let Some(one) = cause {
        if is_damage(one) {
            return LedgerError::Damaged {
                path: path.to_owned(),
                source: source.clone(),
            };
        }
        cause = one.source();
    }
    error
}

fn is_damage(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .and_then(|error| error.code()?.parse::<i32>().ok())
        .is_some_and(|code| CODES.contains(&(code & 0xff)))
}

/// Looks at the file as closely as a start can afford.
pub(super) async fn look(writer: &mut SqliteConnection, path: &Path) -> Result<(), LedgerError> {
    let damaged = |text: String| LedgerError::Damaged {
        path: path.to_owned(),
        source: Source::told(text),
    };
    let failed = |error: sqlx::Error| {
        told(
            path,
            LedgerError::Open {
                path: path.to_owned(),
                source: Source::new(error),
            },
        )
    };
    let length = path.metadata().map_or(0, |file| file.len());
    let checks: Vec<String> = if length <= SMALL {
        vec!["PRAGMA quick_check(1)".to_owned()]
    } else {
        // With the log folded into the file, the file is as long as its first page says, or it was cut short.
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
            .execute(&mut *writer)
            .await
            .map_err(failed)?;
        let says: i64 = sqlx::query_scalar(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        )
        .fetch_one(&mut *writer)
        .await
        .map_err(failed)?;
        let length = path.metadata().map_or(0, |file| file.len());
        if length < u64::try_from(says).unwrap_or(0) {
            return Err(damaged(format!(
                "it says that it has {says} bytes, and has {length}"
            )));
        }
        SMALL_TABLES
            .iter()
            .map(|table| format!("PRAGMA quick_check({table})"))
            .collect()
    };
    for check in checks {
        let found: String = sqlx::query_scalar(sqlx::AssertSqlSafe(check))
            .fetch_one(&mut *writer)
            .await
            .map_err(failed)?;
        if found != "ok" {
            return Err(damaged(found));
        }
    }
    Ok(())
}
