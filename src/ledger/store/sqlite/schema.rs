//! The schema, step by step.
//!
//! A newer schema than ours is refused; an older one is copied beside the ledger before it is migrated, so that an older
//! binary has something to go back to.

use std::{path::Path, time::Duration};

use sqlx::{
    Connection, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};

use super::{super::MigrationFile, LedgerError, Source, files};

/// Every step, in order. A step that was released never changes.
pub const MIGRATIONS: &[MigrationFile] = &[
    MigrationFile {
        version: 1,
        name: "ledger",
        sql: include_str!("migrations/0001_ledger.sql"),
    },
    MigrationFile {
        version: 2,
        name: "held",
        sql: include_str!("migrations/0002_held.sql"),
    },
    MigrationFile {
        version: 3,
        name: "addresses",
        sql: include_str!("migrations/0003_addresses.sql"),
    },
    MigrationFile {
        version: 4,
        name: "watch",
        sql: include_str!("migrations/0004_watch.sql"),
    },
];

/// Refuses a file that is not ours or is too new for us, without changing anything about it. A file that is not there,
/// or is empty, is fine.
pub(super) async fn inspect(path: &Path, busy_timeout: Duration) -> Result<(), LedgerError> {
    if !path.metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let open = |error: sqlx::Error| LedgerError::Open {
        path: path.to_owned(),
        source: Source::new(error),
    };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(busy_timeout);
    let mut reader = SqliteConnection::connect_with(&options)
        .await
        .map_err(open)?;
    let found = version(&mut reader, path).await;
    reader.close().await.map_err(open)?;
    refuse_newer(found?, path)
}

fn newest() -> i64 {
    MIGRATIONS.last().map_or(0, |step| step.version)
}

fn refuse_newer(found: i64, path: &Path) -> Result<(), LedgerError> {
    let known = newest();
    if found > known {
        return Err(LedgerError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(())
}

/// Brings the schema up to date. `path` is for messages and for the copy.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<(), LedgerError> {
    let failed = |error: sqlx::Error| LedgerError::Migrate {
        path: path.to_owned(),
        source: Source::new(error),
    };
    let known = newest();
    let found = version(connection, path).await?;
    if found == known {
        return Ok(());
    }
    if found > 0 {
        copy_before(connection, path, known).await?;
    }
    let steps = MIGRATIONS
        .iter()
        .map(|step| {
            Migration::new(
                step.version,
                step.name.into(),
                MigrationType::Simple,
                step.sql.into_sql_str(),
                false,
            )
        })
        .collect();
    // All steps or none: who is killed on the way leaves the schema that was there.
    let mut all = connection
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    Migrator::with_migrations(steps)
        .run_direct(None, &mut *all, false)
        .await
        .map_err(|source| LedgerError::Migrate {
            path: path.to_owned(),
            source: Source::new(source),
        })?;
    all.commit().await.map_err(failed)?;
    if found > 0 {
        forget_old_copies(path, known);
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// How the name of a copy goes on, before the version it was made for.
const BEFORE: &str = ".before-";
/// How many copies are kept: the way back from this version, and from the one before.
const COPIES: usize = 2;

/// Copies the ledger beside itself. The copy has its name only once it is complete.
async fn copy_before(
    connection: &mut SqliteConnection,
    path: &Path,
    known: i64,
) -> Result<(), LedgerError> {
    let failed = |source: Source| LedgerError::Copy {
        path: path.to_owned(),
        source,
    };
    let copy = files::beside(path, &format!("{BEFORE}{known}"));
    let part = files::beside(&copy, ".part");
    let remove = || match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed(Source::new(error)))
        }
        _ => Ok(()),
    };
    // Somebody may have been killed over it.
    remove()?;
    if let Err(error) = copy_into(connection, &part).await {
        // It is of no use; that it cannot be removed either is not what should be told.
        drop(remove());
        return Err(failed(Source::new(error)));
    }
    std::fs::rename(&part, &copy)
        .and_then(|()| files::sync_folder(&copy))
        .map_err(|error| failed(Source::new(error)))
}

/// Removes the copies that were made for older versions, but the newest few.
fn forget_old_copies(path: &Path, known: i64) {
    let copies = (1..=known)
        .rev()
        .map(|version| files::beside(path, &format!("{BEFORE}{version}")));
    for copy in copies.filter(|copy| copy.exists()).skip(COPIES) {
        // What cannot be removed is in nobody's way.
        drop(std::fs::remove_file(&copy));
    }
}

/// The schema's version; 0 if the file is empty.
async fn version(connection: &mut SqliteConnection, path: &Path) -> Result<i64, LedgerError> {
    let failed = |error: sqlx::Error| LedgerError::Open {
        path: path.to_owned(),
        source: Source::new(error),
    };
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
            .fetch_all(&mut *connection)
            .await
            .map_err(failed)?;
    if tables.is_empty() {
        return Ok(0);
    }
    if !tables.iter().any(|name| name == "_sqlx_migrations") {
        return Err(LedgerError::Foreign {
            path: path.to_owned(),
        });
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    // Somebody else's database may be migrated by the same library; ours has a table of this name from its first step.
    if found > 0 && !tables.iter().any(|name| name == "owned_names") {
        return Err(LedgerError::Foreign {
            path: path.to_owned(),
        });
    }
    Ok(found)
}

/// Writes a complete copy that its owner alone may read.
pub(in super::super) async fn copy_into(
    connection: &mut SqliteConnection,
    to: &Path,
) -> Result<(), LedgerError> {
    let open = |source: Source| LedgerError::Open {
        path: to.to_owned(),
        source,
    };
    // SQLite accepts an empty file, so that the copy is private from its first byte.
    let file = files::create_new(to).map_err(|error| open(Source::new(error)))?;
    sqlx::query("VACUUM INTO ?1")
        .bind(to.to_string_lossy().into_owned())
        .execute(connection)
        .await
        .map_err(|error| open(Source::new(error)))?;
    file.sync_all().map_err(|error| open(Source::new(error)))?;
    files::sync_folder(to).map_err(|error| open(Source::new(error)))
}
