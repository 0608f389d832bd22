//! Copies of a ledger: whole, private, and under their name only once they are both.

use std::{io, path::Path};

use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{super::home::PLACE, LedgerError, Source, files};

/// How the name of a copy goes on, before the version it was made for.
const BEFORE: &str = ".before-";
/// How the name of a copy ends that is not whole yet.
const PART: &str = ".part";
/// How many copies are kept: the way back from this version, and from the one before.
const COPIES: usize = 2;

/// Copies the ledger beside itself, for the way back from this schema.
pub(super) async fn before_upgrade(
    connection: &mut SqliteConnection,
    path: &Path,
    known: i64,
) -> Result<(), LedgerError> {
    let failed = |source: Source| LedgerError::Copy {
        path: path.to_owned(),
        source,
    };
    let copy = files::beside(path, &format!("{BEFORE}{known}"));
    let part = files::beside(&copy, PART);
    // Somebody may have been killed over it.
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed(Source::new(error)));
        }
        _ => {}
    }
    write(connection, &part, &copy, false).await.map_err(failed)
}

/// Removes the copies that were made for older schemas, but the newest few.
pub(super) fn forget_old(path: &Path, known: i64) {
    let copies = (1..=known)
        .rev()
        .map(|version| files::beside(path, &format!("{BEFORE}{version}")));
    for copy in copies.filter(|copy| copy.exists()).skip(COPIES) {
        // What cannot be removed is in nobody's way.
        drop(std::fs::remove_file(&copy));
    }
}

/// Copies the ledger to where nothing is yet.
pub(in super::super) async fn back_up(
    connection: &mut SqliteConnection,
    to: &Path,
) -> Result<(), LedgerError> {
    let failed = |source: Source| LedgerError::Backup {
        path: to.to_owned(),
        source,
    };
    if to.symlink_metadata().is_ok() {
        let error = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(failed(Source::new(error)));
    }
    // Two may be at it at once.
    let part = files::beside(to, &format!(".{}{PART}", uuid::Uuid::new_v4().simple()));
    write(connection, &part, to, true).await.map_err(failed)
}

/// Writes a copy as `part`, and calls it `to` when it is on the disk. Whether it says of itself that it is one: the way back
/// from an upgrade is the ledger as it was, to the last byte.
async fn write(
    connection: &mut SqliteConnection,
    part: &Path,
    to: &Path,
    says_so: bool,
) -> Result<(), Source> {
    let written = async {
        // SQLite accepts an empty file, so that the copy is private from its first byte.
        let file = files::create_new(part).map_err(Source::new)?;
        sqlx::query("VACUUM INTO ?1")
            .bind(part.to_string_lossy().into_owned())
            .execute(connection)
            .await
            .map_err(Source::new)?;
        if says_so {
            say_that_it_is_a_copy(part).await?;
        }
        file.sync_all().map_err(Source::new)?;
        std::fs::rename(part, to).map_err(Source::new)
    }
    .await;
    if let Err(error) = written {
        // It is of no use; that it cannot be removed either is not what should be told.
        drop(std::fs::remove_file(part));
        return Err(error);
    }
    files::sync_folder(to).map_err(Source::new)
}

/// Whoever takes the copy up knows that it is one, also where it takes the original's place.
async fn say_that_it_is_a_copy(part: &Path) -> Result<(), Source> {
    let options = SqliteConnectOptions::new().filename(part);
    let mut copy = SqliteConnection::connect_with(&options)
        .await
        .map_err(Source::new)?;
    sqlx::query("UPDATE meta SET value = 'a copy' WHERE key = ?1")
        .bind(PLACE)
        .execute(&mut copy)
        .await
        .map_err(Source::new)?;
    copy.close().await.map_err(Source::new)
}
