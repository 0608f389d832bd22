//! The schema, step by step.
//!
//! A newer schema than ours is refused; an older one is copied beside the ledger before it is migrated, so that an older
//! binary has something to go back to. The steps are one transaction.

use std::{path::Path, time::Duration};

use sqlx::{
    Connection, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};

use super::{super::MigrationFile, LedgerError, Source, copy};

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
    MigrationFile {
        version: 5,
        name: "erasure",
        sql: include_str!("migrations/0005_erasure.sql"),
    },
    MigrationFile {
        version: 6,
        name: "sweep",
        sql: include_str!("migrations/0006_sweep.sql"),
    },
    MigrationFile {
        version: 7,
        name: "former",
        sql: include_str!("migrations/0007_former.sql"),
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
        copy::before_upgrade(connection, path, known).await?;
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
        copy::forget_old(path, known);
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(connection)
        .await
        .map_err(failed)?;
    Ok(())
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
